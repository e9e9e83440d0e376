// Words and numbers: the header, the tooltip, the panel of the selected unit, the help.

const byId = (id) => document.getElementById(id);

// An element; children are elements or text, so that nothing in a trace can become markup.
function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "style") element.style.cssText = value;
    else if (name.startsWith("on")) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

function fillHeader() {
  const { facts } = run;
  byId("graph").textContent = run.graph;
  const { cpu, cores } = facts.machine;
  const about = [
    `${facts.clock} clock`, facts.engine, cpu, cores ? `${cores} cores` : null, facts.weights ? `weights: ${facts.weights}` : null,
    facts.is_whole ? null : "the trace ends early: the run was cut",
  ];
  byId("about").textContent = about.filter(Boolean).join("  ·  ");
  byId("about").title = Object.entries(facts.machine).map(([key, value]) => `${key}: ${value}`).join("\n");
  const short = (value) => (value === null ? "–" : value.toFixed(0));
  const seconds = (run.units * run.period) / 1e6;
  const numbers = [
    ["units", `${run.units}`, `${seconds.toFixed(seconds < 100 ? 1 : 0)} s`, "minor"],
    ["fps", `${+facts.fps.toFixed(2)}`, `unit ${+(run.period / 1000).toFixed(2)} ms`, "minor"],
    ["misses", `${facts.misses}`, "", facts.misses ? "bad" : ""],
    ["late", `${facts.late}`, "", ""],
    ["model latency p50", short(facts.p50_ms), "ms", ""],
    ["p95", short(facts.p95_ms), "ms", ""],
    ["max", short(facts.max_ms), "ms", ""],
    ["presented after", short(run.latency / 1000), "ms", "minor"],
  ];
  byId("numbers").append(...numbers.map(([name, value, note, kind]) =>
    el("div", { class: kind }, el("dt", {}, name), el("dd", {}, value, el("small", {}, note)))));
  byId("miss-count").textContent = run.misses.length === 1 ? "1 miss" : `${run.misses.length || "no"} misses`;
  for (const id of ["previous-miss", "next-miss"]) byId(id).disabled = !run.misses.length;
}

const said = (row, i) => {
  const { bars } = row;
  const units = bars.first[i] === bars.last[i] ? `unit ${bars.last[i]}` : `units ${bars.first[i]}–${bars.last[i]}`;
  const mode = MODES[bars.mode[i]];
  const level = row.levels[bars.level[i]];
  return [units, mode === "step" ? null : mode, level ? `level ${bars.level[i]}: ${level}` : null,
    isLate(row, i) ? "late" : VERDICTS[bars.verdict[i]] === "discarded" ? "discarded" : null].filter(Boolean);
};

function loadLines(row, [first, last, share, lost]) {
  return [
    el("div", {}, el("b", {}, `${row.name} · units ${first}–${last}`)),
    el("div", {}, `busy ${(share * 100).toFixed(1)} % of the time`),
    lost ? el("div", { class: "warn" }, `${lost} late, absorbed or lost`) : null,
    el("div", { class: "soft" }, "zoom in for single units"),
  ].filter(Boolean);
}

function tipLines({ row, i }) {
  const { bars } = row;
  const base = release(bars.last[i]);
  const [words, ...more] = said(row, i);
  const slack = slackOf(row, i);
  const held = bars.ready[i] > bars.end[i];
  return [
    el("div", {}, el("b", {}, `${row.name} · ${words}`)),
    more.length ? el("div", { class: isLate(row, i) ? "warn" : "soft" }, more.join(" · ")) : null,
    el("div", {}, `${held ? `called ahead, held ${ms(bars.out[i] - bars.end[i])} ms` : `waited ${ms(bars.start[i] - bars.ready[i])} ms`}, computed ${ms(bars.end[i] - bars.start[i], 2)} ms`),
    el("div", {}, `finished ${plusMs(bars.end[i] - base)} ms after release`),
    Number.isNaN(slack) ? null
      : el("div", { class: slack < 0 && !row.paced ? "warn" : "" }, `due ${plusMs(bars.due[i] - base)} ms, slack ${ms(slack)} ms`),
    run.lost.has(bars.last[i]) ? el("div", { class: "warn" }, `✕ missed: ${run.lost.get(bars.last[i])}`) : null,
    el("div", { class: "soft" }, `${row.type} in ${row.process} / ${row.lane}`),
  ].filter(Boolean);
}

function showTip(lines, x, y) {
  const tip = byId("tip");
  tip.hidden = !lines;
  if (!lines) return;
  tip.replaceChildren(...lines);
  const { clientWidth: w, clientHeight: h } = tip;
  const stage = byId("stage");
  tip.style.left = `${Math.max(4, x + 16 + w > stage.clientWidth ? x - w - 14 : x + 16)}px`;
  tip.style.top = `${Math.max(4, Math.min(y + 18, stage.clientHeight - h - 6))}px`;
}

