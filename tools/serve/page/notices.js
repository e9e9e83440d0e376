// Sentences about what is missing or went wrong; each can be put away.

import { byId, el } from "./dom.js";

const MOST = 4;

// One notice for each key; no words take it away.
export function notice(key, words) {
  const parent = byId("notices");
  const old = parent.querySelector(`[data-key="${CSS.escape(key)}"]`);
  if (old?.firstChild.textContent === words) return;
  old?.remove();
  if (!words) return;
  const close = el("button", { "aria-label": "Put this notice away" }, "×");
  const item = el("p", { "data-key": key }, el("span", {}, words), close);
  close.onclick = () => item.remove();
  parent.append(item);
  while (parent.children.length > MOST) parent.firstChild.remove();
}

export const clearNotices = () => byId("notices").replaceChildren();
