// Lanes: process -> lane -> node; a bar per firing, in the colour of its unit.

const headTall = () => (run.isPair ? 20 : 26); // height of a process's heading
const shortest = () => (view.onPaper ? 16 : view.width < 600 ? 25 : run.isPair ? 21 : 27);
const MIN_BAR = 1.4;
const TALLEST = 48;
let places = []; // [{kind: "process" | "row", y, height, ...}]

// Where everything stands; rows share the height there is.
function layOut(space) {
  const heads = new Set(run.rows.map(headOf)).size;
  const free = (space - heads * headTall() - 8) / Math.max(1, run.rows.length);
  view.rowHeight = Math.round(Math.min(TALLEST, Math.max(shortest(), free)));
  places = [];
  let y = 0;
  let head = null;
  let lane = null;
  for (const row of run.rows) {
    if (headOf(row) !== head) {
      places.push({ kind: "process", name: headOf(row), y, height: headTall() });
      y += headTall();
      lane = null;
    }
    places.push({ kind: "row", row, y, height: view.rowHeight, opensLane: row.lane !== lane });
    row.y = y;
    y += view.rowHeight;
    [head, lane] = [headOf(row), row.lane];
  }
  return y + 12;
}

const headOf = (row) => (run.isPair ? `${row.side.letter}: ${row.process} (${row.side.name})` : row.process);
const barHeight = () => Math.round(view.rowHeight * 0.58);
const middleOf = (row) => row.y + view.rowHeight / 2 - 1;

// Units with anything to show: a unit's dues and deadline lie well behind its release.
function visibleUnits(margin = 1) {
  const first = Math.floor((view.from - 2 * run.latency) / run.period) - 1 - margin;
  const last = Math.ceil(view.to / run.period) + margin;
  return [Math.max(run.first, first), Math.min(run.units - 1, last)];
}

function drawLanes(canvas, space) {
  const { c, width, height } = contextOf(canvas, layOut(space));
  const perUnit = run.period * scale();
  for (const place of places) {
    if (place.kind === "process") {
      c.fillStyle = ink.raised;
      c.fillRect(0, place.y, width, place.height);
    } else {
      line(c, place.opensLane ? 0 : view.gutter, place.y + 0.5, width, place.y + 0.5, place.opensLane ? ink.line : ink.hair);
    }
  }
  c.save();
  c.beginPath();
  c.rect(view.gutter, 0, width - view.gutter, height);
  c.clip();
  if (perUnit >= DENSE || view.unit !== null) drawGrid(c, perUnit, 0, height);
  const paintRow = perUnit < DENSE ? drawLoad : drawRow;
  for (const place of places) if (place.kind === "row") paintRow(c, place.row, perUnit);
  if (perUnit >= DENSE) drawSends(c);
  drawMisses(c);
  drawBlamed(c);
  if (view.unit !== null) drawPath(c);
  drawHover(c, height);
  c.restore();
  drawGutter(c);
}

// Release lines and deadlines, as many as there is room for.
function drawGrid(c, perUnit, top, bottom) {
  const [first, last] = visibleUnits();
  const step = perUnit > 9 ? 1 : Math.round(niceStep(9 / perUnit));
  const units = view.unit === null ? [] : [view.unit];
  for (let unit = Math.ceil(first / step) * step; unit <= last; unit += step) if (unit !== view.unit) units.push(unit);
  for (const unit of units) {
    const chosen = unit === view.unit;
    c.globalAlpha = chosen ? 1 : perUnit > 26 && view.unit === null ? 0.45 : 0.14;
    upright(c, xOf(release(unit)), top, bottom, colourOf(unit), chosen ? 2 : 1);
    c.globalAlpha = 1;
    if (perUnit > 40 || chosen)
      upright(c, xOf(deadline(unit)), top, bottom, chosen ? ink.select : ink.faint, chosen ? 1.6 : 1, chosen ? [5, 3] : [2, 4]);
  }
  for (const side of run.sides) for (const [at] of side.fences) upright(c, xOf(at), top, bottom, ink.warn, 1.5, [1, 3]);
}

