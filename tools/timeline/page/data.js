// The run: columns from the trace element, added up again. Times are microseconds after the origin.

const MODES = ["step", "absorb", "gap", "skip"];
const VERDICTS = ["real", "late", "discarded", "end"];

const run = decode(JSON.parse(document.getElementById("trace").textContent));

function decode(view) {
  for (const [index, row] of view.rows.entries()) {
    row.index = index;
    row.bars = decodeBars(view, row);
  }
  for (const send of view.sends) {
    send.unit = sums(send.unit_delta);
    send.sent = sums(send.sent_delta);
    send.bytes = sums(send.bytes_delta);
    send.arrived = send.sent.map((sent, i) => sent + send.took[i]);
  }
  view.lost = new Map(view.misses);
  return { ...view, ...extent(view) };
}

function decodeBars(view, row) {
  const raw = row.bars;
  const n = raw.flags.length;
  const bars = {
    n,
    first: sums(raw.unit_delta),
    last: new Float64Array(n),
    ready: new Float64Array(n),
    opens: new Float64Array(n), // when the bar begins to show: ready, or started where a source was called ahead
    out: new Float64Array(n), // when the packet went out: finished, or release where it was held
    start: sums(raw.start_delta),
    end: new Float64Array(n),
    due: new Float64Array(n),
    mode: Uint8Array.from(raw.flags, (flag) => flag & 3),
    verdict: Uint8Array.from(raw.flags, (flag) => (flag >> 2) & 3),
    level: Uint8Array.from(raw.flags, (flag) => flag >> 4),
    byUnit: new Map(),
  };
  const spans = new Map(raw.spans);
  const dues = new Map(raw.dues);
  for (let i = 0; i < n; i++) {
    bars.last[i] = bars.first[i] + (spans.get(i) ?? 1) - 1;
    bars.ready[i] = bars.start[i] - raw.waited[i];
    bars.end[i] = bars.start[i] + raw.busy[i];
    bars.opens[i] = Math.min(bars.ready[i], bars.start[i]);
    bars.out[i] = Math.max(bars.end[i], bars.ready[i]);
    const due = dues.has(i) ? dues.get(i) : row.due === null ? null : (bars.last[i] + 1) * view.period + row.due;
    bars.due[i] = due ?? NaN;
    for (let unit = bars.first[i]; unit <= bars.last[i]; unit++) bars.byUnit.set(unit, i);
  }
  return bars;
}

function sums(deltas) {
  const values = new Float64Array(deltas.length);
  let value = 0;
  for (let i = 0; i < deltas.length; i++) values[i] = value += deltas[i];
  return values;
}

// Where the run begins and ends on the time axis.
function extent(view) {
  let begin = 0;
  let end = view.units * view.period + view.latency;
  for (const { bars } of view.rows) {
    if (!bars.n) continue;
    begin = Math.min(begin, bars.opens[0]);
    end = Math.max(end, bars.out[bars.n - 1]);
  }
  return { begin, end: Math.max(end, begin + view.period) };
}

const release = (unit) => (unit + 1) * run.period;
const deadline = (unit) => release(unit) + run.latency;

// First index whose value is at least the wanted one, in an ascending column.
function atLeast(column, wanted) {
  let low = 0;
  let high = column.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (column[middle] < wanted) low = middle + 1;
    else high = middle;
  }
  return low;
}

// The firing of a row for a unit: index, or -1.
const firingOf = (row, unit) => row.bars.byUnit.get(unit) ?? -1;
const isLate = (row, i) => row.bars.verdict[i] === 1 && row.bars.mode[i] === 0 && !row.paced;
const slackOf = (row, i) => row.bars.due[i] - row.bars.out[i];
