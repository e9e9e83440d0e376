// What is being looked at: the window of time, the selected unit, and how time becomes pixels.

const SHORTEST_US = 400;

const view = {
  from: 0,
  to: 1,
  unit: null, // selected
  row: null, // what was found last
  wide: 1, // how long a window was asked for: a live run has yet to fill it
  onPaper: false,
  follows: false, // moves on as a live run does
  hover: null, // time under the pointer
  gutter: 150,
  width: 1000,
  height: 800,
  rowHeight: 28,
  listeners: [],
};

const scale = () => (view.width - view.gutter) / (view.to - view.from);
const xOf = (time) => view.gutter + (time - view.from) * scale();
const timeAt = (x) => view.from + (x - view.gutter) / scale();

// Look at [from, to], kept inside the run with a little air around it.
function look(from, to) {
  const air = (run.end - run.begin) * 0.01 + 20_000;
  const [low, high] = [run.begin - air, run.end + air];
  const length = Math.min(Math.max(to - from, SHORTEST_US), high - low);
  view.follows = run.live !== null && (from + to) / 2 + length / 2 >= run.end;
  const middle = (from + to) / 2;
  view.from = Math.min(Math.max(middle - length / 2, low), high - length);
  view.to = view.from + length;
  changed();
}

function zoom(factor, around = (view.from + view.to) / 2) {
  look(around - (around - view.from) / factor, around + (view.to - around) / factor);
  view.wide = view.to - view.from;
}

const pan = (us) => look(view.from + us, view.to + us);
const lookAtWhole = () => look(run.begin, run.end);
const lookAtEnd = () => look(run.end - view.wide, run.end);

// Bring a unit into the middle without changing the zoom, unless it would be a speck or burst the window.
function lookAtUnit(unit) {
  const middle = release(unit) + run.latency / 2;
  const fits = 3 * run.period + run.latency;
  const length = view.to - view.from > 1.8 * fits ? fits : Math.max(view.to - view.from, fits);
  look(middle - length / 2, middle + length / 2);
}

function select(unit) {
  view.unit = unit;
  const hash = unit === null ? " " : `#unit=${unit}`;
  try {
    history.replaceState(null, "", hash === " " ? location.pathname + location.search : hash);
  } catch {
    // pages opened from a sandbox may not touch their address; the selection works all the same
  }
  changed(true);
}

let asked = false;
let reselected = false;

// Redraw once per animation frame, however many events came in.
function changed(selection = false) {
  reselected ||= selection;
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => {
    asked = false;
    const now = reselected;
    reselected = false;
    for (const listener of view.listeners) listener(now);
  });
}
