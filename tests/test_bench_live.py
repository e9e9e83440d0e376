"""The bench of live visits: what it sends, and how it finds it again."""

from __future__ import annotations

import asyncio

import av
import numpy as np
import pytest

from wangraph.nodes.media.timecode import read_timecode
from wangraph.tools.bench import live, live_page
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


def test_growth_is_that_of_the_middle_and_not_of_one_visit_whose_end_takes_long():
    assert live.growth([100 + 8 * (n % 3 == 0) for n in range(25)]) == 0
    assert live.growth([100 + n for n in range(25)]) == 15
    assert live.growth([100.0]) == 0


def test_the_graph_of_the_bench_takes_and_gives_picture_and_sound(tmp_path):
    from wangraph.tools.serve.ends import ServedGraph

    (tmp_path / "back.yaml").write_text(live.GRAPH)
    served = ServedGraph(str(tmp_path / "back.yaml"))
    for ends in (served.inputs, served.outputs):
        assert ends.video == VideoFormat(320, 240, 25.0) and ends.audio == AudioFormat(16_000)
    plan = served.plan()
    assert (plan.clock.period_ns, plan.latency_ns) == (live.UNIT_MS * MS, live.LATENCY_MS * MS)


def test_codes_and_beeps_of_a_page_are_paired_with_what_came_back():
    own = [(1, 0.0), (2, 40.0), (3, 80.0), (1, 10_000.0)]
    agent = [(249, 10.0), (1, 330.0), (3, 400.0), (1, 10_345.0)]
    assert live_page.picture_lags(own, agent) == [330.0, 320.0, 345.0]
    assert live_page.lags([0.0, 1000.0, 2000.0], [420.0, 1430.0, 3500.0]) == [420.0, 430.0]


def test_the_pages_camera_and_microphone_are_files_that_a_browser_plays(tmp_path):
    live_page.write_camera(tmp_path / "camera.y4m", (320, 240))
    with av.open(str(tmp_path / "camera.y4m")) as container:
        codes = [read_timecode(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    assert codes == list(range(250))
    live_page.write_beeps(tmp_path / "microphone.wav")
    with av.open(str(tmp_path / "microphone.wav")) as container:
        sound = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    begun = np.flatnonzero(np.diff(np.flatnonzero(np.abs(sound) > 500), prepend=-48_000) > 24_000)
    assert len(sound) == 480_000 and 6 <= len(begun) <= 9


@pytest.mark.slow
def test_a_short_round_by_the_client_has_every_figure():
    with live.served() as (link, pid):
        found = asyncio.run(live._by_client(link, pid, 3, live.WARM_VISITS + 1))
    assert {figure.key for figure in live._FIGURES} <= set(found)
    assert found["shown_percent"] > 0 and found["core_percent"] > 0
