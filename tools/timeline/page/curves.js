// Curves under the lanes, one value per unit, drawn at the unit's deadline: what was presented then. Two runs: the first
// is a line with dots, the second a dotted line with squares.

const CURVE = 84;
const RULER = 62;

// Curves take what the lanes leave, within limits.
function curvesHeight() {
  const heads = new Set(run.rows.map(headOf)).size;
  const left = view.height - RULER - heads * headTall() - run.rows.length * (run.isPair ? shortest() : TALLEST) - 12;
  const [least, most] = view.width < 600 || run.isPair ? [48, 72] : [CURVE, 150];
  return run.curves.length * Math.round(Math.min(most, Math.max(least, left / run.curves.length)));
}

function drawCurves(canvas) {
  const { c, width, height } = contextOf(canvas, curvesHeight());
  const each = height / run.curves.length;
  for (const [n, curve] of run.curves.entries()) drawCurve(c, curve, n * each, each, width);
  upright(c, view.gutter - 1, 0, height, ink.line);
}

function rangeOf(curve) {
  const limit = curve.limit ?? 0;
  const low = Math.min(limit, curve.extremes[0]);
  const high = Math.max(limit, curve.extremes[1]);
  const air = (high - low || 1000) * 0.14;
  return [low - (low < 0 ? air : air / 3), high + air];
}

// The extremes, and zero; spreading a long column into Math.min would overflow the stack.
function extremesOf(...columns) {
  let [low, high] = [0, 0];
  for (const values of columns)
    for (const value of values) if (isNumber(value)) [low, high] = [Math.min(low, value), Math.max(high, value)];
  return [low, high];
}

function drawCurve(c, curve, top, tall, width) {
  if (!curve.range) {
    curve.extremes = extremesOf(curve.values, curve.other ?? []);
    curve.range = rangeOf(curve);
  }
  const [low, high] = curve.range;
  const yOf = (v) => top + tall - 5 - ((v - low) / (high - low)) * (tall - 12);
  if (top) line(c, 0, top + 0.5, width, top + 0.5, ink.hair);
  c.save();
  c.beginPath();
  c.rect(view.gutter, top, width - view.gutter, tall);
  c.clip();
  line(c, view.gutter, yOf(0), width, yOf(0), ink.line);
  if (curve.limit) line(c, view.gutter, yOf(curve.limit), width, yOf(curve.limit), ink.soft, 1, [4, 3]);
  if (view.unit !== null) upright(c, xOf(deadline(view.unit)), top, top + tall, ink.select, 1.4, [5, 3]);
  if (run.period * scale() < DENSE) drawGroups(c, curve, yOf);
  else {
    if (curve.other) stroke(c, curve.other, yOf, [2, 3]);
    stroke(c, curve.values, yOf);
    points(c, curve, curve.values, yOf, run.sides[0]);
    if (curve.other) points(c, curve, curve.other, yOf, run.sides[1]);
  }
  if (view.hover !== null) upright(c, xOf(view.hover), top, top + tall, ink.faint);
  c.restore();
  captions(c, curve, top, tall, yOf, width);
}

// From afar: from the lowest to the highest of each group of units, and a mark where one was missed or over the limit.
function drawGroups(c, curve, yOf) {
  const group = groupUnits();
  const groups = groupsOf(curve, group);
  const [first, last] = visibleUnits(2);
  const width = Math.max(1, group * run.period * scale() - 0.5);
  const lostAt = curve.limit ? yOf(curve.limit) : yOf(0);
  for (let at = Math.floor(first / group); at * group <= last; at++) {
    const x = xOf(deadline(at * group));
    if (!Number.isNaN(groups.low[at])) {
      const [y0, y1] = [yOf(groups.high[at]), yOf(groups.low[at])];
      c.fillStyle = groups.over[at] ? ink.warn : ink.ink;
      c.globalAlpha = groups.over[at] ? 1 : 0.7;
      c.fillRect(x, y0, width, Math.max(1.4, y1 - y0));
      c.globalAlpha = 1;
      if (groups.over[at]) dot(c, x + width / 2, y0, 3, ink.warn, true);
    }
    if (groups.lost[at] && curve.limit) cross(c, x + width / 2, lostAt, 3.5, ink.warn, 1.8);
  }
}

