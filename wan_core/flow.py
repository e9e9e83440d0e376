"""Flow matching between clean latents and noise: ``z_t = (1 - t) x + t eps``, from t = 1 (noise) to t = 0 (clean).

The network predicts the clean x. So the velocity is ``v = (z - x) / t``, and an Euler step from t to s is
``z + (s - t) v = x + (s / t) (z - x)``: stepping to s = 0 returns x itself, and every step is a valid exit. Heun's
step looks at both of its ends, which costs a second prediction, but where it ends at s = 0.

# B batch, U units
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .errors import ModelError

MIN_TIME = 0.15
"""Flow times below this weigh no more than it: the loss of the velocity has a pole at t = 0."""

NOISE, GESTURE = 0, 1
"""Streams of chance: what the numbers of one (seed, session, unit) are drawn for."""

METHODS = ("euler", "heun")


@dataclass(frozen=True)
class Solver:
    """Solver of a response from noise.

    Attributes:
        steps: 1 or more; ``steps`` predictions by ``euler``, ``2 * steps - 1`` by ``heun``.
        method: one of `METHODS`.
        audio_temperature: scale of the noise that the voice begins with. Below 1 it says a word in one of the ways
            that are likelier, and is understood better, but varies less; the picture always begins with all of it.

    Raises:
        ModelError: no steps, no such method, or a temperature below 0.
    """

    steps: int = 2
    method: str = "euler"
    audio_temperature: float = 1.0

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ModelError(f"flow: found {self.steps} solver steps (expected 1 or more)")
        if self.method not in METHODS:
            raise ModelError(f"flow: found solver '{self.method}' (expected {' or '.join(METHODS)})")
        if not self.audio_temperature >= 0:
            raise ModelError(f"flow: found audio_temperature {self.audio_temperature:g} (expected 0 or more)")

    @property
    def times(self) -> tuple[float, ...]:
        """Flow times of a solve, ``steps + 1`` numbers from 1 to 0: ``1 - (i / steps)^1.5``.

        Closer together near noise, where it is decided what is said, than near the clean latents, where little is left
        to decide.
        """
        return (*(1 - (i / self.steps) ** 1.5 for i in range(self.steps)), 0.0)


class Latents(NamedTuple):
    """Latents of the agent's voice and face in one unit, or in some ([B, U, ...]), in the codecs' normalised scale.

    Attributes:
        audio: [B, latents, channels].
        video: [B, h, w, channels].
    """

    audio: Tensor
    video: Tensor


Predict = Callable[[Latents, float], Latents]


def interpolate(x: Tensor, eps: Tensor, t: Tensor) -> Tensor:
    """z_t on the straight line from x to eps.

    Args:
        x: clean, [B, U, ...].
        eps: noise, the same shape.
        t: flow time, [B, U].
    """
    t = _spread(t, x)
    return (1 - t) * x + t * eps


def velocity(z: Tensor, x: Tensor, t: Tensor) -> Tensor:
    """``(z - x) / t``, which on the line is ``eps - x``; t is not below `MIN_TIME`."""
    return (z - x) / _spread(t.clamp_min(MIN_TIME), x)


def loss_weight(t: Tensor) -> Tensor:
    """Factor from a squared error of x to one of the velocity: ``1 / max(t, MIN_TIME)^2``."""
    return t.clamp_min(MIN_TIME).square().reciprocal()


def training_times(n: Tensor) -> Tensor:
    """Flow times from standard normal numbers: ``sigmoid(0.3 - 1.2 n)``, most of them between 0.25 and 0.85."""
    return torch.sigmoid(0.3 - 1.2 * n)


def _spread(t: Tensor, like: Tensor) -> Tensor:
    return t.reshape(*t.shape, *(1,) * (like.dim() - t.dim()))


def euler(z: Tensor, x: Tensor, t: float, s: float) -> Tensor:
    """From time t to time s < t, given the prediction x at t; x itself at s = 0."""
    return x if s == 0 else torch.lerp(x, z, s / t)


def heun(z: Tensor, x: Tensor, ahead: Tensor, later: Tensor, t: float, s: float) -> Tensor:
    """From time t to time s, 0 < s < t, by the mean of the velocities at both ends.

    Args:
        z: at t.
        x: predicted from it.
        ahead: where Euler's step leads, at s.
        later: predicted from that.
        t: where the step begins.
        s: where it ends.
    """
    return z + (s - t) / 2 * ((z - x) / t + (ahead - later) / s)


def exits(predict: Predict, z: Latents, solver: Solver) -> Iterator[Latents]:
    """Solve from noise; after every step, the clean latents that it could end with. The last are the answer.

    Args:
        predict: clean latents, as seen from z at a flow time.
        z: noise.
        solver: how; its temperature is of the noise, which is given.
    """
    for t, s in pairwise(solver.times):
        x = predict(z, t)
        yield x
        ahead = Latents(*(euler(a, b, t, s) for a, b in zip(z, x, strict=True)))
        if s == 0 or solver.method == "euler":
            z = ahead
            continue
        later = predict(ahead, s)
        z = Latents(*(heun(*parts, t, s) for parts in zip(z, x, ahead, later, strict=True)))


def noise(shape: Sequence[int], seed: int, sessions: Sequence[int], unit: int, stream: int = NOISE) -> Tensor:
    """Standard normal numbers [B, *shape], one row a session: a function of its arguments, whatever ran before."""
    rows = [chance(seed, session, unit, stream).standard_normal(tuple(shape), np.float32) for session in sessions]
    return torch.from_numpy(np.stack(rows))


def chance(seed: int, session: int, unit: int, stream: int) -> np.random.Generator:
    """Counter-based random numbers (Philox): the key is (seed, session), the counter (unit, stream)."""
    mask = (1 << 64) - 1
    philox = np.random.Philox(key=[seed & mask, session & mask], counter=[0, 0, stream & mask, unit & mask])
    return np.random.Generator(philox)
