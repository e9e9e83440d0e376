// The page's audio: one context at the protocol's rate, a worklet that plays and one that listens to the microphone.

import { RATE_HZ } from "./protocol.js";

const LAG_MS = 500; // between two looks at how long sound takes from the worklet to the ear
const worklet = (name) => new URL(`./${name}.worklet.js`, import.meta.url);

// `on`: captured(bytes) for each part of the microphone's sound, silent() when a click is needed for sound.
export class Sound {
  constructor(on) {
    this.on = on;
    this.context = new AudioContext({ sampleRate: RATE_HZ, latencyHint: "interactive" });
    this.report = { unit: -1, heldMs: 0, underruns: 0, droppedMs: 0 };
    this.gain = this.context.createGain();
    this.gain.connect(this.context.destination);
  }

  static isThere() {
    return typeof AudioWorkletNode === "function" && isSecureContext;
  }

  async start() {
    await this.context.audioWorklet.addModule(worklet("playback"));
    if (this.isClosed) return;
    this.playback = new AudioWorkletNode(this.context, "playback", { numberOfInputs: 0, outputChannelCount: [1] });
    this.playback.port.onmessage = ({ data }) => (this.report = data);
    this.playback.connect(this.gain);
    this.timer = setInterval(() => this.tellLag(), LAG_MS);
    await this.resume();
  }

  async resume() {
    // A context that may not sound yet leaves its promise open.
    await Promise.race([this.context.resume(), new Promise((done) => setTimeout(done, 300))]);
    if (this.context.state === "suspended") this.on.silent();
  }

  tellLag() {
    const { baseLatency = 0, outputLatency = 0 } = this.context;
    this.playback.port.postMessage({ type: "lag", lagS: baseLatency + outputLatency });
  }

  play(bytes, unit, part) {
    const samples = bytes.slice().buffer;
    this.playback?.port.postMessage({ type: "sound", samples, unit, part }, [samples]);
  }

  flush() {
    this.playback?.port.postMessage({ type: "flush" });
  }

  // The microphone, or null. A context of its own where a browser wants that to have the microphone's rate.
  async listen(track) {
    const turn = (this.turn = Symbol("the newest call"));
    this.stopListening();
    if (!track || this.isClosed) return;
    const [context, source] = this.sourceOf(new MediaStream([track]));
    if (!context.hasCapture) await context.audioWorklet.addModule(worklet("capture"));
    context.hasCapture = true;
    if (turn !== this.turn || this.isClosed) return;
    const capture = new AudioWorkletNode(context, "capture", { channelCount: 1, channelCountMode: "explicit" });
    capture.port.onmessage = ({ data }) => this.on.captured(new Uint8Array(data));
    source.connect(capture).connect(context.destination); // it puts out silence: without a way there it is not run
    this.listening = { source, capture };
  }

  sourceOf(stream) {
    try {
      return [this.context, this.context.createMediaStreamSource(stream)];
    } catch {
      this.second ??= new AudioContext();
      return [this.second, this.second.createMediaStreamSource(stream)];
    }
  }

  stopListening() {
    if (!this.listening) return;
    this.listening.source.disconnect();
    this.listening.capture.disconnect();
    this.listening.capture.port.onmessage = null;
    this.listening = null;
  }

  close() {
    this.isClosed = true;
    clearInterval(this.timer);
    this.stopListening();
    this.second?.close();
    this.context.close();
  }
}
