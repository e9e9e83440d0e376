"""Sound around a hole: the same in any pieces, continued where it ends, and without clicks."""

from __future__ import annotations

import wave

import numpy as np
import pytest
from click.testing import CliRunner

from wangraph import Graph, run
from wangraph.nodes.media import concealment
from wangraph.nodes.media.concealment import INAUDIBLE, ORDER, Concealer, Sound, burg, continuation, period, ramp
from wangraph.tools.bench import concealment as bench
from wangraph.tools.verbs.bench import command

RATE_HZ = 16_000
HOLES = [(2560, 5120), (7680, 7760), (7840, 8000), (10240, 15360)]
"""Where sound is missing: a unit, two so close together that the sound has not come back between, two units."""


def lost(at):
    return any(start <= at < end for start, end in HOLES)


def played(sound, piece):
    """The sound with its holes, given in pieces of so many samples."""
    concealer, state = Concealer(RATE_HZ), Sound()
    parts = [
        concealer.conceal(state, piece) if lost(at) else concealer.play(state, sound[at : at + piece])
        for at in range(0, len(sound), piece)
    ]
    return np.concatenate(parts)


@pytest.mark.parametrize("kind", ["sine", "noise", "voice"])
@pytest.mark.parametrize("piece", [10, 20, 40])
def test_sound_and_holes_are_the_same_in_any_pieces(kind, piece):
    sound = getattr(bench, kind)(np.random.default_rng(piece))
    assert np.array_equal(played(sound, piece), played(sound, 80))


def test_a_fade_that_begins_again_with_each_piece_is_noticed(monkeypatch):
    conceal = Concealer.conceal

    def forgetful(self, state, n):
        state.in_hole = False
        return conceal(self, state, n)

    sound = bench.sine(np.random.default_rng(0))
    whole = played(sound, 80)
    monkeypatch.setattr(Concealer, "conceal", forgetful)
    assert not np.array_equal(played(sound, 40), whole)


def test_sound_is_gone_after_20_ms_and_back_after_10_and_untouched_elsewhere():
    sound = bench.voice(np.random.default_rng(1))
    heard = played(sound, 80)
    for start, end in HOLES:
        assert not heard[start + 320 : end].any()
    for start, end in [(0, 2560), (5120 + 160, 7680), (8000 + 160 + 240, 10240), (15360 + 160, len(sound))]:
        assert np.array_equal(heard[start:end], sound[start:end])


@pytest.mark.parametrize("seed", range(5))
def test_a_tone_goes_on_as_it_would_have(seed):
    tone = bench.sine(np.random.default_rng(seed))
    assert continuation(tone[:512], 320, RATE_HZ) == pytest.approx(tone[512:832], abs=2e-3)


@pytest.mark.parametrize("seed", range(20))
def test_what_is_continued_never_grows(seed):
    rng = np.random.default_rng(seed)
    kinds = [bench.noise(rng), bench.voice(rng), np.cumsum(rng.standard_normal(2000)).astype(np.float32)]
    kinds.append(np.where(rng.random(2000) < 0.01, 1, 0).astype(np.float32))
    for sound in kinds:
        at = int(rng.integers(512, 1500))
        past = sound[at - 512 : at]
        assert np.abs(continuation(past, 320, RATE_HZ) * ramp(320)[::-1]).max() <= 2 * np.abs(past).max()


def test_silence_and_what_is_too_short_to_learn_from_are_continued_backwards():
    short = np.arange(1, 11, dtype=np.float32)
    assert continuation(short, 14, RATE_HZ).tolist() == [10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0, 0, 0]
    quiet = np.full(512, np.sqrt(INAUDIBLE) / 2, np.float32)
    assert np.array_equal(continuation(quiet, 3, RATE_HZ), quiet[:3].astype(np.float64))
    assert not continuation(np.zeros(512, np.float32), 320, RATE_HZ).any()
    assert not played(np.zeros(20480, np.float32), 80).any()


def test_a_prediction_finds_the_weights_of_the_sound_that_they_made():
    rng = np.random.default_rng(0)
    made = np.zeros(20_000)
    for i in range(2, len(made)):
        made[i] = 1.5 * made[i - 1] - 0.8 * made[i - 2] + rng.standard_normal()
    assert burg(made, 2) == pytest.approx([1.5, -0.8], abs=0.02)
    assert not burg(np.zeros(600), ORDER).any()


