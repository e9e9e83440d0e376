import os
import signal
import subprocess
import sys
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from media_files import CLOCK, opened, packet, unit
from media_skew import beep_onsets, flash_onsets, measure_skew, read_timecodes

from wangraph import Graph, run
from wangraph.nodes.media import captions
from wangraph.nodes.media.captions import Caption, CaptionMerger, srt_time
from wangraph.nodes.pattern import CapturePattern
from wangraph.nodes.sinks import Mp4, Null, Print
from wangraph.runtime.errors import GraphError, MediaError
from wangraph.runtime.packet import Validity
from wangraph.runtime.units import UnitClock

ALL = ("video", "audio", "text")
BLANK = np.zeros((4, 64, 64, 3), np.uint8)


def write(path, n_units=13, connected=ALL, clock=CLOCK, pattern=None, finish=True, **params):
    """A video of the test picture; gives the sink, closed."""
    source = opened(CapturePattern(**(pattern or {"width": 128, "height": 96})), clock=clock)
    sink = opened(Mp4(path=path, **params), *connected, clock=clock)
    state = sink.new_state()
    for index in range(n_units):
        given = source.step(unit(index, clock))
        sink.step(state, unit(index, clock), **{port: given[port] for port in connected})
    if finish:
        sink.close()
    return sink


def decoded(path, kind):
    """Every frame of the file's first stream of a kind as arrays, the sound joined."""
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") if kind == "video" else frame.to_ndarray()
                  for frame in container.decode(**{kind: 0})]  # fmt: skip
    return np.concatenate(frames, axis=1) if kind == "audio" else np.stack(frames)


def embedded_captions(path):
    """``(start_ms, end_ms, text)`` of the caption track."""
    with av.open(str(path)) as container:
        packets = [p for p in container.demux(subtitles=0) if p.size > 2]
        return [
            (round(p.pts * p.time_base * 1000), round((p.pts + p.duration) * p.time_base * 1000), bytes(p)[2:].decode())
            for p in packets
        ]


def test_a_video_has_every_picture_the_exact_length_and_no_skew(tmp_path):
    path = tmp_path / "a.mp4"
    sink = write(path, 26)
    assert read_timecodes(path) == list(range(104))
    assert decoded(path, "audio").shape == (1, 26 * 2560)
    with av.open(str(path)) as container:
        assert {(s.type, s.start_time * s.time_base) for s in container.streams} == {
            (t, 0) for t in ("video", "audio", "subtitle")
        }
        assert Fraction(container.duration, av.time_base) == Fraction(104, 25)
        assert container.streams.video[0].average_rate == 25
    skews = measure_skew(path)
    assert len(skews) == 5
    assert max(map(abs, skews)) < 1
    assert sink.reports == [("wrote", str(path)), ("captions", str(tmp_path / "a.srt"))]


@pytest.mark.parametrize("rate_hz", [8000, 24000, 48000])
def test_other_rates_of_sound_keep_together_too(tmp_path, rate_hz):
    path = tmp_path / "a.mp4"
    write(path, 13, pattern={"rate_hz": rate_hz, "width": 64, "height": 64})
    with av.open(str(path)) as container:
        audio = container.streams.audio[0]
        assert audio.duration * audio.time_base == Fraction(13 * 16, 100)
    padding = decoded(path, "audio").shape[1] - 13 * rate_hz * 16 // 100
    assert 0 <= padding < 1024  # players cut the rest of the last AAC frame by the duration
    assert max(map(abs, measure_skew(path))) < 1


def test_another_clock_keeps_its_rate(tmp_path):
    path, clock = tmp_path / "a.mp4", UnitClock(Fraction(30), 3)
    write(path, 25, clock=clock)
    assert read_timecodes(path) == list(range(75))
    assert flash_onsets(path) == pytest.approx([0, 1, 2], abs=1e-4)


