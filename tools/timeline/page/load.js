// Seen from afar: when a unit is a few pixels, rows show how busy they were, and where anything was out of the ordinary.

const DENSE = 4; // pixels per unit under which rows show load instead of bars

// Units are taken together in groups of a power of two, at least three pixels wide, so that the columns neither shimmer
// nor vanish, and each size is added up once.
const groupUnits = () => 2 ** Math.max(2, Math.ceil(Math.log2(3 / (run.period * scale()))));

// Per group: time in the body, the longest call and its unit, how many calls were late, how many units absorbed or lost.
// Nothing is left out: the sums over all groups are those over all bars.
function loadsOf(row, group) {
  const known = row.loads.get(group);
  if (known) return known;
  const n = Math.ceil(run.units / group) + 1;
  const loads = { busy: new Float64Array(n), worst: new Float64Array(n), unit: new Int32Array(n), late: new Uint32Array(n), lost: new Uint32Array(n) };
  const { bars } = row;
  for (let i = 0; i < bars.n; i++) {
    const at = Math.min(n - 1, Math.floor(bars.last[i] / group));
    const busy = bars.end[i] - bars.start[i];
    loads.busy[at] += busy;
    if (busy > loads.worst[at]) [loads.worst[at], loads.unit[at]] = [busy, bars.last[i]];
    if (isLate(row, i)) loads.late[at]++;
    if (bars.mode[i] !== 0) loads.lost[at] += bars.last[i] - bars.first[i] + 1;
  }
  row.loads.set(group, loads);
  return loads;
}

function loadAt(row, time) {
  const group = groupUnits();
  const at = Math.max(0, Math.floor(Math.floor(time / run.period - 1) / group));
  const loads = loadsOf(row, group);
  const first = Math.max(run.first, at * group);
  const last = Math.min(at * group + group - 1, run.units - 1);
  const missed = row.side.misses.slice(atLeast(row.side.misses, first), atLeast(row.side.misses, last + 1));
  return { first, last, share: loads.busy[at] / ((last - first + 1) * run.period), worst: loads.worst[at], unit: loads.unit[at],
    late: loads.late[at], lost: loads.lost[at], missed };
}

// Solid: the mean; pale behind it: the longest call, a full row being one unit's time.
function drawLoad(c, row) {
  const tall = barHeight();
  const bottom = Math.round(middleOf(row) + tall / 2);
  const group = groupUnits();
  const loads = loadsOf(row, group);
  const [from, to] = visibleUnits();
  const width = Math.max(1, group * run.period * scale() - (group * run.period * scale() > 5 ? 1 : 0));
  const [x0, x1] = [xOf(release(Math.max(run.first, from))), xOf(release(to + 1))];
  c.fillStyle = ink.hair;
  c.fillRect(x0, bottom - tall, x1 - x0, tall);
  c.fillStyle = colourOf(0);
  const weight = view.unit === null ? 1 : 0.6;
  for (let at = Math.floor(from / group); at * group <= to; at++) {
    const x = xOf(release(at * group));
    const share = loads.busy[at] / (group * run.period);
    const peak = Math.min(1, loads.worst[at] / run.period) * tall;
    c.globalAlpha = 0.3 * weight;
    c.fillRect(x, bottom - peak, width, peak);
    c.globalAlpha = 0.85 * weight;
    c.fillRect(x, bottom - Math.max(1, Math.min(1, share) * tall), width, Math.max(1, Math.min(1, share) * tall));
    c.globalAlpha = 1;
    if (loads.late[at]) drawLateGroup(c, x, bottom - tall, Math.max(width, 4), tall);
    if (loads.lost[at]) drawLostGroup(c, x, bottom - tall, Math.max(width, 5), tall);
    c.fillStyle = colourOf(0);
  }
}

function drawLateGroup(c, x, y, w, tall) {
  c.fillStyle = ink.paper;
  c.fillRect(x, y, w, tall);
  c.fillStyle = ink.lateHatch;
  c.fillRect(x, y, w, tall);
  c.strokeStyle = ink.warn;
  c.lineWidth = 1.5;
  c.strokeRect(x, y, w, tall);
}

function drawLostGroup(c, x, y, w, tall) {
  c.fillStyle = ink.paper;
  c.fillRect(x, y + tall / 2, w, tall / 2);
  c.strokeStyle = ink.ink;
  c.lineWidth = 1.5;
  c.setLineDash([3, 2]);
  c.strokeRect(x, y + tall / 2, w, tall / 2);
  c.setLineDash([]);
}

// Values of a curve over groups of units: lowest, highest, and the first unit missed or over the limit in each.
function groupsOf(curve, group) {
  const known = curve.groups.get(group);
  if (known) return known;
  const n = Math.ceil(run.units / group) + 1;
  const found = { low: new Float64Array(n).fill(NaN), high: new Float64Array(n).fill(NaN), lost: new Uint8Array(n), over: new Uint8Array(n) };
  for (const values of [curve.values, curve.other ?? []])
    for (let unit = run.first; unit < values.length; unit++) {
      const value = values[unit];
      const at = Math.floor(unit / group);
      if (!isNumber(value)) continue;
      found.low[at] = found.low[at] <= value ? found.low[at] : value;
      found.high[at] = found.high[at] >= value ? found.high[at] : value;
      if (isOver(curve, value)) found.over[at] = 1;
    }
  for (const unit of run.misses) found.lost[Math.floor(unit / group)] = 1;
  curve.groups.set(group, found);
  return found;
}
