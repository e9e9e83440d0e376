"""Exact media time."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wangraph.runtime.errors import GraphError
from wangraph.runtime.units import NS, UnitClock

RATES = st.sampled_from([Fraction(25), Fraction(30000, 1001), Fraction(24), Fraction(50, 3), Fraction(12)])


def test_a_unit_of_four_frames_at_25_fps_is_160_ms():
    clock = UnitClock()
    assert clock.period == Fraction(4, 25)
    assert (clock.pts_ns(3), clock.release_ns(0), clock.duration_ns(9)) == (480_000_000, 160_000_000, 160_000_000)
    assert clock.samples(16_000) == 2560


@given(RATES, st.integers(1, 8), st.integers(0, 10**9))
def test_times_never_drift_from_the_exact_rational(fps, frames, unit):
    clock = UnitClock(fps, frames)
    assert 0 <= clock.period * unit * NS - clock.pts_ns(unit) < 1
    assert clock.pts_ns(unit) + clock.duration_ns(unit) == clock.pts_ns(unit + 1)
    assert clock.release_ns(unit) == clock.pts_ns(unit + 1)


@given(RATES, st.floats(0.01, 10_000))
def test_units_for_covers_the_time_and_no_whole_unit_more(fps, seconds):
    clock = UnitClock(fps)
    exact = Fraction(seconds).limit_denominator(1_000_000)
    assert clock.units_for(seconds) * clock.period >= exact > (clock.units_for(seconds) - 1) * clock.period


def test_a_rate_without_whole_samples_per_unit_is_refused():
    with pytest.raises(GraphError) as caught:
        UnitClock(Fraction(30000, 1001)).samples(16_000)
    assert str(caught.value) == (
        "clock: 16000 Hz gives 2135.467 samples per unit of 133.467 ms (expected a whole number), "
        "choose unit_frames 15 (500.5 ms), or another fps"
    )


@pytest.mark.parametrize(
    ("fps", "frames", "message"),
    [
        (0, 4, "clock.fps: found 0 (expected more than 0), for example 25"),
        (25, 0, "clock.unit_frames: found 0 (expected 1 or more), for example 4"),
    ],
)
def test_a_clock_that_cannot_be_is_refused(fps, frames, message):
    with pytest.raises(GraphError) as caught:
        UnitClock(Fraction(fps), frames)
    assert str(caught.value) == message
