// The visit from the first word to the last: the socket, the media's carrier, and what becomes of both.
// Phases: ready, connecting, waiting, starting, live, lost (tried again), gone (given up), over.

import * as identity from "./identity.js";
import { Line } from "./line.js";
import { VERSION } from "./protocol.js";
import { SocketCarrier } from "./socket.js";
import { WebRtcCarrier } from "./webrtc.js";

const PLAYED_MS = 250;
const HUSH_MS = 400; // after an interruption, until the server's own flush

// `on`: phase(name, detail), welcome(message), message(message) for what is only shown, carrier(name, why), ping(ms),
// silent() when sound needs a click, soundless() when there can be none.
export class Visit {
  constructor({ url, video, canvas, devices, wantsSocket, on }) {
    Object.assign(this, { url, video, canvas, devices, wantsSocket, on });
    this.phase = "ready";
    this.volume = 1;
    this.speaker = "";
    this.carrier = null;
    this.line = null;
  }

  get isLive() {
    return this.phase === "live";
  }

  start({ token, params = {}, consent = null }) {
    this.first = { token, params, consent };
    this.line?.close();
    this.line = new Line(this.url, {
      open: () => this.hello(),
      message: (message) => this.obey(message),
      media: (buffer) => this.carrier?.receive?.(buffer),
      lost: (seconds) => this.enter("lost", seconds),
      gone: () => this.finish("gone"),
      ping: (ms) => this.on.ping(ms),
    });
    this.enter("connecting");
    this.line.connect();
  }

  hello() {
    const { token, params, consent } = this.first;
    const visit = identity.visitName();
    // A visit that goes on keeps what was changed meanwhile.
    this.line.send({ type: "hello", token, version: VERSION, visit, consent, params: visit ? {} : params });
  }

  obey(message) {
    switch (message.type) {
      case "waiting":
        this.line.settle();
        return this.enter("waiting", message);
      case "starting":
        this.line.settle();
        return this.enter("starting", message.text);
      case "welcome":
        return this.welcome(message);
      case "answer":
        return this.carrier?.answer?.(message.sdp);
      case "carried":
        return this.carried(message.name);
      case "flush":
        this.carrier?.flush();
        return this.on.message(message);
      case "over":
        return this.finish("over", message);
      default:
        return this.on.message(message);
    }
  }

  welcome(message) {
    this.line.settle();
    identity.keepVisit(message.visit);
    this.about = message;
    this.on.welcome(message);
    this.enter("live", message);
    this.tellDevices();
    this.useBestCarrier();
    clearInterval(this.timer);
    this.timer = setInterval(() => this.tellPlayed(), PLAYED_MS);
  }

  // Carriers ---------------------------------------------------------------------------------------------------------

  useBestCarrier() {
    if (this.wantsSocket) this.useSocket("wanted");
    else if (!this.about.webrtc) this.useSocket("server");
    else if (!WebRtcCarrier.isThere()) this.useSocket("browser");
    else this.useWebRtc();
  }

  useWebRtc() {
    const carrier = new WebRtcCarrier(this.video, this.about.ice_servers, {
      offer: (sdp) => this.line.send({ type: "offer", sdp }),
      connected: () => this.on.carrier("webrtc", ""),
      failed: (why) => this.carrier === carrier && this.isLive && this.useSocket(why),
      silent: () => this.on.silent(),
    });
    this.use(carrier);
  }

  useSocket(why) {
    this.whySocket = why;
    this.line.send({ type: "socket" });
    const need = this.about.inputs.video ?? { width: 0, height: 0 };
    this.use(new SocketCarrier(this.line, this.canvas, need, { silent: () => this.on.silent(), soundless: () => this.on.soundless() }));
  }

  // The server takes the socket by itself where it refuses an offer.
  carried(name) {
    if (name !== "socket") return;
    if (this.carrier?.name !== "socket") this.useSocket("refused");
    this.on.carrier("socket", this.whySocket);
  }

  use(carrier) {
    this.carrier?.close();
    this.carrier = carrier;
    this.video.hidden = carrier.name !== "webrtc";
    this.canvas.hidden = !this.video.hidden;
    carrier.setVolume(this.volume);
    if (this.speaker) this.setSpeaker(this.speaker).catch(() => {}); // it was unplugged meanwhile
    carrier.setTracks(this.tracks());
    carrier.start();
  }

  tracks() {
    const sent = ({ state, track }) => (state === "on" ? track : null);
    return { camera: sent(this.devices.camera), microphone: sent(this.devices.microphone) };
  }

  // What the visitor does --------------------------------------------------------------------------------------------

  devicesChanged() {
    if (!this.isLive) return;
    this.tellDevices();
    this.carrier?.setTracks(this.tracks());
  }

  tellDevices() {
    this.line.send({ type: "devices", ...this.devices.states });
  }

  async tellPlayed() {
    const { carrier, line } = this;
    if (!carrier || !this.isLive) return;
    const played = await carrier.played();
    if (this.carrier === carrier && this.isLive) line.send({ type: "played", ...played });
  }

  say(text) {
    this.line.send({ type: "typed", text });
  }

  interrupt() {
    if (!this.isLive) return;
    this.line.send({ type: "interrupt" });
    this.carrier?.hush(HUSH_MS);
  }

  change(node, name, value) {
    if (this.isLive) this.line.send({ type: "change", node, name, value });
  }

  watch(isOn) {
    if (this.isLive) this.line.send({ type: "watch", is_on: isOn });
  }

  setVolume(volume) {
    this.volume = volume;
    this.carrier?.setVolume(volume);
  }

  async setSpeaker(id) {
    await this.carrier?.setSpeaker(id);
    this.speaker = id;
  }

  leave() {
    this.line?.send({ type: "bye" });
    this.finish("over", { reason: "bye", text: "", again: true });
  }

  // The page goes away, perhaps to come back: no goodbye.
  pause() {
    if (!this.line) return;
    identity.markLeft();
    this.close();
  }

  // ------------------------------------------------------------------------------------------------------------------

  finish(phase, detail) {
    this.close();
    if (phase === "over" && detail.reason !== "elsewhere") identity.forgetVisit();
    this.enter(phase, detail);
  }

  close() {
    clearInterval(this.timer);
    this.line?.close();
    this.line = null;
    this.carrier?.close();
    this.carrier = null;
  }

  enter(phase, detail) {
    this.phase = phase;
    this.on.phase(phase, detail);
  }
}
