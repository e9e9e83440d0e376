// The words of both sides. Words of one side that follow each other make one line, also while the other side talks.

import { el } from "./dom.js";

const PAUSE_MS = 1600; // of the conversation; then a new line begins
const MOST_LINES = 300;
const NAMES = { agent: "agent", visitor: "you" };

export class Captions {
  // `spoken` is for screen readers: whole lines of the agent, where the list grows word by word.
  constructor(list, spoken) {
    this.list = list;
    this.spoken = spoken;
    this.unitMs = 160;
    this.open = {};
  }

  add({ who, text, unit }) {
    const isAtEnd = this.list.scrollHeight - this.list.scrollTop - this.list.clientHeight < 40;
    const line = this.open[who];
    const goesOn = line && (unit - line.unit) * this.unitMs <= PAUSE_MS && unit >= line.unit;
    if (goesOn) this.append(line, text, unit);
    else this.begin(who, text, unit);
    if (isAtEnd) this.list.scrollTop = this.list.scrollHeight;
  }

  begin(who, text, unit) {
    this.close(who);
    const words = el("span", {}, text.trimStart());
    const item = el("li", { class: who }, el("b", {}, NAMES[who] ?? who), words);
    this.list.append(item);
    while (this.list.children.length > MOST_LINES) this.list.firstChild.remove();
    this.open[who] = { item, words, unit };
    this.closeLater(who);
  }

  append(line, text, unit) {
    line.words.textContent = joined(line.words.textContent, text);
    line.unit = unit;
    this.closeLater(line.item.className);
  }

  closeLater(who) {
    clearTimeout(this.open[who].timer);
    this.open[who].timer = setTimeout(() => this.close(who), PAUSE_MS);
  }

  close(who) {
    const line = this.open[who];
    if (!line) return;
    clearTimeout(line.timer);
    delete this.open[who];
    if (who === "agent") this.spoken.textContent = line.words.textContent;
  }

  // The agent was interrupted: its line ends where it is.
  cut() {
    const line = this.open.agent;
    if (!line) return;
    line.words.textContent += " —";
    this.close("agent");
  }

  // What is no one's words: where the conversation was resumed, or a new one began.
  note(text) {
    Object.keys(this.open).forEach((who) => this.close(who));
    this.list.append(el("li", { class: "note" }, text));
    this.list.scrollTop = this.list.scrollHeight;
  }
}

// Words get a space between them; ends and pieces of words that bring their own do not.
function joined(before, text) {
  return /^[\s.,;:!?…)\]'’]/.test(text) || /[\s([]$/.test(before) ? before + text : `${before} ${text}`;
}
