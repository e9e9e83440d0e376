"""Sound that was received and not heard yet, by the same rule as the page's ``ring.js``.

It begins late on purpose, so that an uneven way is not heard; what came too much is dropped; it waits longer after it
has run dry, and less again where that was not needed for a while. No clock: sound goes in by `put`, out by `take`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from ..serve.carrier import Samples

START_MS = 36
"""Sound that waits before the first is heard."""

SURPLUS_MS = 60
"""Held above what is wanted before sound is dropped."""

SLACK_MS = 4
"""Surplus that is given up only where nothing is to be heard."""

GROW_MS, MOST_MS = 30, 150
"""So much more is wanted each time that it has run dry, and at most this."""

CALM_S, SAFE_MS = 5, 10
"""After so long, what was held all the time is given up, but for this."""

LEAST_MS = 30
"""An even way needs a part of 20 ms, and what is taken at once."""

SILENCE = 164
"""Of 32768; below it is silence."""


@dataclass(slots=True)
class _Part:
    samples: Samples
    unit: int
    part: int


class Ring:
    """Sound of one visitor between the way here and the loudspeaker.

    Args:
        rate_hz: of the samples.

    Attributes:
        want: samples that wait before the first is heard, as far as is known.
        underruns: how often it ran dry.
        dropped: samples that were never heard, but not those that were flushed.
        held: samples that wait.
        heard: unit and part of the newest sample that was taken, and its place in the part; None before the first.
    """

    def __init__(self, rate_hz: int) -> None:
        self._per_ms = rate_hz // 1000
        self.want = START_MS * self._per_ms
        self.underruns = self.dropped = self.held = 0
        self.heard: tuple[int, int, int] | None = None
        self._parts: deque[_Part] = deque()
        self._offset = 0  # samples of the oldest part that were taken
        self._is_playing = False
        self._calm = 0  # samples taken since it ran dry, or since less was wanted
        self._lowest = MOST_MS * self._per_ms  # held since then

    @property
    def is_playing(self) -> bool:
        """True while sound is heard: not before enough is there, at first and after it has run dry."""
        return self._is_playing

    def put(self, samples: Samples, unit: int, part: int) -> None:
        """Append a part of sound."""
        self._parts.append(_Part(samples, unit, part))
        self.held += len(samples)
        surplus = self.held - self.want
        if self._is_playing and surplus > SURPLUS_MS * self._per_ms:
            self._drop(surplus)
        elif not self._is_playing and surplus >= 0:
            self._drop(surplus)
            self._is_playing = True

    def take(self, n: int) -> Samples:
        """The next ``n`` samples; silence where there is no sound."""
        heard = np.zeros(n, np.int16)
        if not self._is_playing:
            return heard
        surplus = self.held - self.want
        if surplus > SLACK_MS * self._per_ms and self._is_silent(n):
            self._drop(min(n, surplus))
        found = self._next(n)
        heard[: len(found)] = found
        if len(found) < n:
            self._run_dry()
            return heard
        self._calm += n
        self._lowest = min(self._lowest, self.held)
        if self._calm > CALM_S * 1000 * self._per_ms:
            self._shrink()
        return heard

    def flush(self) -> None:
        """Forget all that was not heard; what is put next begins as the first sound did."""
        self._parts.clear()
        self._offset = self.held = 0
        self._is_playing = False

    def _run_dry(self) -> None:
        self._is_playing = False
        self.underruns += 1
        self.want = min(MOST_MS * self._per_ms, self.want + GROW_MS * self._per_ms)
        self._begin_calm()

    def _shrink(self) -> None:
        unused = max(0, self._lowest - SAFE_MS * self._per_ms)
        self.want = max(LEAST_MS * self._per_ms, self.want - unused)
        self._begin_calm()

    def _begin_calm(self) -> None:
        self._calm, self._lowest = 0, MOST_MS * self._per_ms

    def _drop(self, n: int) -> None:
        self.dropped += len(self._next(n))

    def _is_silent(self, n: int) -> bool:
        """True if nothing is heard in the next ``n`` samples."""
        begin = self._offset
        for part in self._parts:
            if np.abs(part.samples[begin : begin + n]).max(initial=0) > SILENCE:
                return False
            n -= len(part.samples) - begin
            if n <= 0:
                return True
            begin = 0
        return True

    def _next(self, n: int) -> Samples:
        """Up to ``n`` samples, oldest first."""
        pieces: list[Samples] = []
        while n > 0 and self._parts:
            part = self._parts[0]
            piece = part.samples[self._offset : self._offset + n]
            pieces.append(piece)
            n -= len(piece)
            self.held -= len(piece)
            self._offset += len(piece)
            self.heard = part.unit, part.part, self._offset
            if self._offset >= len(part.samples):
                self._parts.popleft()
                self._offset = 0
        return np.concatenate(pieces) if pieces else np.zeros(0, np.int16)
