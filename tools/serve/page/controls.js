// The buttons under the agent: what they do, and what they show of the devices and of the visit.

import { byId, setText } from "./dom.js";

const QUIET_DB = -60;

export function bindControls(visit, devices) {
  for (const kind of ["camera", "microphone"]) byId(kind).onclick = () => devices.toggle(kind);
  byId("interrupt").onclick = () => visit.interrupt();
  byId("leave").onclick = () => visit.leave();
  byId("volume").oninput = ({ target }) => visit.setVolume(Number(target.value));
  byId("unmute").onclick = () => {
    visit.carrier?.play();
    byId("unmute").hidden = true;
  };
  byId("typing").onsubmit = (event) => {
    event.preventDefault();
    const words = byId("text").value.trim();
    if (!words || !visit.isLive) return;
    visit.say(words);
    byId("text").value = "";
  };
  addEventListener("keydown", (event) => {
    const isOurs = event.key === "Escape" && !event.isComposing && !byId("settings").open;
    if (isOurs) visit.interrupt();
  });
}

const DEVICE_TITLES = { on: "Switch off the", off: "Switch on the", absent: "Try again to use the" };

// `taken`: the kinds that the graph takes.
export function showDevices(devices, taken, isVisiting) {
  byId("level").hidden = byId("hears").hidden = !taken.includes("microphone");
  for (const kind of ["camera", "microphone"]) {
    const { state } = devices[kind];
    const button = byId(kind);
    button.dataset.state = state;
    button.setAttribute("aria-pressed", String(state === "on"));
    button.title = `${DEVICE_TITLES[state]} ${kind}`;
    setText(button.querySelector("span"), state === "absent" ? `no ${kind}` : `${kind} ${state}`);
    button.disabled = !isVisiting;
    button.hidden = !taken.includes(kind);
  }
  const own = byId("own");
  const { track, state } = devices.camera;
  byId("self").hidden = state !== "on";
  if (own.srcObject?.getTracks()[0] === track) return;
  own.srcObject = track ? new MediaStream([track]) : null;
}

export function showPhase(phase, hasText) {
  document.body.dataset.phase = phase;
  const isLive = phase === "live";
  byId("interrupt").disabled = !isLive;
  byId("leave").disabled = !["connecting", "waiting", "starting", "live", "lost"].includes(phase);
  byId("text").disabled = byId("send").disabled = !isLive || !hasText;
  byId("text").placeholder = isLive && !hasText ? "This agent takes no text" : "Write to the agent";
  byId("presence").hidden = !isLive && phase !== "lost";
  // The button that began the visit is gone, and the keyboard's place with it.
  if (isLive && document.activeElement === document.body) byId("interrupt").focus({ preventScroll: true });
}

export function showLevel(level) {
  const meter = byId("level");
  const db = level === null ? QUIET_DB : Math.max(QUIET_DB, Math.min(0, level));
  meter.setAttribute("aria-valuenow", String(Math.round(db)));
  meter.setAttribute("aria-valuetext", level === null ? "nothing" : `${Math.round(db)} decibels`);
  meter.classList.toggle("nothing", level === null);
  meter.firstElementChild.style.setProperty("--level", String(1 - db / QUIET_DB));
}

export function showState(name) {
  byId("state").dataset.name = name;
  setText(byId("state"), name);
}
