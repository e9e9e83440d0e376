// The agent's live parameters as fields of a form: the persona, for one. The same fields before a visit and during it.

import { el } from "./dom.js";

const keyOf = ({ node, name }) => `${node}.${name}`;

export class Params {
  // `changed(node, name, value)` when the visitor has set one.
  constructor(changed) {
    this.changed = changed;
    this.fields = new Map();
    this.chosen = {}; // by the visitor, as `Hello.params` takes it
  }

  // New fields with the server's values.
  fill(parent, params) {
    this.fields.clear();
    const labels = params.map((param) => this.label(param));
    parent.querySelectorAll("label").forEach((label) => label.remove());
    parent.append(...labels);
    parent.hidden = !params.length;
  }

  // What the visitor has chosen before stays chosen.
  showChosen() {
    for (const [key, value] of Object.entries(this.chosen)) this.show(key, value);
  }

  label(param) {
    const input = control(param);
    const note = el("small", { role: "status" });
    const isAlone = ![...this.fields.values()].some((field) => field.param.name === param.name);
    this.fields.set(keyOf(param), { param, input, note });
    input.addEventListener("change", () => this.choose(param, valueOf(param, input)));
    const name = isAlone ? param.name : keyOf(param).split("/").at(-1);
    return el("label", {}, el("span", {}, name.replaceAll("_", " ")), input, param.help ? el("small", {}, param.help) : null, note);
  }

  choose(param, value) {
    this.chosen[keyOf(param)] = value;
    this.changed(param.node, param.name, value);
  }

  // The server has set one.
  set({ node, name, value }) {
    const field = this.fields.get(keyOf({ node, name }));
    if (!field) return;
    this.show(keyOf({ node, name }), value);
    field.note.textContent = "set";
    setTimeout(() => (field.note.textContent = ""), 2500);
  }

  show(key, value) {
    const field = this.fields.get(key);
    if (!field || document.activeElement === field.input) return;
    const { param, input } = field;
    if (param.choices) input.value = String(param.choices.indexOf(value));
    else if (typeof param.value === "boolean") input.checked = value;
    else input.value = value ?? "";
  }
}

function control({ value, choices }) {
  if (choices) {
    const options = choices.map((choice, i) => el("option", { value: i, selected: choice === value }, String(choice)));
    return el("select", {}, ...options);
  }
  if (typeof value === "boolean") return el("input", { type: "checkbox", checked: value });
  if (typeof value === "number") return el("input", { type: "number", step: "any", value });
  return el("textarea", { rows: 2, spellcheck: "false" }, value ?? "");
}

function valueOf({ value, choices }, input) {
  if (choices) return choices[Number(input.value)];
  if (typeof value === "boolean") return input.checked;
  if (typeof value === "number") return input.value === "" ? value : Number(input.value);
  return input.value;
}
