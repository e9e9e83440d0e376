from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st
from media_files import coded, onset_s, opened, play, unit

from wangraph.nodes.media.testcard import flash_frame, flash_square
from wangraph.nodes.media.timecode import BITS, draw_timecode, read_timecode
from wangraph.nodes.pattern import CapturePattern
from wangraph.runtime.errors import GraphError
from wangraph.runtime.node import END
from wangraph.runtime.units import UnitClock

CLOCKS = [UnitClock(), UnitClock(Fraction(30), 3), UnitClock(Fraction(24), 6), UnitClock(Fraction(50), 8)]


@settings(max_examples=60, deadline=None)
@for_all(frame=st.integers(0, 2**BITS - 1), width=st.integers(64, 700), height=st.integers(64, 400))
def test_a_time_code_is_read_back_at_any_size(frame, width, height):
    assert read_timecode(coded(frame, width, height)) == frame


@settings(max_examples=40, deadline=None)
@for_all(frame=st.integers(0, 2**BITS - 1), cell=st.integers(0, 23))
def test_one_wrong_cell_is_never_taken_for_another_number(frame, cell):
    image = coded(frame, 120, 64)
    row, column = divmod(cell, 12)
    box = image[row * 4 : row * 4 + 4, column * 10 : column * 10 + 10]
    box[:] = 255 - box
    assert read_timecode(image) is None


@settings(max_examples=20, deadline=None)
@for_all(frame=st.integers(0, 2**BITS - 1), seed=st.integers(0, 2**32))
def test_a_time_code_survives_noise_and_grey(frame, seed):
    image = coded(frame, 336, 192).astype(int)
    noisy = np.clip(image * 0.8 + 25 + np.random.default_rng(seed).normal(0, 30, image.shape), 0, 255)
    assert read_timecode(noisy) == frame
    assert read_timecode(noisy.mean(axis=-1)) == frame


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_picture_without_a_code_has_none(level):
    assert read_timecode(np.full((192, 336, 3), level, np.uint8)) is None


def test_the_number_wraps():
    image = np.zeros((64, 64, 3), np.uint8)
    draw_timecode(image, 2**BITS + 5)
    assert read_timecode(image) == 5


@pytest.mark.parametrize("clock", CLOCKS, ids=lambda c: str(c.fps))
def test_every_picture_carries_its_number_and_a_second_begins_with_flash_and_beep(clock):
    node = opened(CapturePattern(seconds=3), clock=clock)
    outputs = play(node)
    frames = np.concatenate([o["video"] for o in outputs])
    samples = np.concatenate([o["audio"] for o in outputs])
    assert [read_timecode(image) for image in frames] == list(range(len(frames)))
    lit = np.array([image[flash_square(192, 336)].mean() > 128 for image in frames])
    flashes = np.flatnonzero(np.diff(lit.astype(int), prepend=0) == 1) / clock.fps
    assert list(flashes) == [0, 1, 2] + ([3] if len(frames) > 3 * clock.fps else [])
    for second in (0, 1, 2):
        heard = samples[second * 16000 : second * 16000 + 8000]
        assert onset_s(heard) < 0.001
        assert not heard[1600:].any()
    assert [o["text"] for o in outputs if o["text"]][:3] == ["second 0", "second 1", "second 2"]


def test_where_a_second_is_no_whole_frame_the_beep_waits_for_the_flash():
    clock = UnitClock(Fraction(30000, 1001), 30)
    node = opened(CapturePattern(rate_hz=48000, seconds=5), clock=clock)
    samples = np.concatenate([o["audio"] for o in play(node)])
    for second in (1, 2, 3):
        first = round(flash_frame(second, clock.fps) / clock.fps * 48000)
        assert not samples[first - 2000 : first].any()
        assert np.abs(samples[first : first + 24]).max() > 0.3


def test_a_unit_depends_on_its_number_alone():
    node, other = opened(CapturePattern()), opened(CapturePattern())
    for index in range(30):
        other.step(unit(index))
    for index in (6, 25, 3):
        ours, theirs = node.step(unit(index)), other.step(unit(index))
        assert np.array_equal(ours["video"], theirs["video"])
        assert np.array_equal(ours["audio"], theirs["audio"])


def test_successive_pictures_differ_beyond_the_code():
    frames = opened(CapturePattern()).step(unit(1))["video"]
    for before, after in pairwise(frames):
        assert (before[24:] != after[24:]).any()


def test_it_ends_after_its_seconds_rounded_up_to_a_unit():
    node = opened(CapturePattern(seconds=0.5))
    assert node.step(unit(3)) is not END
    assert node.step(unit(4)) is END
    assert opened(CapturePattern()).step(unit(10**6)) is not END


def test_ports_say_the_sizes():
    node = CapturePattern(width=100, height=80, rate_hz=24000)
    outputs = node.ports(node.values)[1]
    assert str(outputs["video"].specs[""]) == "[F 80 100 3] uint8"
    assert outputs["audio"].rate_hz == 24000


def test_sizes_too_small_for_the_code_are_refused():
    with pytest.raises(GraphError) as error:
        CapturePattern(width=32)
    assert str(error.value) == "CapturePattern.width: found 32 (expected 64 or more)"


def test_samples_must_be_whole_per_unit():
    with pytest.raises(GraphError) as error:
        opened(CapturePattern(rate_hz=16001))
    assert str(error.value) == (
        "clock: 16001 Hz gives 2560.160 samples per unit of 160 ms (expected a whole number), "
        "choose unit_frames 25 (1000 ms), rate_hz 16000 or 22050, or another fps"
    )
