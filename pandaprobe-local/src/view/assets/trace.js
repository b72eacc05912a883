// The page of a trace: loads the spans, follows keys, keeps the address, shows what is chosen.

import { follow, fragment, isTyping, localTimes } from "./page.js";
import { FAILED, Spans } from "./spans.js";
import { Tree } from "./tree.js";

const page = document.getElementById("trace");
const part = (id) => document.getElementById(id);
const path = `/ui/traces/${page.dataset.trace}`;
const tree = new Tree(part("tree"), part("rows"), part("axis"));
const detail = part("detail");

async function loadSpans() {
  const answer = await fetch(`${path}/spans.json`);
  if (!answer.ok) throw new Error(`spans: ${answer.status}`);
  return new Spans(await answer.json());
}

let running = null;
/** What the details were made of. They change under the reader's hands: parts are opened, buttons say what they did. */
let shown = detail.innerHTML;
/** Whether the details were asked for, and not only passed on the way through the tree. */
let isOpened = false;

/** Brings the details into view where the screen is so narrow that they are below the tree. */
function reveal() {
  if (isOpened && detail.offsetTop > part("tree").offsetTop) detail.scrollIntoView();
}

/** Puts a fragment beside the tree; one that comes too late is dropped. */
async function showDetail(address) {
  running?.abort();
  running = new AbortController();
  try {
    const answer = await fetch(address, { signal: running.signal });
    detail.replaceChildren(fragment(await answer.text()));
    shown = detail.innerHTML;
    detail.scrollTop = 0;
    reveal();
  } catch (error) {
    if (error.name === "AbortError") return;
    detail.textContent = "The server does not answer.";
    shown = null;
  }
}

let waiting = 0;
tree.addEventListener("choose", ({ detail: row }) => {
  isOpened = false;
  const id = tree.spans.id(row);
  history.replaceState(null, "", `${path}?span=${id}`);
  // Who runs through the tree does not load all of it.
  clearTimeout(waiting);
  waiting = setTimeout(showDetail, 60, `${path}/spans/${id}`);
});

tree.addEventListener("open", () => (isOpened = true));

tree.addEventListener("change", () => {
  const { spans, lines } = tree;
  const hidden = spans.count - lines.length;
  part("tree-state").textContent = hidden ? `${hidden.toLocaleString("en")} folded away` : "";
  part("zoom-out").hidden = tree.isWhole();
  part("next-error").hidden = !spans.errors.length;
  part("next-error").textContent = `Next error (${spans.errors.length.toLocaleString("en")})`;
});

function toWhole() {
  clearTimeout(waiting);
  isOpened = false;
  history.replaceState(null, "", path);
  tree.chooseNothing();
  showDetail(`${path}/overview`);
}

function toDetail() {
  isOpened = true;
  detail.focus({ preventScroll: true });
  reveal();
}

function nextError(by) {
  const row = tree.spans.next(tree.chosen, by, (row) => tree.spans.outcome[row] === FAILED);
  if (row >= 0) tree.choose(row);
}

function findNext(by) {
  const wanted = part("find").value.trim().toLowerCase();
  if (!wanted) return;
  const fits = tree.spans.names.map((name) => name.toLowerCase().includes(wanted));
  const row = tree.spans.next(tree.chosen, by, (row) => fits[tree.spans.name[row]]);
  if (row >= 0) tree.choose(row);
  part("tree-state").textContent = row < 0 ? "no span is called that" : "";
}

const KEYS = {
  j: () => tree.move(1),
  ArrowDown: () => tree.move(1),
  k: () => tree.move(-1),
  ArrowUp: () => tree.move(-1),
  ArrowLeft: () => tree.left(),
  ArrowRight: () => tree.right(),
  PageDown: () => tree.move(tree.page()),
  PageUp: () => tree.move(-tree.page()),
  Home: () => tree.move(-tree.spans.count),
  End: () => tree.move(tree.spans.count),
  e: () => nextError(1),
  E: () => nextError(-1),
  n: () => findNext(1),
  N: () => findNext(-1),
  z: () => tree.zoom(tree.chosen),
  0: () => tree.zoom(-1),
  Enter: toDetail,
  Escape: toWhole,
};

