"""The pacer: whole units of an agent's sound and picture in, 20 ms of sound and a picture each 40 ms out.

    put      |unit 0                 |unit 1                 |unit 2     when presented, soon after its deadline
    out    . . . s s s s s s s s s s s s s s s s s s s s s s s s ...     sound at each tick, without end; . is silence

Sound is a clock to whoever plays it: a hole in it makes all that follows later, and a burst has no place to go. So a
part leaves at each tick, silence where there is nothing. A unit begins at its deadline and a delay: a margin, or the
first unit's way here where that is longer. One that comes a little later leaves when it comes: the way to the visitor
is no more even, and whoever plays has that much in hand. One that comes later still is waited for in silence, which is
delay for all that follow. Delay that no unit of the last seconds needed is given back in the next quiet moment.

Pure: time is an argument. `pace` is its loop, for the event loop of the visit.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_right
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...runtime.units import MS, NS, UnitClock
from .carrier import PACE_MS, Carrier, Samples
from .protocol import EndFormats

MARGIN_NS = 6 * MS
"""Between a unit's deadline and its beginning. The way from the playout to here takes 4 ms, and seldom more than 9."""

GRACE_NS = 8 * MS
"""By how much later a unit may begin before silence takes its place."""

SPARE_NS = 2 * MS
"""Between a unit's arrival and its beginning: what is left of a delay that is given back."""

LATE_NS = 100 * MS
"""A loop that is later than this goes on from now, instead of sending all that it owes at once."""

KEPT_UNITS = 2
"""Units that wait to be played; the oldest gives way."""

QUIET = 100
"""Of 32768, -50 dB: sound below it can be left out unheard."""

SEEN_UNITS = 25
"""Units over which a delay has to have been needless before it is given back: one late unit in 4 s still counts."""

FEWEST_UNITS = 4
"""The same at the beginning: the first unit comes late, as everything runs for the first time, and tells nothing."""

RING_S = 10
"""How long ago something can be looked up: the visitor's word of what was played comes within a second or two."""


@dataclass(slots=True)
class _Queued:
    unit: int
    video: NDArray[np.uint8] | None
    audio: Samples | None
    deadline_ns: int
    came_ns: int


@dataclass(slots=True)
class PacerFigures:
    """Figures of everything that was put.

    Attributes:
        units: that were put.
        units_dropped: that were never begun, as newer ones were there.
        units_late: that were waited for.
        silent_ms: silence while a unit was waited for.
        skipped_ms: quiet sound that was left out to give delay back.
        missed_ms: sound that was not sent, as the loop itself was late.
        delay_ms: from the last unit's deadline to its beginning.
    """

    units: int = 0
    units_dropped: int = 0
    units_late: int = 0
    silent_ms: float = 0.0
    skipped_ms: float = 0.0
    missed_ms: float = 0.0
    delay_ms: float = 0.0


