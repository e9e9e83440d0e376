// The thread that the microphone is read in: parts of 8 ms, mono, 16 bit, at the rate of the protocol.

import { PART_MS, RATE_HZ } from "./protocol.js";
import { Resampler } from "./resampler.js";

class Capture extends AudioWorkletProcessor {
  constructor() {
    super();
    this.resampler = new Resampler(sampleRate, RATE_HZ);
    this.part = new Int16Array((RATE_HZ * PART_MS) / 1000);
    this.filled = 0;
  }

  process([[samples]]) {
    if (!samples) return true; // nothing is connected
    for (const value of this.resampler.push(samples)) {
      this.part[this.filled++] = Math.max(-32768, Math.min(32767, Math.round(value * 32768)));
      if (this.filled === this.part.length) this.send();
    }
    return true;
  }

  send() {
    this.port.postMessage(this.part.slice().buffer);
    this.filled = 0;
  }
}

registerProcessor("capture", Capture);
