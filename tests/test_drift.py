"""Sound of another clock: its delay stays, nothing is lost or doubled that is not counted, and a sine stays a sine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pytest

from wangraph.nodes.media.drift import PAUSE_S, DriftResampler, Samples

UNIT_S = 0.16


@dataclass(frozen=True)
class Source:
    """A device: pieces of ``piece`` samples, each up to ``jitter_s`` late, by a crystal ``ppm`` too fast."""

    rate_hz: int = 16000
    piece: int = 320
    jitter_s: float = 0.008
    ppm: float = 300.0
    seed: int = 0

    def pieces(self, sound: Samples) -> Iterator[tuple[float, Samples]]:
        """The sound in pieces, with the seconds at which they arrive."""
        rng, arrived_s = np.random.default_rng(self.seed), 0.0
        for end in range(self.piece, len(sound) + 1, self.piece):
            ended_s = end / self.rate_hz / (1 + self.ppm * 1e-6)
            arrived_s = max(arrived_s, ended_s + rng.uniform(0, self.jitter_s))
            yield arrived_s, sound[end - self.piece : end]


def play(
    drift: DriftResampler,
    pieces: Iterator[tuple[float, Samples]],
    seconds: float,
    watch: Callable[[], None] = lambda: None,
) -> list[Samples | None]:
    """What the units play."""
    waiting, played = list(pieces), []
    n = round(UNIT_S * drift.rate_out)
    for k in range(int(seconds / UNIT_S)):
        due_s = (k + 1) * UNIT_S
        while waiting and waiting[0][0] <= due_s:
            arrived_s, piece = waiting.pop(0)
            drift.put(piece, int(arrived_s * 1e9))
        played.append(drift.read(n, int(due_s * 1e9)))
        watch()
    return played


def joined(played: list[Samples | None]) -> Samples:
    """Units without sound are left out."""
    return np.concatenate([samples for samples in played if samples is not None])


def sine(seconds: float, rate_hz: int, hz: float) -> Samples:
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(int(seconds * rate_hz)) / rate_hz)).astype(np.float32)


def spurious_db(samples: Samples, rate_hz: int) -> float:
    """How loud everything is that is not within 20 Hz of the loudest tone."""
    power = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) ** 2
    hz = np.fft.rfftfreq(len(samples), 1 / rate_hz)
    is_tone = np.abs(hz - hz[power.argmax()]) < 20
    return float(10 * np.log10(power[~is_tone].sum() / power.sum()))


class Uncorrected(DriftResampler):
    """Measures, and does nothing about it."""

    def _correct(self, delay_s: float, elapsed_s: float) -> None:
        self.delay_s = delay_s


class Forgetful(DriftResampler):
    """Loses three samples a unit and counts none."""

    def _played(self, n: int, before: float, after: float, had_begun: bool) -> Samples:
        assert self._position is not None
        self._position += 3
        return super()._played(n, before, after, had_begun)


class Clicking(DriftResampler):
    """Rounds to whole samples."""

    def _interpolated(self, places: np.ndarray) -> Samples:
        return super()._interpolated(np.rint(places))


def a_delay_that_stays(kind: type[DriftResampler], source: Source) -> None:
    """Once it has settled the delay is the target, to within the jitter, and no sample is dropped or missing."""
    drift, delays = kind(source.rate_hz, 16000, target_delay_s=0.04), []
    sound = sine(90, source.rate_hz, 200)
    play(drift, source.pieces(sound), 88, lambda: delays.append(drift.delay_s))
    settled = delays[len(delays) // 2 :]
    assert max(abs(delay - 0.04) for delay in settled) < 0.002 + source.jitter_s
    assert drift.n_dropped == drift.n_silent == 0
    assert drift.drift_ppm == pytest.approx(source.ppm, abs=120)


def every_sample_once(kind: type[DriftResampler], source: Source) -> None:
    """A ramp comes out as a ramp: where the input is read moves on by a sample's width, to within the correction."""
    seconds = 30
    ramp = np.linspace(0, 1, seconds * source.rate_hz, dtype=np.float32)
    drift = kind(source.rate_hz, 16000, target_delay_s=0.04)
    played = joined(play(drift, source.pieces(ramp), seconds - 1))[16000:]
    steps = np.diff(played.astype(np.float64)[::16]) * len(ramp) * 16000 / source.rate_hz / 16
    assert steps.min() > 0.95 and steps.max() < 1.05
    assert drift.n_dropped == drift.n_silent == 0


