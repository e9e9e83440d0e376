// Wiring: pointer, wheel, touch and keys change the view; every change redraws what shows it.

const canvases = { overview: byId("overview"), ruler: byId("ruler"), lanes: byId("lanes"), curves: byId("curves") };
const stage = byId("stage");

function draw(reselected) {
  if (reselected) fillPanel();
  drawAll(byId("scroll").clientHeight);
}

// `space`: how tall the lanes may be.
function drawAll(space) {
  [view.width, view.height] = [stage.clientWidth, stage.clientHeight];
  view.gutter = view.width < 600 ? 78 : 168;
  drawOverview(canvases.overview);
  drawRuler(canvases.ruler);
  drawCurves(canvases.curves);
  drawLanes(canvases.lanes, space);
}

const middleUnit = () => Math.round(((view.from + view.to) / 2 - run.latency / 2) / run.period) - 1;

// To the next or previous thing found, or miss when nothing was searched for.
function walk(direction) {
  if (found.query) return choose(found.at < 0 && direction < 0 ? -1 : found.at + direction);
  const here = view.unit ?? middleUnit();
  const units = run.misses;
  const next = direction > 0 ? units.find((u) => u > here) ?? units[0] : units.findLast((u) => u < here) ?? units.at(-1);
  if (next !== undefined) toUnit(next);
}

function toUnit(unit) {
  if (!Number.isInteger(unit) || unit < run.first || unit >= run.units) return;
  select(unit);
  lookAtUnit(unit);
}

function bindLanes(element, canSelect) {
  const pointers = new Map();
  let moved = 0;
  const spread = () => {
    const [a, b] = [...pointers.values()];
    return { middle: (a.x + b.x) / 2, length: Math.max(8, Math.hypot(a.x - b.x, a.y - b.y)) };
  };
  element.addEventListener("pointerdown", (event) => {
    element.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, { x: event.offsetX, y: event.clientY });
    moved = pointers.size > 1 ? 99 : 0;
    showTip(null);
  });
  element.addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId);
    if (!before) return hover(event, canSelect);
    const now = { x: event.offsetX, y: event.clientY };
    const old = pointers.size === 2 ? spread() : null;
    pointers.set(event.pointerId, now);
    moved += Math.abs(now.x - before.x) + Math.abs(now.y - before.y);
    if (moved < 5) return;
    element.classList.add("panning");
    if (old) {
      const { middle, length } = spread();
      zoom(length / old.length, timeAt(old.middle));
      pan((old.middle - middle) / scale());
    } else {
      pan((before.x - now.x) / scale());
      if (canSelect) byId("scroll").scrollTop += before.y - now.y;
    }
  });
  const release = (event) => {
    if (pointers.delete(event.pointerId) && canSelect && moved < 5 && event.type === "pointerup") click(event);
    if (!pointers.size) element.classList.remove("panning");
  };
  element.addEventListener("pointerup", release);
  element.addEventListener("pointercancel", release);
  element.addEventListener("pointerleave", () => {
    view.hover = null;
    showTip(null);
    changed();
  });
  element.addEventListener("wheel", (event) => wheel(event), { passive: false });
}

function click(event) {
  const under = hit(event.offsetX, event.offsetY);
  if (under?.load) return toUnit(under.load.missed[0] ?? under.load.unit);
  select(under && under.i !== undefined ? under.row.bars.last[under.i] : null);
}

function hover(event, canSelect) {
  if (event.pointerType === "touch") return;
  const under = canSelect ? hit(event.offsetX, event.offsetY) : null;
  view.hover = event.offsetX > view.gutter ? timeAt(event.offsetX) : null;
  const box = stage.getBoundingClientRect();
  const on = under && under.i !== undefined;
  canvases.lanes.classList.toggle("over", Boolean(on || under?.load));
  const note = canSelect ? null : noteAt(event);
  const lines = on ? tipLines(under) : under?.load ? loadLines(under.row, under.load) : note;
  showTip(lines, event.clientX - box.left, event.clientY - box.top);
  changed();
}

function noteAt(event) {
  if (event.target !== canvases.ruler) return null;
  const near = (at) => Math.abs(xOf(at) - event.offsetX) < 7;
  const notes = run.sides.flatMap((side) => side.notes).filter(([at]) => near(at)).map(([, process, kind, text]) => `${kind} in ${process}: ${text}`);
  const fences = run.sides.flatMap((side) => side.fences).filter(([at]) => near(at))
    .map(([, unit, generation, streams]) => `fence from unit ${unit}, generation ${generation}: ${streams.join(", ")}`);
  const lines = [...notes, ...fences].map((text) => el("div", {}, text));
  return lines.length ? lines : null;
}

