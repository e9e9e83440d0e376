// Wiring: what the visit tells is shown, what the visitor does is told to the visit.

import { keepAwake } from "./awake.js";
import { Captions } from "./captions.js";
import * as card from "./card.js";
import { bindControls, showDevices, showLevel, showPhase, showState } from "./controls.js";
import { Devices } from "./devices.js";
import { byId, setText } from "./dom.js";
import * as identity from "./identity.js";
import { Latency } from "./latency.js";
import { clearNotices, notice } from "./notices.js";
import { Params } from "./params.js";
import { TOKEN_HEADER, VERSION } from "./protocol.js";
import { Settings } from "./settings.js";
import { Visit } from "./visit.js";
import { CARRIERS, INSECURE, NO_SOUND, OVER, SLOW, WHY_SOCKET } from "./words.js";

const address = new URL("live", document.baseURI);
address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
address.hash = address.search = "";

let token = identity.takeToken();
let about = null; // what the server says of itself before a visit; null where it does not

const devices = new Devices({
  change() {
    showDevices(devices, kinds(), isVisiting());
    visit.devicesChanged();
    if (byId("settings").open) settings.fill();
  },
  problem: notice,
});
const visit = new Visit({
  url: address.href,
  video: byId("agent-video"),
  canvas: byId("agent-canvas"),
  devices,
  wantsSocket: new URLSearchParams(location.search).get("carrier") === "socket",
  on: { phase, welcome, message, carrier, ping, silent: () => (byId("unmute").hidden = false), soundless: () => notice("sound", NO_SOUND) },
});
const params = new Params((node, name, value) => visit.change(node, name, value));
const settings = new Settings(devices, (kind, id) => (kind === "speaker" ? useSpeaker(id) : devices.choose(kind, id)));
const captions = new Captions(byId("captions"), byId("spoken"));
const latency = new Latency({ section: byId("times"), canvas: byId("strip"), now: byId("now"), parts: byId("parts") });

const isVisiting = () => ["connecting", "waiting", "starting", "live", "lost"].includes(visit.phase);

// Before the visit -----------------------------------------------------------------------------------------------------

async function prepare() {
  const problem = token ? await learn() : "";
  if (!token || problem === OVER.token) return card.askToken(problem, useToken);
  if (identity.wasTalking()) return begin(identity.keptConsent());
  invite(problem);
}

// Asks the server about itself; the words of what is wrong with that. A page without an answer can still begin.
async function learn() {
  try {
    const reply = await fetch(new URL("about", document.baseURI), { headers: { [TOKEN_HEADER]: token } });
    if (reply.status === 401) return OVER.token;
    about = reply.ok ? await reply.json() : null;
  } catch {
    about = null;
  }
  if (!about) return "";
  setText(byId("graph"), about.graph);
  document.title = `${about.graph} · wangraph`;
  return about.version === VERSION ? "" : OVER.version;
}

function invite(note) {
  showPhase("ready", false);
  card.invite(
    { graph: about?.graph ?? "the agent", uses: usesOf(kinds()), isRecorded: about?.is_recorded ?? false, fields, note },
    begin,
  );
}

function fields(parent) {
  params.fill(parent, about?.params ?? []);
  params.showChosen();
}

function useToken(text) {
  token = new URLSearchParams(text.split("#")[1] ?? "").get("token") ?? text;
  identity.keepToken(token);
  prepare();
}

// What of the visitor's the graph takes.
function kinds() {
  const inputs = visit.about?.inputs ?? about?.inputs ?? { video: true, audio: true };
  return [...(inputs.video ? ["camera"] : []), ...(inputs.audio ? ["microphone"] : [])];
}

function usesOf(kinds) {
  if (!kinds.length) return "You write to it: it takes neither sound nor pictures.";
  const names = kinds.join(" and ");
  return `It uses your ${names}, which the browser will ask you for. You can also talk with it without ${kinds.length > 1 ? "either" : "it"}.`;
}

function begin(consent) {
  identity.keepConsent(consent);
  clearNotices();
  if (about?.inputs.video) devices.size = { width: Math.max(320, about.inputs.video.width), height: Math.max(240, about.inputs.video.height) };
  visit.start({ token, consent, params: params.chosen });
  if (!isSecureContext) notice("secure", INSECURE);
  else devices.open(kinds());
}

// The visit ------------------------------------------------------------------------------------------------------------

