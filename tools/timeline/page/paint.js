// Ink: canvases at the screen's resolution, the theme's colours, hatching, numbers.

const ink = {};
const SANS = 'Inter, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif';
const N_COLOURS = 5;

function readTheme() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ["paper", "raised", "ink", "soft", "faint", "line", "hair", "warn", "good", "select"])
    ink[name] = style.getPropertyValue(`--${name}`).trim();
  ink.units = Array.from({ length: N_COLOURS }, (_, i) => style.getPropertyValue(`--unit-${i}`).trim());
  ink.hatches = ink.units.map((colour) => hatch(colour, 5, 1.1));
  ink.lateHatch = hatch(ink.warn, 4, 1.6);
  ink.absorbHatch = hatch(ink.paper, 6, 2);
  ink.onUnit = ink.units.map((colour) => (lightness(colour) > 0.36 ? "#14181c" : "#ffffff"));
}

const colourOf = (unit) => ink.units[((unit % N_COLOURS) + N_COLOURS) % N_COLOURS];
const hatchOf = (unit) => ink.hatches[((unit % N_COLOURS) + N_COLOURS) % N_COLOURS];
const textOn = (unit) => ink.onUnit[((unit % N_COLOURS) + N_COLOURS) % N_COLOURS];

function lightness(hex) {
  const [r, g, b] = [1, 3, 5].map((i) => (parseInt(hex.slice(i, i + 2), 16) / 255) ** 2.2);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

// Diagonal stripes as a pattern of `step` CSS pixels, sharp at any resolution.
function hatch(colour, step, width) {
  const ratio = Math.max(2, Math.ceil(devicePixelRatio));
  const tile = document.createElement("canvas");
  tile.width = tile.height = step * ratio;
  const c = tile.getContext("2d");
  c.scale(ratio, ratio);
  c.strokeStyle = colour;
  c.lineWidth = width;
  c.beginPath();
  for (let x = -step; x <= 2 * step; x += step) {
    c.moveTo(x - 1, step + 1);
    c.lineTo(x + step + 1, -1);
  }
  c.stroke();
  const pattern = c.createPattern(tile, "repeat");
  pattern.setTransform(new DOMMatrix().scale(1 / ratio));
  return pattern;
}

// A 2d context in CSS pixels, the canvas as large as its element; `height` sets the element's height.
function contextOf(canvas, height) {
  if (height !== undefined && canvas.style.height !== `${height}px`) canvas.style.height = `${height}px`;
  const ratio = devicePixelRatio;
  const width = canvas.clientWidth;
  const tall = height ?? canvas.clientHeight;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(tall * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(tall * ratio);
  }
  const c = canvas.getContext("2d");
  c.setTransform(ratio, 0, 0, ratio, 0, 0);
  c.clearRect(0, 0, width, tall);
  c.textBaseline = "middle";
  return { c, width, height: tall };
}

const font = (c, px, weight = 400) => (c.font = `${weight} ${px}px ${SANS}`);

function line(c, x0, y0, x1, y1, colour, width = 1, dash = []) {
  c.strokeStyle = colour;
  c.lineWidth = width;
  c.setLineDash(dash);
  c.beginPath();
  c.moveTo(x0, y0);
  c.lineTo(x1, y1);
  c.stroke();
  c.setLineDash([]);
}

// A vertical line on a whole pixel.
const upright = (c, x, y0, y1, colour, width = 1, dash = []) =>
  line(c, Math.round(x) + 0.5, y0, Math.round(x) + 0.5, y1, colour, width, dash);

function cross(c, x, y, r, colour, width = 2, halo = 3) {
  c.lineCap = "round";
  if (halo) line(c, x - r, y - r, x + r, y + r, ink.paper, width + halo);
  if (halo) line(c, x - r, y + r, x + r, y - r, ink.paper, width + halo);
  line(c, x - r, y - r, x + r, y + r, colour, width);
  line(c, x - r, y + r, x + r, y - r, colour, width);
  c.lineCap = "butt";
}

function roundBox(c, x, y, w, h, r = 2.5) {
  c.beginPath();
  c.roundRect(x, y, w, h, Math.max(0, Math.min(r, w / 2, h / 2)));
}

const MINUS = "−";
const signed = (text) => text.replace("-", MINUS);
const ms = (us, digits = 1) => (us === null || Number.isNaN(us) ? "–" : signed((us / 1000).toFixed(digits)));
const plusMs = (us) => (us > 0 ? "+" : "") + ms(us);

// Steps for an axis: 1, 2 or 5 times a power of ten, at least `smallest`.
function niceStep(smallest) {
  const power = 10 ** Math.floor(Math.log10(smallest));
  return [1, 2, 5, 10].map((f) => f * power).find((step) => step >= smallest * 0.999);
}

function axisTime(us, step) {
  if (step >= 1_000_000) return signed(`${(us / 1e6).toFixed(0)} s`);
  if (step >= 1_000) return signed(`${(us / 1e6).toFixed(Math.max(0, Math.ceil(6 - Math.log10(step)) ))} s`);
  return signed(`${(us / 1000).toFixed(step >= 100 ? 1 : 2)} ms`);
}
