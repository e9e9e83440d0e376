// What the page says when something is missing or went wrong: what happened, and what helps.

const NAMES = { camera: "camera", microphone: "microphone" };

// A device that could not be opened; `error` is what getUserMedia gave.
export function ofDevice(kind, error) {
  const name = NAMES[kind];
  const without = kind === "camera" ? "You can talk without being seen." : "You can type instead.";
  const other = kind === "camera" ? "microphone" : "camera";
  switch (error.name) {
    case "NotAllowedError":
      return `The browser does not let this page use your ${name}. Allow it by the icon beside the address, then press the ${name} button. ${without}`;
    case "NotFoundError":
      return `No ${name} was found. Plug one in, or go on with the ${other} alone. ${without}`;
    case "NotReadableError":
      return `Your ${name} is there but does not start: another program may be using it. Close that, then press the ${name} button.`;
    case "InsecureError":
      return `${INSECURE} ${without}`;
    case "AbortError":
      return `Your ${name} stopped: it may have been unplugged. It comes back when it is plugged in. ${without}`;
    default:
      return `Your ${name} did not start (${error.message || error.name}). ${without}`;
  }
}

export const INSECURE =
  "Browsers open camera and microphone only for https or for localhost. Open this page over https, or forward the port: " +
  "ssh -L 8080:localhost:8080 HOST, then http://localhost:8080.";

export const NO_SOUND =
  "This browser plays no sound for this page: it has no AudioWorklet, or the page was not opened over https or localhost. Words and pictures still come.";

export const SLOW =
  "The server does not keep up: most answers come too late to be played, so the agent stands still or is silent. " +
  "A machine with less to do, or a smaller model, would help.";

const NO_WEBRTC = "no WebRTC here";
export const WHY_SOCKET = {
  wanted: "as the address asks",
  server: "this server offers no WebRTC",
  browser: NO_WEBRTC,
  slow: "WebRTC did not connect within 3 s",
  refused: "WebRTC was refused",
  lost: "WebRTC was lost",
};

export const CARRIERS = { webrtc: "WebRTC", socket: "WebSocket" };

export const OVER = {
  token: "This link is not valid: its token is wrong, or the server was started again. Use the link that it prints now.",
  version: "This page is of another version than the server. Load it again.",
  refused: "The server did not let you in.",
  ended: "The conversation has ended.",
  failed: "The agent has failed. The server's log says why.",
  closing: "The server is closing.",
  rate: "The server ended the visit because too much was sent to it.",
  garbage: "The server ended the visit because it did not understand this page.",
  elsewhere: "The conversation goes on in another window.",
  bye: "You have left the conversation.",
};

export const gone = "The server cannot be reached. It may have been stopped, or the network is down.";

export const ofPlace = ({ place, of, sessions }) =>
  `${sessions === 1 ? "Somebody else is talking" : `All ${sessions} places are taken`}. ` +
  `You are number ${place}${of > 1 ? ` of ${of}` : ""} in the queue and are let in by yourself; keep this page open.`;
