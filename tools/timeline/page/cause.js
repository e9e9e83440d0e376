// The critical path of a unit: what its presentation waited for, back to its release, as `wangraph explain` tells it
// (runtime/observe/explain.py is the other half; a test holds the two against each other).

const NOTICED = 50; // waits shorter than this are not worth a line
const MAX_STEPS = 200;

// Parts of a unit's time, in order: {part, row, unit, from, to, usual, text}; empty when it was not presented.
function pathOf(side, unit) {
  const [row, i] = lastPresented(side, unit);
  if (!row) return [];
  const steps = [];
  if (row.paced) {
    const waits = waitsOf(row, unit, i);
    steps.push(...(waits.length ? waits : [dueStep(row, unit, i, row.bars.start[i])]));
  } else steps.push(...stepsOf(row, unit, i));
  const released = release(unit);
  let at = [row, unit];
  for (let n = 0; n < MAX_STEPS && at && !(steps.length && steps.at(-1).from <= released); n++) at = before(...at, steps);
  const told = [];
  let limit = steps[0].to;
  for (const part of steps) {
    if (part.to < released || (part.to === released && part.part !== "due" && part.part !== "queue")) continue;
    told.push(clipped(part, released, limit));
    limit = told.at(-1).from;
  }
  return joined(told.reverse(), released);
}

const step = (part, row, unit, from, to, usual, text) => ({ part, row, unit, from, to, usual, text });
const excess = ({ from, to, usual }) => to - from - usual;

function lastPresented(side, unit) {
  let best = [null, -1];
  for (const row of side.ends) {
    const i = firingOf(row, unit);
    if (i >= 0 && (!best[0] || row.bars.ready[i] > best[0].bars.ready[best[1]])) best = [row, i];
  }
  return best;
}

// Add what the input that came last took; who made it, to go on from there.
function before(row, unit, steps) {
  const last = lastSeen(row, unit);
  if (!last) return null;
  const { input, at } = last;
  const [from, taken] = [input.from, takenOf(input, unit)];
  const i = firingOf(from, taken);
  if (outcomeOf(row.side, input, taken)?.validity === MISSING) {
    steps.push(step("queue", row, taken, at, at, 0, `${row.name}: ${input.stream} of unit ${taken} is given up`));
    if (i < 0) return null;
    if (MODES[from.bars.mode[i]] === "step" || MODES[from.bars.mode[i]] === "absorb")
      steps.push(...stepsOf(from, taken, i, at).filter((part) => part.to > part.from));
    return from.inputs.length ? [from, taken] : null;
  }
  if (i < 0) return null;
  const send = sendOf(row.side, input.stream, row.process);
  const k = send?.byUnit.get(taken);
  const finished = from.bars.end[i];
  if (k !== undefined) {
    const text = `${input.stream}: ${send.sender} to ${send.reader}`;
    steps.push(step("travel", from, taken, Math.min(send.sent[k], at), at, usualSend(send), text));
  } else if (from.process !== row.process) {
    const text = `${input.stream}: ${from.process} to ${row.process}, empty`;
    steps.push(step("travel", from, taken, Math.min(finished, at), at, 0, text));
  } else if (at > finished) {
    const text = `${input.stream}: made ahead, handed over at release`;
    steps.push(step("clock", from, taken, Math.min(release(taken), at), at, 0, text));
    return null;
  }
  steps.push(...stepsOf(from, taken, i));
  return from.inputs.length ? [from, taken] : null;
}

// The body, and what it waited for, as far as `until`; the later one first.
function stepsOf(row, unit, i, until = Infinity) {
  const { bars } = row;
  const end = Math.min(until, bars.end[i]);
  const units = bars.first[i] === bars.last[i] ? `unit ${bars.last[i]}` : `units ${bars.first[i]} to ${bars.last[i]}`;
  const what = bars.mode[i] === 0 ? "computes" : `${MODES[bars.mode[i]]}s ${units}`;
  const body = step("compute", row, unit, Math.min(bars.start[i], end), end, usualOf(row).cost, `${row.name}: ${what}`);
  return [body, ...waitsOf(row, unit, i).map((part) => ({ ...part, from: Math.min(part.from, end), to: Math.min(part.to, end) }))];
}

// What a body waited for when all was there, the later first: its lane or the clock; a paced one its due before.
function waitsOf(row, unit, i) {
  const { bars } = row;
  const may = mayStart(row, i);
  const steps = [];
  if (bars.start[i] - may > NOTICED) {
    const other = inFrontOf(row, i);
    const [part, text] = other ? ["queue", `${row.name}: its lane is busy with ${other.row.name} of unit ${other.row.bars.last[other.i]}`]
      : !row.inputs.length ? ["clock", `${row.name}: started after its release`]
        : may > bars.ready[i] ? ["clock", `${row.name}: started after its due`] : ["queue", `${row.name}: waits to be started`];
    steps.push(step(part, row, unit, may, bars.start[i], usualOf(row).wait, text));
  }
  if (may > bars.ready[i]) steps.push(dueStep(row, unit, i, steps.length ? may : bars.start[i]));
  return steps;
}

