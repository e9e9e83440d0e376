"""Props that users hold up, and what only resembles them: cards of many looks, palms, fists, mugs, posters, screens."""

# T frames, S side in pixels

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import numpy as np

from ..canvas import Canvas
from ..signal import Plane
from .material import Cutout, Material
from .sampling import Sprite, Texture, framed, smaller, texture_of

HUES: dict[str, tuple[float, float]] = {
    "red": (-0.03, 0.025),
    "green": (0.27, 0.43),
    "blue": (0.55, 0.68),
    "yellow": (0.125, 0.17),
}
"""Hues of a card by its colour, in turns; between them lie colours that no card has."""
_BETWEEN = ((0.05, 0.10), (0.20, 0.23), (0.47, 0.52), (0.73, 0.92))
_LAST_FRAME = 15_000  # no prop moves after ten minutes
_RAMP = 5  # frames in which one comes or goes


def card_colour(rng: np.random.Generator, colour: str) -> tuple[float, float, float]:
    """One of the many colours that are called so."""
    low, high = HUES[colour]
    floor = 0.7 if colour == "yellow" else 0.42
    return colorsys.hsv_to_rgb(
        float(rng.uniform(low, high)) % 1.0, float(rng.uniform(0.6, 1.0)), float(rng.uniform(floor, 1.0))
    )


def other_colour(rng: np.random.Generator) -> tuple[float, float, float]:
    """A colour that is none of the cards': white, grey, black, or of a hue between theirs."""
    if rng.random() < 0.5:
        value = float(rng.uniform(0.05, 1.0))
        return colorsys.hsv_to_rgb(float(rng.random()), float(rng.uniform(0, 0.12)), value)
    low, high = _BETWEEN[rng.integers(len(_BETWEEN))]
    return colorsys.hsv_to_rgb(
        float(rng.uniform(low, high)), float(rng.uniform(0.3, 1.0)), float(rng.uniform(0.3, 1.0))
    )


@dataclass(frozen=True)
class CardLooks:
    """Style of a card, whatever its colour: aspect, border and its grey, roundness, print, shine."""

    aspect: float
    border: float
    paper: float
    corner: float
    print_rows: int
    shine: float

    @classmethod
    def sample(cls, rng: np.random.Generator) -> CardLooks:
        """One drawn at random."""
        return cls(
            aspect=float(rng.choice([0.65, 0.72, 1.0, 1.4, rng.uniform(0.6, 1.6)])),
            border=float(rng.choice([0.0, 0.0, rng.uniform(0.04, 0.22)])),
            paper=float(rng.choice([1.0, rng.uniform(0.6, 1.0), 0.1])),
            corner=float(rng.choice([0.02, rng.uniform(0.02, 0.25)])),
            print_rows=int(rng.choice([0, 0, 0, 1, 2, 3])),
            shine=float(rng.choice([0.0, rng.uniform(0.0, 0.35)])),
        )


def card(looks: CardLooks, colour: tuple[float, float, float], pixels: int = 40) -> Sprite:
    """A card of this colour."""
    canvas = Canvas(2, pixels)  # the second picture, white on black, is the cover
    canvas.planes[:] = 0.0
    paper = np.asarray([[looks.paper] * 3, [1, 1, 1]])
    canvas.box(0.0, 0.0, 0.98, 0.98, max(looks.corner, 0.02), paper)
    inner = 0.98 - looks.border
    canvas.box(0.0, 0.0, inner, inner, max(looks.corner, 0.02), np.asarray([colour, (1, 1, 1)]))
    ink = np.asarray([[0.1, 0.1, 0.1] if sum(colour) > 1.2 else [0.95, 0.95, 0.95], [1, 1, 1]])
    for row in range(looks.print_rows):
        canvas.box(-0.05, -0.35 + 0.3 * row, 0.45, 0.05, 0.02, ink)
    if looks.shine:
        light = np.clip(1 - np.abs(canvas.axis[None, :] + canvas.axis[:, None] * 0.6) * 2.5, 0, 1) * looks.shine
        canvas.planes[0] += light * (1 - canvas.planes[0])
    cover = canvas.planes[1, :1]
    texture: Texture = np.concatenate([canvas.planes[0] * cover, cover]).transpose(1, 2, 0)
    return Sprite(framed(texture.astype(np.float32)), looks.aspect)


def mug(rng: np.random.Generator, pixels: int = 32) -> Sprite:
    """A mug or a cup of any colour."""
    canvas = Canvas(2, pixels)
    canvas.planes[:] = 0.0
    anything = colorsys.hsv_to_rgb(float(rng.random()), float(rng.uniform(0, 1)), float(rng.uniform(0.2, 1)))
    colour = np.asarray([anything, (1, 1, 1)])
    canvas.ellipse(0.5, 0.0, 0.42, 0.42, colour)
    canvas.ellipse(0.5, 0.0, 0.22, 0.25, np.asarray([(0, 0, 0), (0, 0, 0)]))
    canvas.box(-0.15, 0.0, 0.6, 0.9, 0.15, colour)
    canvas.ellipse(-0.15, -0.8, 0.58, 0.16, colour * [[0.5], [1]])
    cover = canvas.planes[1, :1]
    texture = np.concatenate([canvas.planes[0] * cover, cover]).transpose(1, 2, 0).astype(np.float32)
    return Sprite(framed(texture), 0.9)


