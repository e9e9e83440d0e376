"""A visitor's loudspeaker and screen in a program: plays what comes as the page does, and measures how well.

Pure: time is an argument. Sound waits 40 ms, so that the way may be uneven; pictures are shown when they come.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from ...runtime.units import MS
from ..serve.carrier import PACE_MS, Samples
from ..serve.socket import RATE_HZ

HELD = RATE_HZ * 40 // 1000
"""Samples that wait before the first is heard, and again after the sound has run dry."""

MOST_HELD = RATE_HZ * 100 // 1000
"""More is dropped, back to `HELD`: it would be delay for good."""

KEPT = 20_000
"""Skews and times that are kept for quantiles: the newest, 13 minutes of pictures."""


@dataclass
class PlayerFigures:
    """Figures of the playing.

    Attributes:
        shown: pictures that came and were new.
        due: pictures that were due between the first one and now.
        underruns: how often the sound ran dry.
        dropped_ms: sound that came in such a burst that it was dropped.
        skew_ms: of each picture, how far the sound was ahead of it when it was shown.
    """

    shown: int = 0
    due: int = 0
    underruns: int = 0
    dropped_ms: float = 0.0
    skew_ms: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT))


class Player:
    """Plays one visitor's sound and pictures.

    Args:
        unit_ms: length of a unit.
        fps: pictures a second that are due.

    Attributes:
        picture: the one that is shown, as it came.
        heard: unit of the newest sound that was played; -1 for none.
        seen: unit of the newest picture that was shown; -1 for none.
        first_sound_ns, first_picture_ns: when they came.
    """

    def __init__(self, unit_ms: float, fps: float) -> None:
        self.figures = PlayerFigures()
        self.picture: bytes | None = None
        self.heard = self.seen = -1
        self.first_sound_ns: int | None = None
        self.first_picture_ns: int | None = None
        self._unit_ms, self._fps = unit_ms, fps
        self._waiting: deque[tuple[Samples, int, int]] = deque()  # with unit and part
        self._offset = 0  # samples of the oldest that were played
        self._is_playing = False
        self._played_ns: int | None = None  # until when
        self._heard_ms: float | None = None  # media time of the newest sample that was played
        self._last_picture: tuple[int, int] | None = None

    @property
    def held(self) -> int:
        """Samples that wait."""
        return sum(len(samples) for samples, _, _ in self._waiting) - self._offset

    def sound(self, samples: Samples, unit: int, part: int, now_ns: int) -> None:
        """Sound has come."""
        self.first_sound_ns = self.first_sound_ns or now_ns
        self._waiting.append((samples, unit, part))
        surplus = self.held - HELD
        if self._is_playing and surplus > MOST_HELD - HELD:
            self._take(surplus)
            self.figures.dropped_ms += surplus * 1000 / RATE_HZ

    def show(self, picture: bytes, unit: int, part: int, now_ns: int) -> None:
        """A picture has come, and is shown."""
        self.first_picture_ns = self.first_picture_ns or now_ns
        self.picture, self.seen = picture, unit
        if self._last_picture == (unit, part):  # held by the server: nothing new was there
            return
        self._last_picture = unit, part
        self.figures.shown += 1
        if self._is_playing and self._heard_ms is not None and self._played_ns is not None:
            heard_ms = self._heard_ms + (now_ns - self._played_ns) / MS
            self.figures.skew_ms.append(heard_ms - unit * self._unit_ms - part * 1000 / self._fps)

    def play(self, now_ns: int) -> Samples:
        """Sound that is heard from the last call until now; silence where nothing is there."""
        begin_ns, self._played_ns = now_ns if self._played_ns is None else self._played_ns, now_ns
        wanted = now_ns * RATE_HZ // (1000 * MS) - begin_ns * RATE_HZ // (1000 * MS)
        if self.first_picture_ns is not None:
            self.figures.due = 1 + int((now_ns - self.first_picture_ns) / 1e9 * self._fps)
        if not self._is_playing and self.held >= HELD:
            self._is_playing = True
        heard = np.zeros(wanted, np.int16)
        if not self._is_playing:
            return heard
        found = self._take(wanted)
        heard[: len(found)] = found
        if len(found) < wanted:
            self._is_playing = False
            self.figures.underruns += 1
        return heard

    def flush(self) -> None:
        """Drop what waits: an interruption."""
        self._waiting.clear()
        self._offset = 0
        self._is_playing = False

    def _take(self, n: int) -> Samples:
        """Up to ``n`` samples, oldest first."""
        parts: list[Samples] = []
        while n > 0 and self._waiting:
            samples, unit, part = self._waiting[0]
            piece = samples[self._offset : self._offset + n]
            parts.append(piece)
            n -= len(piece)
            self._offset += len(piece)
            self.heard = unit
            self._heard_ms = unit * self._unit_ms + part * PACE_MS + self._offset * 1000 / RATE_HZ
            if self._offset >= len(samples):
                self._waiting.popleft()
                self._offset = 0
        return np.concatenate(parts) if parts else np.zeros(0, np.int16)
