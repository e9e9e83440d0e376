"""A visitor's loudspeaker and screen in a program: plays what comes as the page does, and measures how well.

Pure: time is an argument. Sound waits in a `Ring`, so that the way may be uneven; a picture waits for its sound.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from ...runtime.units import MS
from ..serve.carrier import PACE_MS, Samples
from ..serve.socket import RATE_HZ
from .ring import Ring

KEPT = 20_000
"""Skews and times that are kept for quantiles: the newest, 13 minutes of pictures."""

LEAD_MS = 16
"""By so much a picture may be seen before its sound is heard; a tick of playing is 10 ms."""

PATIENCE_MS = 100
"""A picture waits no longer than this: what it waits for may have been dropped."""


@dataclass(frozen=True, slots=True)
class _Picture:
    data: bytes
    unit: int
    part: int
    came_ns: int


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
        shown: told each picture, and when, as it is shown.

    Attributes:
        picture: the one that is shown, as it came.
        heard: unit of the newest sound that was played; -1 for none.
        seen: unit of the newest picture that was shown; -1 for none.
        first_sound_ns, first_picture_ns: when they came.
    """

    def __init__(
        self, unit_ms: float, fps: float, shown: Callable[[bytes, int], None] = lambda data, now_ns: None
    ) -> None:
        self.figures = PlayerFigures()
        self.picture: bytes | None = None
        self.heard = self.seen = -1
        self.first_sound_ns: int | None = None
        self.first_picture_ns: int | None = None
        self._unit_ms, self._fps, self._shown = unit_ms, fps, shown
        self._ring = Ring(RATE_HZ)
        self._played_ns: int | None = None  # until when
        self._pictures: deque[_Picture] = deque()
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
        """A picture has come. It is shown when its sound is heard, or at once where none is."""
        self._pictures.append(_Picture(picture, unit, part, now_ns))
        self._show_due(now_ns)

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
        self._show_due(now_ns)
        return heard

    def flush(self) -> None:
        """Drop what waits: an interruption."""
        self._ring.flush()

    def _show_due(self, now_ns: int) -> None:
        while self._pictures:
            picture = self._pictures[0]
            ahead_ms = self._ahead_ms(picture, now_ns)
            waited_ms = (now_ns - picture.came_ns) / MS
            if ahead_ms is not None and ahead_ms > LEAD_MS and waited_ms < PATIENCE_MS:
                return
            self._show(self._pictures.popleft(), ahead_ms, now_ns)

    def _show(self, picture: _Picture, ahead_ms: float | None, now_ns: int) -> None:
        self.first_picture_ns = self.first_picture_ns or now_ns
        self.picture, self.seen = picture.data, picture.unit
        self._shown(picture.data, now_ns)
        if self._last_picture == (picture.unit, picture.part):  # held by the server: nothing new was there
            return
        self._last_picture = picture.unit, picture.part
        self.figures.shown += 1
        if ahead_ms is not None:
            self.figures.skew_ms.append(-ahead_ms)

    def _ahead_ms(self, picture: _Picture, now_ns: int) -> float | None:
        """By how much a picture is ahead of the sound that is heard now; None where none is."""
        if not self._ring.is_playing or self._ring.heard is None or self._played_ns is None:
            return None
        unit, part, n_samples = self._ring.heard
        heard_ms = unit * self._unit_ms + part * PACE_MS + n_samples * 1000 / RATE_HZ + (now_ns - self._played_ns) / MS
        return picture.unit * self._unit_ms + picture.part * 1000 / self._fps - heard_ms
