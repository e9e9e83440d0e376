// How long the newest units took: a column each, from the unit's end up. Work of the nodes, waiting between them, and,
// above the line of the deadline at which the answer is played, the network to the visitor and back.

import { el, setText } from "./dom.js";

const COLUMN = 7; // pixels
const MOST = 240; // units kept
const UNITS_OF_FIGURES = 30;
const SHADES = 8; // as the style has them: --unit-0 and on
const LOST = new Set(["missed", "late", "concealed"]);

export class Latency {
  constructor({ section, canvas, now, parts }) {
    Object.assign(this, { section, canvas, now, parts });
    this.units = [];
    this.networkMs = 0;
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  begin({ nodes, latency_ms: deadlineMs }) {
    Object.assign(this, { nodes, deadlineMs, units: [] });
    this.section.hidden = false;
    this.parts.replaceChildren(...[...nodes, "waiting", "network"].map((name, i) => el("li", { "data-shade": this.shadeOf(i) }, el("i"), el("span", {}, name.split("/").at(-1)), el("b"))));
    this.draw();
  }

  shadeOf(i) {
    if (i < this.nodes.length) return i % SHADES;
    return i === this.nodes.length ? "wait" : "network";
  }

  add(times) {
    this.units.push({ ...times, network: this.networkMs });
    if (this.units.length > MOST) this.units.shift();
    this.draw();
    this.write();
  }

  // Of the newest units, how many had no answer in time; 0 until there are enough of them.
  get missedShare() {
    const recent = this.units.slice(-UNITS_OF_FIGURES);
    return recent.length < UNITS_OF_FIGURES ? 0 : recent.filter((unit) => unit.outcome === "missed").length / recent.length;
  }

  // Milliseconds of each part, bottom up. Nodes that work at the same time cannot stand on each other's shoulders:
  // their parts share what the answer took.
  stack({ node_ms: nodeMs, answered_ms: answeredMs }) {
    const worked = nodeMs.map((ms) => Math.max(0, ms));
    const sum = worked.reduce((a, b) => a + b, 0);
    const total = answeredMs < 0 ? Math.min(sum, this.deadlineMs) : answeredMs;
    const share = sum > total ? total / sum : 1;
    return [...worked.map((ms) => ms * share), Math.max(0, total - sum)];
  }

  draw() {
    const { canvas } = this;
    const [width, height, scale] = [canvas.clientWidth, canvas.clientHeight, devicePixelRatio];
    if (!width || !this.nodes) return;
    canvas.width = width * scale;
    canvas.height = height * scale;
    const c = canvas.getContext("2d");
    c.scale(scale, scale);
    const style = getComputedStyle(document.documentElement);
    const known = new Map(); // colours: asking the style for each bar would take longer than drawing it
    const colour = (name) => known.get(name) ?? known.set(name, style.getPropertyValue(`--${name}`)).get(name);
    const top = 1.35 * Math.max(this.deadlineMs, 1);
    const y = (ms) => height - (Math.min(ms, top) / top) * height;
    const shown = this.units.slice(-Math.floor(width / COLUMN));
    shown.forEach((unit, i) => this.column(c, unit, width - (shown.length - i) * COLUMN, y, colour));
    this.line(c, y(this.deadlineMs), width, colour("ink"));
  }

  column(c, unit, x, y, colour) {
    const wide = COLUMN - 2;
    let from = 0;
    this.stack(unit).forEach((ms, i) => {
      c.fillStyle = colour(i < this.nodes.length ? `unit-${i % SHADES}` : "wait");
      c.fillRect(x, y(from + ms), wide, y(from) - y(from + ms));
      from += ms;
    });
    if (LOST.has(unit.outcome)) return this.mark(c, unit.outcome, x, wide, y(this.deadlineMs), colour);
    c.fillStyle = colour("faint");
    const network = Math.max(1, y(this.deadlineMs) - y(this.deadlineMs + unit.network));
    c.fillRect(x, y(this.deadlineMs) - network, wide, network);
  }

  // A cross for a miss, a bar for what came late, a ring for what was replaced by a guess.
  mark(c, outcome, x, wide, line, colour) {
    c.strokeStyle = colour("warn");
    c.lineWidth = 1.5;
    c.beginPath();
    const [left, right, top] = [x, x + wide, line - 9];
    if (outcome === "missed") {
      c.moveTo(left, top);
      c.lineTo(right, top + wide);
      c.moveTo(right, top);
      c.lineTo(left, top + wide);
    } else if (outcome === "late") {
      c.moveTo(left, top + 2);
      c.lineTo(right, top + 2);
    } else {
      c.arc((left + right) / 2, top + 2, wide / 2, 0, 2 * Math.PI);
    }
    c.stroke();
  }

  line(c, y, width, ink) {
    c.strokeStyle = ink;
    c.lineWidth = 1;
    c.setLineDash([4, 3]);
    c.beginPath();
    c.moveTo(0, Math.round(y) + 0.5);
    c.lineTo(width, Math.round(y) + 0.5);
    c.stroke();
    c.setLineDash([]);
    if (this.units.length * COLUMN > width - 110) return; // columns stand where the words would
    c.fillStyle = ink;
    c.font = "12px sans-serif";
    c.fillText(`played at ${Math.round(this.deadlineMs)} ms`, 0, y + 15);
  }

  write() {
    const recent = this.units.slice(-UNITS_OF_FIGURES);
    const answered = recent.filter((unit) => unit.answered_ms >= 0).map((unit) => unit.answered_ms);
    const lost = this.units.filter((unit) => unit.outcome === "missed").length;
    const took = answered.length ? `${Math.round(median(answered))} ms` : "–";
    setText(this.now, `answer ready after ${took} of ${Math.round(this.deadlineMs)} · ${lost} of ${this.units.length} missed`);
    const waits = recent.map((unit) => this.stack(unit).at(-1));
    const byNode = this.nodes.map((_, i) => recent.map((unit) => unit.node_ms[i]).filter((ms) => ms >= 0));
    [...byNode, waits, [this.networkMs]].forEach((values, i) => setText(this.parts.children[i].lastChild, values.length ? rounded(median(values)) : "–"));
  }
}

const rounded = (ms) => (ms < 9.95 ? ms.toFixed(1) : ms.toFixed(0));

function median(values) {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}
