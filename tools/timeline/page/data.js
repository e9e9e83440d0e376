// The runs: columns from the trace element, added up again. Times are microseconds after the origin.

const MODES = ["step", "absorb", "gap", "skip"];
const MISSING = 2; // of the validities, the one that a path asks for
const UNSETTLED = -1;

let run = null; // everything that is shown: the rows of one run, or of two below each other

// JSON, deflated, in base 64.
async function unpack(text) {
  const bytes = Uint8Array.from(atob(text.trim()), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).json();
}

function decode({ runs, live }) {
  const sides = runs.map(decodeSide);
  const rows = sides.flatMap((side) => side.rows);
  for (const [index, row] of rows.entries()) row.index = index;
  run = { sides, rows, live, isPair: sides.length > 1, period: sides[0].period, graph: [...new Set(runs.map((r) => r.graph))].join(" | ") };
  measure();
}

function decodeSide(view, index) {
  const side = {
    index, letter: "AB"[index], name: view.name, graph: view.graph, period: view.period, latency: view.latency,
    rows: view.rows.map((row) => ({ ...row, bars: emptyBars(), loads: new Map(), usual: null })),
    curves: [], sends: new Map(), settled: new Map(), lost: new Map(), blamed: new Map(), notes: [], fences: [],
  };
  for (const row of side.rows) {
    row.side = side;
    row.inputs = row.inputs.map(([port, source, delay, stream, ahead]) => ({ port, from: side.rows[source], delay, stream, ahead }));
  }
  side.ends = side.rows.filter((row) => row.presents);
  append(side, view);
  return side;
}

// Take in what a view holds: all of a run, or what is new of one that goes on.
function append(side, view) {
  Object.assign(side, { facts: view.facts, first: view.first, units: view.units });
  for (const [i, row] of side.rows.entries()) {
    addBars(row, view.rows[i].bars);
    row.loads.clear();
    row.usual = null;
  }
  for (const send of view.sends) addSends(side, send);
  for (const settled of view.settled) addSettled(side, settled);
  for (const { name, help, limit, first, values } of view.curves) {
    if (!side.curves.some((curve) => curve.name === name)) side.curves.push({ name, help, limit, values: [] });
    const curve = side.curves.find((c) => c.name === name);
    for (let k = 0; k < values.length; k++) curve.values[first + k] = values[k];
    Object.assign(curve, { range: null, groups: new Map() });
  }
  for (const unit of side.lost.keys()) if (unit >= view.since) side.lost.delete(unit);
  for (const [unit, why] of view.misses) side.lost.set(unit, why);
  side.misses = [...side.lost.keys()].sort((a, b) => a - b);
  for (const unit of new Set(view.blamed.map((b) => b.unit))) side.blamed.set(unit, view.blamed.filter((b) => b.unit === unit));
  side.culprits = null;
  side.notes.push(...view.notes);
  side.fences.push(...view.fences);
}

const COLUMNS = { first: Float64Array, last: Float64Array, ready: Float64Array, opens: Float64Array, out: Float64Array,
  start: Float64Array, end: Float64Array, due: Float64Array, mode: Uint8Array, late: Uint8Array, level: Uint8Array };

const emptyBars = () => ({ n: 0, byUnit: new Map(), ...Object.fromEntries(Object.entries(COLUMNS).map(([name, Kind]) => [name, new Kind(0)])) });

function addBars(row, raw) {
  const { bars } = row;
  const fresh = decodeBars(row, raw);
  for (const [name, Kind] of Object.entries(COLUMNS)) {
    if (!bars.n) bars[name] = fresh[name];
    else if (fresh.n) {
      const joined = new Kind(bars.n + fresh.n);
      joined.set(bars[name]);
      joined.set(fresh[name], bars.n);
      bars[name] = joined;
    }
  }
  for (let i = 0; i < fresh.n; i++)
    for (let unit = fresh.first[i]; unit <= fresh.last[i]; unit++) bars.byUnit.set(unit, bars.n + i);
  bars.n += fresh.n;
}

