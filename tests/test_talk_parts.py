"""What a visitor without a browser is made of: the clip, the player, the video, and what is measured."""

from __future__ import annotations

import time

import av
import numpy as np
import pytest
from media_files import click, make_video, regular

from wangraph.nodes.media.captions import Caption
from wangraph.nodes.media.timecode import read_timecode
from wangraph.runtime.errors import MediaError, UserError
from wangraph.tools.serve.codecs import JpegDecoder, JpegEncoder
from wangraph.tools.serve.protocol import Times
from wangraph.tools.talk.client import TICK_MS, due_s, parse_link
from wangraph.tools.talk.clip import Clip
from wangraph.tools.talk.echo import echo_ms
from wangraph.tools.talk.measures import Measures
from wangraph.tools.talk.player import PATIENCE_MS, Player
from wangraph.tools.talk.ring import START_MS
from wangraph.tools.talk.video import Transcript, VisitVideo

MS = 1_000_000
T0 = 9_000_000_000


# The clip -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def clip_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("talk") / "me.mp4"
    return make_video(path, regular(25, 25), sound=click(1.0, 0.4, 16_000))


def test_a_clip_is_a_picture_and_two_parts_of_sound_each_40_ms(clip_path):
    clip = Clip(clip_path, (128, 96), True)
    pieces = [clip.piece(k) for k in range(25)]
    codes = [read_timecode(JpegDecoder().decode(p.picture).to_ndarray(format="rgb24")) for p in pieces]
    assert codes == list(range(25))
    sound = np.frombuffer(b"".join(part for p in pieces for part in p.sound), "<i2")
    assert len(sound) == 16_000
    assert np.flatnonzero(np.abs(sound) > 6000)[0] / 16_000 == pytest.approx(0.4, abs=0.01)
    clip.close()


def test_a_clip_begins_again_at_its_end(clip_path):
    clip = Clip(clip_path, (128, 96), True)
    first = clip.piece(0)
    assert not clip.is_whole
    again = clip.piece(1000)
    assert clip.is_whole and 1.0 <= clip.read_s <= 1.1
    length = round(clip.read_s * 25)
    assert clip.piece(length) is first and again is clip.piece(1000 % length)


def test_a_clip_has_only_what_is_wanted_of_it(clip_path, tmp_path):
    silent = Clip(clip_path, (64, 64), False)
    assert silent.has_picture and not silent.has_sound and silent.piece(0).sound == ()
    blind = Clip(clip_path, None, True)
    assert blind.has_sound and not blind.has_picture and blind.piece(0).picture is None
    for clip in (silent, blind):
        clip.close()
    with pytest.raises(MediaError, match="no such file"):
        Clip(tmp_path / "none.mp4", None, True)


# The player -----------------------------------------------------------------------------------------------------------


