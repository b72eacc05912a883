// The tree and the waterfall: rows of one height, of which only those in sight are in the page.

import { FAILED, duration, tickLabel, ticks } from "./spans.js";

const HEIGHT = 26;
const BEYOND = 8;
const INDENT = 14;
const DEEPEST = 16;

export class Tree extends EventTarget {
  /** Tells of a choice by the event `choose`, then by `open` if it was a click; of folding and zooming by `change`. */
  constructor(view, rows, axis) {
    super();
    Object.assign(this, { view, rows, axis });
    this.pool = [];
    this.folded = new Set();
    this.chosen = -1;
    this.isDrawing = false;
    this.isPrinting = false;
    view.addEventListener("scroll", () => this.draw(), { passive: true });
    rows.addEventListener("click", (event) => this.clicked(event));
    rows.addEventListener("dblclick", (event) => event.target.closest(".lane") && this.zoom(this.chosen));
    new ResizeObserver(() => this.redraw()).observe(view);
  }

  /** Shows spans; what was folded and chosen stays so. */
  show(spans) {
    const id = this.chosen >= 0 ? this.spans.id(this.chosen) : null;
    const folded = [...this.folded].map((row) => this.spans.id(row));
    const wasWhole = !this.spans || this.isWhole();
    this.spans = spans;
    if (wasWhole) [this.from, this.until] = [0, spans.length];
    this.folded = new Set(folded.map((id) => spans.find(id)).filter((row) => row >= 0));
    this.chosen = id ? spans.find(id) : -1;
    this.lay();
  }

  isWhole() {
    return this.from === 0 && this.until === this.spans.length;
  }

  /** Works out which rows are there at all. */
  lay() {
    const { spans, folded } = this;
    const lines = new Int32Array(spans.count);
    let count = 0;
    for (let row = 0; row < spans.count; row = folded.has(row) ? spans.end[row] : row + 1) lines[count++] = row;
    this.lines = lines.subarray(0, count);
    this.rows.style.height = `${count * HEIGHT}px`;
    this.redraw();
    this.dispatchEvent(new Event("change"));
  }

  redraw() {
    if (!this.spans) return;
    for (const line of this.pool) line.shows = -1;
    this.drawAxis();
    this.draw();
  }

  draw() {
    if (this.isDrawing || !this.spans) return;
    this.isDrawing = true;
    requestAnimationFrame(() => {
      this.isDrawing = false;
      this.drawNow();
    });
  }

  drawNow() {
    if (this.isPrinting) return;
    const first = Math.max(Math.floor(this.view.scrollTop / HEIGHT) - BEYOND, 0);
    const most = Math.ceil(this.view.clientHeight / HEIGHT) + 2 * BEYOND;
    while (this.pool.length < most) this.pool.push(this.makeLine());
    const size = this.pool.length;
    for (let at = 0; at < size; at++) {
      // Each place keeps its element while it is in sight.
      const place = first + ((at - (first % size) + size) % size);
      const line = this.pool[at];
      if (place >= this.lines.length) {
        line.element.hidden = true;
        line.shows = -1;
      } else if (line.shows !== place) {
        this.fill(line, place);
      }
    }
  }

  /** Draws the rows whether they are in sight or not, at most so many; how many more there are. */
  print(most) {
    if (!this.spans) return 0;
    const count = Math.min(this.lines.length, most);
    while (this.pool.length < count) this.pool.push(this.makeLine());
    for (const [place, line] of this.pool.entries()) {
      if (place < count) this.fill(line, place);
      else line.element.hidden = true;
    }
    this.isPrinting = true;
    return this.lines.length - count;
  }

  /** Draws what is in sight again, and that alone. */
  unprint() {
    this.isPrinting = false;
    for (const line of this.pool.splice(0)) line.element.remove();
    this.redraw();
  }

  makeLine() {
    const make = (tag, name, parent) => {
      const element = document.createElement(tag);
      element.className = name;
      parent?.append(element);
      return element;
    };
    const element = make("div", "row", this.rows);
    element.setAttribute("role", "treeitem");
    const label = make("div", "label", element);
    const twist = make("span", "twist", label);
    twist.setAttribute("aria-hidden", "true");
    const kind = make("span", "kind", label);
    const name = make("bdi", "name", label);
    const note = make("span", "note", label);
    const lane = make("div", "lane", element);
    const bar = make("div", "bar", lane);
    const first = make("i", "first-token", bar);
    const took = make("span", "took", lane);
    return { element, label, twist, kind, name, note, bar, first, took, shows: -1 };
  }

