"""The pacer: an even stream out of units that come as they come. The tests move the clock."""

from __future__ import annotations

import asyncio
from collections import deque
from fractions import Fraction

import numpy as np
import pytest

from wangraph.runtime.units import UnitClock
from wangraph.tools.serve.pacer import FEWEST_UNITS, GRACE_NS, MARGIN_NS, SEEN_UNITS, Pacer, pace
from wangraph.tools.serve.protocol import AudioFormat, EndFormats, VideoFormat

MS = 1_000_000
T0 = 3_000_000_000
CLOCK = UnitClock()


class Out:
    """A carrier that keeps what is put, with the time of the test's clock."""

    name = "socket"

    def __init__(self) -> None:
        self.now_ns = 0
        self.dropped = {}
        self.sounds: list[tuple[int, np.ndarray, int, int, int]] = []
        self.pictures: list[tuple[int, int, int, int]] = []
        self.flushes = 0

    def put_video(self, picture, unit, part):
        self.pictures.append((self.now_ns, int(picture[0, 0, 0]), unit, part))

    def put_audio(self, samples, rate_hz, unit, part):
        self.sounds.append((self.now_ns, samples, rate_hz, unit, part))

    def flush(self):
        self.flushes += 1

    async def close(self):
        pass


class Stage:
    """A pacer between a playout that puts units and a loop that advances it."""

    def __init__(self, clock=CLOCK, rate_hz=16_000, kind=Pacer, video=True) -> None:
        self.clock, self.rate_hz = clock, rate_hz
        fps = float(clock.fps)
        outputs = EndFormats(
            video=VideoFormat(8, 8, fps) if video else None, audio=AudioFormat(rate_hz) if rate_hz else None
        )
        self.pacer = kind(clock, outputs, T0)
        self.out = self.pacer.carrier = Out()
        self.now_ns = T0

    def deadline_ns(self, unit: int) -> int:
        return T0 + 200 * MS + self.clock.pts_ns(unit)

    def put(self, unit: int, level: float | None = 0.5, late_ms: float = 4, video: bool = True) -> None:
        """A unit whose sound rises a little with each sample, put when it is presented."""
        self.run_until(self.deadline_ns(unit) + int(late_ms * MS))
        sound = None
        if level is not None:
            n = self.clock.samples(self.rate_hz)
            sound = (level + 0.4 * ((np.arange(n) + unit * n) % 9973) / 9973).astype(np.float32)
        frames = np.zeros((self.clock.unit_frames, 8, 8, 3), np.uint8)
        frames += (np.arange(self.clock.unit_frames, dtype=np.uint8) + self.clock.unit_frames * unit)[
            :, None, None, None
        ]
        self.pacer.put(unit, frames if video else None, sound, self.deadline_ns(unit), self.now_ns)

    def run_until(self, at_ns: int, step_ns: int = MS) -> None:
        while self.now_ns < at_ns:
            self.now_ns = min(self.now_ns + step_ns, at_ns)
            self.out.now_ns = self.now_ns
            self.pacer.advance(self.now_ns)

    def run_for(self, ms: float, step_ms: float = 1) -> None:
        self.run_until(self.now_ns + int(ms * MS), int(step_ms * MS))

    @property
    def sound(self) -> np.ndarray:
        return np.concatenate([samples for _, samples, *_ in self.out.sounds])

    @property
    def silent_parts(self) -> list[int]:
        return [k for k, (_, samples, *_) in enumerate(self.out.sounds) if not samples.any()]


def expected(stage: Stage, units: range, level: float = 0.5) -> np.ndarray:
    n = stage.clock.samples(stage.rate_hz)
    sound = level + 0.4 * (np.arange(units.start * n, units.stop * n) % 9973) / 9973
    return np.rint(sound.astype(np.float32) * 32767).astype(np.int16)


# Even out of uneven ---------------------------------------------------------------------------------------------------


