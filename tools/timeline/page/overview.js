// The whole run in one strip: model latency per unit, misses on top, the window that is being looked at.

const whole = { image: null, key: "" };
const overX = (time, width) => ((time - run.begin) / (run.end - run.begin)) * (width - 48) + 24;
const overTime = (x, width) => ((x - 24) / (width - 48)) * (run.end - run.begin) + run.begin;

function drawOverview(canvas) {
  const { c, width, height } = contextOf(canvas);
  const [x0, x1] = [overX(view.from, width), overX(view.to, width)];
  c.fillStyle = ink.raised;
  c.fillRect(0, 0, width, height);
  c.fillStyle = ink.paper;
  c.fillRect(x0, 0, x1 - x0, height);
  drawSky(c, width, height);
  const thick = Math.max(x1 - x0, 3);
  roundBox(c, x0 - 0.5, 1, thick + 1, height - 3, 4);
  c.strokeStyle = ink.soft;
  c.lineWidth = 1.2;
  c.stroke();
  for (const x of [x0, x0 + thick]) {
    roundBox(c, x - 2.5, height / 2 - 8, 5, 15, 2.5);
    c.fillStyle = ink.soft;
    c.fill();
  }
}

// One stroke per pixel column: the highest latency in it, against the deadline.
function drawSky(c, width, height) {
  const columns = highest(width);
  const top = Math.max(run.latency * 1.15, 1);
  const tall = (value) => (Math.min(value / top, 1) * (height - 12));
  for (const [x, w, value] of columns) {
    c.fillStyle = value > run.latency ? ink.warn : ink.faint;
    c.globalAlpha = value > run.latency ? 1 : 0.55;
    c.fillRect(x, height - 3 - tall(value), w, tall(value));
  }
  c.globalAlpha = 1;
  line(c, 24, height - 3 - tall(run.latency), width - 24, height - 3 - tall(run.latency), ink.faint, 1, [4, 3]);
  let edge = -Infinity;
  for (const unit of run.misses) {
    const x = overX(deadline(unit), width);
    if (x - edge < 2) continue;
    cross(c, x, 9, 3.2, ink.warn, 1.6, 0);
    edge = x;
  }
  if (view.unit !== null) upright(c, overX(release(view.unit), width), 0, height, ink.select, 1.5);
}

function highest(width) {
  const key = `${width} ${run.units} ${run.end}`;
  if (whole.key === key) return whole.image;
  const values = run.curves[0].values;
  const w = Math.max(1, ((width - 48) * run.period) / (run.end - run.begin) - 0.6);
  const columns = new Map();
  for (let unit = run.first; unit < values.length; unit++) {
    const x = w > 1 ? overX(release(unit), width) : Math.round(overX(release(unit), width));
    if (isNumber(values[unit])) columns.set(x, Math.max(values[unit], columns.get(x) ?? 0));
  }
  whole.key = key;
  whole.image = [...columns].map(([x, value]) => [x, w, value]);
  return whole.image;
}

// Drag the window, an end of it, or draw a new one outside of it.
function bindOverview(canvas) {
  let drag = null;
  canvas.addEventListener("pointerdown", (event) => {
    const [x, width] = [event.offsetX, canvas.clientWidth];
    const ends = [overX(view.from, width), overX(view.to, width)];
    const grip = event.pointerType === "touch" ? 16 : 7;
    if (Math.abs(x - ends[0]) < grip) drag = { fixed: view.to };
    else if (Math.abs(x - ends[1]) < grip) drag = { fixed: view.from };
    else {
      const length = view.to - view.from;
      const time = overTime(x, width);
      if (x < ends[0] || x > ends[1]) look(time - length / 2, time + length / 2);
      drag = { offset: time - view.from, length };
    }
    canvas.setPointerCapture(event.pointerId);
    canvas.classList.add("panning");
  });
  canvas.addEventListener("pointermove", (event) => {
    const time = overTime(event.offsetX, canvas.clientWidth);
    if (!drag) {
      const near = [view.from, view.to].some((t) => Math.abs(overX(t, canvas.clientWidth) - event.offsetX) < 7);
      canvas.style.cursor = near ? "ew-resize" : "";
    } else if (drag.fixed !== undefined) look(Math.min(time, drag.fixed), Math.max(time, drag.fixed));
    else look(time - drag.offset, time - drag.offset + drag.length);
  });
  for (const name of ["pointerup", "pointercancel"])
    canvas.addEventListener(name, () => {
      drag = null;
      canvas.classList.remove("panning");
    });
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(Math.exp(-event.deltaY * 0.002), overTime(event.offsetX, canvas.clientWidth));
  }, { passive: false });
}
