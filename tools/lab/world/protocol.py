"""Messages between the world and an agent over a WebSocket: as bytes and back. Pure; see
`docs/benchmark.md` for the protocol in words.

A message is a JSON text; that of a unit is followed by one binary message: the unit's sound as 16-bit samples, then
its pictures one after the other.
"""

# S side, H W size of pictures in pixels

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from ....runtime.errors import RunError, listing
from .signal import FRAMES, RATE, UNIT, Sound

VERSION = 1
Coding = Literal["rgb", "jpeg", "none"]
CODINGS: tuple[Coding, ...] = get_args(Coding)
"""How pictures are sent: ``rgb`` bytes row by row, one ``jpeg`` each, or not at all."""

SOUND_BYTES = 2 * UNIT
MAX_SIDE = 4096
MAX_PIXELS = 1920 * 1080
"""Of a JPEG that is decoded: one of a few kilobytes may say that it is 60000x60000, which is 10 GB."""
MAX_TEXT = 2000
"""Characters that an agent may write in one unit, 160 ms."""
MAX_NAME = 200
_FULL = 32767.0

Pictures: TypeAlias = NDArray[np.uint8]


@dataclass(frozen=True)
class Handshake:
    """Handshake of an agent: how it wants to exchange units, by its first message.

    Attributes:
        name: of the agent.
        takes, sends: how it wants the user's pictures, and how its own come.
        size: side of its own pictures in pixels, where they come as ``rgb``.
    """

    name: str
    takes: Coding
    sends: Coding
    size: int


def hello(units: int, size: int) -> str:
    """The world's first message."""
    facts = {
        "type": "hello",
        "protocol": VERSION,
        "fps": 25,
        "frames": FRAMES,
        "rate_hz": RATE,
        "samples": UNIT,
        "size": size,
        "pictures": list(CODINGS),
        "units": units,
    }
    return json.dumps(facts)


def read_handshake(where: str, message: str | bytes, size: int) -> Handshake:
    """The agent's first message.

    Raises:
        RunError: it is not one.
    """
    fields = _read(where, message, "hello")
    codings: dict[str, Any] = {key: fields.get(key, "none") for key in ("takes", "sends")}
    for key, coding in codings.items():
        if coding not in CODINGS:
            raise RunError(
                f"{where}: found {key} {_quoted(coding)} (expected one of: {listing(CODINGS)}), correct its hello"
            )
    side = fields.get("size", size)
    if not _is_count(side) or not 1 <= side <= MAX_SIDE:
        raise RunError(f"{where}: found size {_quoted(side)} (expected 1 to {MAX_SIDE} pixels), correct its hello")
    return Handshake(str(fields.get("name", ""))[:MAX_NAME], codings["takes"], codings["sends"], side)


def packed(unit: int, samples: Sound, pictures: Pictures, text: str | None, coding: Coding) -> tuple[str, bytes]:
    """One unit of sound [2560] and pictures [4, H, W, 3] as two messages."""
    coded = [_coded(picture, coding) for picture in pictures] if coding != "none" else []
    header = {"type": "unit", "unit": unit, "text": text or "", "pictures": [len(picture) for picture in coded]}
    sound = np.round(np.clip(samples, -1.0, 1.0) * _FULL).astype("<i2").tobytes()
    return json.dumps(header), b"".join([sound, *coded])