def poster(rng: np.random.Generator, material: Material, pixels: int = 32) -> Sprite:
    """Something on the wall or on a screen: a picture, stripes, or one plain colour."""
    pictures = [picture for room in material.rooms for picture in room] + list(material.things)
    if pictures and rng.random() < 0.5:
        flat = smaller(texture_of(pictures[rng.integers(len(pictures))]), pixels)
    else:
        colours = np.asarray([colorsys.hsv_to_rgb(*rng.random(3)) for _ in range(int(rng.integers(1, 6)))], np.float32)
        rows = np.arange(pixels) * len(colours) // pixels
        flat = np.broadcast_to(colours[rows][:, None], (pixels, pixels, 3)).copy()
    whole = np.concatenate([flat, np.ones((*flat.shape[:2], 1), np.float32)], 2)
    return Sprite(framed(whole), float(rng.uniform(0.5, 1.8)))


class Hand:
    """A real hand on a forearm.

    Args:
        cutout: of a hand that points upwards, its wrist below.
        skin: colour of the person's skin, which the hand takes; None: its own.
        sleeve: colour of what is below the wrist.
        pixels: how large it is shown.
    """

    def __init__(
        self,
        cutout: Cutout,
        skin: tuple[float, ...] | None,
        sleeve: tuple[float, ...],
        pixels: float,
        is_mirrored: bool = False,
    ) -> None:
        texture = smaller(texture_of(cutout.picture), 1.5 * pixels)
        cover = texture[..., 3]
        columns, rows = np.flatnonzero(cover.max(0) > 0.5), np.flatnonzero(cover.max(1) > 0.5)
        if len(columns) and len(rows):
            texture = texture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].copy()
        own = texture[..., :3].sum((0, 1)) / max(float(texture[..., 3].sum()), 1e-3)
        if skin is not None:
            texture[..., :3] *= np.clip(np.asarray(skin, np.float32) / np.maximum(own, 0.05), 0.5, 1.8)
            np.minimum(texture[..., :3], texture[..., 3:], out=texture[..., :3])
            own = own * np.clip(np.asarray(skin) / np.maximum(own, 0.05), 0.5, 1.8)
        if is_mirrored:
            texture = texture[:, ::-1]
        bottom = texture[-3:, :, 3].mean(0)
        at = float((bottom * np.arange(len(bottom))).sum() / max(float(bottom.sum()), 1e-3)) / len(bottom)
        self._wrist = 2 * at - 1 if bottom.sum() > 0.5 else 0.0
        self._skin, self._sleeve = own, np.asarray(sleeve)
        self.sprite = Sprite(framed(texture))

    def paint(self, canvas: Canvas, x: Plane, y: Plane, half: float, angle: Plane, has_sleeve: bool) -> None:
        """Paint with its middle at ``x``, ``y`` [T], ``half`` as high as it is."""
        wx = x + half * (self._wrist * self.sprite.aspect * np.cos(angle) - 0.9 * np.sin(angle))
        wy = y + half * (0.9 * np.cos(angle) + self._wrist * self.sprite.aspect * np.sin(angle))
        down = 1.3 * np.cos(angle * 0.5)
        arm = 0.42 * half
        canvas.capsule(wx, wy, wx - 0.4 * np.sin(angle), wy + down, arm, self._skin * 0.92)
        if has_sleeve:
            canvas.capsule(wx - 0.15 * np.sin(angle), wy + 0.3 * half + arm, wx - 0.4 * np.sin(angle), wy + down + 0.2,
                           arm * 1.3, self._sleeve)  # fmt: skip
        self.sprite.paint(canvas, x, y, half, angle)


class Schedule:
    """Schedule of things to be seen that mean nothing: now and then, whatever anybody says.

    Args:
        rng: draws the times.
        gap_s, hold_s: ranges of the seconds between two times, and of each.
    """

    def __init__(self, rng: np.random.Generator, gap_s: tuple[float, float], hold_s: tuple[float, float]) -> None:
        times, at = [0.0], float(rng.uniform(0, gap_s[1]) * 25)
        levels = [0.0]
        while at < _LAST_FRAME:
            hold = float(rng.uniform(*hold_s) * 25)
            times += [at, at + _RAMP, at + _RAMP + hold, at + 2 * _RAMP + hold]
            levels += [0.0, 1.0, 1.0, 0.0]
            at += 2 * _RAMP + hold + float(rng.uniform(*gap_s) * 25)
        self._times, self._levels = np.asarray(times), np.asarray(levels)

    def at(self, frame: int, count: int) -> Plane:
        """Presence of the thing, 0..1, [T] from this frame on."""
        level: Plane = np.interp(frame + np.arange(count), self._times, self._levels).astype(np.float32)
        return level
