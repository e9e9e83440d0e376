// The chosen unit's way through the graph: thin arrows from the body that made a packet to the one that took it in, and
// over them, thick, the critical path.

// Edges around a unit: {from, i, to, j, delay, missed}. Into its own firings, and, delayed, out of them.
function edgesOf(unit) {
  const edges = new Map();
  for (const to of run.rows)
    for (const input of to.inputs)
      for (const taken of input.delay ? [unit - input.delay, unit] : [unit]) {
        const edge = edgeBetween(input, taken, to, taken + input.delay);
        if (edge) edges.set(`${edge.from.index} ${edge.i} ${to.index} ${edge.j}`, edge);
      }
  return [...edges.values()];
}

function edgeBetween(input, made, to, taken) {
  const [i, j] = [firingOf(input.from, made), firingOf(to, taken)];
  if (i < 0 || j < 0) return null;
  const k = sendOf(to.side, input.stream, to.process)?.byUnit.get(made);
  const arrived = Math.max(input.from.bars.out[i], k === undefined ? -Infinity : sendOf(to.side, input.stream, to.process).arrived[k]);
  return { from: input.from, i, to, j, delay: input.delay, missed: arrived > to.bars.start[j] + 1 || made !== input.from.bars.last[i] };
}

function drawPath(c) {
  for (const edge of edgesOf(view.unit)) drawArrow(c, edge);
  for (const side of run.sides) drawCause(c, pathOf(side, view.unit));
}

// Same time, two rows: a plumb line; else an S from the end of one bar to the moment at which the other was ready.
function drawArrow(c, { from, i, to, j, delay, missed }) {
  const x0 = xOf(from.bars.out[i]);
  const x1 = xOf(missed ? to.bars.start[j] : Math.max(to.bars.ready[j], Math.min(from.bars.out[i], to.bars.start[j])));
  const down = to.y > from.y ? 1 : -1;
  const y0 = middleOf(from);
  const y1 = middleOf(to) - down * (barHeight() / 2 + 1);
  const colour = missed ? ink.warn : ink.select;
  const bend = Math.max(5, Math.min(60, Math.abs(x1 - x0) * 0.55));
  c.globalAlpha = missed ? 0.9 : delay ? 0.5 : 0.35;
  c.strokeStyle = colour;
  c.lineWidth = 1.15;
  c.setLineDash(missed ? [1.5, 3] : delay ? [5, 3] : []);
  c.beginPath();
  c.moveTo(x0, y0);
  c.bezierCurveTo(x0 + bend, y0, x1, y1 - down * Math.min(44, Math.abs(y1 - y0) * 0.75), x1, y1 - down * 5);
  c.stroke();
  c.setLineDash([]);
  c.fillStyle = colour;
  c.beginPath();
  c.moveTo(x1 - 3.6, y1 - down * 6.5);
  c.lineTo(x1 + 3.6, y1 - down * 6.5);
  c.lineTo(x1, y1);
  c.fill();
  c.beginPath();
  c.arc(x0, y0, 2, 0, 7);
  c.fill();
  c.globalAlpha = 1;
}

// A step of the path is drawn by what it is: computing solid, travelling dashed, waiting dotted.
const DASHES = { compute: [], travel: [6, 3], queue: [2, 2.5], clock: [2, 2.5], release: [2, 2.5], due: [2, 5] };

// Along the foot of the bars, from release to presentation, with plumb lines from row to row.
function drawCause(c, steps) {
  const foot = (row) => Math.round(middleOf(row) + barHeight() / 2) + 1;
  for (const [colour, extra] of [[ink.paper, 3.5], [ink.select, 0]])
    for (const [n, part] of steps.entries()) {
      const y = foot(part.row);
      const solid = part.part === "compute";
      if (n && steps[n - 1].row !== part.row) line(c, xOf(part.from), foot(steps[n - 1].row), xOf(part.from), y, colour, 2 + extra);
      line(c, xOf(part.from), y, xOf(part.to), y, colour, (solid ? 4.5 : 3) + extra, extra ? [] : DASHES[part.part]);
    }
}
