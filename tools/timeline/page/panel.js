// Words and numbers: the header, the tooltip, the panel of the selected unit.

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
  byId("graph").textContent = run.graph;
  const lines = run.sides.map((side) => {
    const line = aboutOf(side).join("  ·  ");
    const all = Object.entries(side.facts.machine).map(([key, value]) => `${key}: ${value}`).join("\n");
    return el("span", { title: all }, run.isPair ? `${side.letter}  ${side.name}  ·  ${line}` : line);
  });
  byId("about").replaceChildren(...lines);
  byId("numbers").replaceChildren(...numbersOf().map(([name, value, note, kind]) =>
    el("div", { class: kind }, el("dt", {}, name), el("dd", {}, value, el("small", {}, note)))));
}

function aboutOf({ facts }) {
  const { cpu, cores } = facts.machine;
  return [
    `${facts.clock} clock`, facts.engine, cpu, cores ? `${cores} cores` : null, facts.weights ? `weights: ${facts.weights}` : null,
    facts.is_whole || run.live !== null ? null : "the trace ends early: the run was cut",
  ].filter(Boolean);
}

// Of two runs: both values, the first run's first.
function numbersOf() {
  const short = (value) => (isNumber(value) ? value.toFixed(0) : "–");
  const each = (what) => run.sides.map((side) => what(side.facts)).join(" | ");
  const seconds = ((run.units - run.first) * run.period) / 1e6;
  return [
    ["units", `${run.units - run.first}`, `${seconds.toFixed(seconds < 100 ? 1 : 0)} s`, "minor"],
    ["fps", `${+run.sides[0].facts.fps.toFixed(2)}`, `unit ${+(run.period / 1000).toFixed(2)} ms`, "minor"],
    ["misses", each((facts) => facts.misses), "", run.misses.length ? "bad" : ""],
    ...(run.sides.some((side) => side.facts.concealed) ? [["concealed", each((facts) => facts.concealed), "", ""]] : []),
    ["late", each((facts) => facts.late), "", ""],
    ["model latency p50", each((facts) => short(facts.p50_ms)), `ms of ${each((facts) => facts.real)} real`, ""],
    ["p95", each((facts) => short(facts.p95_ms)), "ms", ""],
    ["max", each((facts) => short(facts.max_ms)), "ms", ""],
    ["presented after", run.sides.map((side) => short(side.latency / 1000)).join(" | "), "ms", "minor"],
  ];
}

const said = (row, i) => {
  const { bars } = row;
  const units = bars.first[i] === bars.last[i] ? `unit ${bars.last[i]}` : `units ${bars.first[i]}–${bars.last[i]}`;
  const mode = MODES[bars.mode[i]];
  const level = row.levels[bars.level[i]];
  return [units, mode === "step" ? null : mode, level ? `level ${bars.level[i]}: ${level}` : null,
    isLate(row, i) ? "late" : null].filter(Boolean);
};

function loadLines(row, { first, last, share, worst, unit, late, lost, missed }) {
  return [
    el("div", {}, el("b", {}, `${titleOf(row)} · units ${first}–${last}`)),
    el("div", {}, `busy ${(share * 100).toFixed(1)} % of the time, longest ${ms(worst)} ms, on unit ${unit}`),
    late ? el("div", { class: "warn" }, `${late} late`) : null,
    lost ? el("div", { class: "warn" }, `${lost} absorbed or lost`) : null,
    missed.length ? el("div", { class: "warn" }, `✕ missed: ${missed.slice(0, 4).join(", ")}${missed.length > 4 ? ` and ${missed.length - 4} more` : ""}`) : null,
    el("div", { class: "soft" }, "a click shows these units"),
  ].filter(Boolean);
}

