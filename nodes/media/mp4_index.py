"""The index of an MP4 that is written in fragments: collected on disk meanwhile, written when the file is complete.

A fragmented file says in each fragment where its samples are; players begin at once, but some cannot seek in it, or
show no length. FFmpeg can turn such a file into an ordinary one, for which it keeps the index of all samples in memory:
about 600 bytes a unit, for as long as the run lasts. Here each fragment's samples are read back from its header once
and spooled to unnamed files beside the video; nothing grows in memory.

Boxes and their fields: ISO/IEC 14496-12.
"""

from __future__ import annotations

import os
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

SAMPLE = np.dtype(
    [("dts", "<u8"), ("offset", "<u8"), ("size", "<u4"), ("duration", "<u4"), ("is_sync", "u1"), ("begins_run", "u1")]
)
"""What is spooled of each sample; ``begins_run``: it does not follow the one before in the file."""

NOT_SYNC = 0x10000
"""In a sample's flags: nothing can be decoded from here on without what came before."""

LARGEST = 2**32 - 1

DEFAULTS = (0x1, 0x2, 0x8, 0x10, 0x20)
"""Flags of optional fields in ``tfhd``: base offset, description, duration, size, flags."""


class FragmentIndex:
    """Collects the samples of a growing file's fragments, and makes an ordinary file of it in the end.

    Args:
        file: open for reading and writing; unbuffered.
        folder: where to spool.
    """

    def __init__(self, file: BinaryIO, folder: Path) -> None:
        self._fd = file.fileno()
        self._folder = folder
        self._seen = 0
        self._moov_at: int | None = None
        self._spools: dict[int, BinaryIO] = {}
        self._spooled: dict[int, int] = {}

    def collect(self) -> None:
        """Read what has been completed since the last call.

        Raises:
            OSError: it cannot be spooled.
        """
        size = os.fstat(self._fd).st_size
        while size - self._seen >= 8:
            length, kind = self._head(self._seen)
            if length < 8 or self._seen + length > size:
                return
            if kind == b"moov":
                self._moov_at = self._seen
            elif kind == b"moof":
                self._collect_fragment(self._seen, os.pread(self._fd, length, self._seen))
            self._seen += length

    def finish(self) -> None:
        """Write the index at the file's end, and hide the fragments' headers in its payload.

        Until the last write, of 16 bytes, the file is a fragmented one, and then an ordinary one: it can be played
        whatever happens in between.

        Raises:
            OSError: it cannot be written; the file can be played.
        """
        self.collect()
        if self._moov_at is None:
            return
        length, _ = self._head(self._moov_at)
        moov = os.pread(self._fd, length, self._moov_at)
        end = self._seen
        _put(self._fd, _with_samples(moov, {track: self._samples(track) for track in self._spools}), end)
        _put(self._fd, struct.pack(">I4sQ", 1, b"mdat", end - self._moov_at), self._moov_at)

    def close(self) -> None:
        """Drop what was spooled."""
        for spool in self._spools.values():
            spool.close()
        self._spools.clear()

    def _head(self, at: int) -> tuple[int, bytes]:
        """Length and kind of the box at an offset."""
        length, kind = struct.unpack(">I4s", os.pread(self._fd, 8, at))
        if length == 1:
            (length,) = struct.unpack(">Q", os.pread(self._fd, 8, at + 8))
        return length, kind

    def _collect_fragment(self, at: int, moof: bytes) -> None:
        for kind, traf in _boxes(moof):
            if kind == b"traf":
                track, samples = _samples_of(at, traf)
                if track not in self._spools:
                    # unbuffered: what waits to be written would be tried again when a full disk made it be closed
                    self._spools[track] = tempfile.TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115
                    self._spooled[track] = 0
                data = samples.tobytes()
                _put(self._spools[track].fileno(), data, self._spooled[track])
                self._spooled[track] += len(data)

    def _samples(self, track: int) -> NDArray[np.void]:
        if not self._spooled[track]:
            return np.empty(0, SAMPLE)
        # mapped, and not read: of a day they are larger than what the rest of the process needs
        return np.memmap(self._spools[track], SAMPLE, "r")


def _put(fd: int, data: bytes, at: int) -> None:
    """Write all of the bytes at an offset."""
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, at)
        view, at = view[written:], at + written


