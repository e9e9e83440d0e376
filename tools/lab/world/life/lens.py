"""Cameras: light, colour, focus, noise, compression, and pictures that come too seldom or stand still."""

# T frames, S side in pixels

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..signal import Plane

_TABLE = 1.0 + np.add.outer(np.arange(8), np.arange(8)) * 0.9
_DCT = np.asarray(
    [[np.sqrt((1 if k == 0 else 2) / 8) * np.cos(np.pi * (n + 0.5) * k / 8) for n in range(8)] for k in range(8)],
    np.float32,
)


@dataclass(frozen=True)
class Lens:
    """Rendering of what is before a camera.

    Attributes:
        exposure: of the brightness; ``lift`` is how much middle tones are raised, or lowered.
        tint: factor of red, green and blue.
        saturation: of the colours; 0 is grey.
        blur: how often each pixel is mixed with its neighbours.
        noise: root mean square, of 1.
        coarseness: of the compression; 0 is none.
        fade: how much darker the corners are.
        step: every so many pictures there is a new one.
        stalls: chance for each picture that the next few stand still.
        is_mirrored: as people see themselves.
    """

    exposure: float = 1.0
    lift: float = 0.0
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    saturation: float = 1.0
    blur: int = 0
    noise: float = 0.0
    coarseness: float = 0.0
    fade: float = 0.0
    step: int = 1
    stalls: float = 0.0
    is_mirrored: bool = False

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Lens:
        """One drawn at random."""
        warmth = float(rng.normal(0, 0.09))
        return cls(
            exposure=float(np.clip(np.exp(rng.normal(0.0, 0.28)), 0.55, 1.8)),
            lift=float(np.clip(rng.normal(0.0, 0.25), -0.6, 0.8)),
            tint=(1 + warmth, 1 + float(rng.normal(0, 0.035)), 1 - warmth),
            saturation=float(np.clip(rng.normal(0.95, 0.2), 0.4, 1.5)),
            blur=int(rng.choice([0, 0, 0, 1, 2])),
            noise=float(rng.choice([0.004, rng.uniform(0.004, 0.05)])),
            coarseness=float(rng.choice([0.0, rng.uniform(0.004, 0.035)])),
            fade=float(rng.choice([0.0, rng.uniform(0, 0.35)])),
            step=int(rng.choice([1, 2, 3], p=[0.7, 0.2, 0.1])),
            stalls=float(rng.choice([0.0, 0.002])),
            is_mirrored=bool(rng.random() < 0.5),
        )


class Camera:
    """Takes pictures with a lens, one after the other; the same however many are taken at once."""

    def __init__(self, lens: Lens, seed: int) -> None:
        self.lens = lens
        self._grain = np.random.default_rng((seed, 71))
        self._stall = np.random.default_rng((seed, 72))
        self._frame, self._stands = 0, 0
        self._last: Plane | None = None

    def take(self, planes: Plane) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        """Pictures [T, S, S, 3] of what is there, [T, 3, S, S] in 0..1."""
        seen = self._developed(planes)
        for j in range(len(seen)):
            draw = self._stall.random(2)
            if self._stands == 0 and draw[0] < self.lens.stalls:
                self._stands = 2 + int(10 * draw[1])
            stands = self._stands > 0 or self._frame % self.lens.step != 0
            if stands and self._last is not None:
                seen[j] = self._last
            self._last = seen[j].copy()
            self._stands = max(0, self._stands - 1)
            self._frame += 1
        bytes_ = (seen * 255.0 + 0.5).astype(np.uint8)
        return np.ascontiguousarray(bytes_.transpose(0, 2, 3, 1))

    def _developed(self, planes: Plane) -> Plane:
        lens = self.lens
        x = np.clip(planes, 0.0, 1.0)
        if lens.is_mirrored:
            x = x[..., ::-1]
        x = x * (1 + np.float32(lens.lift) * (1 - x))
        x *= (np.asarray(lens.tint, np.float32) * np.float32(lens.exposure))[:, None, None]
        grey = x.mean(1, keepdims=True)
        x = grey + np.float32(lens.saturation) * (x - grey)
        if lens.fade:
            axis = np.linspace(-1, 1, x.shape[-1], dtype=np.float32)
            x = x * (1 - np.float32(lens.fade) * np.clip(axis[:, None] ** 2 + axis**2 - 0.3, 0, 1))
        for _ in range(lens.blur):
            x = _mixed(_mixed(x, -1), -2)
        x = x + np.float32(lens.noise) * self._grain.standard_normal(x.shape, np.float32)
        x = np.clip(x, 0.0, 1.0)
        if lens.coarseness and x.shape[-1] % 8 == 0:
            x = np.clip(_compressed(x, lens.coarseness), 0.0, 1.0)
        developed: Plane = x.astype(np.float32)
        return developed


def _mixed(x: Plane, axis: int) -> Plane:
    """Each pixel half itself, half its two neighbours."""
    pad = [(0, 0)] * x.ndim
    pad[axis] = (1, 1)
    wide = np.moveaxis(np.pad(x, pad, mode="edge"), axis, -1)
    mixed: Plane = np.moveaxis(0.25 * wide[..., :-2] + 0.5 * wide[..., 1:-1] + 0.25 * wide[..., 2:], -1, axis)
    return mixed


def _compressed(x: Plane, coarseness: float) -> Plane:
    """Picture in blocks of 8 x 8 whose cosines are rounded, colours more coarsely than light."""
    size = x.shape[-1]
    light = x.mean(1, keepdims=True)
    parts = np.concatenate([light, x - light], 1)
    turn = np.kron(np.eye(size // 8, dtype=np.float32), _DCT)
    steps = np.tile(_TABLE.astype(np.float32) * np.float32(coarseness), (size // 8, size // 8))
    steps = steps * np.asarray([1, 2.5, 2.5, 2.5], np.float32)[:, None, None]
    cosines = turn @ parts @ turn.T
    cosines /= steps
    np.rint(cosines, out=cosines)
    cosines *= steps
    back = turn.T @ cosines @ turn
    plain: Plane = back[:, :1] + back[:, 1:]
    return plain