def test_colours_come_back(tmp_path):
    path = tmp_path / "a.mp4"
    colours = [(220, 40, 30), (30, 200, 60), (40, 60, 210), (128, 128, 128)]
    frames = np.stack([np.broadcast_to(np.array(c, np.uint8), (64, 64, 3)) for c in colours])
    sink = opened(Mp4(path=path, crf=10), "video")
    sink.step(sink.new_state(), unit(0), video=frames)
    sink.close()
    assert np.abs(decoded(path, "video").mean(axis=(1, 2)) - colours).max() < 8


@pytest.mark.parametrize(
    ("size", "scale", "written"), [((161, 91), 1, (92, 162)), ((33, 33), 3, (100, 100)), ((64, 64), 4, (256, 256))]
)
def test_odd_sizes_become_even_and_pixels_are_enlarged(tmp_path, size, scale, written):
    path = tmp_path / "a.mp4"
    frames = np.random.default_rng(0).integers(0, 256, (1, size[1] // 8 + 1, size[0] // 8 + 1, 1), np.uint8)
    frames = frames.repeat(8, 1).repeat(8, 2)[:, : size[1], : size[0]].repeat(3, 3).repeat(4, 0)
    sink = opened(Mp4(path=path, scale=scale, crf=10), "video")
    sink.step(sink.new_state(), unit(0), video=frames)
    sink.close()
    image = decoded(path, "video")[-1].astype(int)
    assert image.shape == (*written, 3)
    enlarged = frames[0].repeat(scale, 0).repeat(scale, 1)
    assert np.abs(image[: size[1] * scale, : size[0] * scale] - enlarged).mean() < 6


@pytest.mark.parametrize("connected", [("video",), ("audio",), ("audio", "text"), ("video", "audio")])
def test_any_of_picture_and_sound_will_do(tmp_path, connected):
    path = tmp_path / "a.mp4"
    write(path, 7, connected)
    with av.open(str(path)) as container:
        assert {s.type for s in container.streams} == {"subtitle" if c == "text" else c for c in connected}
        assert container.duration == 1_120_000


def test_what_is_not_there_repeats_the_picture_and_is_silent(tmp_path):
    path = tmp_path / "a.mp4"
    sink = opened(Mp4(path=path), "video", "audio")
    state = sink.new_state()
    given = opened(CapturePattern(width=64, height=64)).step(unit(0))
    sink.step(state, unit(0), video=given["video"], audio=given["audio"])
    sink.step(state, unit(1))
    sink.gap(state, [unit(2), unit(3)])
    sink.close()
    assert read_timecodes(path) == [0, 1, 2, *[3] * 13]
    sound = decoded(path, "audio")[0]
    assert sound.shape == (4 * 2560,)
    assert np.abs(sound[4000:]).max() < 1e-3


def test_units_before_the_first_picture_are_kept_until_its_size_is_known(tmp_path):
    path = tmp_path / "a.mp4"
    source = opened(CapturePattern(width=80, height=64))
    sink = opened(Mp4(path=path), "video", "audio")
    state = sink.new_state()
    for index in range(13):
        given = source.step(unit(index))
        sink.step(state, unit(index), video=given["video"] if index > 4 else None, audio=given["audio"])
    sink.close()
    assert read_timecodes(path) == [None] * 20 + list(range(20, 52))
    assert max(map(abs, measure_skew(path))) < 1


def test_a_picture_that_never_comes_is_black_in_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr("wangraph.nodes.sinks.PATIENCE_UNITS", 5)
    path = tmp_path / "a.mp4"
    sink = opened(Mp4(path=path, preset="ultrafast"), "video", "audio")
    state = sink.new_state()
    for index in range(5 + 2):
        sink.step(state, unit(index), audio=np.zeros(2560, np.float32))
        assert len(state.waiting) <= 5
    sink.step(state, unit(index + 1), video=BLANK + 255)
    sink.close()
    frames = decoded(path, "video")
    assert frames.shape == (4 * (5 + 3), 192, 336, 3)
    assert frames[-5].max() < 5
    assert frames[-1].min() > 250


def test_words_become_captions_in_the_video_and_beside_it(tmp_path):
    path = tmp_path / "a.mp4"
    sink = opened(Mp4(path=path), *ALL)
    state = sink.new_state()
    words = {2: "hello", 3: "there", 5: "friend", 12: "later", 19: "ünd Schluss"}
    for index in range(21):
        sink.step(state, unit(index), video=BLANK, audio=np.zeros(2560, np.float32), text=words.get(index))
    sink.close()
    expected = [(320, 1600, "hello there friend"), (1920, 2720, "later"), (3040, 3358, "ünd Schluss")]
    assert embedded_captions(path) == expected
    srt = (tmp_path / "a.srt").read_text(encoding="utf-8")
    assert srt == (
        "1\n00:00:00,320 --> 00:00:01,600\nhello there friend\n\n"
        "2\n00:00:01,920 --> 00:00:02,720\nlater\n\n"
        "3\n00:00:03,040 --> 00:00:03,360\nünd Schluss\n\n"
    )


@pytest.mark.parametrize("seed", range(12))
def test_captions_never_lengthen_the_video_and_agree_with_the_file_beside_it(tmp_path, seed):
    rng = np.random.default_rng(seed)
    path, n_units = tmp_path / "a.mp4", int(rng.integers(1, 40))
    sink = opened(Mp4(path=path, pause_s=0.32), "audio", "text")
    state = sink.new_state()
    for index in range(n_units):
        text = f"word{index}" if rng.random() < 0.4 else None
        sink.step(state, unit(index), audio=np.zeros(2560, np.float32), text=text)
    sink.close()
    with av.open(str(path)) as container:
        assert container.duration == n_units * 160_000
    lines = path.with_suffix(".srt").read_text().splitlines() if path.with_suffix(".srt").exists() else []
    beside = [(line[:12], line[17:]) for line in lines if "-->" in line]
    inside = embedded_captions(path)
    assert [srt_time(start) for start, _, _ in inside] == [start for start, _ in beside]
    ends = [abs(end - ms(text)) for (_, end, _), (_, text) in zip(inside, beside, strict=True)]
    assert max(ends, default=0) <= 2


def ms(text):
    """The milliseconds in an SRT time."""
    hours, minutes, seconds = text.replace(",", ".").split(":")
    return round((int(hours) * 60 + int(minutes)) * 60_000 + float(seconds) * 1000)


def test_a_video_without_words_leaves_no_captions_of_an_older_one(tmp_path):
    (tmp_path / "a.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\nold\n")
    sink = opened(Mp4(path=tmp_path / "a.mp4"), *ALL)
    sink.step(sink.new_state(), unit(0), video=BLANK, audio=np.zeros(2560, np.float32))
    sink.close()
    assert not (tmp_path / "a.srt").exists()
    assert len(decoded(tmp_path / "a.mp4", "video")) == 4


def merged(texts, pause_ms=640, join="words"):
    merger = CaptionMerger(pause_ms, join)
    done = [merger.add(text, k * 160, (k + 1) * 160) for k, text in enumerate(texts)]
    return [caption for caption in [*done, merger.finish(len(texts) * 160)] if caption]


def test_pieces_of_words_are_joined_verbatim_when_asked():
    assert [c.text for c in merged(["hel", "lo", " you"], join="verbatim")] == ["hello you"]
    assert [c.text for c in merged(["hel", "lo", " you"])] == ["hel lo you"]


def test_captions_never_overlap_are_short_and_lose_no_word():
    words = [None if k % 17 in (3, 4, 5, 6, 7) else f"word{k}" for k in range(300)]
    found = merged(words)
    assert " ".join(c.text for c in found).split() == [w for w in words if w]
    assert all(c.start_ms < c.end_ms for c in found)
    assert all(a.end_ms <= b.start_ms for a, b in pairwise(found))
    assert all(len(c.text) <= captions.LONGEST_CHARS for c in found)
    assert all(c.end_ms - c.start_ms <= captions.LONGEST_MS + 640 for c in found)


def test_blank_lines_cannot_end_a_caption_early():
    assert merged(["a\n\n", "\nb", "   "]) == [Caption(0, 480, "a\nb")]
    assert merged(["  ", None]) == []


KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from test_sinks import write
write(Path(sys.argv[1]), 30, finish=False)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_video_plays_when_its_process_is_killed(tmp_path):
    path = tmp_path / "a.mp4"
    run = subprocess.run([sys.executable, "-c", KILLED, str(path), str(Path(__file__).parent)], check=False)
    assert run.returncode == -signal.SIGKILL
    found = read_timecodes(path)
    assert found == list(range(len(found)))
    assert len(found) >= 120 - 12
    assert decoded(path, "audio").shape[1] >= (120 - 16) * 640
    skews = measure_skew(path)
    assert len(skews) >= 4
    assert max(map(abs, skews)) < 1
    assert (tmp_path / "a.srt").read_text().count("-->") >= 3


FULL = """
import resource, sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from test_sinks import write
from wangraph.runtime.errors import MediaError
resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))
try:
    write(Path(sys.argv[1]), 80)
except MediaError as error:
    print(error)
"""


def test_a_disk_that_fills_up_stops_the_run_and_what_was_written_plays(tmp_path):
    path = tmp_path / "a.mp4"
    command = [sys.executable, "-c", FULL, str(path), str(Path(__file__).parent)]
    run = subprocess.run(command, check=False, capture_output=True, text=True)
    assert run.stdout == (f"sink.mp4: {path}: File too large (expected a file that can be written), free some space\n")
    assert run.returncode == 0, run.stderr
    found = read_timecodes(path)
    assert found == list(range(len(found)))
    assert len(found) > 30


def test_a_unit_whose_picture_is_lost_keeps_its_sound_and_is_printed(tmp_path, capfd):
    graph = Graph("video", latency_ms=80)
    pattern = graph.add("pattern", CapturePattern, seconds=3.0, width=64, height=64)
    picture = graph.add("tee", "flow.tee", inputs={"value": pattern["video"]})["a"]
    graph.add("file", Mp4, inputs={"video": picture, "audio": pattern["audio"]}, path=str(tmp_path / "a.mp4"))
    graph.add("print", Print, inputs={"value": picture})
    result = run(graph, clock="virtual", inject=["tee: drop at=6..7"])
    assert {e.unit for e in result.log if getattr(e, "validity", None) == Validity.MISSING} == {6, 7}
    assert [round(beep) for beep in beep_onsets(tmp_path / "a.mp4")] == [0, 1, 2, 3]
    lines = capfd.readouterr().out.splitlines()
    assert [line.rpartition(": ")[2] for line in lines[5:9]][1:3] == ["missing", "missing"]


def test_a_sound_far_beyond_full_scale_is_clipped_and_costs_no_video(tmp_path):
    path = tmp_path / "loud.mp4"
    sink = opened(Mp4(path=path), "audio")
    state = sink.new_state()
    for index in range(8):
        sink.step(state, unit(index), audio=np.full(2560, 1e30 if index == 3 else 0, np.float32))
    sink.close()
    assert 0.5 < np.abs(decoded(path, "audio")).max() < 1.5


def test_closing_after_a_failure_finishes_the_video(tmp_path):
    path = tmp_path / "a.mp4"
    sink = write(path, 3, finish=False)
    with pytest.raises(ValueError):
        sink.step(sink._sessions[0], unit(3), video=np.zeros((4, 96, 128), np.uint8), audio=np.zeros(2560, np.float32))
    sink.close()
    sink.close()
    assert read_timecodes(path)[:12] == list(range(12))


def test_a_sink_that_never_got_anything_leaves_no_file(tmp_path):
    sink = opened(Mp4(path=tmp_path / "a.mp4"), *ALL)
    sink.new_state()
    sink.close()
    assert list(tmp_path.iterdir()) == []
    assert sink.reports == []


def test_where_it_cannot_write_is_found_before_the_run(tmp_path, monkeypatch):
    missing = tmp_path / "no" / "a.mp4"
    cases = [
        (missing, f"no such folder (expected a folder to write to), try: mkdir -p {missing.parent}"),
        (tmp_path, "is a folder (expected the name of a file), set params.path"),
    ]
    for path, message in cases:
        with pytest.raises(MediaError) as error:
            Mp4.check({"path": path})
        assert str(error.value) == f"sink.mp4: {path}: {message}"
    path = tmp_path / "a.mp4"
    Mp4.check({"path": path})
    assert not path.exists()
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda *args: False)
        with pytest.raises(MediaError) as error:
            Mp4.check({"path": path})
        assert str(error.value) == (
            f"sink.mp4: {path}: no permission to write (expected a writable folder), set params.path"
        )
    usage = type("Usage", (), {"free": 3_000_000})
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    with pytest.raises(MediaError) as error:
        Mp4.check({"path": path})
    assert str(error.value) == (
        f"sink.mp4: {path}: 3 MB free (expected 50 MB or more), free some space or set params.path"
    )


def test_neither_picture_nor_sound_is_refused(tmp_path):
    with pytest.raises(GraphError) as error:
        opened(Mp4(path=tmp_path / "a.mp4"), "text")
    assert str(error.value) == ("node 'node': found neither video nor audio (expected one or both), connect them")


def test_a_rate_that_aac_lacks_is_named(tmp_path):
    path = tmp_path / "a.mp4"
    with pytest.raises(MediaError) as error:
        opened(Mp4(path=path), "audio", input_shapes={"audio": {"": (1600,)}})
    assert str(error.value) == (
        f"sink.mp4: {path}: found audio at 10000 Hz (expected one of: 8000, 11025, 12000, 16000, 22050, 24000, 32000, "
        "44100, 48000, 64000, 88200, 96000), resample it"
    )


def test_a_file_holds_one_session(tmp_path):
    sink = opened(Mp4(path=tmp_path / "a.mp4"), "video")
    sink.new_state()
    with pytest.raises(GraphError) as error:
        sink.new_state()
    assert str(error.value) == "node 'node': found a second session (expected one), write one file each"


def test_null_takes_anything():
    node = opened(Null())
    assert node.step(unit(0), value="x") is None
    assert node.step(unit(1)) is None


def test_print_writes_a_line_for_each_unit(capsys):
    node = opened(Print())
    node.step(unit(0), value="hé\nllo")
    node.step(unit(1), value=np.array([[1.0, 3.0]], np.float32))
    node.step(unit(2, value=packet(2, Validity.MISSING)))
    node.step(unit(3), value={"a": np.zeros(2), "b": np.zeros((0, 4))})
    assert capsys.readouterr().out.splitlines() == [
        'node: unit 0 at 0.000 s: "hé\\nllo"',
        "node: unit 1 at 0.160 s: 1x2 float32 min 1 mean 2 max 3",
        "node: unit 2 at 0.320 s: missing",
        "node: unit 3 at 0.480 s: a 2 float64 min 0 mean 0 max 0, b 0x4 float64",
    ]


def test_print_can_leave_units_out(capsys):
    node = opened(Print(every=2, empty=False))
    for index, text in enumerate(["a", "b", None, "d", "e"]):
        node.step(unit(index), value=text)
    assert capsys.readouterr().out.splitlines() == ['node: unit 0 at 0.000 s: "a"', 'node: unit 4 at 0.640 s: "e"']
