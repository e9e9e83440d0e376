// The card in the agent's place while nobody talks: before the visit, in the queue, and after it.

import { byId, el } from "./dom.js";
import { MAX_TYPED } from "./protocol.js";
import { gone, OVER, ofPlace } from "./words.js";

function show(...children) {
  byId("card").replaceChildren(...children);
  byId("card").hidden = !children.length;
}

export const hide = () => show();

function form(submit, ...children) {
  const element = el("form", { class: "panel" }, ...children);
  element.onsubmit = (event) => {
    event.preventDefault();
    submit(element);
  };
  return element;
}

const heading = (text) => el("h2", {}, text);
const text = (words) => el("p", {}, words);

// The address had no token, or a wrong one.
export function askToken(wrong, submit) {
  const input = el("input", { name: "token", autocomplete: "off", spellcheck: "false", required: true, maxlength: MAX_TYPED, "aria-describedby": "token-help" });
  show(
    form(
      () => submit(input.value.trim()),
      heading("Token"),
      el("p", { id: "token-help", role: wrong ? "alert" : null, class: wrong ? "warn" : null }, wrong || "The link that the server prints holds a token. This address has none: paste the token, or the whole link."),
      el("label", {}, el("span", {}, "token"), input),
      el("button", { class: "primary" }, "go on"),
    ),
  );
  input.focus();
}

// `fields(parent)` puts the agent's parameters there.
export function invite({ graph, uses, isRecorded, fields, note }, submit) {
  const params = el("fieldset", {}, el("legend", {}, "Agent"));
  const consent = el("input", { type: "checkbox", name: "consent" });
  show(
    form(
      () => submit(isRecorded ? consent.checked : null),
      heading(`Talk with ${graph}`),
      note ? text(note) : null,
      text(uses),
      params,
      isRecorded
        ? el("label", { class: "check" }, consent, el("span", {}, "Record me: my sound, picture and words are kept in files on this server. Without a tick the talk is the same and nothing is kept."))
        : null,
      el("button", { class: "primary", id: "start" }, "start"),
    ),
  );
  fields(params);
}

// What changes in it is announced: it stays the same element.
export function wait(title, words = "") {
  const [old] = byId("card").children;
  const panel = old?.matches("[role=status]") ? old : el("div", { class: "panel", role: "status" });
  panel.replaceChildren(heading(title), ...(words ? [text(words)] : []));
  show(panel);
}

export const queue = (message) => wait("In the queue", ofPlace(message));

export function lostForGood(again) {
  ended("No connection", gone, "try again", again);
}

// `detail`: the server's own words, which say more than ours.
export function over({ reason, text: detail }, again) {
  const label = { elsewhere: "go on here", version: "load again" }[reason] ?? "start again";
  ended(reason === "bye" ? "Goodbye" : "The visit has ended", OVER[reason] ?? "", label, again, reason === "bye" ? "" : detail);
}

function ended(title, words, label, again, detail = "") {
  const button = el("button", { class: "primary", id: "again", onclick: again }, label);
  const lines = [words, detail].filter(Boolean).map(text);
  show(el("div", { class: "panel", role: "alert" }, heading(title), ...lines, button));
  button.focus();
}
