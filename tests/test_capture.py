from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from media_files import CLOCK, click, coded, make_video, onset_s, opened, play, regular, unit

from wangraph.nodes.capture import CaptureClock, CaptureFile, CaptureText
from wangraph.nodes.media.timecode import read_timecode
from wangraph.runtime.errors import GraphError, MediaError
from wangraph.runtime.node import END
from wangraph.runtime.units import UnitClock


def codes(outputs):
    return [read_timecode(image) for given in outputs for image in given["video"].value]


def sound(outputs):
    return np.concatenate([given["audio"].value for given in outputs])


def nearest_codes(times, n_frames, fps=25):
    """What should be on screen: the last picture whose time rounds to this frame or an earlier one."""
    shown_from = [int((t * fps + Fraction(1, 2)) // 1) for t in times]
    return [max(i for i, at in enumerate(shown_from) if at <= n or i == 0) for n in range(n_frames)]


RATES = [Fraction(24000, 1001), Fraction(25), Fraction(30), Fraction(60)]


@pytest.mark.parametrize("fps", RATES, ids=str)
def test_any_rate_becomes_the_clocks_by_time(tmp_path, fps):
    times = regular(int(fps * 2), fps)
    path = make_video(tmp_path / "a.mp4", times)
    outputs = play(opened(CaptureFile(path=path)))
    assert len(outputs) == 13  # 2 s and what is left of a unit
    assert codes(outputs)[:50] == nearest_codes(times, 50)
    assert outputs[0]["video"].value.shape == (4, 96, 128, 3)


def test_a_variable_rate_is_followed_by_its_time_stamps(tmp_path):
    gaps = [Fraction(1, 50), Fraction(1, 10), Fraction(1, 25), Fraction(1, 3)] * 4
    times = [sum(gaps[:i], Fraction(0)) for i in range(len(gaps))]
    path = make_video(tmp_path / "a.mp4", times)
    n = int(times[-1] * 25)
    assert codes(play(opened(CaptureFile(path=path))))[:n] == nearest_codes(times, n)


@pytest.mark.parametrize(
    ("suffix", "rate_hz", "layout", "codec"),
    [
        (".mp4", 44100, "5.1", "aac"),
        (".wav", 8000, "stereo", "pcm_s16le"),
        (".mp3", 48000, "stereo", "libmp3lame"),
        (".webm", 48000, "mono", "libopus"),
    ],
)
def test_any_sound_becomes_mono_at_the_asked_rate_in_its_place(tmp_path, suffix, rate_hz, layout, codec):
    channels = {"mono": 1, "stereo": 2, "5.1": 6}[layout]
    data = click(2.0, 0.9, rate_hz, channels)
    path = make_video(tmp_path / f"a{suffix}", [], sound=data, rate_hz=rate_hz, layout=layout, sound_codec=codec)
    node = opened(CaptureFile(path=path))
    outputs = play(node)
    assert [given["audio"].value.shape for given in outputs] == [(2560,)] * 13
    assert onset_s(sound(outputs)) == pytest.approx(0.9, abs=0.003)
    assert np.abs(sound(outputs)).max() > 0.3
    assert all(given["video"].value is None for given in outputs)
    assert node.reports == [("video", f"node: no picture in {path.name}: empty")]


def test_a_file_without_sound_leaves_the_sound_empty_and_says_so(tmp_path):
    path = make_video(tmp_path / "a.mp4", regular(8, 25))
    node = opened(CaptureFile(path=path))
    assert [given["audio"].value for given in play(node)] == [None, None]
    assert node.reports == [("audio", "node: no sound in a.mp4: empty")]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm", ".mov"])
def test_picture_and_sound_keep_together_in_every_container(tmp_path, suffix):
    video, audio = ("libvpx", "libopus") if suffix == ".webm" else ("libx264", "aac")
    data = click(2.0, 1.0, 48000)
    path = tmp_path / f"a{suffix}"
    make_video(path, regular(50, 25), sound=data, rate_hz=48000, codec=video, sound_codec=audio)
    outputs = play(opened(CaptureFile(path=path)))
    assert codes(outputs)[:48] == list(range(48))
    assert onset_s(sound(outputs)) == pytest.approx(1.0, abs=0.005)


def test_sound_that_starts_late_is_preceded_by_silence(tmp_path):
    data = click(1.0, 0.2, 48000)
    path = make_video(
        tmp_path / "a.mkv", regular(50, 25), sound=data, rate_hz=48000, sound_codec="flac", sound_start_s=Fraction(1, 2)
    )
    assert onset_s(sound(play(opened(CaptureFile(path=path))))) == pytest.approx(0.7, abs=0.003)


@pytest.mark.parametrize(("start_s", "is_black"), [(Fraction(1, 5), False), (Fraction(1), True)])
def test_a_picture_that_starts_late_is_shown_early_by_a_little_else_black(tmp_path, start_s, is_black):
    times = [start_s + t for t in regular(25, 25)]
    path = make_video(tmp_path / "a.mkv", times, sound=click(2, 1, 48000), rate_hz=48000, sound_codec="flac")
    outputs = play(opened(CaptureFile(path=path)))
    assert outputs[0]["video"].value.any() != is_black
    lead = int(start_s * 25)
    assert codes(outputs)[lead : lead + 20] == list(range(20))


@pytest.mark.parametrize("degrees", [90, -90, 180])
def test_a_turned_picture_stands_upright(tmp_path, degrees):
    def turned(index, width, height):
        shape = (height, width) if degrees % 180 else (width, height)
        return np.ascontiguousarray(np.rot90(coded(index, *shape), -degrees // 90))

    path = make_video(tmp_path / "a.mp4", regular(8, 25), (160, 96), picture=turned, rotation=degrees)
    outputs = play(opened(CaptureFile(path=path)))
    assert outputs[0]["video"].value.shape == ((4, 160, 96, 3) if degrees % 180 else (4, 96, 160, 3))
    assert codes(outputs) == list(range(8))


def test_odd_sizes_get_an_even_edge_and_nothing_is_resampled(tmp_path):
    path = make_video(tmp_path / "a.mp4", regular(4, 25), (161, 91))
    (given,) = play(opened(CaptureFile(path=path)))
    image = given["video"].value[0]
    assert image.shape == (92, 162, 3)
    assert np.array_equal(image[91], image[90])
    assert np.array_equal(image[:, 161], image[:, 160])


def striped(index, width, height):
    """Left third red, right third blue, black between; top row band white."""
    image = np.zeros((height, width, 3), np.uint8)
    image[:, : width // 4, 0] = 255
    image[:, -(width // 4) :, 2] = 255
    return image


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_another_shape_is_cropped_padded_or_stretched(tmp_path, fit):
    path = make_video(tmp_path / "a.mp4", regular(4, 25), (256, 128), picture=striped)
    (given,) = play(opened(CaptureFile(path=path, width=64, height=64, fit=fit)))
    image = given["video"].value[0].astype(int)
    middle, top = image[32], image[4]
    assert image.shape == (64, 64, 3)
    if fit == "crop":
        assert middle[:, 0].max() < 80  # the red quarter is cut off
    else:
        assert middle[4, 0] > 180
        assert middle[-4, 2] > 180
    assert (top.max() < 80) == (fit in ("pad", "crop"))


@pytest.mark.parametrize(("asked", "size"), [({"width": 64}, (64, 48)), ({"height": 48}, (64, 48)), ({}, (128, 96))])
def test_ports_say_the_size_before_anything_is_played(tmp_path, asked, size):
    path = make_video(tmp_path / "a.mp4", regular(4, 25))
    node = CaptureFile(path=path, **asked)
    video = node.ports(node.values)[1]["video"]
    assert str(video.specs[""]) == f"[F {size[1]} {size[0]} 3] uint8"
    assert play(opened(node))[0]["video"].value.shape[1:3] == size[::-1]


def test_a_still_picture_is_one_unit_and_lasts_when_looped(tmp_path):
    from PIL import Image

    path = tmp_path / "a.png"
    Image.fromarray(coded(7, 128, 96)).save(path)
    assert codes(play(opened(CaptureFile(path=path)))) == [7] * 4
    assert codes(play(opened(CaptureFile(path=path, loop=True, seconds=0.8)))) == [7] * 20


def test_the_last_part_unit_holds_the_picture_and_is_silent(tmp_path):
    path = make_video(
        tmp_path / "a.mkv", regular(6, 25), sound=click(0.2, 0.1, 48000), rate_hz=48000, sound_codec="flac"
    )
    outputs = play(opened(CaptureFile(path=path)))
    assert codes(outputs) == [0, 1, 2, 3, 4, 5, 5, 5]
    assert not outputs[1]["audio"].value[1280:].any()


def test_lost_units_are_passed_over_exactly(tmp_path):
    path = make_video(tmp_path / "a.mp4", regular(80, 25), sound=click(3.2, 2.5, 48000), rate_hz=48000)
    whole = play(opened(CaptureFile(path=path)))
    node = opened(CaptureFile(path=path))
    state = node.new_state()
    node.step(state, unit(0))
    node.gap(state, [unit(k) for k in range(1, 13)])
    for k in range(13, 20):
        given = node.step(state, unit(k))
        assert np.array_equal(given["video"].value, whole[k]["video"].value)
        assert np.array_equal(given["audio"].value, whole[k]["audio"].value)
        assert given["video"].source_time_ns == CLOCK.pts_ns(k)


def test_a_loop_begins_again_and_lost_units_do_not_shift_it(tmp_path):
    path = make_video(tmp_path / "a.mp4", regular(12, 25))
    node = opened(CaptureFile(path=path, loop=True, seconds=1.6))
    assert codes(play(node)) == (list(range(12)) * 4)[:40]
    state = node.new_state()
    node.gap(state, [unit(k) for k in range(5)])
    given = node.step(state, unit(5))
    assert codes([given]) == [8, 9, 10, 11]
    assert given["video"].source_time_ns == CLOCK.pts_ns(2)


def test_playing_starts_and_stops_where_it_is_asked_to(tmp_path):
    data = click(3.2, 1.5, 48000)
    path = make_video(tmp_path / "a.mp4", regular(80, 25), sound=data, rate_hz=48000)
    outputs = play(opened(CaptureFile(path=path, start_s=1.2, seconds=0.8)))
    assert codes(outputs) == list(range(30, 50))
    assert onset_s(sound(outputs)) == pytest.approx(0.3, abs=0.005)
    assert outputs[0]["audio"].source_time_ns == 1_200_000_000


def test_beginning_after_the_end_ends_at_once_even_in_a_loop(tmp_path):
    path = make_video(tmp_path / "a.mp4", regular(8, 25))
    assert play(opened(CaptureFile(path=path, start_s=9.0))) == []
    assert play(opened(CaptureFile(path=path, start_s=9.0, loop=True))) == []


def test_another_clock_gets_its_own_frames_and_samples(tmp_path):
    clock = UnitClock(Fraction(30), 3)
    path = make_video(tmp_path / "a.mp4", regular(30, 30), sound=click(1, 0.5, 48000), rate_hz=48000)
    node = opened(CaptureFile(path=path, rate_hz=24000), clock=clock)
    outputs = play(node)
    assert codes(outputs)[:30] == list(range(30))
    assert outputs[0]["audio"].value.shape == (2400,)


def test_an_ended_file_stays_ended(tmp_path):
    node = opened(CaptureFile(path=make_video(tmp_path / "a.mp4", regular(4, 25))))
    state = node.new_state()
    node.step(state, unit(0))
    assert node.step(state, unit(1)) is END
    assert node.step(state, unit(1)) is END


def test_a_cut_file_plays_up_to_there_and_says_so(tmp_path):
    path = make_video(tmp_path / "a.mp4", regular(150, 25), (256, 192), options={"movflags": "faststart"})
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 6 // 10])
    node = opened(CaptureFile(path=path))
    outputs = play(node)
    shown = len(outputs) * 4
    assert 60 < shown < 130
    assert codes(outputs)[:56] == list(range(56))
    (note,) = [text for key, text in node.reports if key == "file"]
    assert note.startswith("node: a.mp4 is cut: ended at ")
    assert note.endswith(" s of 5.99 s")


def test_damage_in_the_middle_is_passed_over_and_told(tmp_path):
    path = make_video(tmp_path / "a.mp4", regular(100, 25), (256, 192), options={"movflags": "faststart"})
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 1500] = b"\xff" * 1500
    path.write_bytes(data)
    node = opened(CaptureFile(path=path))
    assert len(play(node)) == 25
    assert node.reports[1:] == [
        ("file", "node: a.mp4 is damaged (Invalid data found when processing input): parts are missing")
    ]


def test_closing_gives_every_file_back(tmp_path):
    path = make_video(tmp_path / "a.mp4", regular(8, 25), sound=click(0.3, 0.1, 48000), rate_hz=48000)
    node = opened(CaptureFile(path=path))
    node.new_state()
    node.close()
    node.close()
    links = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink() and link.exists()]
    assert path not in [link.resolve() for link in links]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.mp4", None, "no such file (expected a media file), set params.path"),
        ("empty.mp4", b"", "empty file (expected a media file), set params.path"),
        (
            "text.mp4",
            b"hello, this is no video" * 50,
            "Invalid data found when processing input (expected a file that FFmpeg can read), try: ffprobe '{path}'",
        ),
    ],
)
def test_a_missing_or_broken_file_is_found_before_the_run(tmp_path, name, content, message):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(MediaError) as error:
        CaptureFile.check({"path": path})
    assert str(error.value) == f"capture.file: {path}: {message.format(path=path)}"
    outputs = CaptureFile.ports({"path": path})[1]
    assert str(outputs["video"].specs[""]) == "[F H W 3] uint8"


def test_a_folder_is_no_media_file(tmp_path):
    with pytest.raises(MediaError) as error:
        CaptureFile.check({"path": tmp_path})
    assert str(error.value) == f"capture.file: {tmp_path}: not a file (expected a media file), set params.path"


def test_captions_alone_are_no_media(tmp_path):
    path = tmp_path / "a.srt"
    path.write_text("1\n00:00:00,000 --> 00:00:01,000\nhello\n\n")
    with pytest.raises(MediaError) as error:
        CaptureFile.check({"path": path})
    assert str(error.value) == (
        f"capture.file: {path}: found neither picture nor sound (expected at least one), try: ffprobe '{path}'"
    )


def texts(node):
    return [given["text"] for given in play(opened(node))]


def test_lines_come_in_the_unit_that_contains_their_time():
    lines = [[0.5, "later"], [0, "hello"], [0.161, "a"], [0.31, "b"]]
    assert texts(CaptureText(lines=lines)) == ["hello", "a\nb", None, "later"]


def test_lines_of_a_file_are_the_same(tmp_path):
    path = tmp_path / "lines.txt"
    path.write_text("0 hello there \n\n0.5 später\n", encoding="utf-8")
    CaptureText.check({"path": path})
    assert texts(CaptureText(path=path)) == ["hello there", None, None, "später"]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, "capture.text: found neither lines nor path (expected one of them), set params.lines"),
        (
            {"lines": [[1, "a"], ["x", "b"]]},
            "capture.text: params.lines[1]: found ['x', 'b'] (expected a time in seconds from 0 and a text), "
            "write: 12.5 hello",
        ),
        (
            {"lines": [[-1, "a"]]},
            "capture.text: params.lines[0]: found [-1, 'a'] (expected a time in seconds from 0 and a text), "
            "write: 12.5 hello",
        ),
    ],
)
def test_lines_that_cannot_be_read_are_named(params, message):
    with pytest.raises(GraphError) as error:
        CaptureText.check(params)
    assert str(error.value) == message