def _boxes(box: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and bytes, head included, of every box inside a box."""
    at = 8
    while at < len(box):
        length, kind = struct.unpack_from(">I4s", box, at)
        yield kind, box[at : at + length]
        at += length


def _box(kind: bytes, *parts: bytes) -> bytes:
    return struct.pack(">I4s", 8 + sum(map(len, parts)), kind) + b"".join(parts)


def _samples_of(moof_at: int, traf: bytes) -> tuple[int, NDArray[np.void]]:
    """The number of a fragment's track, and its samples."""
    track = dts = duration = size = flags = 0
    runs = []
    for kind, box in _boxes(traf):
        (switches,) = struct.unpack_from(">I", box, 8)
        if kind == b"tfhd":
            track, *values = struct.unpack_from(f">{(len(box) - 12) // 4}I", box, 12)
            assert not switches & 0x1, f"{switches:#x}: offsets of samples are from the fragment's own beginning"
            given = dict(zip((flag for flag in DEFAULTS if switches & flag), values, strict=True))
            duration, size, flags = (given.get(flag, 0) for flag in (0x8, 0x10, 0x20))
        elif kind == b"tfdt":
            (dts,) = struct.unpack_from(">Q" if switches >> 24 else ">I", box, 12)
        elif kind == b"trun":
            run = _run(moof_at, box, switches, duration, size, flags)
            run["dts"] = dts + np.cumsum(run["duration"], dtype=np.uint64) - run["duration"]
            dts += int(run["duration"].sum())
            runs.append(run)
    return track, np.concatenate(runs) if runs else np.empty(0, SAMPLE)


def _run(moof_at: int, trun: bytes, switches: int, duration: int, size: int, flags: int) -> NDArray[np.void]:
    """Samples that follow one another in the file."""
    count, at = struct.unpack_from(">I", trun, 12)[0], 16
    assert switches & 0x1 and not switches & 0x800, f"{switches:#x}: runs have an offset, and pictures stay in order"
    (offset,) = struct.unpack_from(">i", trun, at)
    first_flags = struct.unpack_from(">I", trun, at + 4)[0] if switches & 0x4 else None
    columns = [column for flag, column in ((0x100, 0), (0x200, 1), (0x400, 2)) if switches & flag]
    given = np.frombuffer(trun, ">u4", count * len(columns), at + (8 if switches & 0x4 else 4))
    table = np.empty((count, 3), np.uint32)
    table[:] = duration, size, flags
    table[:, columns] = given.reshape(count, len(columns))
    if first_flags is not None and count:
        table[0, 2] = first_flags
    run = np.zeros(count, SAMPLE)
    run["duration"], run["size"], run["is_sync"] = table[:, 0], table[:, 1], table[:, 2] & NOT_SYNC == 0
    run["offset"] = moof_at + offset + np.cumsum(run["size"], dtype=np.uint64) - run["size"]
    run["begins_run"][:1] = 1
    return run


def _with_samples(moov: bytes, samples: dict[int, NDArray[np.void]]) -> bytes:
    """The ``moov`` of a fragmented file as that of an ordinary one with these samples, by track."""
    parts = dict(enumerate(_boxes(moov)))
    (scale,) = struct.unpack_from(">I", next(box for kind, box in parts.values() if kind == b"mvhd"), 20)
    traks, longest = {}, 0
    for i, (kind, box) in parts.items():
        if kind == b"trak":
            traks[i], length = _trak(box, scale, samples)
            longest = max(longest, length)
    made = []
    for i, (kind, box) in parts.items():
        if kind == b"mvhd":
            made.append(_timed(box, 24, longest))
        elif kind != b"mvex":  # "there are fragments"
            made.append(traks.get(i, box))
    return _box(b"moov", *made)


def _trak(trak: bytes, movie_scale: int, samples: dict[int, NDArray[np.void]]) -> tuple[bytes, int]:
    """A track with its samples, and its length in the movie's time scale."""
    parts = dict(_boxes(trak))
    mdia = dict(_boxes(parts[b"mdia"]))
    (track,) = struct.unpack_from(">I", parts[b"tkhd"], 20)
    (scale,) = struct.unpack_from(">I", mdia[b"mdhd"], 20)
    own = samples.get(track, np.empty(0, SAMPLE))
    end = int(own["dts"][-1]) + int(own["duration"][-1]) if len(own) else 0
    skipped = max(0, struct.unpack_from(">i", parts[b"edts"], 28)[0]) if b"edts" in parts else 0
    length = -(-(end - skipped) * movie_scale // scale) if end > skipped else 0
    made = []
    for kind, box in parts.items():
        if kind == b"tkhd":
            made.append(_timed(box, 28, length))
        elif kind == b"edts":
            made.append(_box(b"edts", _edit(box[8:], length)))
        elif kind == b"mdia":
            handler = mdia[b"hdlr"][16:20]
            made.append(_box(b"mdia", *(_media_part(k, b, end, own, handler) for k, b in mdia.items())))
        else:
            made.append(box)
    return _box(b"trak", *made), length


def _media_part(kind: bytes, box: bytes, end: int, samples: NDArray[np.void], handler: bytes) -> bytes:
    if kind == b"mdhd":
        return _timed(box, 24, end)
    if kind != b"minf":
        return box
    described = {b"stts", b"stsc", b"stsz", b"stco"}
    parts = []
    for inner, content in _boxes(box):
        if inner == b"stbl":
            kept = [part for name, part in _boxes(content) if name not in described]
            parts.append(_box(b"stbl", *kept, *_tables(samples, handler)))
        else:
            parts.append(content)
    return _box(b"minf", *parts)


def _timed(box: bytes, duration_at: int, duration: int) -> bytes:
    """A header box with another duration; its dates come first, then 4 bytes or 8, then the duration. Where that does
    not fit into 32 bits it becomes a box of version 1, with 64 bits for dates and duration."""
    flags, made, changed = struct.unpack_from(">III", box, 8)
    between, rest = box[20:duration_at], box[duration_at + 4 :]
    if duration > LARGEST:
        head = struct.pack(">IQQ", flags | 1 << 24, made, changed) + between + struct.pack(">Q", duration)
    else:
        head = struct.pack(">III", flags, made, changed) + between + struct.pack(">I", duration)
    return _box(box[4:8], head, rest)


def _edit(elst: bytes, length: int) -> bytes:
    """The one edit of a track, as long as the track."""
    _, _, _, media_time, rate = struct.unpack_from(">IIIiI", elst, 8)
    if length > LARGEST:
        return _box(b"elst", struct.pack(">IIQqI", 1 << 24, 1, length, media_time, rate))
    return _box(b"elst", struct.pack(">IIIiI", 0, 1, length, media_time, rate))


def _tables(samples: NDArray[np.void], handler: bytes) -> Iterator[bytes]:
    """The tables of a track: when its samples are due, which of them can be begun at, and where they are."""
    count = len(samples)
    durations = np.append(np.diff(samples["dts"]), samples["duration"][-1:]).astype(np.uint32)
    firsts = _changes(durations)
    yield _table(b"stts", np.stack([_lengths(firsts, count), durations[firsts]], axis=1))
    if handler == b"vide":
        yield _table(b"stss", np.flatnonzero(samples["is_sync"]) + 1)
    chunks = np.flatnonzero(samples["begins_run"])
    per_chunk = _lengths(chunks, count)
    firsts = _changes(per_chunk)
    yield _table(b"stsc", np.stack([firsts + 1, per_chunk[firsts], np.ones_like(firsts)], axis=1))
    yield _box(b"stsz", struct.pack(">III", 0, 0, count), samples["size"].astype(">u4").tobytes())
    offsets = samples["offset"][chunks]
    is_far = bool(count) and int(offsets[-1]) > LARGEST
    yield _table(b"co64" if is_far else b"stco", offsets, ">u8" if is_far else ">u4")
    if handler == b"soun":  # AAC: who begins somewhere decodes one sample more before
        yield _box(b"sgpd", struct.pack(">I4sIIh", 1 << 24, b"roll", 2, 1, -1))
        yield _box(b"sbgp", struct.pack(">I4sIII", 0, b"roll", 1, count, 1))


def _table(kind: bytes, rows: NDArray[np.generic], dtype: str = ">u4") -> bytes:
    return _box(kind, struct.pack(">II", 0, len(rows)), rows.astype(dtype).tobytes())


def _changes(values: NDArray[np.generic]) -> NDArray[np.intp]:
    """Indices at which a row of values begins or changes."""
    return np.flatnonzero(np.append(np.ones(min(1, len(values)), bool), values[1:] != values[:-1]))


def _lengths(firsts: NDArray[np.intp], count: int) -> NDArray[np.intp]:
    """Counts from each first one to the next."""
    return np.diff(np.append(firsts, count))
