"""Videos of any length: the index that is kept on disk, and files that are begun anew."""

import ctypes
import errno
import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from media_files import opened, unit
from media_skew import read_timecodes
from test_sinks import ALL, decoded, embedded_captions, write

from wangraph.nodes.media import mp4, mp4_index
from wangraph.nodes.media.mp4_index import FragmentIndex
from wangraph.nodes.pattern import CapturePattern
from wangraph.nodes.sinks import Mp4
from wangraph.runtime.errors import MediaError


def packets(path):
    """Everything that a player gets of each stream, in order."""
    with av.open(str(path)) as container:
        found = {stream.type: [] for stream in container.streams}
        for packet in container.demux():
            if packet.dts is not None:
                entry = packet.dts, packet.pts, packet.duration, packet.is_keyframe, bytes(packet)
                found[packet.stream.type].append(entry)
        lengths = {s.type: s.duration * s.time_base for s in container.streams}
    return found, lengths


def write_by_ffmpeg(path, n_units, monkeypatch):
    """The same video as `write`, made an ordinary one by FFmpeg's own index."""
    with monkeypatch.context() as patch:
        patch.setitem(mp4._OPTIONS, "movflags", "hybrid_fragmented+delay_moov")
        patch.setattr(FragmentIndex, "collect", lambda _: None)
        patch.setattr(FragmentIndex, "finish", lambda _: None)
        write(path, n_units)


@pytest.mark.parametrize("n_units", [1, 2, 29])
def test_the_index_is_as_ffmpeg_would_write_it(tmp_path, monkeypatch, n_units):
    write(tmp_path / "ours.mp4", n_units)
    write_by_ffmpeg(tmp_path / "theirs.mp4", n_units, monkeypatch)
    assert packets(tmp_path / "ours.mp4") == packets(tmp_path / "theirs.mp4")


def test_an_index_that_is_off_by_a_sample_is_noticed(tmp_path, monkeypatch):
    write_by_ffmpeg(tmp_path / "theirs.mp4", 4, monkeypatch)
    samples_of = mp4_index._samples_of

    def shifted(at, traf):
        track, samples = samples_of(at, traf)
        samples["offset"] += samples["size"]
        return track, samples

    monkeypatch.setattr(mp4_index, "_samples_of", shifted)
    write(tmp_path / "ours.mp4", 4)
    assert packets(tmp_path / "ours.mp4") != packets(tmp_path / "theirs.mp4")


def boxes(path):
    """Kinds of the file's outer boxes, in order."""
    data, at, found = path.read_bytes(), 0, []
    while at < len(data):
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8].decode()
        found.append(kind)
        at += int.from_bytes(data[at + 8 : at + 16], "big") if length == 1 else length
    return found


def test_a_video_is_in_fragments_while_it_is_written_and_an_ordinary_one_afterwards(tmp_path):
    path = tmp_path / "a.mp4"
    sink = write(path, 13, finish=False)
    assert set(boxes(path)) == {"ftyp", "moov", "moof", "mdat"}
    begun = read_timecodes(path)
    assert len(begun) > 30
    sink.close()
    assert boxes(path) == ["ftyp", "mdat", "moov"]
    assert read_timecodes(path) == list(range(52))
    assert list(tmp_path.iterdir()) in ([path, path.with_suffix(".srt")], [path.with_suffix(".srt"), path])


def test_a_video_cut_before_its_last_write_plays_as_the_fragments_it_was(tmp_path, monkeypatch):
    path, write_at = tmp_path / "a.mp4", mp4_index.os.pwrite
    monkeypatch.setattr(mp4_index.os, "pwrite", lambda fd, data, at: len(data) if at < 100 else write_at(fd, data, at))
    write(path, 13)
    assert boxes(path)[-1] == "moov"
    assert "moof" in boxes(path)
    assert read_timecodes(path) == list(range(52))


