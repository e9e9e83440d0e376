"""The bench of live visits: what it sends, and how it finds it again."""

from __future__ import annotations

import numpy as np
import pytest

from wangraph.nodes.media.timecode import read_timecode
from wangraph.tools.bench import live
from wangraph.tools.serve.codecs import JpegDecoder
from wangraph.tools.serve.protocol import AudioFormat, VideoFormat

MS = 1_000_000


def test_each_picture_that_is_sent_has_a_code_of_its_own():
    pattern, decoder = live.Pattern(is_steady=False), JpegDecoder()
    codes = [
        read_timecode(decoder.decode(pattern.piece(n).picture).to_ndarray(format="rgb24")) for n in (0, 1, 249, 250)
    ]
    assert codes == [0, 1, 249, 0]


def test_a_beep_is_sent_at_each_second_and_a_steady_tone_has_no_pause():
    def sound(pattern):
        return np.frombuffer(b"".join(part for n in range(75) for part in pattern.piece(n).sound), "<i2")

    beeps = sound(live.Pattern(is_steady=False))
    assert len(beeps) == 48_000
    assert live._onsets(beeps).tolist() == [0, 16_000, 32_000]
    assert not beeps[800:16_000].any()
    assert len(live._onsets(sound(live.Pattern(is_steady=True)))) == 1


def test_pictures_are_timed_from_leaving_to_the_first_sight_of_their_code():
    pattern, coded = live.Pattern(is_steady=False), live.Coded()
    for n in range(3):
        coded.picture_sent(n, n * 40 * MS)
    coded.picture_seen(pattern.piece(0).picture, 330 * MS)
    coded.picture_seen(pattern.piece(0).picture, 370 * MS)
    coded.picture_seen(b"damaged", 380 * MS)
    coded.picture_seen(pattern.piece(2).picture, 430 * MS)
    coded.picture_seen(pattern.piece(9).picture, 440 * MS)
    assert coded.pictures_ms == [330.0, 350.0]


@pytest.mark.parametrize("lag_ms", [320, 405.5])
def test_beeps_are_timed_in_what_was_heard(lag_ms):
    pattern = live.Pattern(is_steady=False)
    sent = np.frombuffer(b"".join(part for n in range(250) for part in pattern.piece(n).sound), "<i2")
    heard = np.concatenate([np.zeros(int(lag_ms * 16), np.int16), sent])[: len(sent)]
    lost = heard.copy()
    lost[3 * 16_000 : 4 * 16_000] = 0
    assert live.beeps_ms(sent, heard) == [pytest.approx(lag_ms, abs=0.1)] * 10
    assert len(live.beeps_ms(sent, lost)) == 9
    assert live.beeps_ms(sent, np.zeros(0, np.int16)) == []


def test_the_graph_of_the_bench_takes_and_gives_picture_and_sound(tmp_path):
    from wangraph.tools.serve.ends import ServedGraph

    (tmp_path / "back.yaml").write_text(live.GRAPH)
    served = ServedGraph(str(tmp_path / "back.yaml"))
    for ends in (served.inputs, served.outputs):
        assert ends.video == VideoFormat(320, 240, 25.0) and ends.audio == AudioFormat(16_000)
    plan = served.plan()
    assert (plan.clock.period_ns, plan.latency_ns) == (live.UNIT_MS * MS, live.LATENCY_MS * MS)


@pytest.mark.slow
def test_a_short_round_finds_pictures_and_sound_again():
    found = live.measure(seconds=5, visits=live.WARM_VISITS + 1)
    assert found["video_ms"] is not None and found["audio_ms"] is not None
    assert -40 < found["video_ms"]["p50"] < 2000 and 0 < found["audio_ms"]["p50"] < 2000
    assert found["shown_percent"] > 0 and found["silence_ms"] < 1000
    assert found["core_percent"] > 0