  fill(line, place) {
    const { spans } = this;
    const row = this.lines[place];
    const [kind, isFailed, isFolded] = [spans.kindOf(row), spans.outcome[row] === FAILED, this.folded.has(row)];
    const hidden = isFolded ? spans.end[row] - row - 1 : 0;
    line.shows = place;
    const { element } = line;
    element.hidden = false;
    element.id = `row-${row}`;
    element.dataset.row = row;
    element.className = `row${isFailed ? " failed" : ""}${row === this.chosen ? " chosen" : ""}`;
    element.style.transform = `translateY(${place * HEIGHT}px)`;
    element.setAttribute("aria-level", spans.depth[row] + 1);
    element.setAttribute("aria-posinset", spans.place[row]);
    element.setAttribute("aria-setsize", spans.siblings[spans.parent[row] + 1]);
    element.setAttribute("aria-selected", row === this.chosen);
    if (spans.hasBelow(row)) element.setAttribute("aria-expanded", !isFolded);
    else element.removeAttribute("aria-expanded");
    line.label.style.paddingInlineStart = `${Math.min(spans.depth[row], DEEPEST) * INDENT + 6}px`;
    line.twist.textContent = spans.hasBelow(row) ? (isFolded ? "▸" : "▾") : "";
    line.kind.className = `kind k-${kind}`;
    line.kind.textContent = kind.toLowerCase();
    line.name.textContent = spans.nameOf(row);
    line.name.title = spans.nameOf(row);
    line.note.textContent = this.note(row, hidden);
    line.note.classList.toggle("bad", isFailed || (isFolded && !!spans.failedBelow[row]));
    this.fillBar(line, row, kind, isFailed);
    element.setAttribute("aria-label", this.spoken(row, kind, isFailed));
  }

  note(row, hidden) {
    const { spans } = this;
    const notes = [];
    if (spans.outcome[row] === FAILED) notes.push("✕");
    if (spans.tokens[row]) notes.push(`${spans.tokens[row].toLocaleString("en")} tok`);
    if (hidden) notes.push(`+${hidden.toLocaleString("en")}`);
    if (hidden && spans.failedBelow[row]) notes.push("✕ inside");
    if (spans.depth[row] > DEEPEST) notes.push(`level ${spans.depth[row] + 1}`);
    if (spans.astray.has(row)) notes.push("parent missing");
    return notes.join(" · ");
  }

  spoken(row, kind, isFailed) {
    const { spans } = this;
    const length = spans.isOpen(row) ? "still open" : duration(spans.took[row]);
    return `${spans.nameOf(row)}, ${kind.toLowerCase()}, ${length}${isFailed ? ", failed" : ""}`;
  }

  fillBar(line, row, kind, isFailed) {
    const { spans } = this;
    const whole = this.until - this.from;
    const start = (spans.offset[row] - this.from) / whole;
    const end = (spans.offset[row] + spans.lengthOf(row) - this.from) / whole;
    const [left, right] = [Math.min(Math.max(start, 0), 1), Math.min(Math.max(end, 0), 1)];
    const isOut = end < 0 || start > 1;
    line.bar.hidden = isOut;
    line.bar.className = `bar b-${kind}${isFailed ? " failed" : ""}${spans.isOpen(row) ? " open" : ""}`;
    line.bar.style.left = `${left * 100}%`;
    line.bar.style.width = `${(right - left) * 100}%`;
    const first = spans.first[row];
    const at = (spans.offset[row] + first - this.from) / whole;
    line.first.hidden = first < 0 || at < left || at > right;
    if (!line.first.hidden) {
      line.first.style.left = `${((at - left) / Math.max(right - left, 1e-9)) * 100}%`;
      line.first.title = `first token after ${duration(first)}`;
    }
    line.took.textContent = spans.isOpen(row) ? "open" : duration(spans.took[row]);
    this.placeLabel(line, left, right, isOut, start > 1);
  }

  /** Beside the bar where there is room: behind it, else before it, else on it. */
  placeLabel(line, left, right, isOut, isLater) {
    const { took } = line;
    const isBehind = isOut ? !isLater : right < 0.84;
    const isBefore = !isBehind && (isOut || left > 0.16);
    took.className = `took${isBehind ? "" : isBefore ? " before" : " on"}`;
    took.style.left = isBehind ? `${(isOut ? 0 : right) * 100}%` : "";
    took.style.right = isBehind ? "" : `${(isBefore ? 1 - (isOut ? 1 : left) : 1 - right) * 100}%`;
  }

