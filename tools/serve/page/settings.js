// The settings: which devices, and what the connection is.

import { byId, el } from "./dom.js";

const PICKERS = { camera: "videoinput", microphone: "audioinput", speaker: "audiooutput" };
const NAMES = { camera: "camera", microphone: "microphone", speaker: "loudspeaker" };

export class Settings {
  // `choose(kind, id)` for a camera, a microphone or a speaker.
  constructor(devices, choose) {
    this.devices = devices;
    this.facts = new Map();
    const dialog = byId("settings");
    byId("settings-button").onclick = () => {
      this.fill();
      dialog.showModal();
    };
    byId("settings-close").onclick = () => dialog.close();
    dialog.onclick = (event) => event.target === dialog && dialog.close(); // the ground around it
    for (const kind of Object.keys(PICKERS)) byId(`pick-${kind}`).onchange = ({ target }) => choose(kind, target.value);
  }

  async fill() {
    const all = await this.devices.list();
    for (const kind of Object.keys(PICKERS)) this.fillPicker(kind, all.filter((device) => device.kind === PICKERS[kind]));
  }

  fillPicker(kind, found) {
    const select = byId(`pick-${kind}`);
    const current = this.devices[kind]?.track?.getSettings().deviceId ?? select.value;
    const options = found.map((device, i) => el("option", { value: device.deviceId, selected: device.deviceId === current }, device.label || `${NAMES[kind]} ${i + 1}`));
    // Names are shown to those only who have let the page use one.
    const isPickable = found.length > 0 && found.some((device) => device.deviceId);
    select.replaceChildren(...(isPickable ? options : [el("option", { value: "" }, found.length ? "chosen by the browser" : `no ${NAMES[kind]} found`)]));
    select.disabled = !isPickable || (kind === "speaker" && !("setSinkId" in HTMLMediaElement.prototype));
  }

  fact(name, value) {
    this.facts.set(name, value);
    byId("facts").replaceChildren(...[...this.facts].map(([key, text]) => el("div", {}, el("dt", {}, key), el("dd", {}, text))));
  }
}