function drawRow(c, row, perUnit) {
  const { bars } = row;
  const tall = barHeight();
  const y = Math.round(middleOf(row) - tall / 2);
  const shows = [];
  let edge = -Infinity;
  for (let i = atLeast(bars.out, view.from); i < bars.n && bars.opens[i] <= view.to; i++) {
    const x0 = xOf(bars.start[i]);
    const x1 = Math.max(xOf(bars.end[i]), x0 + MIN_BAR);
    if (x1 < edge + 0.7 && !isLate(row, i) && bars.mode[i] === 0) continue;
    edge = x1;
    shows.push([i, x0, x1]);
  }
  for (const [i, x0, x1] of shows) {
    drawWaiting(c, row, i, x0, y, tall);
    drawHeld(c, row, i, x1, y + tall / 2);
  }
  if (perUnit > 40) drawDues(c, row, y, tall);
  for (const [i, x0, x1] of shows) drawBar(c, row, i, x0, x1, y, tall);
}

const fadeOf = (row, i) =>
  view.unit === null || (row.bars.first[i] <= view.unit && view.unit <= row.bars.last[i]) ? 1 : 0.2;

// Ready -> started: hatched in the unit's colour.
function drawWaiting(c, row, i, x0, y, tall) {
  const from = xOf(row.bars.ready[i]);
  if (x0 - from < 1.5) return;
  const unit = row.bars.last[i];
  const inset = Math.round(tall * 0.2);
  const weight = fadeOf(row, i) * (row.paced ? 0.6 : 1);
  c.globalAlpha = 0.12 * weight;
  c.fillStyle = colourOf(unit);
  c.fillRect(from, y + inset, x0 - from, tall - 2 * inset);
  c.globalAlpha = 0.5 * weight;
  c.fillStyle = hatchOf(unit);
  c.fillRect(from, y + inset, x0 - from, tall - 2 * inset);
  c.globalAlpha = 1;
}

// A source called ahead keeps its packet until release: a thin line from the bar to there.
function drawHeld(c, row, i, x1, y) {
  const to = xOf(row.bars.out[i]);
  if (to - x1 < 3) return;
  c.globalAlpha = 0.55 * fadeOf(row, i);
  line(c, x1, y, to, y, colourOf(row.bars.last[i]), 1.25, [2, 3]);
  c.globalAlpha = 1;
}

// The planned due of every unit: a bracket that the bar should end before.
function drawDues(c, row, y, tall) {
  if (row.due === null) return;
  const [first, last] = visibleUnits();
  for (let unit = first; unit <= last; unit++) {
    const i = firingOf(row, unit);
    const at = i >= 0 && row.bars.last[i] === unit && !Number.isNaN(row.bars.due[i]) ? row.bars.due[i] : release(unit) + row.due;
    const x = Math.round(xOf(at)) + 0.5;
    c.globalAlpha = view.unit === null || view.unit === unit ? 1 : 0.25;
    c.strokeStyle = colourOf(unit);
    c.lineWidth = unit === view.unit ? 2 : 1.25;
    c.beginPath();
    c.moveTo(x - 3.5, y - 2.5);
    c.lineTo(x, y - 2.5);
    c.lineTo(x, y + tall + 2.5);
    c.lineTo(x - 3.5, y + tall + 2.5);
    c.stroke();
  }
  c.globalAlpha = 1;
}

function drawBar(c, row, i, x0, x1, y, tall) {
  const { bars } = row;
  const unit = bars.last[i];
  const mode = MODES[bars.mode[i]];
  const width = x1 - x0;
  c.globalAlpha = fadeOf(row, i);
  if (mode === "gap" || mode === "skip") drawLost(c, mode, unit, x0, Math.max(x1, x0 + 5), y, tall);
  else {
    const full = mode === "absorb" || !row.levels.length ? 1 : Math.max(0.4, 1 - 0.24 * bars.level[i]);
    const h = Math.round(tall * full);
    const top = y + tall - h;
    c.fillStyle = colourOf(unit);
    if (width < 5) c.fillRect(x0, top, width, h);
    else {
      roundBox(c, x0, top, width, h);
      c.fill();
    }
    if (mode === "absorb") {
      c.fillStyle = ink.absorbHatch;
      c.fill();
    }
    if (isLate(row, i)) drawOverrun(c, bars.due[i], x0, x1, top, h);
    if (unit === view.unit && width > 7) outline(c, x0, x1, top, h, ink.select, 1.5);
    if (width > 12 && fadeOf(row, i) === 1) barText(c, row, i, mode, x0, x1, top + h / 2, h);
  }
  c.globalAlpha = 1;
}

