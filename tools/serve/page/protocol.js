// What goes over the visit's socket: the page's half of ../protocol.py. Text is JSON; media have a head of 16 bytes.

export const VERSION = 1;
export const TOKEN_HEADER = "X-Wangraph-Token";
export const MAX_TYPED = 2000; // characters

export const AUDIO = 1; // mono samples, 16 bit signed
export const JPEG = 2;
export const RATE_HZ = 16_000; // of AUDIO
export const PART_MS = 8; // of one AUDIO message of ours: what a browser's thread of sound takes at once

const HEAD_BYTES = 16;

export function writeMedia({ kind, isKey = true, part = 0, unit, atUs }, bytes) {
  const message = new Uint8Array(HEAD_BYTES + bytes.byteLength);
  const head = new DataView(message.buffer);
  head.setUint8(0, kind);
  head.setUint8(1, isKey ? 1 : 0);
  head.setUint16(2, part, true);
  head.setUint32(4, unit, true);
  head.setBigInt64(8, BigInt(Math.round(atUs)), true);
  message.set(bytes, HEAD_BYTES);
  return message;
}

// `data` is a view of the message: copy what is kept.
export function readMedia(buffer) {
  const head = new DataView(buffer);
  return {
    kind: head.getUint8(0),
    isKey: (head.getUint8(1) & 1) === 1,
    part: head.getUint16(2, true),
    unit: head.getUint32(4, true),
    atUs: Number(head.getBigInt64(8, true)),
    data: new Uint8Array(buffer, HEAD_BYTES),
  };
}