function tipLines({ row, i }) {
  const { bars } = row;
  const base = release(bars.last[i]);
  const [words, ...more] = said(row, i);
  const slack = slackOf(row, i);
  const held = bars.ready[i] > bars.end[i];
  return [
    el("div", {}, el("b", {}, `${titleOf(row)} · ${words}`)),
    more.length ? el("div", { class: isLate(row, i) ? "warn" : "soft" }, more.join(" · ")) : null,
    el("div", {}, `${held ? `called ahead, held ${ms(bars.out[i] - bars.end[i])} ms` : `waited ${ms(bars.start[i] - bars.ready[i])} ms`}, computed ${ms(bars.end[i] - bars.start[i], 2)} ms`),
    el("div", {}, `finished ${plusMs(bars.end[i] - base)} ms after release`),
    Number.isNaN(slack) ? null
      : el("div", { class: row.paced ? (isLate(row, i) ? "warn" : "") : slack < 0 ? "warn" : "" }, `due ${plusMs(bars.due[i] - base)} ms, slack ${ms(slack)} ms`),
    row.side.lost.has(bars.last[i]) ? el("div", { class: "warn" }, `✕ missed: ${row.side.lost.get(bars.last[i])}`) : null,
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
  panel.replaceChildren(
    el("header", {}, el("h2", {}, el("i", { style: `background:${colourOf(unit)}` }), `Unit ${unit}`), unitButtons(unit)),
    ...(run.isPair ? [comparison(unit)] : []),
    ...run.sides.flatMap((side) => ofSide(side, unit)),
  );
}

function comparison(unit) {
  const [a, b] = run.sides.map((side) => side.curves[0].values[unit]);
  if (!isNumber(a) || !isNumber(b)) return el("p", { class: "why" }, "the answer was not there in both runs");
  return el("p", { class: "why" }, "the answer was there ", el("b", {}, `${ms(Math.abs(b - a))} ms ${b < a ? "earlier" : "later"}`), " in B");
}

function ofSide(side, unit) {
  const latency = side.curves[0].values[unit] ?? null;
  const times = [
    ["release", `${(release(unit) / 1e6).toFixed(3)} s`],
    ["model latency", latency === null ? "–" : `${ms(latency)} ms`],
    ["margin", latency === null ? "–" : `${ms(side.latency - latency)} ms`],
  ];
  return [
    ...(run.isPair ? [el("h3", { class: "side" }, `${side.letter}  ${side.name}`)] : []),
    el("div", { class: "times" }, ...times.map(([name, value]) => el("div", {}, name, el("b", {}, value)))),
    ...whyMissed(side, unit),
    ...pathTable(pathOf(side, unit), unit),
    el("h3", {}, "nodes"),
    nodeTable(side, unit),
    el("p", { class: "note" }, "ms after release; slack = due − finish (a late playout: start)"),
    ...sendTable(side, unit),
  ];
}

// When the unit was presented; of one that is not yet, when it is due.
function presentedLine(side, unit) {
  const [row, i] = lastPresented(side, unit);
  const due = deadline(unit, side);
  const late = row !== null && isLate(row, i);
  const at = row && !row.paced ? row.bars.end[i] : late ? row.bars.start[i] : due;
  const after = late ? `, ${ms(at - due)} ms after its due` : "";
  return el("p", { class: `why ${late ? "warn" : "soft"}` }, `presented ${ms(at - release(unit), 0)} ms after release${after}, at ${(at / 1e6).toFixed(3)} s`);
}

// Who made the unit miss, by name, and the way from what was missing to there.
function whyMissed(side, unit) {
  const lost = side.lost.get(unit);
  if (!lost) return [presentedLine(side, unit)];
  const culprits = side.blamed.get(unit) ?? [];
  const lines = culprits.map((culprit) => el("div", { class: "culprit" }, el("b", { class: "warn" }, culprit.text),
    el("ol", {}, ...culprit.because.map((sentence) => el("li", {}, sentence)))));
  const rest = lines.length ? null : el("p", { class: "note" }, `wangraph explain ${side.name} --unit ${unit} says why`);
  return [el("p", { class: "why warn" }, `✕ missed: ${lost}`), ...lines, rest].filter(Boolean);
}

function pathTable(steps, unit) {
  if (!steps.length) return [];
  const longest = Math.max(...steps.map((part) => part.to - part.from), 1);
  const worst = steps.filter((part) => part.part !== "due").sort((a, b) => excess(b) - excess(a))[0];
  const lines = steps.filter((part) => part.to - part.from >= 50 || part.text.endsWith("given up")).map((part) => {
    const much = part === worst && excess(part) > 1000;
    const bar = el("i", { class: `part ${part.part}`, style: `width:${Math.max(1, ((part.to - part.from) / longest) * 100)}%` });
    const text = part.unit === unit ? part.text : `${part.text} (unit ${part.unit})`;
    return el("tr", { class: much ? "much" : "" }, el("td", { class: "told" }, text, bar), el("td", {}, ms(part.to - part.from)), el("td", { class: "soft" }, ms(part.usual)));
  });
  const head = ["critical path", "took", "usually"].map((name) => el("th", {}, name));
  const most = worst && excess(worst) > 1000
    ? [el("p", { class: "note" }, `most of what is unusual: ${worst.text}, ${ms(excess(worst))} ms longer than usual`)] : [];
  return [el("table", { class: "path" }, el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...lines)), ...most];
}

function unitButtons(unit) {
  const go = (to) => () => { select(to); lookAtUnit(to); };
  const previous = el("button", { "aria-label": "Previous unit", title: "Previous unit ([)", onclick: go(unit - 1) }, "‹");
  const next = el("button", { "aria-label": "Next unit", title: "Next unit (])", onclick: go(unit + 1) }, "›");
  previous.disabled = unit <= run.first;
  next.disabled = unit >= run.units - 1;
  const close = el("button", { "aria-label": "Close", title: "Close (Esc)", onclick: () => select(null) }, "✕");
  return el("div", { class: "group" }, previous, next, close);
}

function nodeTable(side, unit) {
  const head = ["node", "ready", "start", "finish", "due", "slack"].map((name) => el("th", {}, name));
  return el("table", { class: "nodes" }, el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...side.rows.map((row) => nodeLine(row, unit))));
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
    el("td", { class: late ? "warn" : "" }, row.paced ? (late ? ms(bars.due[i] - bars.start[i]) : "paced") : ms(slack)));
}

function sendTable(side, unit) {
  const lines = [...side.sends.values()].flatMap((send) => {
    const i = send.byUnit.get(unit);
    if (i === undefined) return [];
    const size = send.bytes[i] >= 1024 ? `${(send.bytes[i] / 1024).toFixed(1)} KiB` : `${send.bytes[i]} B`;
    const cells = [size, send.carrier, `${ms(send.took[i], 2)} ms`].map((text) => el("td", {}, text));
    return [el("tr", {}, el("td", {}, `${send.stream} → ${send.reader}`), ...cells)];
  });
  return lines.length ? [el("h3", {}, "sent"), el("table", {}, el("tbody", {}, ...lines))] : [];
}
