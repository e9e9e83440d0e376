"""A folder of people who never were: faces, hands, rooms and sounds made of shapes and noise, kept as real ones are."""

from __future__ import annotations

import csv
import wave
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

SIZE = 80
TRAINED, KEPT = "ann", "hall"
"""A name that is in training, and one that is held out."""


def write_picture(path: Path, picture: np.ndarray) -> None:
    kind = "gray" if picture.ndim == 2 else "rgb24"
    codec = av.CodecContext.create("png", "w")
    codec.height, codec.width, codec.pix_fmt = *picture.shape[:2], kind
    codec.time_base = Fraction(1, 25)
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format=kind)
    path.write_bytes(b"".join(bytes(packet) for packet in [*codec.encode(frame), *codec.encode(None)]))


def write_sound(path: Path, samples: np.ndarray) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype(np.int16).tobytes())


def write_table(path: Path, rows: list[dict[str, object]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def disc(radius: float, x: float = 0.0, y: float = 0.0) -> np.ndarray:
    """Whether a pixel is within a circle; -1..1 across the picture."""
    axis = (np.arange(SIZE) + 0.5) / SIZE * 2 - 1
    return (axis[None, :] - x) ** 2 + (axis[:, None] - y) ** 2 < radius**2


def life(folder: Path) -> Path:
    """The folder, of everything one or two."""
    chance = np.random.default_rng(0)
    for part in ("faces-still", "hands", "rooms", "noise", "voices-words"):
        (folder / part).mkdir(parents=True)
    _faces(folder / "faces-still")
    palm = np.full((SIZE, SIZE, 3), (200, 150, 120), np.uint8)
    for name in ("sign-ann_5.png", "sign-ann_0.png"):
        write_picture(folder / "hands" / name, palm)
        matte = disc(0.6 if "_5" in name else 0.3) * np.uint8(255)
        write_picture(folder / "hands" / name.replace(".png", ".mask.png"), matte)
    hands = [
        {"file": f"sign-ann_{number}.png", "person": "sign-ann", "open_palm": int(number == 5), "box": ""}
        for number in (5, 0)
    ]
    write_table(folder / "hands" / "pictures.csv", hands)
    places = ("kitchen", "hall")
    for place in places:
        write_picture(folder / "rooms" / f"{place}_0.png", chance.integers(0, 255, (SIZE, SIZE, 3), np.uint8))
    write_table(folder / "rooms" / "pictures.csv", [{"file": f"{p}_0.png", "place": p, "people": "no"} for p in places])
    write_sound(folder / "noise" / "noise_fan.wav", 0.1 * chance.standard_normal(16_000))
    write_sound(folder / "noise" / "impulse_box.wav", np.exp(-np.arange(3000) / 500) * chance.standard_normal(3000) / 4)
    sounds = [{"file": "noise_fan.wav", "kind": "noise"}, {"file": "impulse_box.wav", "kind": "impulse"}]
    write_table(folder / "noise" / "sounds.csv", sounds)
    tone = 0.4 * np.sin(np.arange(6000) / 9)
    for person in (TRAINED, KEPT):
        write_sound(folder / "voices-words" / f"tree_{person}_0.wav", tone)
    return folder


def _faces(folder: Path) -> None:
    landmarks = {}
    for person, shade in ((TRAINED, 210), (KEPT, 120)):
        picture = np.full((SIZE, SIZE, 3), 240, np.uint8)
        picture[disc(0.6)] = (shade, shade - 40, shade - 60)
        picture[disc(0.08, -0.25, -0.15) | disc(0.08, 0.25, -0.15)] = 20
        write_picture(folder / f"{person}_neutral.png", picture)
        write_picture(folder / f"{person}_neutral.mask.png", (disc(0.65) * 255).astype(np.uint8))
        landmarks[f"{person}_neutral"] = _landmarks()
    np.savez(folder / "landmarks.npz", **landmarks)
    rows = [{"file": f"{person}_neutral.png", "person": person} for person in (TRAINED, KEPT)]
    write_table(folder / "people.csv", rows)


def _landmarks() -> np.ndarray:
    """Those that are read, of the face that `_faces` draws."""
    points = np.full((189, 2), SIZE / 2, np.float16)
    points[0:2] = (30, 34), (50, 34)
    points[87:109, 0] = np.linspace(32, 48, 22)
    points[87], points[93] = (32, 52), (48, 52)
    points[94:104, 1] = 52
    points[109:125, 0] = np.linspace(16, 64, 16)
    points[125:134, 1] = 62
    return points