def every_sample_once_and_in_order(kind: type[Pacer], clock: UnitClock, rate_hz: int, jitter_ms: float = 5) -> None:
    """Whatever the way's jitter, within the margin and the grace: after the first sample, no silence, no loss, no
    repetition; and within the margin an even stream."""
    stage, rng = Stage(clock, rate_hz, kind), np.random.default_rng(0)
    for unit in range(30):
        stage.put(unit, late_ms=rng.uniform(0, jitter_ms) if unit else 0)
    stage.run_for(200)
    begin = int(np.flatnonzero(stage.sound)[0])
    wanted = expected(stage, range(30))
    assert np.array_equal(stage.sound[begin : begin + len(wanted)], wanted)
    gaps = np.diff([at_ns for at_ns, samples, *_ in stage.out.sounds[20:] if samples.any()])[:-1]
    uneven_ns = 2 * MS + max(0, int(jitter_ms * MS) - MARGIN_NS)
    assert gaps.min() >= 20 * MS - uneven_ns and gaps.max() <= 20 * MS + uneven_ns
    assert stage.pacer.figures.units_late <= 1, "only the one that never comes, after the last"


class Careless(Pacer):
    """Begins each unit at a tick of its own."""

    def _tick(self, at_ns: int):
        if self._playing is None:
            return super()._tick(at_ns)
        waiting, self._waiting = self._waiting, deque()
        try:
            return super()._tick(at_ns)
        finally:
            self._waiting = waiting


CLOCKS = [
    (CLOCK, 16_000),
    (CLOCK, 22_050),
    (UnitClock(Fraction(30), 4), 24_000),
    (UnitClock(Fraction(25), 1), 16_000),
    (UnitClock(Fraction(24), 3), 48_000),
    (UnitClock(Fraction(25, 2), 1), 16_000),
    (UnitClock(Fraction(40), 5), 11_000),
]


@pytest.mark.parametrize("jitter_ms", [5, (MARGIN_NS + GRACE_NS) / MS - 1])
@pytest.mark.parametrize(("clock", "rate_hz"), CLOCKS)
def test_every_sample_leaves_once_and_evenly_whatever_the_jitter(clock, rate_hz, jitter_ms):
    every_sample_once_and_in_order(Pacer, clock, rate_hz, jitter_ms)


def test_the_law_of_samples_notices_a_pacer_that_rounds_units_to_ticks():
    with pytest.raises(AssertionError):
        every_sample_once_and_in_order(Careless, UnitClock(Fraction(30), 4), 24_000)


@pytest.mark.parametrize("clock", [CLOCK, UnitClock(Fraction(25), 1), UnitClock(Fraction(25, 2), 1)])
def test_every_picture_leaves_once_at_its_instant(clock):
    stage = Stage(clock)
    for unit in range(20):
        stage.put(unit)
    stage.run_for(20 + float(clock.period) * 1000)
    n, frame_ns = clock.unit_frames, int(1e9 / clock.fps)
    pictures = {(unit, part): (at_ns, level) for at_ns, level, unit, part in reversed(stage.out.pictures)}
    assert [level for _, level in sorted(pictures.values())] == list(range(20 * n))
    begin_ns = pictures[0, 0][0]
    for (unit, part), (at_ns, level) in pictures.items():
        assert level == unit * n + part
        assert abs(at_ns - begin_ns - (unit * n + part) * frame_ns) <= 21 * MS


@pytest.mark.parametrize(("late_ms", "delay_ms"), [(4, MARGIN_NS / MS), (30, 30)])
def test_a_unit_begins_a_margin_after_its_deadline_or_when_the_first_one_came(late_ms, delay_ms):
    stage = Stage()
    for unit in range(4):
        stage.put(unit, late_ms=late_ms if unit == 0 else 4)
    first_ns = next(at_ns for at_ns, samples, *_ in stage.out.sounds if samples.any())
    assert first_ns - stage.deadline_ns(0) in (delay_ms * MS, (delay_ms + 1) * MS), "the test's clock moves by 1 ms"
    assert stage.out.pictures[0][0] == first_ns
    assert stage.pacer.figures.delay_ms == delay_ms


def test_a_first_unit_that_came_late_is_no_delay_for_long():
    stage = Stage()
    stage.put(0, late_ms=104)
    for unit in range(1, FEWEST_UNITS + 3):
        stage.put(unit, level=None)
    assert stage.pacer.figures.delay_ms == 24 and stage.pacer.figures.skipped_ms == 80


