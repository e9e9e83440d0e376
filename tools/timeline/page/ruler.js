// The ruler over the lanes.

// Time above, released units as numbered flags, deadlines as small triangles, notes as diamonds.
function drawRuler(canvas) {
  const { c, width, height } = contextOf(canvas);
  const perUnit = run.period * scale();
  const step = niceStep((95 / scale()));
  font(c, 11);
  c.fillStyle = ink.soft;
  c.textAlign = "center";
  for (let at = Math.ceil(view.from / step) * step; at <= view.to; at += step) {
    if (xOf(at) < view.gutter + 14) continue;
    c.fillText(axisTime(at, step), xOf(at), 12);
    upright(c, xOf(at), 20, 24, ink.faint);
  }
  line(c, 0, height - 0.5, width, height - 0.5, ink.line);
  c.save();
  c.beginPath();
  c.rect(view.gutter, 0, width - view.gutter, height);
  c.clip();
  drawFlags(c, perUnit, height);
  for (const side of run.sides) for (const [at] of side.notes) diamond(c, xOf(at), 22, 4);
  c.restore();
  font(c, 11);
  c.fillStyle = ink.faint;
  c.textAlign = "left";
  c.fillText("time", view.gutter < 120 ? 8 : 24, 12);
  c.fillText(view.gutter < 120 ? "unit" : "released unit", view.gutter < 120 ? 8 : 24, 36);
  c.fillText("deadline", view.gutter < 120 ? 8 : 24, 53);
  upright(c, view.gutter - 1, 0, height, ink.line);
}

function drawFlags(c, perUnit, height) {
  const [first, last] = visibleUnits();
  const wide = run.units > 9999 ? 46 : run.units > 999 ? 38 : 30;
  const every = Math.max(1, Math.round(perUnit > wide ? 1 : niceStep(wide / perUnit)));
  font(c, 11, 600);
  c.textAlign = "left";
  const from = Math.floor(first / every) * every;
  const flags = view.unit === null ? [] : [view.unit];
  for (let unit = from; unit <= last; unit += every) if (unit >= first && unit !== view.unit) flags.push(unit);
  for (const unit of flags) {
    const chosen = unit === view.unit;
    if ((unit % every || (view.unit !== null && Math.abs(unit - view.unit) * perUnit < wide)) && !chosen) continue;
    const x = xOf(release(unit));
    const w = c.measureText(`${unit}`).width + 10;
    c.globalAlpha = view.unit === null || chosen ? 1 : 0.4;
    c.fillStyle = colourOf(unit);
    c.beginPath();
    c.roundRect(x, 27, w, 17, [0, 8, 8, 0]);
    c.fill();
    c.fillRect(x, 27, 1.5, height - 27);
    c.fillStyle = textOn(unit);
    c.fillText(`${unit}`, x + 4.5, 36);
    c.globalAlpha = 1;
  }
  let edge = -Infinity;
  for (const unit of run.misses) {
    const x = xOf(deadline(unit));
    if (x - edge < 3 || x < view.gutter || x > view.width) continue;
    cross(c, x, height - 8, 4, ink.warn, 2, 0);
    edge = x;
  }
  if (perUnit <= 60 && view.unit === null) return;
  for (let unit = first; unit <= last; unit++) {
    const x = xOf(deadline(unit));
    if (isLost(unit)) continue;
    if (perUnit > 60 || unit === view.unit) triangle(c, x, height - 1, unit === view.unit ? ink.select : ink.soft);
  }
}

function triangle(c, x, y, colour) {
  c.fillStyle = colour;
  c.beginPath();
  c.moveTo(x - 4, y - 6);
  c.lineTo(x + 4, y - 6);
  c.lineTo(x, y);
  c.fill();
}

function diamond(c, x, y, r) {
  c.fillStyle = ink.warn;
  c.beginPath();
  c.moveTo(x, y - r);
  c.lineTo(x + r, y);
  c.lineTo(x, y + r);
  c.lineTo(x - r, y);
  c.fill();
}
