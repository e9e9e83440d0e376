// What the marks mean, and what the keys do.

const MARKS = [
  ["waiting", (c) => { c.globalAlpha = 0.6; c.fillStyle = hatchOf(0); c.fillRect(1, 4, 24, 8); }],
  ["computing", (c) => { c.fillStyle = colourOf(0); roundBox(c, 1, 2, 24, 12); c.fill(); }],
  ["sending", (c) => { c.fillStyle = colourOf(0); c.fillRect(1, 7, 24, 2.5); }],
  ["due", (c) => { c.strokeStyle = colourOf(0); c.lineWidth = 1.25; c.beginPath(); c.moveTo(9, 1.5); c.lineTo(13, 1.5); c.lineTo(13, 14.5); c.lineTo(9, 14.5); c.stroke(); }],
  ["deadline", (c) => { triangle(c, 13, 7, ink.soft); upright(c, 13, 7, 16, ink.soft, 1, [2, 2]); }],
  ["late", (c) => { c.fillStyle = ink.lateHatch; c.fillRect(2, 3, 22, 10); outline(c, 3, 23, 4, 8, ink.warn, 1.6); }],
  ["miss", (c) => cross(c, 13, 8, 4.5, ink.warn)],
  ["absorb", (c) => { c.fillStyle = colourOf(2); roundBox(c, 1, 2, 24, 12); c.fill(); c.fillStyle = ink.absorbHatch; c.fill(); }],
  ["gap", (c) => drawLost(c, "gap", 1, 2, 24, 2, 12)],
  ["skip", (c) => drawLost(c, "skip", 1, 2, 24, 1, 14)],
  ["lower level", (c) => { c.fillStyle = colourOf(3); roundBox(c, 1, 8, 24, 6); c.fill(); line(c, 1, 2, 25, 2, ink.line); }],
  ["critical path", (c) => { line(c, 1, 4, 13, 4, ink.select, 4); line(c, 13, 4, 13, 12, ink.select, 2); line(c, 13, 12, 25, 12, ink.select, 3, [2, 2.5]); }],
  ["to blame for a miss", (c) => { c.fillStyle = colourOf(0); roundBox(c, 4, 4, 18, 8); c.fill(); outline(c, 2.5, 23.5, 2.5, 11, ink.warn, 2); }],
  ["mean and longest, from afar", (c) => { c.fillStyle = colourOf(0); c.globalAlpha = 0.3; c.fillRect(1, 2, 24, 12); c.globalAlpha = 0.85; c.fillRect(1, 9, 24, 5); }],
  ["note", (c) => diamond(c, 13, 8, 4.5)],
];

function mark([name, paint]) {
  const ratio = Math.max(2, Math.ceil(devicePixelRatio));
  const canvas = el("canvas", { style: "width:26px;height:16px", width: 26 * ratio, height: 16 * ratio });
  const c = canvas.getContext("2d");
  c.scale(ratio, ratio);
  paint(c);
  return el("span", {}, canvas, name);
}

const HELP = [["← →", "pan"], ["+ −, ↑ ↓", "zoom"], ["Home", "whole run"], ["End", "newest units; follow a live run"],
  ["/ or g", "search, or go to a unit"], ["n p", "next, previous miss (or thing found)"], ["[ ]", "previous, next unit"],
  ["Esc", "let go of the unit, the search"], ["?", "this help"]];

const SEARCHES = [["120", "unit 120"], ["miss", "units missed, and who made them"], ["late think", "late calls of a node"],
  ["perform", "a node's longest calls"], ["absorb, gap, skip, level", "calls that were not ordinary"], ["stall, inject, fence", "notes of the run"],
  ["worst", "units with the largest latency"]];

function fillLegend() {
  byId("legend").replaceChildren(...MARKS.slice(0, 7).map(mark));
  const list = (pairs) => el("div", { class: "columns" }, ...pairs.map(([key, what]) => el("span", {}, el("kbd", {}, key), what)));
  byId("help").replaceChildren(
    el("h2", {}, "Keyboard"), list(HELP),
    el("p", { class: "soft" }, "Wheel or pinch zooms, dragging pans. A click on a bar follows its unit: thick, the critical path from release to presentation (solid computing, dashed on the way, dotted waiting); thin arrows are all packets, dashed ones go to a later unit, dotted ones came too late. The address keeps the unit: it can be sent as a link."),
    el("h2", {}, "Search"), list(SEARCHES),
    el("h2", {}, "Marks"),
    el("div", { class: "columns" }, ...MARKS.map(mark)),
    el("p", {}, el("button", { onclick: () => byId("help").close() }, "Close")),
  );
}