@pytest.mark.parametrize("n_writes", [0, 7])
def test_a_disk_too_full_for_the_index_ends_the_video_and_what_was_written_plays(tmp_path, monkeypatch, n_writes):
    path, left, write_at = tmp_path / "a.mp4", iter(range(n_writes)), mp4_index.os.pwrite

    def almost_full(fd, data, at):
        if next(left, None) is None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write_at(fd, data[: len(data) // 2 + 1], at)  # some of it, as a disk that is nearly full does

    monkeypatch.setattr(mp4_index.os, "pwrite", almost_full)
    with pytest.raises(MediaError) as caught:
        write(path, 40)
    assert str(caught.value) == (
        f"sink.mp4: {path}: No space left on device (expected a file that can be written), free some space"
    )
    found = read_timecodes(path)
    assert found == list(range(len(found)))
    assert len(found) >= 4


def test_any_moment_of_a_closed_video_can_be_gone_to(tmp_path):
    path = tmp_path / "a.mp4"
    write(path, 60)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        for at_s in (8, 2, 5, 0):
            container.seek(int(at_s / stream.time_base), stream=stream)
            assert next(container.decode(stream)).time == at_s


def test_numbers_beyond_32_bits_are_written_with_64(tmp_path, monkeypatch):
    write(tmp_path / "small.mp4", 13)
    monkeypatch.setattr(mp4_index, "LARGEST", 40)
    write(tmp_path / "large.mp4", 13)
    small, large = (tmp_path / name for name in ("small.mp4", "large.mp4"))
    assert packets(large) == packets(small)
    assert b"co64" in large.read_bytes()
    assert b"co64" not in small.read_bytes()


class Allocated(ctypes.Structure):
    """What ``mallinfo2`` gives."""

    _fields_ = [(name, ctypes.c_size_t) for name in
                ["arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"]]  # fmt: skip


def allocated():
    """Bytes that C code, FFmpeg's included, holds at this moment."""
    mallinfo2 = ctypes.CDLL(None).mallinfo2
    mallinfo2.restype = Allocated
    found = mallinfo2()
    return found.uordblks + found.hblkhd


def growth_of_a_video(path):
    """Bytes that are held more after 1000 units than after 200, of a video of sound and words."""
    sink = opened(Mp4(path=path), "audio", "text")
    state, sound = sink.new_state(), np.zeros(2560, np.float32)
    for k in range(1000):
        if k == 200:
            before = allocated()
        sink.step(state, unit(k), audio=sound, text="so" if k % 9 < 4 else None)
    grown = allocated() - before
    sink.close()
    return grown


def test_nothing_is_kept_in_memory_of_the_units_that_are_written(tmp_path, monkeypatch):
    assert growth_of_a_video(tmp_path / "a.mp4") < 20_000
    monkeypatch.setitem(mp4._OPTIONS, "movflags", "hybrid_fragmented+delay_moov")
    monkeypatch.setattr(FragmentIndex, "collect", lambda _: None)
    monkeypatch.setattr(FragmentIndex, "finish", lambda _: None)
    assert growth_of_a_video(tmp_path / "a.mp4") > 100_000  # FFmpeg's own index


def rotated(path, n_units, rotate_s, first_unit=0):
    """A video of ``n_units`` in files of so many seconds, with a word in each unit; the sink, closed."""
    source = opened(CapturePattern(width=128, height=96))
    sink = opened(Mp4(path=path, rotate_s=rotate_s), *ALL)
    state = sink.new_state()
    for k in range(first_unit, first_unit + n_units):
        given = source.step(unit(k))
        sink.step(state, unit(k), video=given["video"], audio=given["audio"], text=f"w{k}")
    sink.close()
    return sink


def check_parts(folder, n_units, units_a_file):
    """Pass if the files have every unit once: its pictures, its sound and its word, each file from its own zero."""
    files = sorted(folder.glob("*.mp4"))
    frames, words, seconds = [], [], Fraction()
    for path in files:
        assert len(read_timecodes(path)) <= 4 * units_a_file
        frames += read_timecodes(path)
        captions = embedded_captions(path)
        words += [word for _, _, text in captions for word in text.split()]
        beside = path.with_suffix(".srt").read_text()
        assert [text for _, _, text in captions] == [part.splitlines()[2] for part in beside.strip().split("\n\n")]
        assert captions[0][0] == 0
        with av.open(str(path)) as container:
            assert {s.start_time * s.time_base for s in container.streams} == {0}
            sound = container.streams.audio[0]
            seconds += sound.duration * sound.time_base
    assert frames == list(range(4 * n_units))
    assert words == [f"w{k}" for k in range(n_units)]
    assert seconds == Fraction(n_units * 16, 100)
    assert [path.name for path in files] == [f"a-{i:03d}.mp4" for i in range(-(-n_units // units_a_file))]


@pytest.mark.parametrize(("n_units", "rotate_s"), [(13, 0.64), (12, 0.64), (3, 0.01), (7, 60.0), (40, 1.0)])
def test_no_unit_is_lost_or_doubled_where_a_file_ends_and_the_next_begins(tmp_path, n_units, rotate_s):
    sink = rotated(tmp_path / "a.mp4", n_units, rotate_s)
    units_a_file = max(1, round(rotate_s / 0.16))
    check_parts(tmp_path, n_units, units_a_file)
    last = -(-n_units // units_a_file) - 1
    first = tmp_path / "a-000.mp4"
    assert sink.reports[0] == ("wrote", f"{first} .. a-{last:03d}.mp4" if last else str(first))


def test_a_border_that_drops_its_unit_is_noticed(tmp_path, monkeypatch):
    write_unit = Mp4._write
    monkeypatch.setattr(Mp4, "_write", lambda s, state, u, *given: u.index == 4 or write_unit(s, state, u, *given))
    rotated(tmp_path / "a.mp4", 13, 0.64)
    with pytest.raises(AssertionError):
        check_parts(tmp_path, 13, 4)


def test_each_file_of_a_killed_video_but_the_last_is_an_ordinary_one(tmp_path):
    sink = write(tmp_path / "a.mp4", 10, rotate_s=0.64, finish=False)
    assert boxes(tmp_path / "a-001.mp4") == ["ftyp", "mdat", "moov"]
    assert read_timecodes(tmp_path / "a-000.mp4") == list(range(16))
    sink.close()


def test_a_rotated_video_does_not_replace_what_is_no_video(tmp_path):
    (tmp_path / "a-001.mp4").write_text("my notes, which nobody wants to lose")
    with pytest.raises(MediaError) as caught:
        rotated(tmp_path / "a.mp4", 13, 0.64)
    assert str(caught.value) == (
        f"sink.mp4: {tmp_path}/a-001.mp4: found a file that is no MP4 (expected none, or one to replace), it would be "
        "lost: set params.path, or give --force"
    )
    assert decoded(tmp_path / "a-000.mp4", "video").shape == (16, 96, 128, 3)


def test_the_check_before_a_run_is_of_the_first_file(tmp_path):
    (tmp_path / "a.mp4").write_text("not a video at all, and none that is replaced")
    Mp4.check({"path": tmp_path / "a.mp4", "rotate_s": 60.0})
    (tmp_path / "a-000.mp4").write_text("not a video at all, but one that would be")
    with pytest.raises(MediaError) as caught:
        Mp4.check({"path": Path(tmp_path / "a.mp4"), "rotate_s": 60.0})
    assert str(caught.value) == (
        f"sink.mp4: {tmp_path}/a-000.mp4: found a file that is no MP4 (expected none, or one to replace), it would be "
        "lost: set params.path, or give --force"
    )
