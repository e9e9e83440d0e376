"""Sound from a clock that is not ours, at our rate: read a little faster or slower, so that its delay stays.

A device or a visitor counts samples by a crystal of their own, 10 to 500 parts in a million away from the clock of the
units. `DriftResampler` measures that from how much has come by when:

    received ..........................|         put: what came, each piece with the instant of its arrival
      played ...............|<- delay ->|        read: the samples of a unit, at the instant at which it is complete

One windowed sinc does both, the rate and the drift. FFmpeg's resamplers do not: soxr takes no change of ratio while it
runs, and holds back 12 to 66 ms; this one holds back 2 ms at 16 kHz. Pure: time is an argument. No locks: an owner
whose threads put and read at the same time has one.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Samples = NDArray[np.float32]

MAX_CORRECTION = 0.01
"""Most by which sound is read faster or slower: 17 cents, and only while a delay is mended; drift is far below."""

BANDWIDTH_HZ = 0.02
"""Bandwidth of the loop that mends the delay: below that of jitter, which would become a wavering pitch."""

SMOOTHING_S = 1.0
"""Time constant over which arrivals are averaged before they count as delay."""

PAUSE_S = 0.25
"""After this long without a sample the source pauses; until then it is late."""

FADE_S = 0.005
"""Length of the fades around a hole, so that there is no click."""

CROSSINGS = 32
"""Zero crossings of the sinc to each side: flat to 0.88 of the band, 60 dB down from its end on."""

PHASES = 2048
"""Positions between two samples at which the sinc is tabulated: the nearest is within 70 dB of the exact one."""

MAX_DRIFT = 0.001
"""Crystals are better than this. More means that sound is lost on the way, which no other speed makes up for."""

KEPT_S = 1.0
"""Sound kept beyond the longest delay while nobody reads: a source may run before its reader does."""

_KAISER_BETA = 5.65
_CUTOFF = 0.94


class DriftResampler:
    """Turns samples as they arrive into samples as they are due.

    Args:
        rate_in: nominal rate of what is put.
        rate_out: rate of what is read.
        target_delay_s: sound kept between arrival and reading. It hides jitter, and has to be longer than a piece.
        max_delay_s: beyond this the oldest sound is dropped, back to the target.

    Attributes:
        delay_s: distance of reading behind arrival, averaged.
        n_early: input samples that came before anything was read, and were never played.
        n_dropped: input samples after those that were never played.
        n_silent: output samples that stand for sound which was not there while the source was running.
    """

    def __init__(self, rate_in: int, rate_out: int, target_delay_s: float = 0.03, max_delay_s: float = 0.3) -> None:
        self.rate_in, self.rate_out = rate_in, rate_out
        self.target_delay_s = target_delay_s
        self.delay_s = target_delay_s
        self.n_early = self.n_dropped = self.n_silent = 0
        self._max_delay_s = max_delay_s
        self._step = rate_in / rate_out
        self._table = _sinc_table(rate_in, rate_out)
        self._half = self._table.shape[1] // 2
        # Silence stands before the first sample, so that the sinc's left half always has something to lie on.
        self._sound: Samples = np.zeros(2 * self._half, np.float32)
        self._first = -2 * self._half  # number of the buffer's first sample; the first that came is 0
        self._n_received = 0
        self._arrived_ns = 0
        # Where the next sample is read, with a fraction; None before the first and in a pause. Nothing before
        # `_unplayed` is played (again): a position that lies before it means silence until there.
        self._position: float | None = None
        self._unplayed = 0
        self._has_played = False
        self._is_hole = True  # the last sample given out was silence for want of sound
        self._left_at: float | None = None  # where the sound was left that the next read fades over from
        self._tail: Samples = np.zeros(0, np.float32)
        self._drift = self._correction = 0.0

    @property
    def drift_ppm(self) -> float:
        """Speed of the source's clock beyond ours, in parts per million."""
        return self._drift * 1e6

    @property
    def seconds(self) -> float:
        """Seconds of sound that have come."""
        return self._n_received / self.rate_in

    @property
    def is_running(self) -> bool:
        """True while sound is read; False before the first, and in a pause."""
        return self._position is not None

    def put(self, samples: Samples, arrived_ns: int) -> None:
        """Append mono samples ``[n]``, the last of which arrived at this instant."""
        self._sound = np.concatenate([self._sound, samples.astype(np.float32, copy=False)])
        self._n_received += len(samples)
        self._arrived_ns = arrived_ns
        surplus = len(self._sound) - int((self._max_delay_s + KEPT_S) * self.rate_in) - 4 * self._half
        if surplus > 0:
            oldest = self._first + surplus + 2 * self._half
            if self._position is not None and self._position < oldest:
                self._place(oldest)
                self._left_at = None
            self._cut(surplus)

    def clear(self) -> None:
        """Drop what waits, as when an interruption or another source makes it worthless."""
        self._pause()
        self._play_from(self._n_received)

    def read(self, n: int, due_ns: int) -> Samples | None:
        """The next ``n`` samples, for the stretch of time that ends at ``due_ns``; None where the source pauses.

        The instant is when they are due, not when the call happens: a caller who is late changes nothing.
        """
        ahead_s = (due_ns - self._arrived_ns) / 1e9
        if not self._n_received or (self._unread <= 0 and ahead_s > PAUSE_S):
            self._pause()
            return None
        # What had come by the due instant if the source went on evenly after its last piece.
        received = self._n_received + min(ahead_s, PAUSE_S) * self.rate_in
        if self._position is None and received - self._unplayed <= self.target_delay_s * self.rate_in:
            return None
        had_begun, length = self.is_running, n * self._step * (1 + self._correction)
        self._resume((received - self._unplayed - length) / self.rate_in)
        delay_s = math.inf if self._position is None else (received - self._position - length) / self.rate_in
        if delay_s > self._max_delay_s or (self._is_hole and delay_s < self.target_delay_s):
            self._place(received - self.target_delay_s * self.rate_in - length)
            self.delay_s = delay_s = self.target_delay_s
        before = self._correction
        self._correct(delay_s, n / self.rate_out)
        return self._played(n, before, self._correction, had_begun)

    @property
    def _unread(self) -> float:
        """Samples that can be read; the last ones wait for those that the sinc's right half lies on."""
        position = self._unplayed if self._position is None else max(self._position, self._unplayed)
        return float(self._n_received - self._half - 1 - position)

    def _resume(self, delay_s: float) -> None:
        """Read on where reading paused, if what has come since makes this delay: a way that stalls delivers at once
        what it held back. Before the first read it is old, and after a longer stall there is too much of it."""
        if self._position is None and self._has_played and self.target_delay_s < delay_s <= self._max_delay_s:
            self._position, self.delay_s = float(self._unplayed), delay_s

    def _place(self, position: float) -> None:
        """Read on from another position, with a fade where sound follows on sound."""
        # After a stall even the place that is left may lie before all that is kept: it was read as silence.
        is_silent = self._is_hole or self._position is None or self._position < self._unplayed
        self._left_at = None if is_silent else self._position
        self._position = position
        self._play_from(math.floor(position))

    def _play_from(self, number: int) -> None:
        n_skipped = max(0, number - self._unplayed)
        if self._has_played:
            self.n_dropped += n_skipped
        else:
            self.n_early += n_skipped
        self._unplayed = max(number, self._unplayed)

    def _correct(self, delay_s: float, elapsed_s: float) -> None:
        """Set the correction to read with from here on: proportional and integral to the delay's error. Once the
        delay is right, the integral part alone is left: the drift."""
        self.delay_s += (delay_s - self.delay_s) * (1 - math.exp(-elapsed_s / SMOOTHING_S))
        error_s = self.delay_s - self.target_delay_s
        omega = 2 * math.pi * BANDWIDTH_HZ
        wanted = 2 * omega * error_s + self._drift
        if abs(wanted) < MAX_CORRECTION:  # at its limit it tells of a delay to mend, not of the drift
            drift = self._drift + omega**2 * error_s * elapsed_s
            self._drift = max(-MAX_DRIFT, min(MAX_DRIFT, drift))
        self._correction = max(-MAX_CORRECTION, min(MAX_CORRECTION, wanted))

    def _played(self, n: int, before: float, after: float, had_begun: bool) -> Samples:
        """``n`` samples from the position on, at a speed that goes evenly from one correction to the other."""
        assert self._position is not None
        count = np.arange(n + 1)
        places: NDArray[np.float64]
        places = self._position + self._step * (count * (1 + before) + count * count * (after - before) / (2 * n))
        begin = int(np.searchsorted(places[:n], self._unplayed - 1, side="right"))
        end = max(begin, int(np.searchsorted(places[:n], self._n_received - self._half - 1)))
        sound = np.zeros(n, np.float32)
        sound[begin:end] = self._interpolated(places[begin:end])
        self._smooth(sound, begin, end)
        self.n_silent += n - end + (begin if had_begun else 0)
        self._has_played = True
        self._position = float(places[end])  # reading stops where the sound does, and goes on there
        self._unplayed = max(self._unplayed, math.floor(self._position))
        self._cut(int(self._position) - 2 * self._half - self._first)
        return sound

    def _interpolated(self, places: NDArray[np.float64]) -> Samples:
        """The sound at these places of the input."""
        nearest = np.rint((places - self._first) * PHASES).astype(np.int64)
        windows = sliding_window_view(self._sound, 2 * self._half)[nearest // PHASES - self._half + 1]
        found: Samples = np.einsum("nt,nt->n", windows, self._table[nearest % PHASES])
        return found

    def _smooth(self, sound: Samples, begin: int, end: int) -> None:
        """Take the edges off where sound begins at ``begin`` and ends at ``end``, and where it jumped."""
        n_fade = max(1, int(FADE_S * self.rate_out))
        rising = np.linspace(0, 1, n_fade, dtype=np.float32)
        if begin or self._is_hole:
            m = min(n_fade, end - begin)
            sound[begin : begin + m] *= rising[:m]
        elif self._left_at is not None and end > n_fade:
            old = self._interpolated(self._left_at + self._step * np.arange(n_fade, dtype=np.float64))
            sound[:n_fade] = rising * sound[:n_fade] + (1 - rising) * old
        self._left_at = None
        tail = np.concatenate([self._tail, sound[begin:end]])[-n_fade:]
        if end < len(sound) and not (self._is_hole and end == begin):
            # The last samples backwards: no step where the sound ends, and no new pitch.
            m = min(len(tail), len(sound) - end)
            sound[end : end + m] = (tail[::-1] * rising[::-1][: len(tail)])[:m]
        self._is_hole = end < len(sound)
        self._tail = np.zeros(0, np.float32) if self._is_hole else tail

    def _pause(self) -> None:
        self._position, self._left_at = None, None
        self._is_hole = True
        self._tail = np.zeros(0, np.float32)
        self._correction = self._drift

    def _cut(self, n: int) -> None:
        """Let go of the oldest ``n`` samples, which no window reaches any more."""
        if n > 0:
            self._sound = self._sound[n:]
            self._first += n


@lru_cache(maxsize=8)
def _sinc_table(rate_in: int, rate_out: int) -> NDArray[np.float32]:
    """Weights ``[phase, tap]`` of the input samples around a place between two of them; each phase sums to 1."""
    band = _CUTOFF * min(1.0, rate_out / rate_in)
    half = math.ceil(CROSSINGS / min(1.0, rate_out / rate_in))
    distance = np.arange(-half + 1, half + 1)[None] - np.arange(PHASES)[:, None] / PHASES
    window = np.i0(_KAISER_BETA * np.sqrt(np.clip(1 - (distance / half) ** 2, 0, 1))) / np.i0(_KAISER_BETA)
    weights = np.sinc(band * distance) * window
    table: NDArray[np.float32] = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return table
