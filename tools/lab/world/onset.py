"""Onset and end of the agent's voice, as somebody who talks with it perceives them."""

from __future__ import annotations

from .signal import MS, Sound, loudness

AUDIBLE = 0.012
"""Root mean square above which 10 ms are heard."""
GAP_MS = 100
"""A silence after which sound counts as a new word."""

_SILENCE_MS = 360  # the agent has ended when nothing was heard for so long: longer than its gaps between words
_STEP = 10 * MS


class OnsetDetector:
    """Detector of the beginning and the end of the agent's sound, from its samples alone."""

    def __init__(self) -> None:
        self.onset: int | None = None
        """Sample at which the present speech began; None while there is none."""
        self.rise = -(10**9)
        """Sample at which sound last began after a short silence: a word, or a new answer."""
        self.last = -(10**9)
        """Sample at which sound was last heard."""
        self._at = 0

    def add(self, samples: Sound) -> None:
        """The next unit [2560]."""
        for i, rms in enumerate(loudness(samples, _STEP)):
            at = self._at + i * _STEP
            if rms > AUDIBLE:
                self.onset = at if self.onset is None else self.onset
                self.rise = at if at - self.last > GAP_MS * MS else self.rise
                self.last = at + _STEP
            elif at - self.last >= _SILENCE_MS * MS:
                self.onset = None
        self._at += len(samples)
