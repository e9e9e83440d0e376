"""Messages between the processes of a run, read as an inbox does, with real shared memory behind them.

Most are tried as frames, some in the datagrams and files that frames travel in.
"""

from __future__ import annotations

import fcntl
import os
import random
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from ...runtime.channel.datagram import Datagram, frames_of
from ...runtime.channel.layout import layouts
from ...runtime.channel.pool import Pool, ReadPool
from ...runtime.channel.segment import Segment, create_segments
from ...runtime.channel.wire import (
    DTYPES,
    HANDED,
    PACKET,
    PACKETS,
    WAKE,
    Frame,
    Handed,
    SlotReader,
    encode,
    encode_all,
    encode_handed,
    head,
    messages_in,
)
from ...runtime.errors import RunError
from ...runtime.packet import Array, Packet, Validity
from .damage import spoilt, spoilt_bytes
from .example import example
from .reader import Reader

STREAM = "pattern.audio"
LARGEST = 10_000_000
"""Bytes of an array that such small messages can hold or point to."""


class Travelling(NamedTuple):
    """A datagram, the file that comes with it (None: none does), and whether that is sealed."""

    datagram: bytes
    file: bytes | None
    is_sealed: bool


class Wire(Reader):
    """See the module."""

    declared = (RunError,)

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        plan = example().plan()
        self._layouts = layouts(plan)
        files = create_segments(f"fuzz-{os.getpid():x}", self._layouts)
        segments = {name: Segment(file.path, self._layouts[name], writable=True) for name, file in files.items()}
        for file in files.values():
            file.unlink()
        self._read: dict[str, SlotReader] = {name: ReadPool(segment, "far") for name, segment in segments.items()}
        self._examples = [[bytes(frame) for frame in frames] for frames in _examples(Pool(segments["main"]))]

    def case(self, chance: random.Random) -> list[bytes] | Travelling:
        """Frames: fields changed, bytes turned, frames lost, doubled and cut; or a datagram of them, spoilt itself."""
        frames = self._frames(chance)
        return _travelling(frames, chance) if frames and chance.random() < 0.1 else frames

    def _frames(self, chance: random.Random) -> list[bytes]:
        frames, how = list(chance.choice(self._examples)), chance.random()
        if how < 0.45:
            frames[0] = _other_fields(frames[0], chance)
        elif how < 0.85:
            frames[0] = (
                spoilt_bytes(frames[0], chance) if how < 0.55 else frames[0][:4] + spoilt_bytes(frames[0][4:], chance)
            )
        elif how < 0.9:
            frames[0] = chance.randbytes(chance.randrange(60))
        return _other_frames(frames, chance) if chance.random() < 0.3 else frames

    def read(self, case: list[bytes] | Travelling) -> None:
        """Take the message in, and look at every byte of its arrays."""
        frames = _arrived(case) if isinstance(case, Travelling) else case
        for message in messages_in(frames or [b""], self._read):
            if isinstance(message, Packet):
                assert message.n_bytes <= LARGEST, message.n_bytes
                for array in message.on_host.values():
                    array.any()


def _travelling(frames: list[bytes], chance: random.Random) -> Travelling:
    """A message laid out to be sent, whose layout is not what it was."""
    whole = Datagram(frames)
    datagram = b"".join(whole.parts)
    file = os.pread(whole.file, LARGEST, 0) if whole.file >= 0 else None
    how = chance.random()
    if how < 0.4:
        datagram = spoilt_bytes(datagram[:64], chance) + datagram[64:]
    elif how < 0.6:
        datagram = datagram[: chance.randrange(len(datagram) + 1)]
    if file is None and chance.random() < 0.1:
        file = chance.randbytes(chance.randrange(100))
    elif file is not None and chance.random() < 0.5:
        file = spoilt_bytes(file, chance) if chance.random() < 0.5 else file[: chance.randrange(len(file))]
    return Travelling(datagram, file, chance.random() < 0.9)


def _arrived(case: Travelling) -> list[Frame]:
    """The frames of a datagram, as an inbox gets them."""
    if case.file is None:
        return frames_of(memoryview(case.datagram), None)
    file = os.memfd_create("wangraph-fuzz", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.write(file, case.file)
        if case.is_sealed:
            fcntl.fcntl(file, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE)
        return frames_of(memoryview(case.datagram), file)
    finally:
        os.close(file)


def _packet(tensors: dict[str, Array], stream: str = STREAM, unit: int = 3) -> Packet:
    return Packet(stream, unit, 0, unit * 160_000_000, 160_000_000, Validity.REAL, tensors, produced_ns=12345)


def _examples(pool: Pool) -> list[Any]:
    samples = np.zeros(2560, np.float32)
    placed = pool.place(STREAM, {"": samples})
    assert placed is not None
    slot = placed[0]
    packets = [_packet({"": np.zeros((3, 5), dtype)}) for dtype in DTYPES.values()]
    packets += [
        _packet({"a": np.arange(7), "b": np.zeros((2, 3, 4), np.float32), "": np.zeros(0, np.uint8)}),
        _packet({}),
        _packet({"": np.array(5.0)}, "x" * 300, 2**30),
        _packet({"": np.zeros(70_000, np.uint8)}),
    ]
    return [
        *map(encode, packets),
        encode_all([(_packet({"": np.full((unit,), unit, np.int16)}, unit=unit), None) for unit in range(5)], "main"),
        encode(_packet({"": samples}), slot, "main"),
        encode_all([(_packet({"": samples}, unit=unit), slot if unit % 2 else None) for unit in range(4)], "main"),
        encode_handed(Handed(_packet({}), "far", 1)),
        [head(WAKE, b"main")],
    ]


def _other_fields(frame: bytes, chance: random.Random) -> bytes:
    """The same kind of message, or another, whose fields are not what they were."""
    kind = frame[3:4] if chance.random() < 0.95 else chance.choice([PACKET, PACKETS, HANDED, WAKE, b"?"])
    try:
        fields = msgspec.msgpack.decode(frame[4:])
        for _ in range(chance.choice([1, 1, 2, 3])):
            fields = spoilt(fields, chance)
        return head(kind, msgspec.msgpack.encode(fields))
    except (msgspec.DecodeError, OverflowError, UnicodeEncodeError):
        return spoilt_bytes(frame, chance)


def _other_frames(frames: list[bytes], chance: random.Random) -> list[bytes]:
    how, at = chance.random(), chance.randrange(len(frames))
    if how < 0.3:
        return frames[:at]
    if how < 0.5:
        return frames + [chance.randbytes(chance.randrange(40))] * chance.randrange(1, 4)
    if how < 0.85:
        return [*frames[:at], spoilt_bytes(frames[at], chance), *frames[at + 1 :]]
    return frames[::-1]
