// The camera's pictures as JPEG, at most 25 a second: one at a time, so that a slow page leaves pictures out.

const EVERY_MS = 40;
const EARLY_MS = 6; // a camera of 30 pictures a second is not halved
const QUALITY = 0.8;
const SIDE = 320;

// `send(bytes)` for each picture while `mayTake()`; `need`: the graph's own size, below which none is made.
export class CameraPictures {
  constructor(need, mayTake, send) {
    this.need = need;
    this.mayTake = mayTake;
    this.send = send;
    this.canvas = document.createElement("canvas");
    this.context = this.canvas.getContext("2d", { alpha: false });
    this.last = -Infinity;
    this.dropped = 0;
  }

  // The camera's track, or null. Frames come from the track itself where a browser can, so that they come also while
  // the page is hidden; else from an element that plays it.
  watch(track) {
    this.stop();
    if (!track) return;
    const canRead = typeof MediaStreamTrackProcessor === "function";
    this.reader = canRead ? this.readTrack(track) : this.readElement(track);
  }

  stop() {
    this.reader?.stop();
    this.reader = null;
  }

  readTrack(track) {
    const reader = new MediaStreamTrackProcessor({ track, maxBufferSize: 1 }).readable.getReader();
    const pump = async () => {
      for (;;) {
        const { value: frame, done } = await reader.read();
        if (done) return;
        this.take(frame, frame.displayWidth, frame.displayHeight);
        frame.close();
      }
    };
    pump().catch(() => {}); // the track has ended
    return { stop: () => reader.cancel().catch(() => {}) };
  }

  readElement(track) {
    const element = document.createElement("video");
    Object.assign(element, { muted: true, playsInline: true, srcObject: new MediaStream([track]) });
    element.play().catch(() => {});
    const timer = setInterval(() => element.videoWidth && this.take(element, element.videoWidth, element.videoHeight), EVERY_MS);
    return {
      stop() {
        clearInterval(timer);
        element.srcObject = null;
      },
    };
  }

  take(picture, width, height) {
    const now = performance.now();
    if (now - this.last < EVERY_MS - EARLY_MS) return;
    if (this.isBusy || !this.mayTake()) return void this.dropped++;
    this.last = Math.max(this.last + EVERY_MS, now - EVERY_MS);
    const scale = Math.min(1, Math.max(SIDE / Math.max(width, height), this.need.width / width, this.need.height / height));
    const [w, h] = [Math.round(width * scale), Math.round(height * scale)];
    if (this.canvas.width !== w) this.canvas.width = w;
    if (this.canvas.height !== h) this.canvas.height = h;
    this.context.drawImage(picture, 0, 0, w, h);
    this.isBusy = true;
    this.canvas.toBlob((blob) => this.made(blob), "image/jpeg", QUALITY);
  }

  async made(blob) {
    if (blob) this.send(new Uint8Array(await blob.arrayBuffer()));
    this.isBusy = false;
  }
}