const dueStep = (row, unit, i, until) =>
  step("due", row, unit, row.bars.ready[i], Math.max(row.bars.ready[i], until), usualOf(row).due, `${row.name}: waits for its due`);

// From when on nothing but its lane and the clock held a body up: all was there, and a paced one was due.
const mayStart = ({ paced, bars }, i) => (paced && bars.due[i] > bars.ready[i] ? bars.due[i] : bars.ready[i]);

// The steps with the waits between them, from release on.
function joined(steps, released) {
  const all = [];
  let at = released;
  for (const part of steps) {
    if (part.from > at && part.part === "queue") all.push({ ...part, from: at });
    else {
      if (part.from > at) all.push(step("queue", part.row, part.unit, at, part.from, 0, `${part.row.name}: waits to be started`));
      all.push(part);
    }
    at = part.to;
  }
  return all;
}

// What lies before release belongs to the unit before; what nobody waited for any more, to nobody.
function clipped(part, released, limit) {
  const to = Math.min(part.to, limit);
  const from = Math.min(Math.max(part.from, released), to);
  return from === part.from && to === part.to ? part : { ...part, from, to, usual: Math.min(part.usual, to - from) };
}

// The last unit of the stream that a node takes for its unit.
const takenOf = (input, unit) => unit - input.delay + input.ahead;
const sendOf = (side, stream, process) => side.sends.get(`${stream} ${process}`);

// How a stream's unit settled, and when; null when it did not.
function outcomeOf(side, input, unit) {
  const settled = side.settled.get(input.stream);
  const odd = settled.odd.get(unit);
  if (odd) return odd[1] === UNSETTLED ? null : { at: odd[0], validity: odd[1] };
  const i = firingOf(input.from, unit);
  if (i < 0) return null;
  const send = sendOf(side, input.stream, settled.settler);
  const k = send?.byUnit.get(unit);
  return { at: k === undefined ? input.from.bars.out[i] : send.arrived[k], validity: 0 };
}

// When the node's process knew the outcome of what its unit takes from an input; null if it never did.
function seenAt(row, input, unit) {
  const taken = takenOf(input, unit);
  const outcome = outcomeOf(row.side, input, taken);
  if (outcome && row.side.settled.get(input.stream).settler === row.process) return outcome.at;
  const send = sendOf(row.side, input.stream, row.process);
  const k = send?.byUnit.get(taken);
  return k !== undefined ? send.arrived[k] : outcome?.at ?? null;
}

// The input that a unit waited for longest, and until when.
function lastSeen(row, unit) {
  let best = null;
  for (const input of row.inputs) {
    const at = seenAt(row, input, unit);
    if (at !== null && (!best || at > best.at)) best = { input, at };
  }
  return best;
}

// What kept the lane busy longest while a body could have started; null when nothing did.
function inFrontOf(row, i) {
  const [may, start] = [mayStart(row, i), row.bars.start[i]];
  let best = null;
  for (const other of row.side.rows) {
    if (other.process !== row.process || other.lane !== row.lane) continue;
    const { bars } = other;
    for (let k = atLeast(bars.start, start + 1) - 1; k >= 0 && bars.end[k] >= may; k--) {
      if ((other === row && k === i) || MODES[bars.mode[k]] === "skip") continue;
      const overlap = Math.min(bars.end[k], start) - Math.max(bars.start[k], may);
      if (overlap > 0 && (!best || overlap > best.overlap || (overlap === best.overlap && bars.start[k] > best.row.bars.start[best.i])))
        best = { row: other, i: k, overlap };
    }
  }
  return best;
}

// Medians: of a node's steps, and of a stream's packets on their way.
function usualOf(row) {
  const { bars } = row;
  const steps = () => Array.from(bars.mode.keys()).filter((i) => bars.mode[i] === 0);
  row.usual ??= {
    cost: median(steps().map((i) => bars.end[i] - bars.start[i])),
    wait: median(steps().map((i) => Math.max(0, bars.start[i] - mayStart(row, i)))),
    due: median(steps().map((i) => mayStart(row, i) - bars.ready[i])),
  };
  return row.usual;
}

const usualSend = (send) => (send.usual ??= median(send.took));

function median(values) {
  const sorted = Float64Array.from(values).sort();
  const middle = sorted.length >> 1;
  return !sorted.length ? 0 : sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