/** Keys that scroll, in what scrolls by itself, stay its own. */
function isScrolling(event) {
  const scrolls = /^(Arrow(Left|Right)|Page|Home|End)/.test(event.key);
  const isControl = event.key === "Enter" && event.target.closest("a, button, summary");
  return isControl || (detail.contains(event.target) && (scrolls || event.key.startsWith("Arrow")));
}

document.addEventListener("keydown", (event) => {
  if (!tree.spans?.count || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (event.target === part("find") && event.key === "Enter") {
    event.preventDefault();
    findNext(event.shiftKey ? -1 : 1);
  } else if (!isTyping(event) && Object.hasOwn(KEYS, event.key) && !isScrolling(event)) {
    event.preventDefault();
    KEYS[event.key]();
  }
});

part("next-error").addEventListener("click", () => nextError(1));
part("fold-all").addEventListener("click", () => tree.foldAll(true));
part("unfold-all").addEventListener("click", () => tree.foldAll(false));
part("zoom-out").addEventListener("click", () => tree.zoom(-1));

/** How many rows are printed. */
const PRINTED = 2_000;
addEventListener("beforeprint", () => {
  const left = tree.print(PRINTED);
  part("left-out").hidden = !left;
  part("left-out").textContent = `${left.toLocaleString("en")} more spans are not printed.`;
});
addEventListener("afterprint", () => {
  part("left-out").hidden = true;
  tree.unprint();
});

let isWaiting = false;
let isLoading = false;
let pause = 500;

function changed(traces) {
  if (traces && !traces.some((row) => row.trace_id === page.dataset.trace)) return;
  isWaiting = true;
  load();
}

/** Loads again what changed: at most twice a second, less often if it is large. */
function load() {
  if (!isWaiting || isLoading || document.hidden) return;
  isLoading = true;
  setTimeout(async () => {
    const begun = performance.now();
    isWaiting = false;
    try {
      await refresh();
      pause = Math.max(500, 5 * (performance.now() - begun));
    } catch {
      // The server is gone, perhaps for a moment.
      isWaiting = true;
      pause = 2_000;
    }
    isLoading = false;
    load();
  }, pause);
}

async function refresh() {
  const asked = location.href;
  const answer = await fetch(asked);
  if (answer.status === 404) return;
  if (!answer.ok) throw new Error(`trace: ${answer.status}`);
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  const { version } = fresh.getElementById("trace").dataset;
  if (version === page.dataset.version && version === String(tree.spans.version)) return;
  for (const id of ["status", "figures", "detail"]) {
    const theirs = fresh.getElementById(id);
    localTimes(theirs);
    // What is being read stays as it is, unless it changed.
    if (id === "detail" && (location.href !== asked || theirs.innerHTML === shown)) continue;
    if (id === "detail") shown = theirs.innerHTML;
    part(id).replaceChildren(...theirs.childNodes);
  }
  tree.show(await loadSpans());
  if (tree.spans.count) part("no-spans")?.remove();
  page.dataset.version = version;
}

try {
  let isShown = false;
  let isLate = false;
  await follow((traces) => (isShown ? changed(traces) : (isLate = true)));
  tree.show(await loadSpans());
  isShown = true;
  if (isLate || String(tree.spans.version) !== page.dataset.version) changed(null);
  const asked = tree.spans.find(new URLSearchParams(location.search).get("span"));
  if (asked >= 0) tree.choose(asked, true);
  part("tree").focus({ preventScroll: true });
  performance.mark("interactive");
} catch (error) {
  part("tree-state").textContent = "The spans cannot be loaded.";
}
