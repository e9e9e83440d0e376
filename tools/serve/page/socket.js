// Media through the visit's own socket: JPEG and PCM both ways. Reaches wherever the page itself came through.

import { CameraPictures } from "./camera.js";
import { AUDIO, JPEG, PART_MS, readMedia, writeMedia } from "./protocol.js";
import { Sound } from "./sound.js";

const PICTURES_BYTES = 60_000; // unsent: pictures are left out, sound is not
const SOUND_BYTES = 400_000; // unsent: the network stands still
const DECODING = 2; // pictures at once

// `on`: silent() when a click is needed for sound, soundless() where there can be none.
export class SocketCarrier {
  constructor(line, canvas, need, on) {
    this.name = "socket";
    this.line = line;
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { alpha: false });
    this.on = on;
    this.sent = { [AUDIO]: 0, [JPEG]: 0 };
    this.camera = new CameraPictures(need, () => line.bufferedAmount < PICTURES_BYTES, (bytes) => this.send(JPEG, bytes));
    this.sound = Sound.isThere() ? new Sound({ captured: (bytes) => this.send(AUDIO, bytes), silent: on.silent }) : null;
    this.shown = 0;
    this.shownUnit = -1;
    this.newest = -1; // of the pictures that came, the last one drawn
    this.came = 0;
    this.decoding = 0;
    this.dropped = 0;
  }

  async start() {
    if (!this.sound) return this.on.soundless();
    await this.sound.start().catch(() => this.fail());
  }

  // What fails because the carrier was closed meanwhile has not failed.
  fail() {
    if (!this.isClosed) this.on.soundless();
  }

  send(kind, bytes) {
    if (kind === AUDIO && this.line.bufferedAmount > SOUND_BYTES) return void this.dropped++;
    const startedMs = kind === AUDIO ? performance.now() - PART_MS : performance.now();
    this.line.sendMedia(writeMedia({ kind, unit: this.sent[kind]++, atUs: startedMs * 1000 }, bytes));
  }

  receive(buffer) {
    const media = readMedia(buffer);
    if (media.kind === AUDIO) this.sound?.play(media.data, media.unit, media.part);
    else if (media.kind === JPEG) this.draw(media);
  }

  async draw({ data, unit }) {
    const number = this.came++;
    if (this.decoding >= DECODING) return void this.dropped++;
    this.decoding++;
    try {
      const picture = await createImageBitmap(new Blob([data], { type: "image/jpeg" }));
      const later = this.sound?.report.heldMs ?? 0; // a picture waits as its sound does
      if (later > 4) setTimeout(() => this.show(picture, unit, number), later);
      else this.show(picture, unit, number);
    } catch {
      this.dropped++; // a damaged picture
    } finally {
      this.decoding--;
    }
  }

  show(picture, unit, number) {
    if (number > this.newest && !this.isClosed) {
      if (this.canvas.width !== picture.width) this.canvas.width = picture.width;
      if (this.canvas.height !== picture.height) this.canvas.height = picture.height;
      this.context.drawImage(picture, 0, 0);
      this.newest = number;
      this.shownUnit = unit;
      this.shown++;
    }
    picture.close();
  }

  setTracks({ camera, microphone }) {
    this.camera.watch(camera);
    this.sound?.listen(microphone).catch(() => this.fail());
  }

  hush(ms) {
    if (!this.sound) return;
    const { gain, context } = this.sound;
    gain.gain.cancelScheduledValues(context.currentTime);
    gain.gain.setValueAtTime(0, context.currentTime);
    gain.gain.setValueAtTime(this.volume ?? 1, context.currentTime + ms / 1000);
  }

  flush() {
    this.sound?.flush();
    this.setVolume(this.volume ?? 1); // what comes from now on is to be heard
  }

  setVolume(volume) {
    this.volume = volume;
    if (!this.sound) return;
    const { gain, context } = this.sound;
    gain.gain.cancelScheduledValues(context.currentTime);
    gain.gain.setValueAtTime(volume, context.currentTime);
  }

  setSpeaker(id) {
    return this.sound?.context.setSinkId?.(id);
  }

  play() {
    this.sound?.resume();
  }

  async played() {
    const { unit, underruns } = this.sound?.report ?? { unit: -1, underruns: 0 };
    return { audio: unit, video: this.shownUnit, underruns, shown: this.shown, audio_at_ms: 0, video_at_ms: 0 };
  }

  close() {
    this.isClosed = true;
    this.camera.stop();
    this.sound?.close();
  }
}
