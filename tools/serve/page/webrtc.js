// Media by WebRTC: one connection both ways, offered once with all its candidates. The element plays what comes.

const GATHER_MS = 1000;
const CONNECT_MS = 3000;
const LOST_MS = 2000; // a connection may come back by itself
const FLUSH_MS = 60; // what a browser holds of sound that is on its way
const NTP_MS = 2_208_988_800_000; // from 1900 to 1970

// `on`: offer(sdp), connected(), failed("slow" | "refused" | "lost"), silent() when a click is needed for sound.
export class WebRtcCarrier {
  constructor(element, iceServers, on) {
    this.name = "webrtc";
    this.element = element;
    this.on = on;
    this.peer = new RTCPeerConnection({ iceServers });
    this.channel = this.peer.createDataChannel("visit"); // its end reaches the server at once, the connection's in 5 s
    this.senders = {
      audio: this.peer.addTransceiver("audio", { direction: "sendrecv" }).sender,
      video: this.peer.addTransceiver("video", { direction: "sendrecv" }).sender,
    };
    this.peer.ontrack = ({ streams, track }) => this.show(streams[0] ?? new MediaStream([track]));
    this.peer.onconnectionstatechange = () => this.changed(this.peer.connectionState);
    this.isMuted = false; // by the browser, until a click
    this.shown = 0;
    this.known = {};
  }

  static isThere() {
    return typeof RTCPeerConnection === "function";
  }

  async start() {
    this.timer = setTimeout(() => this.fail("slow"), CONNECT_MS);
    try {
      await this.peer.setLocalDescription(await this.peer.createOffer());
      await this.gathered();
      if (!this.isClosed) this.on.offer(this.peer.localDescription.sdp);
    } catch {
      this.fail("refused");
    }
  }

  gathered() {
    const { peer } = this;
    return new Promise((done) => {
      const look = () => peer.iceGatheringState === "complete" && done();
      peer.addEventListener("icegatheringstatechange", look);
      setTimeout(done, GATHER_MS);
      look();
    });
  }

  async answer(sdp) {
    if (/^m=(audio|video) 0 /m.test(sdp)) return this.fail("refused"); // no codec in common
    try {
      await this.peer.setRemoteDescription({ type: "answer", sdp });
    } catch {
      this.fail("refused");
    }
  }

  changed(state) {
    if (this.isClosed) return;
    if (state === "failed") return this.fail(this.isConnected ? "lost" : "slow");
    if (state === "connected") {
      clearTimeout(this.timer);
      if (!this.isConnected) this.on.connected();
      this.isConnected = true;
    }
    if (state === "disconnected") this.timer = setTimeout(() => this.fail("lost"), LOST_MS);
  }

  fail(why) {
    if (!this.isClosed) this.on.failed(why);
  }

  show(stream) {
    if (this.element.srcObject === stream) return;
    this.element.srcObject = stream;
    this.play();
    const count = (now, { presentedFrames }) => {
      if (this.isClosed) return;
      this.shown = presentedFrames;
      this.element.requestVideoFrameCallback(count);
    };
    this.element.requestVideoFrameCallback?.(count);
  }

  // Without a click a browser plays the picture alone.
  play() {
    this.setMuted(false);
    this.element.play().catch((error) => {
      if (error.name !== "NotAllowedError" || this.isClosed) return;
      this.setMuted(true);
      this.element.play().catch(() => {}); // closed meanwhile
      this.on.silent();
    });
  }

  setMuted(isMuted) {
    this.isMuted = isMuted;
    this.element.muted = isMuted;
  }

  setTracks({ camera, microphone }) {
    this.senders.video.replaceTrack(camera).catch(() => {}); // closed meanwhile
    this.senders.audio.replaceTrack(microphone).catch(() => {});
  }

  // Nothing can be taken out of the browser's queue: it is not heard.
  hush(ms) {
    this.element.muted = true;
    clearTimeout(this.hushed);
    this.hushed = setTimeout(() => (this.element.muted = this.isMuted), ms);
  }

  flush() {
    this.hush(FLUSH_MS);
  }

  setVolume(volume) {
    this.element.volume = volume;
  }

  setSpeaker(id) {
    return this.element.setSinkId?.(id);
  }

  async played() {
    for (const stats of (await this.peer.getStats()).values())
      if (stats.type === "inbound-rtp") this.known[stats.kind] = stats;
    const { audio, video } = this.known;
    const at = (stats) => (stats?.estimatedPlayoutTimestamp ? stats.estimatedPlayoutTimestamp - NTP_MS : 0);
    return { audio: -1, video: -1, underruns: audio?.concealmentEvents ?? 0, shown: this.shown, audio_at_ms: at(audio), video_at_ms: at(video) };
  }

  close() {
    this.isClosed = true;
    clearTimeout(this.timer);
    clearTimeout(this.hushed);
    this.channel.close();
    this.peer.close();
    this.element.srcObject = null;
    this.element.muted = false;
  }
}
