// Sound of any rate at a lower one, piece by piece: a low pass of windowed sinc, read where the new samples are.

const ZEROS = 16; // of the sinc on each side

export class Resampler {
  constructor(fromHz, toHz) {
    this.step = fromHz / toHz;
    const widen = Math.max(1, this.step);
    this.reach = Math.ceil(ZEROS * widen);
    this.cut = 0.92 / widen; // a little below half of the lower rate
    this.kept = new Float32Array(2 * this.reach); // silence before the first sample
    this.at = this.reach; // the next sample to be made, counted in `kept`
  }

  // What can be made of the samples so far. Rates that are the same pass through.
  push(samples) {
    if (this.step === 1) return samples;
    const all = new Float32Array(this.kept.length + samples.length);
    all.set(this.kept);
    all.set(samples, this.kept.length);
    const made = [];
    for (; this.at + this.reach < all.length; this.at += this.step) made.push(this.valueAt(all, this.at));
    const done = Math.max(0, Math.floor(this.at) - this.reach);
    this.kept = all.slice(done);
    this.at -= done;
    return Float32Array.from(made);
  }

  valueAt(all, at) {
    const middle = Math.floor(at);
    let sum = 0;
    for (let i = middle - this.reach + 1; i <= middle + this.reach; i++) sum += all[i] * this.weight(i - at);
    return sum;
  }

  weight(x) {
    const edge = x / this.reach;
    if (Math.abs(edge) >= 1) return 0;
    const turn = Math.PI * this.cut * x;
    const sinc = Math.abs(turn) < 1e-9 ? 1 : Math.sin(turn) / turn;
    return this.cut * sinc * (0.5 + 0.5 * Math.cos(Math.PI * edge));
  }
}
