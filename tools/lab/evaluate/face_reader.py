"""Reads a face from its pictures: how far the mouth is open, the eyes shut, the head down.

Linear, fitted on drawings whose pose is known, of the people that the agents are; never on what a codec or a model
made.

# N pictures, S side in pixels
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..world.face import CARD_COLOURS, Pose, render
from ..world.persona import PERSONAS
from ..world.signal import Plane

READ = ("mouth", "blink", "nod")
"""What is read, 0..1 (a nod: -1..1)."""
_DRAWN = 1500
_BOX = (-0.5, 0.5, -0.45, 0.6)
"""Of the face that is looked at: x from, x to, y from, y to, in -1..1."""
SHARPNESS = "sharpness"
"""Mean difference of neighbouring pixels."""


@dataclass(frozen=True)
class Reader:
    """Reads pictures of one size.

    Attributes:
        weights: [pixels + 1, len(READ)].
        box: rows and columns that are looked at.
        stills: each persona at rest, [S, S, 3] in 0..1.
    """

    weights: Plane
    box: tuple[slice, slice]
    stills: dict[str, Plane]

    def __call__(self, frames: NDArray[np.uint8]) -> dict[str, Plane]:
        """Pictures [N, S, S, 3] -> values [N]: everything in `READ`, sharpness, and likeness to each persona."""
        values = _flat(frames, self.box) @ self.weights
        scaled = frames.astype(np.float32) / 255.0
        grey = (scaled[..., 0] + scaled[..., 1] + scaled[..., 2]) / 3
        edges = np.abs(np.diff(grey, axis=1)).mean((1, 2)) + np.abs(np.diff(grey, axis=2)).mean((1, 2))
        read = {name: values[:, column].astype(np.float32) for column, name in enumerate(READ)}
        flat = scaled.reshape(len(frames), -1)
        like = {}
        for name, still in self.stills.items():
            apart = flat - still.ravel()
            like[f"like {name}"] = -np.einsum("np,np->n", apart, apart) / apart.shape[1]
        return {**read, SHARPNESS: edges.astype(np.float32), **like}


def reader(size: int, seed: int = 0) -> Reader:
    """Fit a reader for pictures of this size."""
    rng = np.random.default_rng((seed, 61))
    box = _box(size)
    rows, wanted = list[Plane](), list[Plane]()
    for persona in PERSONAS.values():
        pose = _poses(rng, _DRAWN)
        rows.append(_flat(render(pose, persona.looks, size), box))
        wanted.append(np.stack([getattr(pose, name) for name in READ], 1))
    x, y = np.concatenate(rows).astype(np.float64), np.concatenate(wanted).astype(np.float64)
    # pictures of a codec are a little noisy: so are these, by the ridge
    weights = np.linalg.solve(x.T @ x + 4.0 * np.eye(x.shape[1]), x.T @ y)
    stills = {
        name: render(Pose.still(1), who.looks, size)[0].astype(np.float32) / 255.0 for name, who in PERSONAS.items()
    }
    return Reader(weights.astype(np.float32), box, stills)


def _poses(rng: np.random.Generator, frames: int) -> Pose:
    """Poses drawn independently, as far as they go in the world and a little further."""
    pose = Pose.still(frames)
    values: Mapping[str, tuple[float, float]] = {
        "smile": (0, 0.5), "gaze_x": (-0.5, 0.1), "gaze_y": (-0.1, 0.6), "brow": (0, 0.8), "nod": (-0.4, 1.0),
        "tilt": (-0.3, 1.1), "breath": (-1, 1),
    }  # fmt: skip
    for name, (low, high) in values.items():
        getattr(pose, name)[:] = rng.uniform(low, high, frames)
    for name in ("mouth", "blink"):
        getattr(pose, name)[:] = rng.uniform(0, 1, frames) * (rng.random(frames) < 0.6)
    for name in ("nod", "gaze_x", "gaze_y"):
        getattr(pose, name)[:] *= rng.random(frames) < 0.5
    pose.card_colour[:] = rng.integers(len(CARD_COLOURS), size=frames)
    return pose


def _box(size: int) -> tuple[slice, slice]:
    left, right, top, bottom = (round((edge + 1) / 2 * size) for edge in _BOX)
    return slice(top, bottom), slice(left, right)


def _flat(frames: NDArray[np.uint8], box: tuple[slice, slice]) -> Plane:
    part = frames[:, box[0], box[1]].astype(np.float32) / 255.0
    return np.concatenate([part.reshape(len(frames), -1), np.ones((len(frames), 1), np.float32)], 1)


def count_events(values: Sequence[float] | Plane, threshold: float) -> int:
    """Number of times that values rise above a threshold."""
    above = np.asarray(values) > threshold
    return int((above[1:] & ~above[:-1]).sum() + (above[0] if len(above) else 0))