@pytest.mark.parametrize("hz", [80, 125, 160, 320])
def test_a_sound_is_repeated_in_whole_pitch_periods(hz):
    pulses = np.zeros(512)
    pulses[:: RATE_HZ // hz] = 1
    assert period(np.convolve(pulses, np.hanning(12), "same"), RATE_HZ) % (RATE_HZ // hz) == 0


def test_no_click_is_above_40_db_at_either_border():
    found = bench.measure(12, seed=3)["db"]
    for ways in found.values():
        assert max(border["max"] for border in ways["continued"].values()) <= -40
    assert found["sine"]["cut"]["out"]["p50"] > -20
    assert found["sine"]["mirrored"]["out"]["p50"] > -30
    assert found["voice"]["cut"]["out"]["p50"] > -40


def test_a_step_at_a_border_is_measured_and_a_fade_is_not():
    tone = (0.3 * np.sin(np.arange(bench.LENGTH) * 2 * np.pi * 440 / RATE_HZ)).astype(np.float32)
    stepped = tone.copy()
    stepped[bench.HOLE :] += 0.01
    assert -60 < bench.click_db(stepped, tone, bench.HOLE) < -35
    faded = tone.copy()
    faded[bench.HOLE - 160 : bench.HOLE + 160] *= ramp(320)[::-1]
    faded[bench.HOLE + 160 :] = 0
    assert bench.click_db(faded, tone, bench.HOLE) < -80
    assert bench.click_db(tone, tone, bench.HOLE) == bench.SILENT_DB


def test_a_replay_conceals_the_same():
    graph = Graph("lossy", unit_frames=1, latency_ms=40)
    pattern = graph.add("pattern", "capture.pattern", seconds=1.4, width=64, height=64)
    sound = graph.add("tee", "flow.tee", inputs={"value": pattern["audio"]})["a"]
    graph.add("sync", "sync.playout", inputs={"video": pattern["video"], "audio": sound})
    faults = ["tee: drop at=26..27"]  # in the middle of a beep
    first = run(graph, clock="virtual", inject=faults, taps=["sync.audio"])
    again = run(graph, log=first.log, inject=faults, taps=["sync.audio"])
    ours, theirs = ([p.tensors[""] for p in r.packets["sync.audio"] if p.tensors] for r in (first, again))
    assert len(ours) == len(theirs) == 35
    assert all(map(np.array_equal, ours, theirs))
    assert ours[26].any()
    assert not ours[27].any()


def record(path, samples, rate_hz=RATE_HZ):
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate_hz, 0, "NONE", ""))
        file.writeframes((samples * 32767).astype("<i2").tobytes())


def test_recorded_voices_are_measured_too(tmp_path):
    record(tmp_path / "a.wav", bench.voice(np.random.default_rng(0))[:8000])
    record(tmp_path / "other_rate.wav", np.ones(8000), 8000)
    record(tmp_path / "short.wav", np.ones(100))
    record(tmp_path / "silent.wav", np.zeros(8000))
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    assert len(bench.recordings(tmp_path)) == 1
    result = CliRunner().invoke(command, ["concealment", "--seconds", "3", "--voices", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert [line.split()[3:5] for line in result.output.splitlines() if "speech" in line] == [
        ["speech", "cut"], ["speech", "mirrored"], ["speech", "continued"]
    ]  # fmt: skip


def test_a_folder_without_recordings_is_refused(tmp_path):
    with pytest.raises(bench.UserError) as caught:
        bench.run(1, 3.0, voices=tmp_path)
    assert str(caught.value) == (
        f"bench concealment: --voices {tmp_path}: found no recording (expected WAV files of 16000 Hz, mono, 16 bits, "
        "longer than a unit), give another folder"
    )


def test_learned_prediction_is_what_keeps_clicks_away(monkeypatch):
    monkeypatch.setattr(concealment, "INAUDIBLE", np.inf)  # everything is continued backwards
    found = bench.measure(12, seed=3)["db"]
    assert max(found[kind]["continued"]["out"]["max"] for kind in ("sine", "voice")) > -40