  drawAxis() {
    const width = this.axis.clientWidth * 0.55;
    const { step, all } = ticks(this.from, this.until, Math.max(Math.floor(width / 80), 2));
    const lane = document.createElement("div");
    lane.className = "lane";
    for (const at of all) {
      const share = (at - this.from) / (this.until - this.from);
      // The last one, written before its mark, needs the room of two.
      if (share > 0.88 && step / (this.until - this.from) < 0.22) continue;
      const tick = document.createElement("span");
      tick.className = share > 0.88 ? "tick last" : "tick";
      tick.style.left = `${share * 100}%`;
      tick.textContent = tickLabel(at, step);
      lane.append(tick);
    }
    const label = document.createElement("div");
    label.className = "label";
    label.textContent = "Span";
    this.axis.replaceChildren(label, lane);
    this.rows.style.setProperty("--grid", `${(step / (this.until - this.from)) * 100}%`);
    this.rows.style.setProperty("--grid-from", `${((all[0] ?? 0) - this.from) / (this.until - this.from) * 100}%`);
  }

  clicked(event) {
    const element = event.target.closest(".row");
    if (!element) return;
    const row = Number(element.dataset.row);
    if (event.target.closest(".twist") && this.spans.hasBelow(row)) this.fold(row, !this.folded.has(row));
    else {
      this.choose(row);
      this.dispatchEvent(new Event("open"));
    }
  }

  /** The place of a row in what is shown, or that of the row that hides it. */
  placeOf(row) {
    let [low, high] = [0, this.lines.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.lines[middle] <= row) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  fold(row, isFolded) {
    if (isFolded) this.folded.add(row);
    else this.folded.delete(row);
    this.lay();
    this.keepInSight();
  }

  /** What is chosen and now folded away gives place to what hides it. */
  keepInSight() {
    if (this.chosen < 0) return;
    const row = this.lines[this.placeOf(this.chosen)];
    if (row === this.chosen) this.reveal(this.placeOf(row));
    else this.choose(row);
  }

  foldAll(isFolded) {
    this.folded.clear();
    for (let row = 0; isFolded && row < this.spans.count; row++) {
      // The top stays open: folded to one row, a tree tells nothing.
      if (this.spans.depth[row] > 0 && this.spans.hasBelow(row)) this.folded.add(row);
    }
    this.lay();
    this.keepInSight();
  }

  /** Chooses a row, unfolding what hides it. */
  choose(row, isQuiet = false) {
    if (row < 0 || row >= this.spans.count) return;
    let wasHidden = false;
    for (let above = this.spans.parent[row]; above >= 0; above = this.spans.parent[above]) {
      wasHidden = this.folded.delete(above) || wasHidden;
    }
    const before = this.chosen;
    this.chosen = row;
    if (wasHidden) this.lay();
    for (const line of this.pool) if (this.lines[line.shows] === before || this.lines[line.shows] === row) line.shows = -1;
    this.reveal(this.placeOf(row));
    this.drawNow();
    this.view.setAttribute("aria-activedescendant", `row-${row}`);
    if (!isQuiet) this.dispatchEvent(new CustomEvent("choose", { detail: row }));
  }

  chooseNothing() {
    this.chosen = -1;
    this.view.removeAttribute("aria-activedescendant");
    this.redraw();
  }

  reveal(place) {
    const [top, height] = [place * HEIGHT, this.view.clientHeight];
    const { scrollTop } = this.view;
    if (top < scrollTop) this.view.scrollTop = top;
    else if (top + HEIGHT > scrollTop + height) this.view.scrollTop = top + HEIGHT - height;
  }

  move(by) {
    const at = this.chosen < 0 ? (by > 0 ? -1 : 0) : this.placeOf(this.chosen);
    const next = Math.min(Math.max(at + by, 0), this.lines.length - 1);
    if (this.lines.length) this.choose(this.lines[next]);
  }

  page() {
    return Math.max(Math.floor(this.view.clientHeight / HEIGHT) - 1, 1);
  }

  /** Folds, or goes to what the span is part of. */
  left() {
    const row = this.chosen;
    if (row < 0) return;
    if (this.spans.hasBelow(row) && !this.folded.has(row)) this.fold(row, true);
    else if (this.spans.parent[row] >= 0) this.choose(this.spans.parent[row]);
  }

  /** Unfolds, or goes to the first span below. */
  right() {
    const row = this.chosen;
    if (row < 0 || !this.spans.hasBelow(row)) return;
    if (this.folded.has(row)) this.fold(row, false);
    else this.choose(row + 1);
  }

  zoom(row) {
    if (row < 0) [this.from, this.until] = [0, this.spans.length];
    else {
      const length = Math.max(this.spans.lengthOf(row), 10);
      this.from = Math.max(this.spans.offset[row] - length * 0.05, 0);
      this.until = this.spans.offset[row] + length * 1.15;
    }
    this.redraw();
    this.dispatchEvent(new Event("change"));
  }
}
