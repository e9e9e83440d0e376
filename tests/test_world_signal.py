import numpy as np
import pytest

from wangraph.tools.lab.world.room import Microphone, Room
from wangraph.tools.lab.world.signal import (
    RATE,
    UNIT,
    Track,
    convolve,
    glide,
    level,
    low_pass,
    resample,
    trim,
    warp_tract,
)


def tone(hz, seconds=0.4):
    return np.sin(2 * np.pi * hz * np.arange(int(seconds * RATE)) / RATE).astype(np.float32)


def pitch(sound):
    return np.argmax(np.abs(np.fft.rfft(sound * np.hanning(len(sound)), RATE * 4))) / 4


@pytest.mark.parametrize("rate", [0.8, 1.0, 1.25])
def test_a_steady_rate_changes_pitch_and_length_alike(rate):
    faster = glide(tone(400), rate, rate)
    assert pitch(faster) == pytest.approx(400 * rate, rel=0.01)
    assert len(faster) == pytest.approx(0.4 * RATE / rate, abs=2)


def test_a_falling_glide_ends_lower_and_keeps_its_beginning():
    sound = glide(tone(400), 1.0, 0.8, start=0.5)
    assert pitch(sound[:2000]) == pytest.approx(400, rel=0.02)
    assert pitch(sound[-1600:]) < 360


def test_resampling_there_and_back_is_the_same_sound():
    sound = low_pass(tone(700), 3000)
    again = resample(resample(sound, RATE, 22_050), 22_050, RATE)
    n = len(again) - 400
    assert np.abs(again[400:n] - sound[400:n]).max() < 0.01


def test_a_warped_throat_moves_formants_and_keeps_the_pitch():
    pulses = np.zeros(RATE // 2, np.float32)
    pulses[:: RATE // 120] = 1.0
    ring = (np.exp(-np.arange(400) / 60) * np.sin(2 * np.pi * 1000 * np.arange(400) / RATE)).astype(np.float32)
    voice = convolve(pulses, ring)[: RATE // 2]
    warped = warp_tract(voice, 1.2)
    spectrum = np.abs(np.fft.rfft(warped * np.hanning(len(warped)), RATE))
    assert np.argmax(spectrum) == pytest.approx(1200, abs=130)
    lags = np.correlate(warped[2000:5000], warped[2000:5000], "full")[3000 - 1 + 60 :][:200]
    assert 60 + np.argmax(lags) == pytest.approx(RATE / 120, abs=2)


def test_a_warp_of_one_changes_nothing():
    assert warp_tract(tone(300), 1.0) is not None
    np.testing.assert_array_equal(warp_tract(tone(300), 1.0), tone(300))


def test_trim_removes_the_silence_around_a_word_and_level_sets_its_loudness():
    word = level(trim(np.pad(tone(500), (4000, 9000))), 0.1)
    assert len(word) == pytest.approx(0.4 * RATE, abs=500)
    assert np.sqrt(np.mean(word**2)) == pytest.approx(0.1, rel=1e-3)
    assert not len(trim(np.zeros(1000, np.float32)))
    assert not len(trim(np.zeros(0, np.float32)))


def test_units_taken_one_by_one_are_the_whole_track():
    rng = np.random.default_rng(0)
    sounds = [(rng.standard_normal(3000).astype(np.float32), int(rng.integers(0, 9000))) for _ in range(4)]
    whole = np.zeros(6 * UNIT, np.float32)
    track = Track()
    for sound, start in sounds:
        whole[start : start + 3000] += sound
        track.add(sound, start)
    np.testing.assert_allclose(np.concatenate([track.take() for _ in range(6)]), whole, atol=1e-6)


def test_a_cut_track_fades_within_20_ms_and_is_silent_after():
    track = Track()
    track.add(np.ones(3 * UNIT, np.float32), 0)
    track.take()
    track.cut(UNIT)
    unit = track.take()
    assert unit[0] == 1.0 and not unit[320:].any() and not track.take().any()


def test_a_word_reaches_the_microphone_at_its_sample_in_any_room():
    word = level(tone(500, 0.2))
    for seed in range(5):
        room = Room.sample(np.random.default_rng(seed))
        microphone = Microphone(room, seed)
        microphone.add(word, UNIT + 700)
        heard = np.concatenate([microphone.take(np.zeros(UNIT, np.float32)) for _ in range(3)])
        before, after = heard[: UNIT + 600], heard[UNIT + 760 : UNIT + 2000]
        assert np.sqrt(np.mean(after**2)) > 3 * np.sqrt(np.mean(before**2))


def test_the_echo_is_what_the_agent_said_a_unit_and_some_ms_before():
    room = Room(noise=0.0, echo=0.5, echo_ms=40)
    microphone = Microphone(room, 0)
    agent = np.random.default_rng(0).uniform(-0.5, 0.5, (4, UNIT)).astype(np.float32)
    heard = np.concatenate([microphone.take(unit) for unit in agent])
    said = agent.reshape(-1)
    np.testing.assert_allclose(heard[UNIT:], 0.5 * said[UNIT - 640 : -640], atol=1e-6)
