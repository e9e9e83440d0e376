"""The direct link's datagrams: a message is one datagram, or where it is too large, one that points at a file.

    one frame       the frame itself, as `wire` makes it
    several         b"W+", their number, their lengths; then the frames, each at a multiple of 64 bytes
    too large       the same beginning; the frames lie in a sealed file without a name (memfd), whose descriptor
                    comes with the datagram

The file is written once and mapped by every reader: nothing is cut in pieces and put together again.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
from collections.abc import Sequence

from ..errors import RunError
from .wire import Frame

LARGEST = 1 << 16
"""Bytes of a datagram. What is larger is quicker in a file, and would fill a socket's memory by a few messages."""

MAPPED_FROM = 1 << 20
"""Bytes of a file from which on it is mapped. A mapping holds a descriptor for as long as an array over it lives: of
small ones, a node that keeps a thousand would take all that a process may have."""

_SCATTERED = b"W+"
_N_FRAMES = struct.Struct("<2sI")
_ALIGNED = 64
_MOST_FRAMES = 4096
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


class Datagram:
    """A message ready to be sent to any number of peers.

    Attributes:
        parts: the datagram's bytes, piece by piece.
        file: descriptor that travels with it, -1 for none; closed when nobody holds this object any more.
    """

    def __init__(self, frames: Sequence[Frame]) -> None:
        """Lay a message out.

        Raises:
            RunError: there is no memory for what is too large for a datagram.
        """
        self.file = -1
        self.parts: list[Frame] = [frames[0]]
        if len(frames) == 1 and len(frames[0]) <= LARGEST:
            return
        lengths = [memoryview(frame).nbytes for frame in frames]
        self.parts = [_N_FRAMES.pack(_SCATTERED, len(frames)) + struct.pack(f"<{len(frames)}Q", *lengths)]
        offsets, end = _places(lengths, _start(len(frames)))
        if end > LARGEST:
            self._write(frames, *_places(lengths, 0))
            return
        at = len(self.parts[0])
        for frame, offset, length in zip(frames, offsets, lengths, strict=True):
            self.parts += [bytes(offset - at), frame]
            at = offset + length

    def _write(self, frames: Sequence[Frame], offsets: Sequence[int], n_bytes: int) -> None:
        try:
            self.file = os.memfd_create("wangraph-message", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            os.ftruncate(self.file, n_bytes)
            for frame, offset in zip(frames, offsets, strict=True):
                _write_all(self.file, memoryview(frame).cast("B"), offset)
        except OSError as error:
            raise RunError(
                f"message: {n_bytes} bytes: {error.strerror} (expected memory for them), "
                "give its stream a contract that says its size, so that it goes through shared memory"
            ) from error
        # a reader maps it: cut short after that, it would kill the reader
        fcntl.fcntl(self.file, fcntl.F_ADD_SEALS, _SEALS)

    def __del__(self) -> None:
        if self.file >= 0:
            os.close(self.file)


def frames_of(datagram: memoryview, file: int | None) -> list[Frame]:
    """The frames of a datagram, which itself may be written over afterwards.

    Args:
        file: the descriptor that came with it; the caller closes it.

    Raises:
        RunError: it is cut short, or the file is not what it should be.
    """
    if bytes(datagram[:2]) != _SCATTERED:
        return [bytes(datagram)]
    n_frames = _N_FRAMES.unpack_from(datagram)[1] if len(datagram) >= _N_FRAMES.size else 0
    start = _start(n_frames)
    if not 0 < n_frames <= _MOST_FRAMES or len(datagram) < _N_FRAMES.size + 8 * n_frames:
        raise RunError(f"message: found {n_frames} frames in {len(datagram)} bytes, was the message cut?")
    lengths = struct.unpack_from(f"<{n_frames}Q", datagram, _N_FRAMES.size)
    offsets, end = _places(lengths, start if file is None else 0)
    held = len(datagram) if file is None else os.fstat(file).st_size
    if end > held:
        raise RunError(f"message: found {held} bytes (expected {end}), was the message cut?")
    content = memoryview(bytes(datagram)) if file is None else _content(file, end)
    return [content[offset : offset + length] for offset, length in zip(offsets, lengths, strict=True)]


def _content(file: int, n_bytes: int) -> memoryview:
    try:
        seals = fcntl.fcntl(file, fcntl.F_GET_SEALS)
    except OSError:
        seals = 0  # a file of another kind
    if seals & _SEALS != _SEALS:
        raise RunError("message: found a file that can change (expected a sealed one), who else writes to this socket?")
    if n_bytes < MAPPED_FROM:
        return memoryview(os.pread(file, n_bytes, 0))
    return memoryview(mmap.mmap(file, n_bytes, mmap.MAP_SHARED | mmap.MAP_POPULATE, mmap.PROT_READ))


def _start(n_frames: int) -> int:
    """Offset of the first frame behind the lengths of all."""
    return _aligned(_N_FRAMES.size + 8 * n_frames)


def _places(lengths: Sequence[int], start: int) -> tuple[list[int], int]:
    """Offset of each frame, and the end of the last one. Aligned: arrays over them are computed with as they lie."""
    offsets, end = [], start
    for length in lengths:
        offsets.append(_aligned(end))
        end = offsets[-1] + length
    return offsets, end


def _aligned(offset: int) -> int:
    return -(-offset // _ALIGNED) * _ALIGNED


def _write_all(file: int, content: memoryview, offset: int) -> None:
    while content:
        n_bytes = os.pwrite(file, content, offset)
        content, offset = content[n_bytes:], offset + n_bytes