class Speaker:
    """A player that gets 20 ms of a ramp every 20 ms, each ``late_ms`` late."""

    def __init__(self) -> None:
        self.player = Player(160.0, 25.0)
        self.player.play(T0)
        self.number = 0
        self.heard: list[np.ndarray] = []

    def part(self, at_ms: float) -> None:
        samples = np.arange(1 + 320 * self.number, 321 + 320 * self.number).astype(np.int16)
        self.player.sound(samples, self.number // 8, self.number % 8, T0 + int(at_ms * MS))
        self.number += 1

    def play(self, at_ms: float) -> np.ndarray:
        self.heard.append(self.player.play(T0 + int(at_ms * MS)))
        return self.heard[-1]


def test_sound_waits_until_enough_is_there_and_then_plays_without_a_hole():
    speaker = Speaker()
    for tick in range(1, 40):
        speaker.part(tick * 20 - 5)
        speaker.play(tick * 20)
    heard = np.concatenate(speaker.heard)
    n_dropped = 640 - START_MS * 16  # two parts came, and so much is held
    assert not heard[:320].any()
    assert heard[320:].tolist() == list(range(1 + n_dropped, len(heard) - 319 + n_dropped))
    assert speaker.player.figures.underruns == 0 and speaker.player.heard == 4


def test_sound_that_runs_dry_is_counted_once_and_waits_again():
    speaker = Speaker()
    for tick in range(1, 40):
        if not 10 <= tick < 20:
            speaker.part(tick * 20 - 5)
        speaker.play(tick * 20)
    assert speaker.player.figures.underruns == 1
    heard = np.concatenate(speaker.heard)
    played = heard[heard > 0]
    n_dropped = round(speaker.player.figures.dropped_ms * 16)
    assert (np.diff(played) > 0).all() and played[-1] == len(played) + n_dropped, "what is not dropped is heard"
    assert n_dropped < 2 * 320, "less than a part each time that it begins"


def test_a_burst_of_sound_is_dropped_down_to_what_is_held():
    speaker = Speaker()
    for tick in range(1, 10):
        speaker.part(tick * 20 - 5)
        speaker.play(tick * 20)
    for _ in range(20):
        speaker.part(200)
    assert speaker.player.held <= 1600
    assert speaker.player.figures.dropped_ms >= 300


def test_a_flush_silences_at_once():
    speaker = Speaker()
    for tick in range(1, 10):
        speaker.part(tick * 20 - 5)
        speaker.play(tick * 20)
    speaker.player.flush()
    assert not speaker.play(200).any()
    assert speaker.player.figures.underruns == 0


def test_pictures_are_counted_against_those_due_and_held_ones_not_twice():
    player = Player(160.0, 25.0)
    for frame in range(8):
        at_ns = T0 + frame * 40 * MS
        player.show(b"jpeg", frame // 4, frame % 4, at_ns)
        player.show(b"jpeg", frame // 4, frame % 4, at_ns + 20 * MS)
        player.play(at_ns + 30 * MS)
    assert (player.figures.shown, player.figures.due, player.seen) == (8, 8, 1)


@pytest.mark.parametrize(("ahead_ms", "shown_ms"), [(-60, -16), (0, 0), (60, 60)])
def test_the_skew_is_how_far_the_sound_is_ahead_of_the_picture_which_waits_for_it(ahead_ms, shown_ms):
    speaker = Speaker()
    for tick in range(1, 60):
        speaker.part(tick * 20 - 5)
        speaker.play(tick * 20)
        at_ms, heard_ms = tick * 20 + START_MS - 20, tick * 20  # two parts are there when it begins, see above
        frame, rest = divmod(heard_ms - ahead_ms, 40)
        if tick > 10 and rest == 0:
            speaker.player.show(b"", frame // 4, frame % 4, T0 + at_ms * MS)
    assert set(np.round(speaker.player.figures.skew_ms)) == {shown_ms}


def test_a_picture_whose_sound_does_not_come_is_shown_after_a_while_and_at_once_where_none_is_heard():
    shown = []
    player = Player(160.0, 25.0, lambda data, now_ns: shown.append((data, (now_ns - T0) // MS)))
    player.show(b"first", 0, 0, T0)
    assert shown == [(b"first", 0)]
    speaker = Speaker()
    speaker.player = player
    for tick in range(1, 20):
        speaker.part(tick * 20 - 5)
        speaker.play(tick * 20)
        if tick == 5:
            player.show(b"far ahead", 9, 0, T0 + tick * 20 * MS)
    assert shown[1:] == [(b"far ahead", 5 * 20 + PATIENCE_MS)]


# What is measured -----------------------------------------------------------------------------------------------------


def voice(seconds: float, seed: int = 0) -> np.ndarray:
    """Syllables: bursts of noise of random length and loudness."""
    rng, parts = np.random.default_rng(seed), []
    while sum(map(len, parts)) < seconds * 16_000:
        n = int(rng.uniform(0.05, 0.3) * 16_000)
        parts += [rng.normal(0, rng.uniform(500, 6000), n), np.zeros(int(rng.uniform(0.05, 0.2) * 16_000))]
    return np.concatenate(parts)[: int(seconds * 16_000)].astype(np.int16)


@pytest.mark.parametrize("lag_ms", [0, 85, 405, 1200])
def test_an_echo_is_found_through_another_loudness_and_noise(lag_ms):
    sent = voice(12)
    heard = np.concatenate([np.zeros(lag_ms * 16, np.int16), sent])[: len(sent)] // 3
    heard = (heard + np.random.default_rng(1).normal(0, 30, len(heard))).astype(np.int16)
    assert echo_ms(sent, heard, 16_000) == pytest.approx(lag_ms, abs=5)


def test_something_else_than_an_echo_is_none():
    assert echo_ms(voice(10), voice(10, seed=5), 16_000) is None
    assert echo_ms(voice(10), np.zeros(160_000, np.int16), 16_000) is None
    assert echo_ms(np.zeros(0, np.int16), np.zeros(0, np.int16), 16_000) is None


def test_the_figures_of_a_visit():
    measures, player = Measures(), Player(160.0, 25.0)
    for answered_ms in (10.0, 20.0, -1.0):
        measures.times(Times(0, [], answered_ms, "missed" if answered_ms < 0 else "real"))
    loud, silence = np.full(320, 900, np.int16), np.zeros(320, np.int16)
    measures.heard(loud, T0 - 20 * MS)
    measures.interrupted(T0)
    for tick in range(100):
        measures.sent(None)
        measures.heard(loud if tick <= 4 or tick > 80 else silence, T0 + tick * 20 * MS)
    player.show(b"", 0, 0, T0 + 300 * MS)
    measures.pong(time.monotonic_ns() / MS)
    measures.finish(player, T0, T0 + 2000 * MS)
    figures = measures.figures
    assert figures.outcomes == {"real": 2, "missed": 1}
    assert figures.answered_ms == (15.0, 19.5)
    assert figures.silence_ms == 80.0, "what is said a second later is an answer"
    assert figures.first_picture_s == 0.3 and figures.talked_s == 2.0
    assert figures.network_ms >= 0 and figures.skew_ms is None


def test_an_interruption_of_nobody_has_no_figure():
    measures = Measures()
    measures.heard(np.full(320, 900, np.int16), T0)
    measures.interrupted(T0 + 400 * MS)
    measures.finish(Player(160.0, 25.0), T0, T0 + 2000 * MS)
    assert measures.figures.silence_ms is None


# The video ------------------------------------------------------------------------------------------------------------


def test_a_video_holds_what_was_seen_and_heard_and_the_words_beside_it(tmp_path):
    path = tmp_path / "agent.mp4"
    video, encoder = VisitVideo(path, (64, 48), True), JpegEncoder()
    for k in range(50):
        picture = encoder.encode(np.full((48, 64, 3), 4 * k, np.uint8)) if k >= 5 else None
        video.add(b"no jpeg" if k == 20 else picture, np.full(640, 3000, np.int16))
    video.caption(Caption(200, 900, "agent: hello"))
    video.close()
    with av.open(str(path)) as container:
        shades = [int(frame.to_ndarray(format="rgb24").mean()) for frame in container.decode(video=0)]
    assert len(shades) == 50 and max(shades[:5]) < 3
    assert np.abs(np.array(shades[6:20]) - 4 * np.arange(6, 20)).max() < 6
    assert abs(shades[20] - shades[19]) < 3, "a damaged picture leaves the last one"
    with av.open(str(path)) as container:
        n_samples = sum(frame.samples for frame in container.decode(audio=0))
    assert n_samples == pytest.approx(32_000, abs=1100)
    assert path.with_suffix(".srt").read_text() == "1\n00:00:00,200 --> 00:00:00,900\nagent: hello\n\n"


def test_a_video_that_cannot_be_written_says_so(tmp_path):
    with pytest.raises(MediaError, match="no such folder"):
        VisitVideo(tmp_path / "none" / "agent.mp4", (64, 48), False)


def test_both_sides_have_captions_of_their_own():
    transcript = Transcript()
    assert transcript.add("visitor", "how are", 0, 160) == []
    assert transcript.add("agent", "mm", 80, 160) == []
    assert transcript.add("visitor", "you", 160, 160) == []
    assert transcript.pass_time(1000) == []
    assert transcript.pass_time(1500) == [
        Caption(80, 1240, "agent: mm"),
        Caption(0, 1320, "visitor: how are you"),
    ]
    transcript.add("agent", "fine", 1600, 160)
    assert transcript.finish(2000) == [Caption(1600, 2000, "agent: fine")]


# The link -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("link", "address", "token"),
    [
        ("http://127.0.0.1:8080/#token=abc", "ws://127.0.0.1:8080/live", "abc"),
        ("https://host/talk/#token=a%2Fb", "wss://host/talk/live", "a/b"),
        ("http://host:1?token=x", "ws://host:1/live", "x"),
        ("ws://host:1/live", "ws://host:1/live", ""),
    ],
)
def test_a_link_is_an_address_and_a_token(link, address, token):
    assert parse_link(link) == (address, token)


@pytest.mark.parametrize("link", ["", "host:8080", "ftp://host/", "http://"])
def test_what_is_no_link_is_refused(link):
    with pytest.raises(UserError) as caught:
        parse_link(link)
    assert str(caught.value) == (
        f"talk: found '{link}' (expected a link like http://127.0.0.1:8080/#token=...), copy the one that wangraph "
        "serve prints"
    )


def test_a_clock_that_is_fast_by_200_ppm_is_0_72_seconds_ahead_after_an_hour():
    ticks = 3600 * 1000 // TICK_MS
    assert due_s(ticks, 0.0) == 3600.0
    assert due_s(ticks, 200.0) == pytest.approx(3600.0 - 0.72, abs=1e-3)
