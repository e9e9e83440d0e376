// The thread that sound is played in: a ring, filled by messages and emptied by the loudspeaker.

import { Ring } from "./ring.js";

const REPORT_S = 0.05;

class Playback extends AudioWorkletProcessor {
  constructor() {
    super();
    this.ring = new Ring(sampleRate);
    this.lag = 0; // samples between this thread and the ear
    this.next = 0;
    this.port.onmessage = ({ data }) => this.obey(data);
  }

  obey({ type, samples, unit, part, lagS }) {
    if (type === "flush") this.ring.flush();
    else if (type === "lag") this.lag = Math.round(lagS * sampleRate);
    else this.ring.put(Float32Array.from(new Int16Array(samples), (value) => value / 32768), unit, part);
  }

  process(inputs, [[out]]) {
    this.ring.take(out);
    if (currentTime >= this.next) this.report();
    return true;
  }

  report() {
    this.next = currentTime + REPORT_S;
    const { heldMs, underruns, dropped } = this.ring;
    this.port.postMessage({ unit: this.ring.heard(this.lag), heldMs, underruns, droppedMs: dropped / this.ring.perMs });
  }
}

registerProcessor("playback", Playback);
