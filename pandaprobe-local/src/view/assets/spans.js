// The spans of a trace: columns of numbers, in the order of the tree.

export const FAILED = 2;

export class Spans {
  /** @param {object} columns what `spans.json` says */
  constructor(columns) {
    Object.assign(this, columns);
    this.count = columns.parent.length;
    this.astray = new Set(columns.astray);
    this.end = ends(columns.depth);
    [this.place, this.siblings] = families(columns.parent);
    this.errors = [];
    for (let row = 0; row < this.count; row++) if (this.outcome[row] === FAILED) this.errors.push(row);
    this.failedBelow = marked(this.errors, this.parent, this.count);
  }

  id(row) {
    const hex = this.ids.slice(row * 32, row * 32 + 32);
    return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
  }

  /** The row of an id, or -1. */
  find(id) {
    const hex = (id ?? "").replaceAll("-", "").toLowerCase();
    if (hex.length !== 32) return -1;
    let at = this.ids.indexOf(hex);
    while (at >= 0 && at % 32) at = this.ids.indexOf(hex, at + 1);
    return at < 0 ? -1 : at / 32;
  }

  nameOf(row) {
    return this.names[this.name[row]];
  }

  kindOf(row) {
    return this.kinds[this.kind[row]];
  }

  isOpen(row) {
    return this.took[row] < 0;
  }

  /** An open span lasts until the end of what is known. */
  lengthOf(row) {
    return this.isOpen(row) ? Math.max(this.length - this.offset[row], 0) : this.took[row];
  }

  hasBelow(row) {
    return this.end[row] > row + 1;
  }

  /** The next row for which `is` holds, going round; -1 if there is none. */
  next(from, by, is) {
    for (let step = 1; step <= this.count; step++) {
      const row = (from + by * step + 2 * this.count) % this.count;
      if (is(row)) return row;
    }
    return -1;
  }
}

/** For each row, the first row that is not below it. */
function ends(depth) {
  const end = new Int32Array(depth.length).fill(depth.length);
  const open = [];
  for (let row = 0; row < depth.length; row++) {
    while (open.length && depth[open.at(-1)] >= depth[row]) end[open.pop()] = row;
    open.push(row);
  }
  return end;
}

/** For each row its place among its siblings, from 1; and for each parent, whose number is one more, how many it has. */
function families(parent) {
  const place = new Int32Array(parent.length);
  const siblings = new Int32Array(parent.length + 1);
  for (let row = 0; row < parent.length; row++) place[row] = ++siblings[parent[row] + 1];
  return [place, siblings];
}

/** Which rows have one of `errors` below them. */
function marked(errors, parent, count) {
  const marks = new Uint8Array(count);
  for (const error of errors) {
    for (let row = parent[error]; row >= 0 && !marks[row]; row = parent[row]) marks[row] = 1;
  }
  return marks;
}

/** A length of time in microseconds, in words. */
export function duration(micros) {
  if (micros < 1e3) return `${Math.round(micros)} µs`;
  if (micros < 1e4) return `${(micros / 1e3).toFixed(1)} ms`;
  if (micros < 1e6) return `${(micros / 1e3).toFixed(0)} ms`;
  if (micros < 6e7) return `${(micros / 1e6).toFixed(2)} s`;
  const two = (number) => String(Math.floor(number)).padStart(2, "0");
  if (micros < 3.6e9) return `${Math.floor(micros / 6e7)} m ${two((micros % 6e7) / 1e6)} s`;
  if (micros < 1.728e11) return `${Math.floor(micros / 3.6e9)} h ${two((micros % 3.6e9) / 6e7)} m`;
  return `${Math.round(micros / 8.64e10).toLocaleString("en")} days`;
}

const [SECOND, MINUTE, HOUR, DAY] = [1e6, 6e7, 3.6e9, 8.64e10];
const CLOCK = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400].map((seconds) => seconds * SECOND);

/** A round length of time, not under `rough`. */
function round(rough) {
  const clock = rough > SECOND / 2 && rough <= DAY ? CLOCK.find((step) => step >= rough) : undefined;
  if (clock) return clock;
  const unit = rough > DAY ? DAY : 1;
  const power = 10 ** Math.floor(Math.log10(rough / unit));
  return [1, 2, 5, 10].map((times) => times * power * unit).find((step) => step >= rough) ?? rough;
}

/** Round times between two, about `most` of them. */
export function ticks(from, until, most) {
  const step = round(Math.max((until - from) / most, 1));
  const all = [];
  for (let at = Math.ceil(from / step) * step; at <= until && all.length < 50; at += step) all.push(at);
  return { step, all };
}

/** A time on the axis, as exact as its step. */
export function tickLabel(at, step) {
  if (at === 0) return "0";
  const units = [[DAY, DAY, "d"], [HOUR, HOUR, "h"], [MINUTE, MINUTE, "min"], [1e5, SECOND, "s"], [100, 1e3, "ms"], [0, 1, "µs"]];
  const [, unit, name] = units.find(([least]) => step >= least);
  return `${(+(at / unit).toFixed(2)).toLocaleString("en")} ${name}`;
}
