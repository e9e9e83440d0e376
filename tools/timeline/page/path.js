// One unit's way through the graph: arrows from the body that made a packet to the one that took it in.

// Edges around a unit: {from, i, to, j, delay, arrived, missed, decides}. Into its own firings, and, delayed, out of them.
function edgesOf(unit) {
  const edges = [];
  for (const to of run.rows) {
    const own = [];
    for (const [port, source, delay, stream] of to.inputs) {
      const from = run.rows[source];
      const made = edgeBetween(from, unit - delay, to, unit, stream, delay);
      if (made) own.push({ ...made, port });
      if (delay) {
        const later = edgeBetween(from, unit, to, unit + delay, stream, delay);
        if (later) edges.push({ ...later, port });
      }
    }
    const latest = Math.max(...own.filter((e) => !e.missed).map((e) => e.arrived));
    for (const edge of own) edge.decides = edge.arrived === latest;
    edges.push(...own);
  }
  return edges;
}

function edgeBetween(from, made, to, taken, stream, delay) {
  const [i, j] = [firingOf(from, made), firingOf(to, taken)];
  if (i < 0 || j < 0) return null;
  const arrived = arrival(from, i, made, to, stream);
  return { from, i, to, j, delay, stream, arrived, missed: arrived > to.bars.start[j] + 1 || made !== from.bars.last[i], decides: false };
}

function arrival(from, i, unit, to, stream) {
  const send = run.sends.find((s) => s.stream === stream && s.reader === to.process);
  const sent = send ? atLeast(send.unit, unit) : -1;
  return send && send.unit[sent] === unit ? Math.max(send.arrived[sent], from.bars.out[i]) : from.bars.out[i];
}

function drawPath(c) {
  const seen = new Set();
  const edges = edgesOf(view.unit).sort((a, b) => a.decides - b.decides);
  for (const edge of edges) {
    const key = `${edge.from.index} ${edge.i} ${edge.to.index} ${edge.j}`;
    if (seen.has(key) && !edge.decides) continue;
    seen.add(key);
    drawArrow(c, edge);
  }
}

// Same time, two rows: a plumb line; else an S from the end of one bar to the moment at which the other was ready.
function drawArrow(c, { from, i, to, j, delay, missed, decides }) {
  const x0 = xOf(from.bars.out[i]);
  const x1 = xOf(missed ? to.bars.start[j] : Math.max(to.bars.ready[j], Math.min(from.bars.out[i], to.bars.start[j])));
  const down = to.y > from.y ? 1 : -1;
  const y0 = middleOf(from);
  const y1 = middleOf(to) - down * (barHeight() / 2 + 1);
  const colour = missed ? ink.warn : ink.select;
  const bend = Math.max(5, Math.min(60, Math.abs(x1 - x0) * 0.55));
  c.globalAlpha = decides || missed ? 0.95 : delay ? 0.55 : 0.4;
  c.strokeStyle = colour;
  c.lineWidth = decides ? 1.8 : 1.15;
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
  c.arc(x0, y0, decides ? 2.6 : 2, 0, 7);
  c.fill();
  c.globalAlpha = 1;
}
