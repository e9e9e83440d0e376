// Who the visitor is to the server: the token of the link, and the name of the visit. Both live as long as the tab, so
// that a reload goes on with the same conversation.

const RETURN_MS = 15_000; // a little more than the server keeps a visit for

// Storage may be forbidden: then they live as long as the page.
const memory = new Map();
const store = {
  get: (key) => attempt(() => sessionStorage.getItem(key)) ?? memory.get(key) ?? "",
  set(key, value) {
    memory.set(key, value);
    attempt(() => sessionStorage.setItem(key, value));
  },
  remove(key) {
    memory.delete(key);
    attempt(() => sessionStorage.removeItem(key));
  },
};

function attempt(work) {
  try {
    return work();
  } catch {
    return null;
  }
}

// The token of the link is taken out of the address bar: it would be seen by who looks at the screen, and be sent on
// with a copied address.
export function takeToken() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (token === null) return store.get("token");
  store.set("token", token);
  history.replaceState(null, "", location.pathname + location.search);
  return token;
}

export const keepToken = (token) => store.set("token", token);
export const forgetToken = () => store.remove("token");

export const visitName = () => store.get("visit");
export const keepVisit = (name) => store.set("visit", name);

export function forgetVisit() {
  store.remove("visit");
  store.remove("consent");
  store.remove("left");
}

// An answer given once counts for the same visit after a reload.
export const keepConsent = (consent) => store.set("consent", JSON.stringify(consent));
export const keptConsent = () => JSON.parse(store.get("consent") || "null");

export const markLeft = () => store.set("left", String(Date.now()));

// Whether the page was reloaded in the middle of a conversation.
export const wasTalking = () => visitName() !== "" && Date.now() - Number(store.get("left")) < RETURN_MS;