class Pacer:
    """Hands an agent's sound and picture to a carrier, evenly.

    Args:
        clock: of the graph.
        outputs: what it gives.
        now_ns: when the ticks begin.

    Attributes:
        carrier: where they go; None while there is none. It can be replaced at any time.
        figures: so far.
        next_ns: the next tick.
    """

    def __init__(self, clock: UnitClock, outputs: EndFormats, now_ns: int) -> None:
        self.carrier: Carrier | None = None
        self.figures = PacerFigures()
        self.next_ns = now_ns
        self._has_audio = outputs.audio is not None
        # Without sound the ticks still need a measure that divides a unit, whatever its pictures' rate.
        self._rate_hz = clock.fps.numerator * 1000 if outputs.audio is None else outputs.audio.rate_hz
        self._unit_samples = clock.samples(self._rate_hz)
        self._tick_samples = self._rate_hz * PACE_MS // 1000
        self._tick_ns = self._tick_samples * NS // self._rate_hz
        # Where a unit is no whole number of ticks, a tick needs the next unit before that unit's own instant.
        self._early_ns = self._tick_ns if self._unit_samples % self._tick_samples else 0
        self._n_frames = clock.unit_frames
        self._picture_ticks = -(-self._unit_samples // (self._n_frames * self._tick_samples))
        self._silence: Samples = np.zeros(self._tick_samples, np.int16)
        self._waiting: deque[_Queued] = deque()
        self._playing: _Queued | None = None
        self._offset = 0  # samples of the playing unit that have left
        self._start_ns = now_ns
        self._has_begun = False  # the first unit
        self._is_held = False  # a unit is waited for
        self._newest = -1
        self._muted_before = 0
        self._slack_ns: deque[int] = deque(maxlen=SEEN_UNITS)
        self._picture: tuple[NDArray[np.uint8], int, int] | None = None  # the last one shown, its unit and part
        self._is_new = False  # it has not been shown yet
        self._held_ticks = 0  # since it was
        self._label = (0, 0)  # unit and part of the last sound
        ring = RING_S * 1000 // PACE_MS
        self._sounds: deque[tuple[int, int, int]] = deque(maxlen=ring)
        self._pictures: deque[tuple[int, int, int]] = deque(maxlen=ring)

    def put(
        self,
        unit: int,
        video: NDArray[np.uint8] | None,
        audio: NDArray[np.float32] | None,
        deadline_ns: int,
        now_ns: int,
    ) -> None:
        """Queue a unit that has been presented, in ascending order.

        Args:
            video: ``[F, H, W, 3]``; None: the last picture stays.
            audio: ``[S]``; None: silence.
            deadline_ns: when it was due to begin, on the clock of ``now_ns``.
        """
        is_first = self._newest < 0
        self._newest = unit
        self.figures.units += 1
        if is_first:
            self._align(max(now_ns, deadline_ns + MARGIN_NS) + self._early_ns)
        sound = None if audio is None else np.rint(np.clip(audio, -1, 1) * 32767).astype(np.int16)
        self._waiting.append(_Queued(unit, video, sound, deadline_ns, now_ns))
        if len(self._waiting) > KEPT_UNITS:
            self._waiting.popleft()
            self.figures.units_dropped += 1
        self.advance(now_ns)  # its tick may have been a moment ago

    @property
    def due_ns(self) -> int:
        """Instant at which `advance` is due: the next tick, or the end of the grace of a unit that is not there."""
        return self.next_ns + GRACE_NS * self._is_missing

    def advance(self, now_ns: int) -> None:
        """Send what is due. Of several pictures only the newest: those that come together are lost on the way."""
        while self.due_ns <= now_ns:
            at_ns, self.next_ns = self.next_ns, self.next_ns + self._tick_ns
            sound = self._tick(at_ns)
            if now_ns - at_ns > LATE_NS:
                self.figures.missed_ms += PACE_MS
            elif self._has_audio:
                self._send_sound(sound, now_ns)
        self._send_picture(now_ns)

    def flush(self) -> None:
        """An interruption: no more sound of any unit that was put. Its pictures go on, as a face must not freeze."""
        self.mute_until(self._newest + 1)
        if self.carrier is not None:
            self.carrier.flush()

    def mute_until(self, unit: int) -> None:
        """No sound of the units before this one, whether they were put or not."""
        self._muted_before = max(self._muted_before, unit)

    def sound_at(self, at_ns: int) -> tuple[int, int] | None:
        """Unit and part of the sound that was the newest one sent at an instant; None if that is unknown."""
        return _newest_at(self._sounds, at_ns)

    def picture_at(self, at_ns: int) -> tuple[int, int] | None:
        """Unit and part of the picture that was the newest one sent at an instant; None if that is unknown."""
        return _newest_at(self._pictures, at_ns)

    def _align(self, start_ns: int) -> None:
        """Move the ticks so that one falls on the start; those until then send silence. None becomes later: whoever
        plays would have that much less in hand from then on."""
        ticks = -(-(start_ns - self.next_ns) // self._tick_ns)
        self.next_ns = start_ns - ticks * self._tick_ns
        self._start_ns = start_ns

    @property
    def _is_missing(self) -> bool:
        """True where a unit should begin at the next tick, and is not there yet."""
        left = 0 if self._playing is None else self._unit_samples - self._offset
        return self._has_begun and not self._is_held and not self._waiting and left < self._tick_samples

    def _tick(self, at_ns: int) -> Samples:
        """One part of sound; moves on in the unit, and begins the next."""
        self._held_ticks += 1
        if self._playing is None and not self._begin(at_ns):
            if self._newest >= 0 and at_ns >= self._start_ns:
                self.figures.units_late += not self._is_held
                self.figures.silent_ms += PACE_MS
                self._is_held = True
            return self._silence
        self._give_delay_back()
        sound = self._part(self._tick_samples)
        if len(sound) < self._tick_samples:  # a unit that is no whole number of ticks: the rest is the next one's
            rest = self._tick_samples - len(sound)
            more = self._part(rest) if self._begin(at_ns) else self._silence[:rest]
            sound = np.concatenate([sound, more])
        return sound

    def _begin(self, at_ns: int) -> bool:
        """Begin the oldest unit that waits, once the first one's time has come."""
        if not self._waiting or at_ns < self._start_ns:
            return False
        unit = self._playing = self._waiting.popleft()
        self._offset, self._is_held = 0, False
        if self._has_begun:
            self._slack_ns.append(at_ns - unit.came_ns)
        self._has_begun = True
        self.figures.delay_ms = (at_ns - unit.deadline_ns) / MS
        return True

    def _part(self, n: int) -> Samples:
        """Up to ``n`` samples of the unit that is playing; it is over when its last has left."""
        unit = self._playing
        assert unit is not None
        begin, end = self._offset, min(self._offset + n, self._unit_samples)
        self._label = unit.unit, begin // self._tick_samples
        frame = begin * self._n_frames // self._unit_samples
        if unit.video is not None and (self._picture is None or self._picture[1:] != (unit.unit, frame)):
            self._picture = unit.video[frame], unit.unit, frame
            self._is_new = True
        self._offset = end
        if end == self._unit_samples:
            self._playing = None
        if unit.audio is None or unit.unit < self._muted_before:
            return self._silence[: end - begin]
        return unit.audio[begin:end]

    def _give_delay_back(self) -> None:
        """Leave a quiet tick out if all units of the last seconds were here a tick before their time, and more."""
        unit, needless_ns = self._playing, SPARE_NS + self._early_ns + self._tick_ns
        if unit is None or len(self._slack_ns) < FEWEST_UNITS or min(self._slack_ns) < needless_ns:
            return
        end = self._offset + self._tick_samples
        if end >= self._unit_samples or not self._is_quiet(unit, end):
            return
        self._offset = end
        self.figures.skipped_ms += PACE_MS
        self._slack_ns = deque((slack - self._tick_ns for slack in self._slack_ns), maxlen=SEEN_UNITS)

    def _is_quiet(self, unit: _Queued, end: int) -> bool:
        if unit.audio is None or unit.unit < self._muted_before:
            return True
        return bool(np.abs(unit.audio[self._offset : end]).max(initial=0) < QUIET)

    def _send_sound(self, sound: Samples, now_ns: int) -> None:
        if self.carrier is not None:
            self.carrier.put_audio(sound, self._rate_hz, *self._label)
            self._sounds.append((now_ns, *self._label))

    def _send_picture(self, now_ns: int) -> None:
        """Send the picture if it is new, or has been shown so long that the next one would be due."""
        if self._picture is None or self.carrier is None:
            return
        if self._is_new or self._held_ticks >= self._picture_ticks:
            picture, unit, part = self._picture
            self.carrier.put_video(picture, unit, part)
            if self._is_new:
                self._pictures.append((now_ns, unit, part))
            self._is_new, self._held_ticks = False, 0


async def pace(pacer: Pacer, now_ns: Callable[[], int] = time.monotonic_ns) -> None:
    """Advance a pacer for ever; cancel it to end."""
    while True:
        await asyncio.sleep(max(0, pacer.due_ns - now_ns()) / NS)  # a sleep of 0 lets others run, however late we are
        pacer.advance(now_ns())


def _newest_at(ring: deque[tuple[int, int, int]], at_ns: int) -> tuple[int, int] | None:
    found = bisect_right(ring, at_ns, key=lambda sent: sent[0]) - 1
    return None if found < 0 else ring[found][1:]
