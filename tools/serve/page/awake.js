// The screen stays on during a visit, where the browser can do that: a phone would darken it in the middle of a talk.

let lock = null;
let isWanted = false;
let isAsking = false;

export async function keepAwake(isOn) {
  isWanted = isOn;
  if (isAsking) return;
  if (isOn && !lock && document.visibilityState === "visible") {
    isAsking = true;
    lock = (await navigator.wakeLock?.request("screen").catch(() => null)) ?? null; // refused when the battery is low
    isAsking = false;
    lock?.addEventListener("release", () => (lock = null));
  }
  if (!isWanted) lock?.release();
}

// A hidden page loses its lock.
document.addEventListener("visibilitychange", () => isWanted && keepAwake(true));
