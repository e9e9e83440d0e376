"""Sound around a hole: it goes on as it was and fades, and comes back from silence, with no step at either border.

What was played cannot be changed any more, so the fade lies inside the hole. What fades there is the sound's own
continuation by linear prediction, excited by what the prediction missed in the last pitch period, over and over: it has
no corner where the real sound ends, as the last samples backwards would have, and keeps pitch and colour. All of it is
a function of the samples played before, so it does not matter in which pieces they came.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

FALL_MS = 20
"""Sound is gone so long after a hole begins."""

RISE_MS = 10
"""Sound is back as it is so long after a hole ends."""

PAST_MS = 32
"""How much of the sound its continuation is learned from: two periods of the lowest voices."""

PERIODS_MS = (2.5, 15.0)
"""Pitch periods that are looked for: 400 to 67 Hz."""

ORDER = 40
"""Poles of the prediction: two for every partial of a voice below 2 kHz, and some for the colour of noise."""

INAUDIBLE = 1e-8
"""Power of a sound that needs no continuation."""

Samples = NDArray[np.float32]


@dataclass
class Sound:
    """State of a sound that is played: ``past``, its last samples; ``fading``, its continuation in a hole, as
    far as it is not played yet; ``n_risen``, how many samples of its return have been played; None: it is back."""

    past: Samples = field(default_factory=lambda: np.empty(0, np.float32))
    fading: Samples = field(default_factory=lambda: np.empty(0, np.float32))
    n_risen: int | None = None
    in_hole: bool = False

    def cut(self) -> None:
        """Nothing was played at all: what comes next rises from silence."""
        self.past = self.fading = np.empty(0, np.float32)
        self.in_hole, self.n_risen = True, 0


class Concealer:
    """Plays real sound and holes at one rate; the state is the caller's."""

    def __init__(self, rate_hz: float) -> None:
        self.rate_hz = rate_hz
        self.fall, self.rise, self._n_past = (round(rate_hz * ms / 1000) for ms in (FALL_MS, RISE_MS, PAST_MS))

    def play(self, state: Sound, samples: Samples) -> Samples:
        """Real sound, as it is heard; the very same array where nothing is changed."""
        state.in_hole = False
        if state.n_risen is not None:
            samples = self._rising(state, state.n_risen, samples)
        self._remember(state, samples)
        return samples

    def conceal(self, state: Sound, n: int) -> Samples:
        """So many samples of a hole."""
        if not state.in_hole:
            state.fading = self._tail(state)
        state.in_hole, state.n_risen = True, 0
        samples = self._faded(state, n)
        self._remember(state, samples)
        return samples

    def _rising(self, state: Sound, n_risen: int, samples: Samples) -> Samples:
        gain = ramp(self.rise)[n_risen : n_risen + len(samples)]
        risen = np.array(samples)
        risen[: len(gain)] *= gain
        risen += self._faded(state, len(samples))
        state.n_risen = n_risen + len(samples) if n_risen + len(samples) < self.rise else None
        return risen

    def _tail(self, state: Sound) -> Samples:
        """The sound of a hole."""
        tail = continuation(state.past, self.fall, self.rate_hz) * ramp(self.fall)[::-1]
        return tail.astype(np.float32)

    def _faded(self, state: Sound, n: int) -> Samples:
        """The next samples of what fades."""
        faded = np.zeros(n, np.float32)
        ready, state.fading = state.fading[:n], state.fading[n:]
        faded[: len(ready)] = ready
        return faded

    def _remember(self, state: Sound, samples: Samples) -> None:
        # a copy: the samples lie in memory that is used again
        known = samples if len(samples) >= self._n_past else np.concatenate([state.past, samples])
        state.past = np.array(known[-self._n_past :])


def continuation(past: Samples, n: int, rate_hz: float) -> NDArray[np.float64]:
    """The ``n`` samples that would have followed, if the sound had gone on as it was."""
    known = past.astype(np.float64)
    if len(known) < 4 * ORDER or np.mean(known**2) < INAUDIBLE:
        # too little to learn from: the samples backwards, which begin where these end
        backwards = known[::-1][:n]
        return np.append(backwards, np.zeros(n - len(backwards)))
    weights = burg(known, ORDER)[::-1]
    missed = known[ORDER:] - sliding_window_view(known, ORDER)[:-1] @ weights
    line = np.append(known[-ORDER:], np.resize(missed[-period(known, rate_hz) :], n))
    for i in range(ORDER, len(line)):
        line[i] += weights @ line[i - ORDER : i]
    return line[ORDER:]


def period(samples: NDArray[np.float64], rate_hz: float) -> int:
    """Length of one or more pitch periods that the samples end with, where they have any: the shift by which they are
    most like themselves."""
    shortest, longest = (round(rate_hz * ms / 1000) for ms in PERIODS_MS)
    longest = min(longest, len(samples) // 2)
    newest = samples[longest:]
    before = sliding_window_view(samples, len(newest))[: longest - shortest + 1]
    likeness = before @ newest / np.sqrt(np.sum(before**2, axis=1) + 1e-12)
    return longest - int(likeness.argmax())


def burg(samples: NDArray[np.float64], order: int) -> NDArray[np.float64]:
    """Weights of the last ``order`` samples, newest first, that predict the next one with the least error both ways."""
    forward, backward = samples[1:].copy(), samples[:-1].copy()
    weights = np.zeros(0)
    for _ in range(order):
        power = forward @ forward + backward @ backward
        k = 2 * (forward @ backward) / power if power > 0 else 0.0
        weights = np.append(weights - k * weights[::-1], k)
        forward, backward = (forward - k * backward)[1:], (backward - k * forward)[:-1]
    return weights


def ramp(n: int) -> Samples:
    """``n`` factors that rise from 0 to 1 without a corner."""
    return (0.5 - 0.5 * np.cos(np.pi * (np.arange(n) + 0.5) / max(1, n))).astype(np.float32)