// gap: a dashed empty box; skip: a dotted stroke. Both mean that no answer was made.
function drawLost(c, mode, unit, x0, x1, y, tall) {
  const h = mode === "gap" ? tall : tall * 0.5;
  c.setLineDash(mode === "gap" ? [3, 2] : [1, 2]);
  roundBox(c, x0 + 0.5, y + (tall - h) / 2 + 0.5, x1 - x0, h - 1);
  c.fillStyle = ink.paper;
  c.fill();
  c.strokeStyle = unit === view.unit ? ink.select : colourOf(unit);
  c.lineWidth = 1.5;
  c.stroke();
  c.setLineDash([]);
}

// What lies behind the due is hatched in the warning colour, and the bar is outlined.
function drawOverrun(c, due, x0, x1, top, h) {
  const x = Number.isNaN(due) ? x0 : Math.max(x0, Math.min(xOf(due), x1));
  c.fillStyle = ink.paper;
  c.fillRect(x, top, x1 - x, h);
  c.fillStyle = ink.lateHatch;
  c.fillRect(x, top, x1 - x, h);
  outline(c, x0, Math.max(x1, x0 + 3), top, h, ink.warn, 1.75);
}

function outline(c, x0, x1, top, h, colour, width) {
  roundBox(c, x0 - 1, top - 1, x1 - x0 + 2, h + 2, 3.5);
  c.strokeStyle = colour;
  c.lineWidth = width;
  c.stroke();
}

// The unit's number, and the words that colour and shape alone would leave unsaid; left of an overrun.
function barText(c, row, i, mode, x0, x1, y, h) {
  const { bars } = row;
  const left = Math.max(x0, view.gutter);
  const stop = isLate(row, i) && !Number.isNaN(bars.due[i]) ? Math.min(x1, xOf(bars.due[i])) : x1;
  const room = Math.min(stop, view.width) - left - 7;
  const level = row.levels[bars.level[i]];
  const number = bars.first[i] === bars.last[i] ? `${bars.last[i]}` : `${bars.first[i]}–${bars.last[i]}`;
  const options = mode === "absorb" ? [`absorb ${number}`, number]
    : level && bars.level[i] > 0 ? [`${number} · ${level}`, `${number} L${bars.level[i]}`, number] : [number];
  if (h < 10) return;
  font(c, h < 13 ? 9.5 : 11, 600);
  const text = options.find((option) => c.measureText(option).width <= room);
  if (!text) return;
  const unit = bars.last[i];
  if (mode === "absorb") {
    roundBox(c, left + 2, y - 7, c.measureText(text).width + 5, 14, 3);
    c.fillStyle = colourOf(unit);
    c.fill();
  }
  c.fillStyle = textOn(unit);
  c.fillText(text, left + 4, y + 0.5);
}

// Packets on their way to another process: a thin line under the bar that made them.
function drawSends(c) {
  for (const send of run.sides.flatMap((side) => [...side.sends.values()])) {
    const y = Math.round(middleOf(send.row) + barHeight() / 2) + 2;
    let edge = -Infinity;
    for (let i = atLeast(send.arrived, view.from); i < send.sent.length && send.sent[i] <= view.to; i++) {
      const x0 = xOf(send.sent[i]);
      const x1 = Math.max(xOf(send.arrived[i]), x0 + 1.5);
      if (x1 < edge + 0.7) continue;
      edge = x1;
      c.globalAlpha = view.unit === null || view.unit === send.unit[i] ? 1 : 0.2;
      c.fillStyle = colourOf(send.unit[i]);
      c.fillRect(x0, y, x1 - x0, 2.5);
    }
  }
  c.globalAlpha = 1;
}

// A cross where a unit was presented that was not real; where there are too many for crosses, a line joins them.
function drawMisses(c) {
  for (const side of run.sides) {
    const { misses } = side;
    const [from, to] = [view.from, view.to].map((time) => (time - side.latency) / run.period - 1);
    let [edge, group] = [-Infinity, -Infinity];
    for (let k = atLeast(misses, from - 1); k < misses.length && misses[k] <= to + 1; k++) {
      const x = xOf(deadline(misses[k], side));
      if (x - edge < 5) {
        for (const row of side.ends) line(c, group, middleOf(row), x, middleOf(row), ink.warn, 3);
        group = x;
      } else {
        for (const row of side.ends) cross(c, x, middleOf(row), Math.min(6, barHeight() / 2.6), ink.warn, 2.2);
        edge = group = x;
      }
    }
  }
}