// `opens`: when the bar begins to show: ready, or started where a source was called ahead. `out`: when the packet went
// out: finished, or release where it was held.
function decodeBars(row, raw) {
  const n = raw.flags.length;
  const bars = { n };
  for (const [name, Kind] of Object.entries(COLUMNS)) bars[name] = new Kind(n);
  bars.first = sums(raw.unit_delta);
  bars.start = sums(raw.start_delta);
  const spans = new Map(raw.spans);
  const dues = new Map(raw.dues);
  for (let i = 0; i < n; i++) {
    bars.mode[i] = raw.flags[i] & 3;
    bars.late[i] = (raw.flags[i] >> 2) & 1;
    bars.level[i] = raw.flags[i] >> 3;
    bars.last[i] = bars.first[i] + (spans.get(i) ?? 1) - 1;
    bars.ready[i] = bars.start[i] - raw.waited[i];
    bars.end[i] = bars.start[i] + raw.busy[i];
    bars.opens[i] = Math.min(bars.ready[i], bars.start[i]);
    bars.out[i] = Math.max(bars.end[i], bars.ready[i]);
    const due = dues.has(i) ? dues.get(i) : row.due === null ? null : (bars.last[i] + 1) * row.side.period + row.due;
    bars.due[i] = due ?? NaN;
  }
  return bars;
}

function addSends(side, raw) {
  const key = `${raw.stream} ${raw.reader}`;
  if (!side.sends.has(key))
    side.sends.set(key, { ...raw, side, row: side.rows[raw.row], unit: [], sent: [], arrived: [], took: [], bytes: [], byUnit: new Map(), usual: null });
  const send = side.sends.get(key);
  const [units, sent, bytes] = [sums(raw.unit_delta), sums(raw.sent_delta), sums(raw.bytes_delta)];
  for (let i = 0; i < units.length; i++) {
    send.byUnit.set(units[i], send.unit.length);
    send.unit.push(units[i]);
    send.sent.push(sent[i]);
    send.took.push(raw.took[i]);
    send.arrived.push(sent[i] + raw.took[i]);
    send.bytes.push(bytes[i]);
  }
  send.usual = null;
}

function addSettled(side, raw) {
  if (!side.settled.has(raw.stream)) side.settled.set(raw.stream, { settler: raw.settler, odd: new Map() });
  const { odd } = side.settled.get(raw.stream);
  const units = sums(raw.unit_delta);
  for (let i = 0; i < units.length; i++) odd.set(units[i], [(units[i] + 1) * side.period + raw.after[i], raw.validity[i]]);
}

function sums(deltas) {
  const values = new Float64Array(deltas.length);
  let value = 0;
  for (let i = 0; i < deltas.length; i++) values[i] = value += deltas[i];
  return values;
}

// What is shown of all runs together.
function measure() {
  const { sides } = run;
  run.units = Math.max(...sides.map((side) => side.units));
  run.first = Math.min(...sides.map((side) => side.first));
  run.latency = Math.max(...sides.map((side) => side.latency));
  run.curves = run.isPair ? pairedCurves(...sides) : sides[0].curves;
  run.misses = [...new Set(sides.flatMap((side) => side.misses))].sort((a, b) => a - b);
  let begin = run.first * run.period;
  let end = run.units * run.period + run.latency;
  for (const { bars } of run.rows) {
    if (!bars.n) continue;
    begin = Math.min(begin, bars.opens[0]);
    end = Math.max(end, bars.out[bars.n - 1]);
  }
  Object.assign(run, { begin, end: Math.max(end, begin + run.period) });
}

// The curves of the first run with those of the second, and how much later the second one's answers were there.
function pairedCurves(a, b) {
  const both = a.curves.map((curve) => ({ ...curve, groups: new Map(), other: b.curves.find((c) => c.name === curve.name)?.values ?? [] }));
  const { values, other } = both[0];
  const apart = Array.from({ length: Math.max(values.length, other.length) }, (_, unit) =>
    isNumber(values[unit]) && isNumber(other[unit]) ? other[unit] - values[unit] : null);
  const difference = { name: "latency B − A", help: "how much later the answer was there in B", limit: null, values: apart, range: null, groups: new Map() };
  return [both[0], difference, ...both.slice(1)];
}

const isNumber = (value) => value !== null && value !== undefined;
const release = (unit) => (unit + 1) * run.period;
const deadline = (unit, side = run.sides[0]) => release(unit) + side.latency;

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
const isLate = (row, i) => row.bars.late[i] === 1;
const isOdd = (row, i) => isLate(row, i) || row.bars.mode[i] !== 0;
const slackOf = (row, i) => row.bars.due[i] - row.bars.out[i];
const isLost = (unit) => run.sides.some((side) => side.lost.has(unit));
const titleOf = (row) => (run.isPair ? `${row.side.letter} ${row.name}` : row.name);
