// Curves under the lanes, one value per unit, drawn at the unit's deadline: what was presented then.

const CURVE = 84;
const RULER = 62;

// Curves take what the lanes leave, within limits.
function curvesHeight() {
  const heads = new Set(run.rows.map((row) => row.process)).size;
  const left = view.height - RULER - heads * HEAD - run.rows.length * TALLEST - 8;
  const [least, most] = view.width < 600 ? [56, 72] : [CURVE, 150];
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
function extremesOf(values) {
  let [low, high] = [0, 0];
  for (const value of values) [low, high] = [Math.min(low, value), Math.max(high, value)]; // null counts as zero
  return [low, high];
}

function drawCurve(c, curve, top, tall, width) {
  curve.extremes ??= extremesOf(curve.values);
  curve.range ??= rangeOf(curve);
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
  stroke(c, curve, yOf);
  points(c, curve, yOf);
  if (view.hover !== null) upright(c, xOf(view.hover), top, top + tall, ink.faint);
  c.restore();
  captions(c, curve, top, tall, yOf, width);
}

function stroke(c, curve, yOf) {
  const [first, last] = visibleUnits(2);
  c.strokeStyle = ink.ink;
  c.lineWidth = 1.4;
  c.lineJoin = "round";
  c.beginPath();
  let pen = false;
  for (let unit = first; unit <= last; unit++) {
    const value = curve.values[unit];
    if (value === null || value === undefined) pen = false;
    else if (pen) c.lineTo(xOf(deadline(unit)), yOf(value));
    else {
      c.moveTo(xOf(deadline(unit)), yOf(value));
      pen = true;
    }
  }
  c.globalAlpha = 0.8;
  c.stroke();
  c.globalAlpha = 1;
}

const isOver = (curve, value) => curve.limit !== null && value > curve.limit;

function points(c, curve, yOf) {
  const [first, last] = visibleUnits(2);
  const roomy = run.period * scale() > 14;
  for (let unit = first; unit <= last; unit++) {
    const value = curve.values[unit];
    const x = xOf(deadline(unit));
    if (value === null || value === undefined) {
      if (run.lost.has(unit) && curve.limit) cross(c, x, yOf(curve.limit), 3.5, ink.warn, 1.8);
    } else if (run.lost.has(unit) && curve.limit) cross(c, x, yOf(value), 3.5, ink.warn, 1.8);
    else if (isOver(curve, value)) dot(c, x, yOf(value), 3, ink.warn, true);
    else if (roomy) dot(c, x, yOf(value), unit === view.unit ? 4.5 : 2.8, colourOf(unit), false);
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
  const value = unit === null ? null : curve.values[unit];
  const now = value === null || value === undefined ? "" : `unit ${unit}: ${ms(value)} ms`;
  c.fillText(now || "ms", left, top + (narrow ? 30 : 38), view.gutter - left - 8);
  c.textAlign = "right";
  font(c, 10.5);
  const marks = new Map([[0, "0"], ...(curve.limit ? [[curve.limit, ms(curve.limit, 0)]] : [])]);
  const [least, most] = curve.limit ? [0, 0] : curve.extremes;
  for (const end of [least, most])
    if (Math.abs(yOf(end) - yOf(0)) > 13) marks.set(end, ms(end, Math.abs(end) < 10_000 ? 1 : 0));
  for (const [at, text] of marks) caption(c, text, width - 8, Math.min(Math.max(yOf(at) - 7, top + 7), top + tall - 6));
}

function caption(c, text, x, y) {
  const w = c.measureText(text).width;
  c.fillStyle = ink.paper;
  c.globalAlpha = 0.8;
  c.fillRect(x - w - 3, y - 7, w + 6, 13);
  c.globalAlpha = 1;
  c.fillStyle = ink.soft;
  c.fillText(text, x, y);
}
