// The visit's one WebSocket, and how it comes back when it is lost: tried again for 10 s, then given up.

const DELAYS_MS = [100, 400, 800, 1500];
const GIVE_UP_MS = 10_000;
const OPEN_MS = 3000; // for one try
const PING_MS = 1000;
const SILENT_MS = 5000; // an unanswered ping means that the network is gone, which a socket may learn much later

// `on`: open(), message(object), media(ArrayBuffer), lost(secondsLeft), gone(), ping(milliseconds).
export class Line {
  constructor(url, on) {
    this.url = url;
    this.on = on;
    this.socket = null;
    this.lostAt = null;
    this.tries = 0;
    this.timers = new Set();
    this.retry = () => this.socket === null && this.lostAt !== null && this.connect();
    addEventListener("online", this.retry);
  }

  get isOpen() {
    return this.socket?.readyState === WebSocket.OPEN;
  }

  get bufferedAmount() {
    return this.socket?.bufferedAmount ?? 0;
  }

  connect() {
    this.stopTimers();
    this.detach();
    const socket = new WebSocket(this.url);
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    this.after(OPEN_MS, () => !this.isOpen && this.lose());
    socket.onopen = () => this.opened();
    socket.onclose = () => this.lose();
    socket.onmessage = ({ data }) => (typeof data === "string" ? this.hear(JSON.parse(data)) : this.on.media(data));
  }

  opened() {
    this.stopTimers();
    this.unanswered = null; // when the ping was sent that nothing came after
    this.isAnswering = false;
    this.on.open();
    this.ping();
  }

  // The server takes part again: the next loss has its 10 s to itself.
  settle() {
    this.lostAt = null;
    this.tries = 0;
  }

  hear(message) {
    this.unanswered = null;
    if (message.type !== "pong") return this.on.message(message);
    this.isAnswering = true;
    this.on.ping(performance.now() - message.at_ms);
  }

  ping() {
    const now = performance.now();
    // A server that lets a visitor wait may answer no pings.
    if (this.isAnswering && this.unanswered !== null && now - this.unanswered > SILENT_MS) return this.lose();
    this.unanswered ??= now;
    this.send({ type: "ping", at_ms: now });
    this.after(PING_MS, () => this.ping());
  }

  lose() {
    this.stopTimers();
    this.detach();
    const now = performance.now();
    this.lostAt ??= now;
    const leftMs = GIVE_UP_MS - (now - this.lostAt);
    if (leftMs <= 0) return this.on.gone();
    this.on.lost(leftMs / 1000);
    const delay = DELAYS_MS[Math.min(this.tries++, DELAYS_MS.length - 1)];
    this.after(Math.min(delay, leftMs), () => this.connect());
  }

  send(message) {
    if (this.isOpen) this.socket.send(JSON.stringify(message));
  }

  sendMedia(bytes) {
    if (this.isOpen) this.socket.send(bytes);
  }

  close() {
    removeEventListener("online", this.retry);
    this.stopTimers();
    this.detach();
  }

  // No event of a socket that was given up reaches anyone.
  detach() {
    if (!this.socket) return;
    this.socket.onopen = this.socket.onclose = this.socket.onmessage = null;
    this.socket.close();
    this.socket = null;
  }

  after(ms, work) {
    const timer = setTimeout(() => {
      this.timers.delete(timer);
      work();
    }, ms);
    this.timers.add(timer);
  }

  stopTimers() {
    this.timers.forEach(clearTimeout);
    this.timers.clear();
  }
}
