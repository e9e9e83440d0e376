// Seen from afar: when a unit is a few pixels, rows show how busy they were, and every bar that was not an ordinary one.

// Units are taken together in groups, so that the columns neither shimmer nor vanish.
const groupUnits = () => Math.max(4, Math.ceil(3 / (run.period * scale())));

// Share of time a row was busy with units first..last, and how many of its firings were late, absorbed or lost.
function loadOf(row, first, last) {
  const { bars } = row;
  let [busy, lost] = [0, 0];
  for (let i = atLeast(bars.last, first); i < bars.n && bars.first[i] <= last; i++) {
    busy += bars.end[i] - bars.start[i];
    lost += isOdd(row, i) ? 1 : 0;
  }
  return [busy / ((last - first + 1) * run.period), lost];
}

const isOdd = (row, i) => isLate(row, i) || row.bars.mode[i] !== 0;

function loadAt(row, time) {
  const group = groupUnits();
  const first = Math.max(0, Math.floor(Math.floor(time / run.period - 1) / group) * group);
  const last = Math.min(first + group - 1, run.units - 1);
  return [first, last, ...loadOf(row, first, last)];
}

function drawLoad(c, row) {
  const tall = barHeight();
  const bottom = Math.round(middleOf(row) + tall / 2);
  const group = groupUnits();
  const [from, to] = visibleUnits();
  c.fillStyle = ink.hair;
  c.fillRect(xOf(release(0)), bottom - tall, xOf(release(run.units)) - xOf(release(0)), tall);
  c.fillStyle = colourOf(0);
  c.globalAlpha = view.unit === null ? 0.75 : 0.4;
  const gap = group * run.period * scale() > 5 ? 1 : 0;
  for (let first = Math.floor(from / group) * group; first <= to; first += group) {
    const last = Math.min(first + group - 1, run.units - 1);
    const h = Math.max(1, Math.min(1, loadOf(row, first, last)[0]) * tall);
    const x = xOf(release(first));
    c.fillRect(x, bottom - h, xOf(release(last + 1)) - x - gap, h);
  }
  c.globalAlpha = 1;
  drawOdd(c, row, bottom - tall, tall);
}

function drawOdd(c, row, y, tall) {
  const { bars } = row;
  for (let i = atLeast(bars.out, view.from); i < bars.n && bars.opens[i] <= view.to; i++) {
    if (!isOdd(row, i) && bars.last[i] !== view.unit) continue;
    const x0 = xOf(bars.start[i]);
    drawBar(c, row, i, x0, Math.max(x0 + 3, xOf(bars.end[i])), y, tall);
  }
}