def unpacked(
    where: str, unit: int, header: str | bytes, body: str | bytes, coding: Coding, size: int
) -> tuple[Sound, Pictures | None, str]:
    """Two messages as sound [2560], pictures [4, H, W, 3] (None: there are none) and text.

    Raises:
        RunError: they are not the unit ``unit``.
    """
    fields = _read(where, header, "unit")
    found = fields.get("unit")
    if not _is_count(found) or found != unit:
        raise RunError(
            f"{where}: found an answer to unit {_quoted(found)} (expected {unit}), answer each unit once, in order"
        )
    lengths, text = fields.get("pictures", []), fields.get("text", "")
    if not isinstance(text, str):
        raise RunError(f"{where}: found text {_quoted(text)} (expected a string), send words or nothing")
    if len(text) > MAX_TEXT:
        raise RunError(
            f"{where}: found a text of {len(text)} characters (expected {MAX_TEXT} at most, for 160 ms), "
            "send it in parts"
        )
    if not isinstance(lengths, list) or not all(map(_is_count, lengths)):
        raise RunError(f"{where}: found pictures {_quoted(lengths)} (expected their lengths in bytes), send a list")
    expected = 0 if coding == "none" else FRAMES
    if len(lengths) not in (0, expected):
        wanted = f"{FRAMES} or none" if expected else "none, as its hello says"
        raise RunError(f"{where}: found {len(lengths)} pictures (expected {wanted}), send so many")
    if isinstance(body, str) or len(body) != SOUND_BYTES + sum(lengths):
        came, due = "a text" if isinstance(body, str) else f"{len(body)} bytes", SOUND_BYTES + sum(lengths)
        raise RunError(
            f"{where}: found {came} (expected {due} bytes: {UNIT} samples of 16 bits, then the pictures), "
            "send one binary message after the header"
        )
    samples = (np.frombuffer(body[:SOUND_BYTES], "<i2") / np.float32(_FULL)).astype(np.float32)
    pictures, at = [], SOUND_BYTES
    for length in lengths:
        pictures.append(_decoded(where, body[at : at + length], coding, size))
        at += length
    return samples, _stacked(where, pictures), text


def _stacked(where: str, pictures: Sequence[Pictures]) -> Pictures | None:
    if not pictures:
        return None
    sizes = {picture.shape for picture in pictures}
    if len(sizes) > 1:
        found = ", ".join(f"{shape[1]}x{shape[0]}" for shape in sorted(sizes))
        raise RunError(f"{where}: found pictures of {found} (expected one size), send equal ones")
    return np.stack(pictures)


def _read(where: str, message: str | bytes, kind: str) -> Mapping[str, Any]:
    """A JSON message of a kind."""
    try:
        fields = json.loads(message) if isinstance(message, str) else None
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict) or fields.get("type") != kind:
        found = f"{len(message)} bytes" if isinstance(message, bytes) else repr(message[:80])
        raise RunError(f'{where}: found {found} (expected a JSON text {{"type": "{kind}", ...}})')
    return fields


def _coded(picture: Pictures, coding: Coding) -> bytes:
    if coding == "rgb":
        return picture.tobytes()
    import av

    codec = av.CodecContext.create("mjpeg", "w")
    codec.height, codec.width, codec.pix_fmt = *picture.shape[:2], "yuvj420p"
    codec.time_base = Fraction(1, 25)
    codec.options = {"qmin": "2", "qmax": "3"}
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
    return b"".join(bytes(packet) for packet in [*codec.encode(frame), *codec.encode(None)])


def _decoded(where: str, data: bytes, coding: Coding, size: int) -> Pictures:
    if coding == "rgb":
        if len(data) != size * size * 3:
            raise RunError(
                f"{where}: found a picture of {len(data)} bytes (expected {size * size * 3}: {size}x{size} RGB), "
                "say its size in the hello"
            )
        return np.frombuffer(data, np.uint8).reshape(size, size, 3)
    import av

    codec = av.CodecContext.create("mjpeg", "r")
    codec.options = {"max_pixels": str(MAX_PIXELS)}  # refused by the header, before anything is allocated
    try:
        picture: Pictures = next(iter(codec.decode(av.Packet(data)))).to_ndarray(format="rgb24")
    except (OSError, ValueError, StopIteration, av.FFmpegError) as error:
        raise RunError(
            f"{where}: found {len(data)} bytes that are no picture (expected a JPEG of {MAX_PIXELS} pixels at most)"
        ) from error
    return picture


def _is_count(value: object) -> bool:
    """True for a whole number from 0; JSON's true and false are numbers to Python."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _quoted(value: object) -> str:
    """A value as messages repeat it: not all of one that fills a screen."""
    return f"{value!r}"[:60]
