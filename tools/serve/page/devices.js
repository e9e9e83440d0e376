// The visitor's camera and microphone: opened, switched off and on, changed, lost and found again. One that is not
// there is `absent`, and the visit goes on without it.

import { ofDevice } from "./words.js";

const KINDS = {
  camera: { track: "video", device: "videoinput" },
  microphone: { track: "audio", device: "audioinput" },
};
const FRAMES_PER_S = 25;

// `on`: change() after any of it, problem(kind, words or "" when it is well again).
export class Devices {
  constructor(on) {
    this.on = on;
    this.size = { width: 320, height: 240 };
    this.camera = { state: "absent", track: null, id: "", isWanted: false };
    this.microphone = { state: "absent", track: null, id: "", isWanted: false };
    navigator.mediaDevices?.addEventListener("devicechange", () => this.lookAgain());
  }

  get states() {
    return { camera: this.camera.state, microphone: this.microphone.state };
  }

  // Both with one question to the visitor, so that they answer once; each alone where both cannot be had.
  async open(kinds) {
    for (const kind of kinds) this[kind].isWanted = true;
    const missing = kinds.filter((kind) => !this[kind].track && this[kind].state !== "off");
    if (!missing.length) return;
    try {
      this.adopt(await this.request(missing), missing);
    } catch (error) {
      for (const kind of missing) await this.openAlone(kind, error, missing.length > 1);
    }
    this.on.change();
  }

  async openAlone(kind, error, hadCompany) {
    // A visitor who has just refused both is not asked again for each.
    const isAnswered = error.name === "NotAllowedError" && !(await isGranted(kind));
    if (!hadCompany || isAnswered || error.name === "InsecureError") return this.fail(kind, error);
    try {
      this.adopt(await this.request([kind]), [kind]);
    } catch (alone) {
      this.fail(kind, alone);
    }
  }

  async request(kinds) {
    if (!navigator.mediaDevices) throw new DOMException("no secure context", "InsecureError");
    try {
      return await navigator.mediaDevices.getUserMedia(this.constraints(kinds));
    } catch (error) {
      if (error.name !== "OverconstrainedError") throw error;
      for (const kind of kinds) this[kind].id = ""; // the chosen device is gone: any other
      return navigator.mediaDevices.getUserMedia(this.constraints(kinds));
    }
  }

  constraints(kinds) {
    const exactly = (id) => (id ? { deviceId: { exact: id } } : {});
    const { width, height } = this.size;
    const video = { width: { ideal: width }, height: { ideal: height }, frameRate: { ideal: FRAMES_PER_S }, ...exactly(this.camera.id) };
    // `true` cancels everything that this browser plays, sound of worklets too.
    const audio = { echoCancellation: true, noiseSuppression: true, autoGainControl: true, ...exactly(this.microphone.id) };
    return { video: kinds.includes("camera") && video, audio: kinds.includes("microphone") && audio };
  }

  adopt(stream, kinds) {
    for (const kind of kinds) {
      const device = this[kind];
      const track = stream.getTracks().find((track) => track.kind === KINDS[kind].track);
      if (!device.isWanted) {
        track.stop(); // the visitor left while the browser was still asking
        continue;
      }
      device.track?.stop();
      device.track = track;
      device.state = "on";
      device.track.onended = () => this.lost(kind);
      this.on.problem(kind, "");
    }
  }

  fail(kind, error) {
    Object.assign(this[kind], { track: null, state: "absent" });
    this.on.problem(kind, ofDevice(kind, error));
  }

  lost(kind) {
    this.fail(kind, new DOMException("", "AbortError"));
    this.on.change();
  }

  async lookAgain() {
    const gone = Object.keys(KINDS).filter((kind) => this[kind].isWanted && this[kind].state === "absent");
    const there = new Set((await this.list()).map((device) => device.kind));
    for (const kind of gone) if (there.has(KINDS[kind].device) && (await isGranted(kind))) await this.open([kind]);
    this.on.change();
  }

  // What is off sends nothing; a camera that is off is closed, so that its light goes out.
  async toggle(kind) {
    const device = this[kind];
    if (!device.track) {
      device.state = "absent";
      return this.open([kind]);
    }
    device.state = device.state === "on" ? "off" : "on";
    if (kind === "camera") this.drop(kind);
    else device.track.enabled = device.state === "on";
    this.on.change();
  }

  async choose(kind, id) {
    const device = this[kind];
    device.id = id;
    this.drop(kind); // first: some systems lend one camera once
    if (device.state === "off" || !device.isWanted) return;
    device.state = "absent";
    await this.open([kind]);
  }

  list() {
    return navigator.mediaDevices?.enumerateDevices() ?? Promise.resolve([]);
  }

  drop(kind) {
    const { track } = this[kind];
    if (!track) return;
    track.onended = null;
    track.stop();
    this[kind].track = null;
  }

  close() {
    for (const kind of Object.keys(KINDS)) {
      this.drop(kind);
      Object.assign(this[kind], { state: "absent", isWanted: false });
    }
    this.on.change();
  }
}

async function isGranted(kind) {
  try {
    return (await navigator.permissions.query({ name: kind })).state === "granted";
  } catch {
    return false; // a browser that cannot be asked
  }
}
