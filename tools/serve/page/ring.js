// Sound that was received and not heard yet. It begins late on purpose, so that an uneven network is not heard; drops
// what came too much; waits longer after it has run dry, and less again where that was not needed for a while. No clock:
// sound goes in by `put`, out by `take`.

const START_MS = 36;
const SURPLUS_MS = 60; // held above what is wanted before sound is dropped
const SLACK_MS = 4; // surplus that is given up only where nothing is to be heard
const GROW_MS = 30; // each time it has run dry
const MOST_MS = 150;
const CALM_S = 5; // without a surplus that was never used is enough to do without it
const SAFE_MS = 10; // of it stay
const LEAST_MS = 30; // a part of 20 ms, and what is taken at once
const SILENCE = 0.005; // of full scale
const RAMP = 32; // samples over which sound begins, so that it does not click

export class Ring {
  constructor(rateHz) {
    this.perMs = rateHz / 1000;
    this.samples = new Float32Array(rateHz); // one second
    this.want = START_MS * this.perMs;
    this.underruns = 0;
    this.dropped = 0; // samples
    this.beginCalm(); // samples heard since it ran dry, or since less was wanted, and the least held since then
    this.flush();
  }

  get held() {
    return this.write - this.read;
  }

  get heldMs() {
    return this.held / this.perMs;
  }

  // All that was not heard is forgotten; what is put next begins as the first sound did.
  flush() {
    this.read = this.write = 0;
    this.marks = []; // { end, unit, part }: where each part ends, oldest first
    this.isPlaying = false;
    this.ramp = 0;
  }

  // Samples from -1 to 1, at most half a second.
  put(samples, unit, part) {
    const size = this.samples.length;
    for (let i = 0; i < samples.length; i++) this.samples[(this.write + i) % size] = samples[i];
    this.write += samples.length;
    this.marks.push({ end: this.write, unit, part });
    const isFar = this.held > this.want + SURPLUS_MS * this.perMs;
    if (this.isPlaying && isFar) this.drop(this.held - this.want);
    if (!this.isPlaying && this.held >= this.want) {
      this.dropped += this.held - this.want;
      this.read = this.write - this.want;
      this.isPlaying = true;
      this.ramp = 0;
    }
  }

  // Fills `out`, with silence where there is no sound.
  take(out) {
    const surplus = this.held - this.want;
    if (this.isPlaying && surplus > SLACK_MS * this.perMs && this.isSilent(out.length)) this.drop(Math.min(surplus, out.length));
    const n = this.isPlaying ? Math.min(out.length, this.held) : 0;
    for (let i = 0; i < n; i++) out[i] = this.samples[(this.read + i) % this.samples.length] * this.gain();
    out.fill(0, n);
    this.read += n;
    while (this.marks.length > 1 && this.marks[0].end < this.read - this.samples.length) this.marks.shift();
    if (!this.isPlaying) return;
    if (n < out.length) return void this.runDry();
    this.calm += n;
    this.lowest = Math.min(this.lowest, this.held);
    if (this.calm > CALM_S * 1000 * this.perMs) this.shrink();
  }

  runDry() {
    this.isPlaying = false;
    this.underruns++;
    this.want = Math.min(MOST_MS * this.perMs, this.want + GROW_MS * this.perMs);
    this.beginCalm();
  }

  shrink() {
    const unused = Math.max(0, this.lowest - SAFE_MS * this.perMs);
    this.want = Math.max(LEAST_MS * this.perMs, this.want - unused);
    this.beginCalm();
  }

  beginCalm() {
    this.calm = 0;
    this.lowest = MOST_MS * this.perMs;
  }

  drop(n) {
    this.read += n;
    this.dropped += n;
    this.ramp = 0;
  }

  isSilent(n) {
    for (let i = 0; i < n; i++) if (Math.abs(this.samples[(this.read + i) % this.samples.length]) > SILENCE) return false;
    return true;
  }

  gain() {
    return this.ramp < RAMP ? this.ramp++ / RAMP : 1;
  }

  // The unit whose sound was heard last, when what was taken needs `lag` more samples to reach the ear; -1 for none.
  heard(lag) {
    const at = this.read - lag;
    return this.marks.findLast((mark) => mark.end <= at)?.unit ?? -1;
  }
}