function phase(name, detail) {
  showPhase(name, visit.about?.inputs.text ?? false);
  showDevices(devices, kinds(), isVisiting());
  keepAwake(isVisiting());
  byId("banner").hidden = name !== "lost" || !visit.about;
  byId("unmute").hidden = byId("unmute").hidden || name !== "live";
  status({ ready: "not connected", waiting: "in the queue", starting: "starting", over: "not connected", gone: "not connected" }[name] ?? "connecting");
  switch (name) {
    case "connecting":
      return card.wait("Connecting");
    case "waiting":
      return card.queue(detail);
    case "starting":
      return card.wait("Starting", detail || "The agent is being woken up. This can take some seconds.");
    case "lost":
      if (visit.about) byId("banner").textContent = `The connection is lost. Trying again for ${Math.ceil(detail)} s`;
      else card.wait("Connecting", "The server does not answer yet. Trying again.");
      return;
    case "live":
      return card.hide();
    case "gone":
      end();
      return card.lostForGood(() => begin(identity.keptConsent()));
    case "over":
      return over(detail);
  }
}

function over(detail) {
  end();
  if (detail.reason === "token") {
    identity.forgetToken();
    return card.askToken(OVER.token, useToken);
  }
  card.over(detail, () => {
    if (detail.reason === "version") return location.reload();
    if (detail.reason === "elsewhere") return begin(identity.keptConsent());
    invite("");
  });
}

function end() {
  visit.about = null;
  isStruggling = false;
  notice("slow", ""); // it was said of a visit that is over
  devices.close();
  byId("recorded").hidden = byId("timeline").hidden = byId("presence").hidden = true;
  showSeen(false);
}

function welcome(message) {
  setText(byId("graph"), message.graph);
  document.title = `${message.graph} · wangraph`;
  params.fill(byId("agent-params"), message.params);
  byId("recorded").hidden = !message.is_recorded;
  byId("timeline").hidden = !message.timeline;
  if (message.timeline) byId("timeline").href = new URL(message.timeline.replace(/^\//, ""), document.baseURI);
  captions.unitMs = message.unit_ms;
  if (captions.list.children.length || message.is_resumed) captions.note(message.is_resumed ? "The conversation goes on." : "A new conversation.");
  latency.begin(message);
  showState("idle");
  showLevel(null);
  if (byId("seen-button").getAttribute("aria-pressed") === "true") visit.watch(true);
}

function message(message) {
  switch (message.type) {
    case "caption":
      return captions.add(message);
    case "state":
      return showState(message.name);
    case "flush":
      return captions.cut();
    case "times":
      latency.add(message);
      warnOfMisses();
      return showLevel(message.heard_level);
    case "seen":
      return drawSeen(message.png);
    case "changed":
      return params.set(message);
    case "problem":
      return notice("problem", message.text);
  }
}

let isStruggling = false;

// Said once when it begins, and taken back once it is clearly over.
function warnOfMisses() {
  const was = isStruggling;
  isStruggling = latency.missedShare > (was ? 0.1 : 0.5);
  if (isStruggling !== was) notice("slow", isStruggling ? SLOW : "");
}

function carrier(name, why) {
  carried = CARRIERS[name] ?? name;
  settings.fact("media by", why ? `${carried}: ${WHY_SOCKET[why]}` : carried);
  status("connected", carried);
}

let carried = "";
const pings = [];

// The median of the last ones: a page that is busy itself answers late now and then.
function ping(ms) {
  pings.push(ms);
  if (pings.length > 9) pings.shift();
  latency.networkMs = pings.toSorted((a, b) => a - b)[Math.floor(pings.length / 2)];
  settings.fact("network, there and back", `${latency.networkMs.toFixed(latency.networkMs < 10 ? 1 : 0)} ms`);
}

function status(words, more = "") {
  setText(byId("status").children[1], words);
  setText(byId("status").lastElementChild, more);
}

async function useSpeaker(id) {
  try {
    await visit.setSpeaker(id);
    notice("speaker", "");
  } catch (error) {
    notice("speaker", `This loudspeaker cannot be used (${error.message}). Sound stays where it was.`);
  }
}

// What the agent sees --------------------------------------------------------------------------------------------------

function showSeen(isOn) {
  byId("seen-button").setAttribute("aria-pressed", String(isOn));
  byId("seen").hidden = true; // until the first one comes
  visit.watch(isOn);
}

async function drawSeen(png) {
  if (byId("seen-button").getAttribute("aria-pressed") !== "true") return;
  const bytes = Uint8Array.from(atob(png), (letter) => letter.charCodeAt(0));
  const picture = await createImageBitmap(new Blob([bytes], { type: "image/png" }));
  const canvas = byId("seen");
  [canvas.width, canvas.height, canvas.hidden] = [picture.width, picture.height, false];
  canvas.getContext("2d").drawImage(picture, 0, 0);
}

// ----------------------------------------------------------------------------------------------------------------------

bindControls(visit, devices);
byId("seen-button").onclick = ({ currentTarget }) => showSeen(currentTarget.getAttribute("aria-pressed") !== "true");
addEventListener("pagehide", () => visit.pause());
addEventListener("pageshow", ({ persisted }) => persisted && isVisiting() && begin(identity.keptConsent()));
showDevices(devices, kinds(), false);
prepare();

globalThis.talk = { visit, devices, params, latency, captions }; // for the console, and for tests