function fillPanel() {
  const panel = byId("panel");
  panel.hidden = view.unit === null;
  if (panel.hidden) return;
  const unit = view.unit;
  const latency = run.curves[0].values[unit];
  const lost = run.lost.get(unit);
  const times = [
    ["release", `${(release(unit) / 1e6).toFixed(3)} s`],
    ["model latency", latency === null ? "–" : `${ms(latency)} ms`],
    ["margin", latency === null ? "–" : `${ms(run.latency - latency)} ms`],
  ];
  panel.replaceChildren(
    el("header", {}, el("h2", {}, el("i", { style: `background:${colourOf(unit)}` }), `Unit ${unit}`), unitButtons(unit)),
    el("div", { class: "times" }, ...times.map(([name, value]) => el("div", {}, name, el("b", {}, value)))),
    el("p", { class: `why ${lost ? "warn" : "soft"}` }, lost ? `✕ missed: ${lost}`
      : `presented ${ms(run.latency, 0)} ms after release, at ${(deadline(unit) / 1e6).toFixed(3)} s`),
    nodeTable(unit),
    el("p", { class: "note" }, "ms after release; slack = due − finish"),
    ...sendTable(unit),
  );
}

function unitButtons(unit) {
  const go = (to) => () => { select(to); lookAtUnit(to); };
  const previous = el("button", { "aria-label": "Previous unit", title: "Previous unit ([)", onclick: go(unit - 1) }, "‹");
  const next = el("button", { "aria-label": "Next unit", title: "Next unit (])", onclick: go(unit + 1) }, "›");
  previous.disabled = unit <= 0;
  next.disabled = unit >= run.units - 1;
  const close = el("button", { "aria-label": "Close", title: "Close (Esc)", onclick: () => select(null) }, "✕");
  return el("div", { class: "group" }, previous, next, close);
}

function nodeTable(unit) {
  const head = ["node", "ready", "start", "finish", "due", "slack"].map((name) => el("th", {}, name));
  return el("table", {}, el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...run.rows.map((row) => nodeLine(row, unit))));
}

function nodeLine(row, unit) {
  const i = firingOf(row, unit);
  if (i < 0) return el("tr", {}, el("td", {}, row.name), el("td", { colspan: 5, class: "soft" }, "did not fire"));
  const { bars } = row;
  const base = release(unit);
  const slack = slackOf(row, i);
  const tag = said(row, i).slice(1).map((word) => word.replace(/^level \d+: /, "")).join(", ");
  const cells = [bars.ready[i] - base, bars.start[i] - base, bars.end[i] - base, bars.due[i] - base].map((us) => el("td", {}, ms(us)));
  const late = isLate(row, i);
  return el("tr", {}, el("td", {}, row.name, tag ? el("span", { class: late ? "warn" : "soft" }, ` ${tag}`) : null), ...cells,
    el("td", { class: late ? "warn" : "" }, row.paced ? "paced" : ms(slack)));
}

function sendTable(unit) {
  const lines = run.sends.flatMap((send) => {
    const i = atLeast(send.unit, unit);
    if (send.unit[i] !== unit) return [];
    const size = send.bytes[i] >= 1024 ? `${(send.bytes[i] / 1024).toFixed(1)} KiB` : `${send.bytes[i]} B`;
    const cells = [size, send.carrier, `${ms(send.took[i], 2)} ms`].map((text) => el("td", {}, text));
    return [el("tr", {}, el("td", {}, `${send.stream} → ${send.reader}`), ...cells)];
  });
  return lines.length ? [el("h3", {}, "sent"), el("table", {}, el("tbody", {}, ...lines))] : [];
}

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

function fillLegend() {
  byId("legend").replaceChildren(...MARKS.slice(0, 7).map(mark));
  const keys = [["← →", "pan"], ["+ −", "zoom"], ["Home", "whole run"], ["n p", "next, previous miss"], ["[ ]", "previous, next unit"],
    ["g", "go to a unit"], ["Esc", "deselect"], ["?", "this help"]];
  byId("help").replaceChildren(
    el("h2", {}, "Keyboard"),
    el("div", { class: "columns" }, ...keys.map(([key, what]) => el("span", {}, el("kbd", {}, key), what))),
    el("p", { class: "soft" }, "Wheel or pinch zooms, dragging pans, a click on a bar follows its unit: thick arrows are the inputs that decided when a node was ready, dashed ones go to a later unit, dotted ones came too late."),
    el("h2", {}, "Marks"),
    el("div", { class: "columns" }, ...MARKS.map(mark)),
    el("p", {}, el("button", { onclick: () => byId("help").close() }, "Close")),
  );
}