def test_before_the_first_unit_silence_leaves_at_every_tick():
    stage = Stage()
    stage.run_for(400)
    assert len(stage.out.sounds) == 21 and not stage.sound.any() and stage.out.pictures == []
    assert stage.pacer.figures.silent_ms == 0, "nothing is waited for"


# Late units -----------------------------------------------------------------------------------------------------------


def test_a_late_unit_is_waited_for_in_silence_and_nothing_of_it_is_lost():
    stage = Stage()
    for unit in range(6):
        stage.put(unit, late_ms=4 if unit != 3 else 60)
    stage.run_for(300)
    begin = int(np.flatnonzero(stage.sound)[0])
    wanted = expected(stage, range(6))
    before, hole = 3 * 2560, 60 * 16
    assert np.array_equal(stage.sound[begin : begin + before], wanted[:before])
    assert not stage.sound[begin + before : begin + before + hole].any()
    assert np.array_equal(stage.sound[begin + before + hole : begin + hole + len(wanted)], wanted[before:])
    assert stage.pacer.figures.units_late == 2  # and the one that never comes, after the last
    held = [at_ns for at_ns, level, *_ in stage.out.pictures if level == 11]
    assert np.diff(held).tolist() == [40 * MS + GRACE_NS, 40 * MS - GRACE_NS], "the last picture stays"


def test_a_unit_that_is_a_little_late_leaves_when_it_comes_and_delays_nothing_after_it():
    stage, late_ms = Stage(), (MARGIN_NS + GRACE_NS) / MS - 1
    for unit in range(6):
        stage.put(unit, late_ms=4 if unit != 3 else late_ms)
    ats = [at_ns for at_ns, _, _, unit, part in stage.out.sounds if unit == 3 and part < 2]
    assert [at_ns - stage.deadline_ns(3) for at_ns in ats[:2]] == [int(late_ms * MS), MARGIN_NS + 20 * MS]
    assert stage.pacer.figures.units_late == 0 and stage.pacer.figures.silent_ms == 0
    assert stage.pacer.figures.delay_ms == MARGIN_NS / MS


def test_a_delay_that_is_no_longer_needed_is_given_back_in_quiet_sound_only():
    stage = Stage()
    stage.put(0)
    stage.put(1, late_ms=120)
    for unit in range(2, 2 * SEEN_UNITS):
        stage.put(unit)
    late = stage.pacer.figures.delay_ms
    assert late == 126 and stage.pacer.figures.skipped_ms == 0
    for unit in range(2 * SEEN_UNITS, 2 * SEEN_UNITS + 4):
        stage.put(unit, level=None)
    assert stage.pacer.figures.delay_ms == 6 and stage.pacer.figures.skipped_ms == 120
    assert stage.pacer.figures.units_late == 1


def test_of_units_that_come_at_once_the_newest_two_are_kept():
    stage = Stage()
    stage.put(0)
    for unit in range(1, 6):
        stage.put(unit, late_ms=4 + (6 - unit) * 160)
    stage.run_for(600)
    units = [unit for _, samples, _, unit, _ in stage.out.sounds if samples.any()]
    assert sorted(set(units)) == [0, 4, 5]
    assert stage.pacer.figures.units_dropped == 3


def test_a_unit_without_picture_or_sound_leaves_the_last_picture_and_silence():
    stage = Stage()
    stage.put(0)
    stage.put(1, level=None, video=False)
    stage.put(2)
    stage.run_for(200)
    parts = [(unit, bool(samples.any())) for _, samples, _, unit, _ in stage.out.sounds if unit == 1]
    assert parts == [(1, False)] * 8
    assert [(level, unit) for _, level, unit, _ in stage.out.pictures][4:8] == [(3, 0)] * 4


# A late loop ----------------------------------------------------------------------------------------------------------


def test_a_loop_that_is_a_little_late_catches_up_and_shows_the_newest_picture_only():
    stage = Stage()
    for unit in range(3):
        stage.put(unit)
    stage.out.pictures.clear()
    n = len(stage.out.sounds)
    stage.run_for(80, step_ms=80)
    assert len(stage.out.sounds) - n == 4 and len(stage.out.pictures) == 1
    assert stage.pacer.figures.missed_ms == 0


