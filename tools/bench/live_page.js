// Runs inside the page during a visit: when each time code was seen in the own camera and in the agent's picture, and
// when each beep was heard from the own microphone and from the agent; all in milliseconds of one clock.
async (seconds) => {
  const COLUMNS = 12, BITS = 20, CELL = 4;
  const surface = new OffscreenCanvas(COLUMNS * CELL, 2 * CELL).getContext("2d", { willReadFrequently: true });

  function code(source) {
    const width = source.videoWidth ?? source.width, height = source.videoHeight ?? source.height;
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

  const byId = (id) => document.getElementById(id);
  const agent = () => (byId("agent-video").hidden ? byId("agent-canvas") : byId("agent-video"));
  const seen = { own: [], agent: [] };
  function look(name, source) {
    const found = code(source), list = seen[name];
    if (found !== null && found !== list.at(-1)?.[0]) list.push([found, performance.now()]);
  }

  const { carrier, devices } = talk.visit;
  function agentSound() {
    if (carrier.name === "webrtc") return byId("agent-video").srcObject;
    const end = carrier.sound.context.createMediaStreamDestination();
    carrier.sound.gain.connect(end);
    return end.stream;
  }
  const context = new AudioContext({ sampleRate: 48000 });
  const merger = context.createChannelMerger(2), recorder = context.createScriptProcessor(1024, 2, 1);
  context.createMediaStreamSource(new MediaStream([devices.microphone.track])).connect(merger, 0, 0);
  context.createMediaStreamSource(agentSound()).connect(merger, 0, 1);
  merger.connect(recorder).connect(context.destination);
  const heard = { own: [], agent: [] }, quiet = { own: 1e9, agent: 1e9 };
  let recorded = 0;
  recorder.onaudioprocess = ({ inputBuffer }) => {
    ["own", "agent"].forEach((name, channel) => {
      inputBuffer.getChannelData(channel).forEach((sample, n) => {
        if (Math.abs(sample) < 0.05) return void quiet[name]++;
        if (quiet[name] > 9600) heard[name].push((recorded + n) / 48);
        quiet[name] = 0;
      });
    });
    recorded += inputBuffer.length;
  };

  const before = await carrier.played();
  const timer = setInterval(() => (look("own", byId("own")), look("agent", agent())), 4);
  await new Promise((done) => setTimeout(done, seconds * 1000));
  clearInterval(timer);
  const after = await carrier.played();
  await context.close();
  const shown = after.shown - before.shown, underruns = after.underruns - before.underruns;
  return { carrier: talk.visit.carrier.name, seen, heard, shown, underruns };
}