// Who made units miss: the bar in a double outline, and what it did beside it, where there is room.
function drawBlamed(c) {
  const ends = new Map(); // by row: where its last caption ends
  for (const side of run.sides)
    for (const [row, i, text] of culpritsOf(side)) {
      const [x0, x1] = [xOf(row.bars.start[i]), Math.max(xOf(row.bars.end[i]), xOf(row.bars.start[i]) + 3)];
      if (x1 < view.gutter || x0 > view.width) continue;
      const [tall, y] = [barHeight(), Math.round(middleOf(row) - barHeight() / 2)];
      outline(c, x0 - 2.5, x1 + 2.5, y - 2.5, tall + 5, ink.warn, 2);
      font(c, 11, 600);
      const fits = (told) => c.measureText(told).width < view.width - view.gutter - 16;
      const told = [text, text.replace(/ \(usually [^)]*\)/, ""), text.replace(/(?: \(| on unit).*/, "")];
      const shown = told.find(fits) ?? told.at(-1);
      const width = c.measureText(shown).width;
      const left = Math.max(view.gutter + 6, Math.min(x0, view.width - width - 10));
      if (left < (ends.get(row) ?? -Infinity)) continue;
      ends.set(row, left + width + 8);
      caption(c, shown, left + width, y + tall + 10, ink.warn);
    }
}

// Of a run: [row, firing, what it did], each once, in order of time.
function culpritsOf(side) {
  side.culprits ??= new Map([...side.blamed.values()].flat().map((culprit) => {
    const row = side.rows.find((r) => r.name === culprit.node);
    const i = row ? firingOf(row, culprit.of) : -1;
    return [`${culprit.node} ${i}`, [row, i, culprit.text.replace(/ \(injected: .*?: (.*)\)/, ", injected $1")]];
  }).filter(([, [, i]]) => i >= 0));
  return side.culprits.values();
}

function drawHover(c, height) {
  if (view.hover !== null) upright(c, xOf(view.hover), 0, height, ink.faint);
}

function drawGutter(c) {
  c.textAlign = "left";
  for (const place of places) {
    if (place.kind === "process") {
      font(c, 11.5, 600);
      c.fillStyle = ink.soft;
      c.fillText(place.name, view.width < 600 ? 8 : 24, place.y + place.height / 2 + 0.5);
      continue;
    }
    const { row, y, height } = place;
    upright(c, view.gutter - 1, y, y + height, ink.line);
    const narrow = view.gutter < 120;
    font(c, narrow ? 11.5 : 13, row.paced ? 600 : 400);
    c.fillStyle = ink.ink;
    if (view.row === row) {
      c.fillStyle = ink.select;
      c.fillRect(0, y + 3, 4, height - 6);
    }
    c.fillStyle = ink.ink;
    c.fillText(row.name, narrow ? 8 : 24, y + height / 2, view.gutter - (narrow ? 12 : 76));
    if (place.opensLane && !narrow) {
      font(c, 11);
      c.fillStyle = ink.faint;
      c.textAlign = "right";
      c.fillText(row.lane, view.gutter - 14, y + height / 2 + 0.5);
      c.textAlign = "left";
    }
  }
}

// What is under a point of the lanes: {row, i}, {row, load} or {row}.
function hit(x, y) {
  const place = places.find((p) => p.kind === "row" && y >= p.y && y < p.y + p.height);
  if (!place || x < view.gutter) return null;
  const { row } = place;
  if (run.period * scale() < DENSE) return { row, load: loadAt(row, timeAt(x)) };
  const { bars } = row;
  const [time, slop] = [timeAt(x), 3 / scale()];
  let waiting = null;
  for (let i = atLeast(bars.out, time - slop); i < bars.n && bars.opens[i] <= time + slop; i++) {
    if (bars.start[i] - slop <= time && time <= bars.end[i] + slop) return { row, i };
    waiting ??= { row, i };
  }
  return waiting ?? { row };
}
