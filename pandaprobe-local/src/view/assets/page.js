// What every page does: local times, copying, keys, help.

/** Whether keys are being typed into a field. */
export function isTyping(event) {
  const at = event.target;
  return at instanceof HTMLElement && (at.isContentEditable || /^(INPUT|SELECT|TEXTAREA)$/.test(at.tagName));
}

/** Shows times in the reader's own time zone; the title keeps UTC. */
export function localTimes(root) {
  const today = new Date().toDateString();
  for (const time of root.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    const two = (number) => String(number).padStart(2, "0");
    const clock = [at.getHours(), at.getMinutes(), at.getSeconds()].map(two).join(":");
    const day = `${String(at.getFullYear()).padStart(4, "0")}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
    time.textContent = at.toDateString() === today ? clock : `${day} ${clock}`;
  }
}

/** Takes a fragment that the server made and escaped. */
export function fragment(html) {
  const parsed = new DOMParser().parseFromString(html, "text/html");
  const nodes = document.createDocumentFragment();
  nodes.append(...parsed.body.childNodes);
  localTimes(nodes);
  return nodes;
}

/**
 * Hears of traces as they change, while the page is in sight: a browser gives a server few connections.
 * `tell` gets rows, or null if something may have been missed; `show` whether the server is there.
 * The promise is kept once nothing is missed any more, or after a while.
 */
export function follow(tell, show = () => {}) {
  let source = null;
  let isFirst = !document.hidden;
  const open = () => {
    source = new EventSource("/events");
    source.addEventListener("traces", (event) => tell(JSON.parse(event.data)));
    source.addEventListener("open", () => {
      show(true);
      // It is opened again, too, after the connection broke.
      if (!isFirst) tell(null);
      isFirst = false;
    });
    source.addEventListener("error", () => show(false));
  };
  document.addEventListener("visibilitychange", () => {
    source?.close();
    source = null;
    if (!document.hidden) open();
  });
  if (document.hidden) return Promise.resolve();
  open();
  return new Promise((resolve) => {
    source.addEventListener("open", resolve, { once: true });
    setTimeout(() => {
      isFirst = false;
      resolve();
    }, 500);
  });
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const field = document.createElement("textarea");
    field.value = text;
    document.body.append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
  }
}

/** The text that a button copies. */
async function textOf({ copy: id, copyFrom, copyLink }) {
  if (copyLink) return new URL(copyLink, location.href).href;
  if (copyFrom) return (await fetch(copyFrom)).text();
  return document.getElementById(id)?.textContent ?? "";
}

document.addEventListener("click", async (event) => {
  const button = event.target instanceof Element ? event.target.closest("button.copy") : null;
  if (!button) return;
  const before = button.textContent;
  try {
    await copy(await textOf(button.dataset));
    button.textContent = "Copied";
  } catch {
    button.textContent = "Not copied";
  }
  setTimeout(() => (button.textContent = before), 1200);
});

// Fields that ask nothing stay out of the address.
document.addEventListener("submit", (event) => {
  for (const field of event.target.elements) {
    if (field.name && !field.value) field.disabled = true;
  }
});
addEventListener("pageshow", () => {
  for (const field of document.querySelectorAll("form :disabled")) field.disabled = false;
});

// A choice is made at once.
document.addEventListener("change", (event) => {
  if (event.target instanceof HTMLSelectElement && event.target.form) event.target.form.requestSubmit();
});

const help = document.getElementById("help");
const toggleHelp = () => (help.open ? help.close() : help.showModal());
document.getElementById("help-button")?.addEventListener("click", toggleHelp);
help?.addEventListener("click", (event) => event.target === help && help.close());

const PLACES = { t: "/ui/traces", s: "/ui/sessions", u: "/ui/users", o: "/ui/overview" };

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (isTyping(event)) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (event.key === "?") {
    event.preventDefault();
    toggleHelp();
  } else if (help?.open) {
    return;
  } else if (event.key === "/") {
    const search = document.querySelector("[data-search]");
    if (!search) return;
    event.preventDefault();
    search.focus();
    search.select();
  } else if (Object.hasOwn(PLACES, event.key)) {
    location.assign(PLACES[event.key]);
  }
});

localTimes(document);