// Up and down zoom around the pointer; sideways, or with Shift, pans. Over the names the page scrolls as usual.
function wheel(event) {
  if (event.offsetX < view.gutter && !event.ctrlKey) return;
  event.preventDefault();
  const pixels = event.deltaMode === 1 ? 18 : 1;
  if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY))
    pan(((event.deltaX || event.deltaY) * pixels) / scale());
  else zoom(Math.exp(-event.deltaY * pixels * (event.ctrlKey ? 0.01 : 0.0022)), timeAt(event.offsetX));
}

const KEYS = {
  "+": () => zoom(1.6), "=": () => zoom(1.6), "-": () => zoom(1 / 1.6), _: () => zoom(1 / 1.6),
  ArrowLeft: () => pan((view.from - view.to) * 0.2), ArrowRight: () => pan((view.to - view.from) * 0.2),
  ArrowUp: () => zoom(1.6), ArrowDown: () => zoom(1 / 1.6), Home: lookAtWhole, End: lookAtEnd,
  n: () => walk(1), p: () => walk(-1),
  "]": () => toUnit(view.unit === null ? middleUnit() : view.unit + 1),
  "[": () => toUnit(view.unit === null ? middleUnit() : view.unit - 1),
  g: () => byId("search").select(), "/": () => byId("search").select(), "?": () => byId("help").showModal(),
  Escape: () => (found.query ? forget() : select(null)),
};

document.addEventListener("keydown", (event) => {
  if (!run || event.target instanceof HTMLInputElement || byId("help").open || event.ctrlKey || event.metaKey || event.altKey) return;
  const act = KEYS[event.key];
  if (!act) return;
  event.preventDefault();
  act();
});

function bindButtons() {
  const acts = { "previous-miss": KEYS.p, "next-miss": KEYS.n, in: KEYS["+"], out: KEYS["-"], whole: lookAtWhole, "help-button": KEYS["?"] };
  for (const [id, act] of Object.entries(acts)) byId(id).onclick = act;
  byId("help").addEventListener("click", (event) => event.target === byId("help") && byId("help").close());
}

const linkedUnit = () => Number.parseInt(/unit=(\d+)/.exec(location.hash)?.[1] ?? "", 10);

// Begin where the story is: around the first miss, else at the start; a link's unit comes first.
function begin() {
  const wide = Math.max(4, Math.round(stage.clientWidth / 165)) * run.period;
  const centre = run.misses.length ? deadline(run.misses[0]) : release(run.first) + wide * 0.4;
  view.wide = wide;
  look(centre - wide / 2, centre + wide / 2);
  toUnit(linkedUnit());
}

function followLink() {
  if (Number.isNaN(linkedUnit())) select(null);
  else toUnit(linkedUnit());
}

function repaint() {
  readTheme();
  fillLegend();
  changed(true);
}

const SHEET = 430; // what header and ruler leave of a sheet

// On paper: the window that is being looked at, all rows on one sheet, in the light colours; then curves and the panel.
function bindPrinting() {
  const turn = (onPaper) => {
    view.onPaper = onPaper;
    document.documentElement.classList.toggle("printing", onPaper);
    readTheme();
    fillLegend();
  };
  addEventListener("beforeprint", () => {
    turn(true);
    drawAll(SHEET);
  });
  addEventListener("afterprint", () => {
    turn(false);
    changed(true);
  });
}

async function open() {
  try {
    decode(await unpack(byId("trace").textContent));
  } catch (error) {
    byId("about").textContent = `this page cannot be shown: ${error.message}; it needs a browser of 2023 or later, or was cut: make it again with wangraph timeline`;
    return;
  }
  byId("trace").remove();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
  new ResizeObserver(() => changed()).observe(stage);
  addEventListener("hashchange", followLink);
  view.listeners.push(draw);
  readTheme();
  fillHeader();
  fillLegend();
  fillCount();
  bindOverview(canvases.overview);
  bindLanes(canvases.lanes, true);
  bindLanes(canvases.ruler, false);
  bindLanes(canvases.curves, false);
  bindButtons();
  bindSearch();
  bindPrinting();
  begin();
  if (run.live !== null) follow();
  globalThis.timeline = { run, view, look, select, toUnit, draw, pathOf, search, loadsOf, groupsOf };
}

open();
