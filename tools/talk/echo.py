"""Time that a visitor's own sound takes to come back from a graph that mirrors it, from what was sent and heard."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..serve.carrier import Samples

LONGEST_S = 3.0
"""Echoes later than this are not looked for."""

LIKENESS = 0.5
"""Of the two loudness curves, 0 to 1: below it nothing was mirrored."""

_HOP_MS = 5


def echo_ms(sent: Samples, heard: Samples, rate_hz: int) -> float | None:
    """By how much what was heard lags behind what was sent, to 5 ms; None where it is something else.

    Compares loudness curves: a codec in between changes the waveform and keeps these.

    Args:
        sent: samples since an instant.
        heard: samples since the same instant.
    """
    hop = rate_hz * _HOP_MS // 1000
    ours, theirs = _loudness(sent, hop), _loudness(heard, hop)
    n = min(len(ours), len(theirs))
    lags = min(n // 2, int(LONGEST_S * 1000 / _HOP_MS))
    if lags < 1:
        return None
    likeness = [_likeness(ours[: n - lag], theirs[lag:n]) for lag in range(lags)]
    best = int(np.argmax(likeness))
    return best * float(_HOP_MS) if likeness[best] >= LIKENESS else None


def _loudness(samples: Samples, hop: int) -> NDArray[np.float64]:
    whole = samples[: len(samples) // hop * hop].reshape(-1, hop).astype(np.float64)
    curve: NDArray[np.float64] = np.log1p(np.sqrt((whole**2).mean(1)))
    return curve


def _likeness(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    a, b = a - a.mean(), b - b.mean()
    scale = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / scale) if scale > 0 else 0.0
