"""A visitor's loudspeaker and screen in a program: plays what comes as the page does, and measures how well.

Pure: time is an argument. Sound waits in a `Ring`, so that the way may be uneven; pictures are shown when they come.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from ...runtime.units import MS
from ..serve.carrier import PACE_MS, Samples
from ..serve.socket import RATE_HZ
from .ring import Ring

KEPT = 20_000
"""Skews and times that are kept for quantiles: the newest, 13 minutes of pictures."""


@dataclass
class PlayerFigures:
    """Figures of the playing.

    Attributes:
        shown: pictures that came and were new.
        due: pictures that were due between the first one and now.
        underruns: how often the sound ran dry.
        dropped_ms: sound that was never heard, as too much of it waited.
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
        self._ring = Ring(RATE_HZ)
        self._played_ns: int | None = None  # until when
        self._last_picture: tuple[int, int] | None = None

    @property
    def held(self) -> int:
        """Samples that wait."""
        return self._ring.held

    def sound(self, samples: Samples, unit: int, part: int, now_ns: int) -> None:
        """Sound has come."""
        self.first_sound_ns = self.first_sound_ns or now_ns
        self._ring.put(samples, unit, part)
        self.figures.dropped_ms = self._ring.dropped * 1000 / RATE_HZ

    def show(self, picture: bytes, unit: int, part: int, now_ns: int) -> None:
        """A picture has come, and is shown."""
        self.first_picture_ns = self.first_picture_ns or now_ns
        self.picture, self.seen = picture, unit
        if self._last_picture == (unit, part):  # held by the server: nothing new was there
            return
        self._last_picture = unit, part
        self.figures.shown += 1
        if self._ring.is_playing and self._ring.heard is not None and self._played_ns is not None:
            of_unit, of_part, n_samples = self._ring.heard
            heard_ms = of_unit * self._unit_ms + of_part * PACE_MS + n_samples * 1000 / RATE_HZ
            heard_ms += (now_ns - self._played_ns) / MS
            self.figures.skew_ms.append(heard_ms - unit * self._unit_ms - part * 1000 / self._fps)

    def play(self, now_ns: int) -> Samples:
        """Sound that is heard from the last call until now; silence where nothing is there."""
        begin_ns, self._played_ns = now_ns if self._played_ns is None else self._played_ns, now_ns
        wanted = now_ns * RATE_HZ // (1000 * MS) - begin_ns * RATE_HZ // (1000 * MS)
        if self.first_picture_ns is not None:
            self.figures.due = 1 + int((now_ns - self.first_picture_ns) / 1e9 * self._fps)
        heard = self._ring.take(wanted)
        if self._ring.heard is not None:
            self.heard = self._ring.heard[0]
        self.figures.underruns = self._ring.underruns
        self.figures.dropped_ms = self._ring.dropped * 1000 / RATE_HZ
        return heard

    def flush(self) -> None:
        """Drop what waits: an interruption."""
        self._ring.flush()