function stroke(c, values, yOf, dash = []) {
  const [first, last] = visibleUnits(2);
  c.strokeStyle = ink.ink;
  c.lineWidth = 1.4;
  c.lineJoin = "round";
  c.setLineDash(dash);
  c.beginPath();
  let pen = false;
  for (let unit = first; unit <= last; unit++) {
    const value = values[unit];
    if (!isNumber(value)) pen = false;
    else if (pen) c.lineTo(xOf(deadline(unit)), yOf(value));
    else {
      c.moveTo(xOf(deadline(unit)), yOf(value));
      pen = true;
    }
  }
  c.globalAlpha = 0.8;
  c.stroke();
  c.globalAlpha = 1;
  c.setLineDash([]);
}

const isOver = (curve, value) => curve.limit !== null && value > curve.limit;

// Of the second run: squares.
function points(c, curve, values, yOf, side) {
  const [first, last] = visibleUnits(2);
  const roomy = run.period * scale() > 14;
  for (let unit = first; unit <= last; unit++) {
    const value = values[unit];
    const x = xOf(deadline(unit));
    if (!isNumber(value)) {
      if (side.lost.has(unit) && curve.limit) cross(c, x, yOf(curve.limit), 3.5, ink.warn, 1.8);
    } else if (side.lost.has(unit) && curve.limit) cross(c, x, yOf(value), 3.5, ink.warn, 1.8);
    else if (isOver(curve, value)) dot(c, x, yOf(value), 3, ink.warn, true);
    else if (roomy && side.index) {
      c.fillStyle = colourOf(unit);
      c.fillRect(x - 2.5, yOf(value) - 2.5, 5, 5);
    } else if (roomy) dot(c, x, yOf(value), unit === view.unit ? 4.5 : 2.8, colourOf(unit), false);
  }
}

// Over the limit: a ring, so that the mark does not rest on colour alone.
function dot(c, x, y, r, colour, ring) {
  c.beginPath();
  c.arc(x, y, r, 0, 7);
  c.fillStyle = ring ? ink.paper : colour;
  c.fill();
  c.strokeStyle = ring ? colour : ink.paper;
  c.lineWidth = ring ? 1.8 : 1;
  c.stroke();
}

function captions(c, curve, top, tall, yOf, width) {
  const narrow = view.gutter < 120;
  const left = narrow ? 8 : 24;
  c.textAlign = "left";
  font(c, narrow ? 11 : 12.5, 500);
  c.fillStyle = ink.ink;
  c.fillText(curve.name, left, top + (narrow ? 14 : 20), view.gutter - left - 8);
  font(c, 11);
  c.fillStyle = ink.soft;
  const unit = view.hover === null ? view.unit : Math.round((view.hover - deadline(0)) / run.period);
  const values = unit === null ? [] : [curve.values, ...(curve.other ? [curve.other] : [])].map((column) => column[unit]);
  const now = values.some(isNumber) ? `unit ${unit}: ${values.map((value) => (isNumber(value) ? ms(value) : "–")).join(" | ")} ms` : "";
  c.fillText(now || "ms", left, top + (narrow ? 30 : 38), view.gutter - left - 8);
  c.textAlign = "right";
  font(c, 10.5);
  const marks = new Map([[0, "0"], ...(curve.limit ? [[curve.limit, ms(curve.limit, 0)]] : [])]);
  const [least, most] = curve.limit ? [0, 0] : curve.extremes;
  for (const end of [least, most])
    if (Math.abs(yOf(end) - yOf(0)) > 13) marks.set(end, ms(end, Math.abs(end) < 10_000 ? 1 : 0));
  for (const [at, text] of marks) caption(c, text, width - 8, Math.min(Math.max(yOf(at) - 7, top + 7), top + tall - 6));
}

function caption(c, text, x, y, colour = ink.soft) {
  const w = c.measureText(text).width;
  c.fillStyle = ink.paper;
  c.globalAlpha = 0.85;
  c.fillRect(x - w - 3, y - 7, w + 6, 13);
  c.globalAlpha = 1;
  c.textAlign = "right";
  c.fillStyle = colour;
  c.fillText(text, x, y);
}