def test_the_clock_ticks_as_many_units_as_it_is_told_to():
    assert [given["tick"].tolist() for given in play(opened(CaptureClock(units=3)))] == [[0], [1], [2]]
    assert CaptureClock().step(unit(10**9))["tick"].tolist() == [10**9]


@pytest.mark.parametrize("suffix", [".mp4", ".ts", ".mkv"])
def test_whatever_is_broken_in_a_file_it_plays_or_is_named(tmp_path, suffix):
    whole = make_video(tmp_path / f"a{suffix}", regular(20, 25), sound=click(0.8, 0.4, 48000), rate_hz=48000)
    rng = np.random.default_rng(7)
    played = 0
    for attempt in range(25):
        data = np.frombuffer(whole.read_bytes(), np.uint8).copy()
        places = rng.integers(0, len(data), rng.choice([1, 10, 60]))
        data[places] = rng.integers(0, 256, len(places))
        path = tmp_path / f"{attempt}{suffix}"
        path.write_bytes(data[: rng.integers(1, len(data))] if attempt % 3 == 0 else data)
        try:
            node = opened(CaptureFile(path=path, width=64, height=64, seconds=4))
            outputs = play(node)
        except MediaError as error:
            assert str(error).startswith(f"capture.file: {path}: ")
            continue
        played += 1
        node.close()
        pictures, sounds = ([given[port].value for given in outputs] for port in ("video", "audio"))
        assert all(frames is None or frames.shape == (4, 64, 64, 3) for frames in pictures)
        assert all(samples is None or np.isfinite(samples).all() for samples in sounds)
    assert played > 5