def a_sine_stays_a_sine(kind: type[DriftResampler], source: Source) -> None:
    """Nothing but the tone comes out: no clicks between the pieces, between the units, or where the speed changes."""
    drift = kind(source.rate_hz, 16000, target_delay_s=0.04)
    played = joined(play(drift, source.pieces(sine(20, source.rate_hz, 3000)), 19))
    assert spurious_db(played[32000:], 16000) < -60


RULES = {a_delay_that_stays: Uncorrected, every_sample_once: Forgetful, a_sine_stays_a_sine: Clicking}

SOURCES = [
    Source(),
    Source(ppm=-500, piece=160, jitter_s=0.015),
    Source(rate_hz=48000, piece=480, ppm=500, seed=1),
    Source(rate_hz=44100, piece=1024, ppm=-200, jitter_s=0.003, seed=2),
    Source(rate_hz=8000, piece=80, ppm=0, jitter_s=0, seed=3),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("source", SOURCES, ids=lambda s: f"{s.rate_hz} Hz {s.ppm:+g} ppm")
def test_any_pieces_any_jitter_any_drift(rule: Callable[..., None], source: Source) -> None:
    rule(DriftResampler, source)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_each_law_notices_a_resampler_that_breaks_it(rule: Callable[..., None]) -> None:
    with pytest.raises(AssertionError):
        rule(RULES[rule], Source(ppm=500))


def test_nothing_is_given_out_before_there_is_sound_for_it() -> None:
    drift = DriftResampler(16000, 16000, target_delay_s=0.04)
    assert drift.read(2560, 160_000_000) is None
    drift.put(np.ones(320, np.float32), 310_000_000)  # 20 ms: all of it belongs to the next unit
    assert drift.read(2560, 320_000_000) is None and not drift.is_running
    drift.put(np.ones(2400, np.float32), 470_000_000)
    unit = drift.read(2560, 480_000_000)
    assert unit is not None and drift.n_silent == 0
    assert np.flatnonzero(unit > 0.5)[0] == pytest.approx(320 + 40, abs=2)  # after the delay, half-way through its fade


def test_a_pause_is_empty_and_what_comes_after_it_has_the_target_delay_again() -> None:
    drift = DriftResampler(16000, 16000, target_delay_s=0.04)
    before, after = [(k * 0.02, np.ones(320, np.float32)) for k in range(1, 101)], []
    after = [(4 + k * 0.02, np.full(320, 0.5, np.float32)) for k in range(1, 101)]
    played = play(drift, iter(before + after), 5.92)
    assert [unit is None for unit in played] == [k in range(14, 25) for k in range(37)]
    assert drift.delay_s == pytest.approx(0.04, abs=0.002)
    levels = set(np.round(joined(played[25:])[200::100], 1).tolist())
    assert levels <= {0.0, 0.5}  # nothing of the sound before the pause comes back


def test_what_a_stalled_way_delivers_at_once_is_played_late_and_none_of_it_dropped() -> None:
    pieces = [(at_s, piece) for at_s, piece in Source(jitter_s=0, ppm=0).pieces(np.linspace(0, 1, 128000, dtype="f4"))]
    stalled = [(3.6 if 3 < at_s < 3.6 else at_s, piece) for at_s, piece in pieces]
    drift = DriftResampler(16000, 16000, target_delay_s=0.04, max_delay_s=1.0)
    played = play(drift, iter(stalled), 4.8)
    assert drift.n_dropped == 0 and 0.2 < drift.delay_s < 0.6
    ramp = joined(played[19:])
    ramp = ramp[np.flatnonzero(ramp > 3 / 8)]
    assert np.diff(ramp[100:]).max() < 3 / 128000  # no second of it is missing


def test_a_hole_is_silence_without_a_click_and_is_counted() -> None:
    sound = sine(4, 16000, 300)
    pieces = [(at_s, piece) for at_s, piece in Source(jitter_s=0, ppm=0).pieces(sound) if not 2 < at_s < 2.2]
    drift = DriftResampler(16000, 16000, target_delay_s=0.04)
    played = joined(play(drift, iter(pieces), 3.9))
    assert drift.n_silent == pytest.approx(0.2 * 16000, abs=700)
    largest = 0.5 * 2 * np.pi * 300 / 16000
    assert np.abs(np.diff(played)).max() < 1.5 * largest
    assert drift.delay_s == pytest.approx(0.04, abs=0.005)


def test_a_surplus_is_dropped_oldest_first_without_a_click_and_is_counted() -> None:
    sound = sine(6, 16000, 300)
    pieces = [
        (at_s if at_s < 2 else max(2.0, at_s - 0.5), piece) for at_s, piece in Source(jitter_s=0, ppm=0).pieces(sound)
    ]
    drift = DriftResampler(16000, 16000, target_delay_s=0.04, max_delay_s=0.3)
    played = joined(play(drift, iter(pieces), 5.4))
    assert drift.n_dropped == pytest.approx(0.5 * 16000, abs=400)
    assert np.abs(np.diff(played)).max() < 2 * 0.5 * 2 * np.pi * 300 / 16000
    assert drift.delay_s == pytest.approx(0.04, abs=0.005)


def test_what_came_long_before_anybody_reads_is_dropped() -> None:
    drift = DriftResampler(16000, 16000, target_delay_s=0.04)
    for at_s, piece in Source(jitter_s=0, ppm=0).pieces(np.linspace(0, 1, 160000, dtype=np.float32)):
        drift.put(piece, int(at_s * 1e9))
    unit = drift.read(2560, 10_000_000_000)
    assert unit is not None
    assert unit[-1] == pytest.approx((10 - 0.04) / 10, abs=0.001)
    assert (drift.n_early, drift.n_dropped) == (160000 - 2560 - 640, 0)


def test_clearing_drops_what_waits_and_counts_it() -> None:
    drift = DriftResampler(16000, 16000, target_delay_s=0.04)
    drift.put(np.ones(3200, np.float32), 200_000_000)
    assert drift.read(2560, 200_000_000) is not None
    drift.clear()
    assert drift.n_dropped == 640
    assert drift.read(2560, 200_000_000 + int((PAUSE_S + 0.1) * 1e9)) is None


def test_a_reader_that_stalls_does_not_make_the_memory_grow() -> None:
    drift = DriftResampler(16000, 16000)
    pieces = Source(jitter_s=0, ppm=0).pieces(sine(60, 16000, 300))
    play(drift, pieces, 1)
    for at_s, piece in Source(jitter_s=0, ppm=0).pieces(sine(60, 16000, 300)):
        drift.put(piece, int((1 + at_s) * 1e9))
    assert len(drift._sound) < 2 * 16000


def test_after_a_stall_of_way_and_reader_together_sound_goes_on() -> None:
    """What a late reader finds came later than it was due: it is silence, from which nothing can be faded over."""
    drift, piece = DriftResampler(16000, 16000, 0.03, 1.0), sine(0.16, 16000, 440)
    for k in range(10):
        drift.put(piece, int((k + 1) * UNIT_S * 1e9))
        drift.read(2560, int((k + 1) * UNIT_S * 1e9))
    drift.read(2560, int(11 * UNIT_S * 1e9))  # nothing has come
    drift.put(piece, int(21 * UNIT_S * 1e9))
    drift.read(2560, int(12 * UNIT_S * 1e9))
    sounds = []
    for k in range(21, 30):
        drift.put(piece, int((k + 1) * UNIT_S * 1e9))
        sounds.append(drift.read(2560, int((k + 1) * UNIT_S * 1e9)))
    assert all(sound is not None and np.abs(sound).max() > 0.4 for sound in sounds[2:])
