// Lists: rows by key, and the list of traces live.

import { follow, fragment, isTyping } from "./page.js";

const rows = () => [...document.querySelectorAll("table.list tbody tr")];
let chosen = null;

/** Marks a row, and brings it into view. */
function choose(row) {
  document.querySelector("tr.chosen")?.classList.remove("chosen");
  chosen = row?.dataset.id ?? null;
  if (!row) return;
  row.classList.add("chosen");
  row.querySelector("a")?.focus({ preventScroll: true });
  row.scrollIntoView({ block: "nearest" });
}

function move(by) {
  const all = rows();
  const at = all.findIndex((row) => row.dataset.id === chosen);
  const next = at < 0 ? (by > 0 ? 0 : all.length - 1) : Math.min(Math.max(at + by, 0), all.length - 1);
  choose(all[next]);
}

/** Whether a key scrolls what it is pressed in, which is not a list. */
function isScrolling(event) {
  const region = event.target.closest(".scroll, .text, pre");
  return region && !region.querySelector("table.list");
}

document.addEventListener("keydown", (event) => {
  if (isTyping(event) || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const down = event.key === "j" || event.key === "ArrowDown";
  const up = event.key === "k" || event.key === "ArrowUp";
  if (down || up) {
    if (isScrolling(event) || !rows().length) return;
    event.preventDefault();
    move(down ? 1 : -1);
  } else if (event.key === "Enter" && chosen && !(event.target instanceof HTMLAnchorElement)) {
    document.querySelector("tr.chosen a")?.click();
  } else if (event.key === "p") {
    document.getElementById("live")?.click();
  }
});

// A row is a link as a whole.
document.addEventListener("click", (event) => {
  const row = event.target instanceof Element ? event.target.closest("table.list tbody tr") : null;
  if (!row || event.target.closest("a, button") || String(getSelection())) return;
  row.querySelector("th a")?.click();
});

const list = document.getElementById("list");
if (list) live(list);

/** Brings in what changes: at most two loads a second, none while paused or hidden. */
function live(list) {
  const toggle = document.getElementById("live");
  const state = document.getElementById("live-state");
  let isWaiting = false;
  let isLoading = false;
  let missed = 0;

  const tell = () => (state.textContent = toggle.checked ? "" : missed ? `paused, ${missed} changed` : "paused");

  async function load() {
    if (isLoading || !toggle.checked || document.hidden) return;
    isLoading = true;
    isWaiting = false;
    const html = await ask(list.dataset.rows);
    if (html === null) {
      isWaiting = true;
    } else {
      replace(list, fragment(html));
      missed = 0;
    }
    setTimeout(() => {
      isLoading = false;
      if (isWaiting) load();
    }, html === null ? 2_000 : 500);
  }

  const changed = (traces) => {
    isWaiting = true;
    missed += traces?.length ?? 0;
    tell();
    load();
  };
  follow(changed, (isThere) => (isThere ? tell() : (state.textContent = "not connected"))).then(load);
  toggle.addEventListener("change", () => {
    tell();
    if (toggle.checked) load();
  });
}

/** What the server answers; null if it does not. */
async function ask(address) {
  try {
    const answer = await fetch(address);
    return answer.ok ? await answer.text() : null;
  } catch {
    return null;
  }
}

/** Puts the new list in place, and lights up what is new or changed in it. */
function replace(list, nodes) {
  const before = new Map(rows().map((row) => [row.dataset.id, row.dataset.version]));
  const scroll = list.querySelector(".scroll")?.scrollLeft ?? 0;
  const hadFocus = list.contains(document.activeElement);
  list.replaceChildren(nodes);
  list.querySelector(".scroll")?.scrollTo({ left: scroll });
  for (const row of rows()) {
    if (before.get(row.dataset.id) !== row.dataset.version) row.classList.add(before.has(row.dataset.id) ? "changed" : "new");
    if (row.dataset.id === chosen) {
      row.classList.add("chosen");
      if (hadFocus) row.querySelector("a")?.focus({ preventScroll: true });
    }
  }
}
