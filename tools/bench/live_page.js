// Runs inside the page during a visit: when each time code left the own camera and was shown in the agent's picture, and
// when each beep came from the own microphone and from the agent; all in milliseconds of one clock. It waits for each
// picture and never polls: a page that is kept busy by its measuring would be measured itself.
async (seconds) => {
  const COLUMNS = 12, BITS = 20, CELL = 4;
  const surface = new OffscreenCanvas(COLUMNS * CELL, 2 * CELL).getContext("2d", { willReadFrequently: true });

  function code(source, width, height) {
    if (!width) return null;
    surface.drawImage(source, 0, 0, width, Math.floor(height / 8), 0, 0, COLUMNS * CELL, 2 * CELL);
    const { data } = surface.getImageData(0, 0, COLUMNS * CELL, 2 * CELL);
    const cells = [];
    for (let n = 0; n < 2 * COLUMNS; n++) {
      const x = (n % COLUMNS) * CELL + CELL / 2, y = Math.floor(n / COLUMNS) * CELL + CELL / 2;
      cells.push(data[4 * (y * COLUMNS * CELL + x) + 1] > 128 ? 1 : 0);
    }
    const bits = cells.slice(2, 2 + BITS);
    const parity = (odd) => bits.filter((_, n) => n % 2 === odd).reduce((sum, bit) => sum + bit, 0) % 2;
    if (!cells[0] || cells[1] || cells[22] !== parity(0) || cells[23] !== parity(1)) return null;
    return parseInt(bits.join(""), 2);
  }

  const { carrier, devices } = talk.visit;
  const video = document.getElementById("agent-video");
  const seen = { own: [], agent: [] };
  let isOver = false;
  function look(name, at, ...source) {
    const found = code(...source), list = seen[name];
    if (found !== null && found !== list.at(-1)?.[0]) list.push([found, at]);
  }

  const camera = new MediaStreamTrackProcessor({ track: devices.camera.track.clone(), maxBufferSize: 1 }).readable.getReader();
  async function watchCamera() {
    while (!isOver) {
      const { value: frame } = await camera.read();
      look("own", performance.now(), frame, frame.displayWidth, frame.displayHeight);
      frame.close();
    }
    await camera.cancel();
  }

  function watchCanvas() {
    const show = carrier.show;
    carrier.show = (picture, ...where) => {
      look("agent", performance.now(), picture, picture.width, picture.height);
      show.call(carrier, picture, ...where);
    };
  }

  function watchVideo() {
    if (isOver) return;
    look("agent", performance.now(), video, video.videoWidth, video.videoHeight);
    video.requestVideoFrameCallback(watchVideo);
  }

  // By the socket both are heard where the page plays and listens: a stream from there to another context adds 25 ms.
  const context = carrier.sound?.context ?? new AudioContext({ sampleRate: 48000 });
  const merger = context.createChannelMerger(2), recorder = context.createScriptProcessor(1024, 2, 1);
  const agent = carrier.sound?.gain ?? context.createMediaStreamSource(video.srcObject);
  context.createMediaStreamSource(new MediaStream([devices.microphone.track])).connect(merger, 0, 0);
  agent.connect(merger, 0, 1);
  merger.connect(recorder).connect(context.destination);
  const heard = { own: [], agent: [] }, quiet = { own: 1e9, agent: 1e9 };
  let recorded = 0;
  recorder.onaudioprocess = ({ inputBuffer }) => {
    ["own", "agent"].forEach((name, channel) => {
      inputBuffer.getChannelData(channel).forEach((sample, n) => {
        if (Math.abs(sample) < 0.05) return void quiet[name]++;
        if (quiet[name] > context.sampleRate / 5) heard[name].push(((recorded + n) * 1000) / context.sampleRate);
        quiet[name] = 0;
      });
    });
    recorded += inputBuffer.length;
  };

  const before = await carrier.played();
  watchCamera();
  if (carrier.name === "webrtc") video.requestVideoFrameCallback(watchVideo);
  else watchCanvas();
  await new Promise((done) => setTimeout(done, seconds * 1000));
  isOver = true;
  const after = await carrier.played();
  recorder.disconnect();
  const shown = after.shown - before.shown, underruns = after.underruns - before.underruns;
  return { carrier: talk.visit.carrier.name, seen, heard, shown, underruns };
}