def test_a_loop_that_is_very_late_goes_on_from_now_and_counts_what_it_missed():
    stage = Stage()
    for unit in range(12):
        stage.put(unit)
        if unit == 5:
            stage.run_for(400, step_ms=400)
    figures, n = stage.pacer.figures, len(stage.out.sounds)
    assert 280 <= figures.missed_ms <= 300
    assert figures.delay_ms < 30 + 400
    ats = [at_ns for at_ns, *_ in stage.out.sounds]
    assert max(ats.count(at_ns) for at_ns in set(ats)) <= 6, "no burst"
    stage.run_for(200)
    assert len(stage.out.sounds) - n == 10


def test_the_loop_lets_others_run_however_late_it_is():
    stage, turns = Stage(), []

    def now_ns() -> int:
        stage.now_ns += 50 * MS  # each look at the clock finds it far ahead
        return stage.now_ns

    async def main() -> None:
        task = asyncio.create_task(pace(stage.pacer, now_ns))
        for _ in range(20):
            turns.append(len(stage.out.sounds))
            await asyncio.sleep(0)
        task.cancel()

    asyncio.run(main())
    assert len(turns) == 20 and turns[-1] > turns[2]


# Interruption ---------------------------------------------------------------------------------------------------------


def test_an_interruption_silences_the_next_tick_and_all_units_that_were_put():
    stage = Stage()
    for unit in range(3):
        stage.put(unit)
    stage.run_for(50)
    n, pictures = len(stage.out.sounds), len(stage.out.pictures)
    stage.pacer.flush()
    assert stage.out.flushes == 1
    stage.put(3)
    stage.run_for(165)
    after = [(unit, bool(samples.any())) for _, samples, _, unit, _ in stage.out.sounds[n:]]
    assert after[0][0] == 2 and {is_loud for unit, is_loud in after if unit == 2} == {False}
    assert {is_loud for unit, is_loud in after if unit == 3} == {True}
    assert len(stage.out.pictures) - pictures >= 6, "the face goes on"


def test_units_before_the_answer_to_an_interruption_stay_silent_when_they_come():
    stage = Stage()
    stage.put(0)
    stage.pacer.flush()
    stage.pacer.mute_until(3)
    stage.pacer.mute_until(2)
    for unit in range(1, 5):
        stage.put(unit)
    stage.run_for(180)
    assert {unit for _, samples, _, unit, _ in stage.out.sounds if samples.any()} == {3, 4}


# What was sent when ---------------------------------------------------------------------------------------------------


def test_what_was_sent_at_an_instant_can_be_looked_up():
    stage = Stage()
    for unit in range(5):
        stage.put(unit)
    begin_ns = stage.deadline_ns(0) + MARGIN_NS
    assert stage.pacer.sound_at(T0 - 1) is None and stage.pacer.picture_at(begin_ns - 1) is None
    assert stage.pacer.sound_at(begin_ns) == stage.pacer.picture_at(begin_ns) == (0, 0)
    assert stage.pacer.sound_at(begin_ns + 399 * MS) == (2, 3)
    assert stage.pacer.picture_at(begin_ns + 399 * MS) == (2, 1)


def test_the_memory_of_what_was_sent_is_bounded():
    stage = Stage()
    stage.run_for(30_000, step_ms=20)
    assert len(stage.pacer._sounds) == 500


# Carriers -------------------------------------------------------------------------------------------------------------


def test_without_a_carrier_time_goes_on_and_a_new_one_begins_where_it_is():
    stage = Stage()
    stage.put(0)
    old, stage.pacer.carrier = stage.pacer.carrier, None
    for unit in range(1, 4):
        stage.put(unit)
    new = stage.pacer.carrier = Out()
    stage.run_for(30)
    assert not any(samples.any() for _, samples, *_ in old.sounds)
    assert {unit for *_, unit, _ in new.sounds} == {2, 3} or {unit for *_, unit, _ in new.sounds} == {3}
    assert new.pictures


def test_a_graph_without_sound_shows_pictures_and_one_without_pictures_only_sounds():
    silent = Stage(rate_hz=0)
    for unit in range(3):
        silent.put(unit, level=None)
    silent.run_for(200)
    assert silent.out.sounds == [] and len({p[2:] for p in silent.out.pictures}) == 12
    blind = Stage(video=False)
    for unit in range(3):
        blind.put(unit, video=False)
    assert blind.out.pictures == [] and blind.sound.any()
