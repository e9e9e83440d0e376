"""Wire format of a packet: a versioned header, then the tensors that do not lie in shared memory.

    frame 0     b"WG", protocol version, kind; then the msgpack body: a header, or a list of them (packets that one
                call of a body made for the same readers)
    frame 1...  bytes of inline tensors, C order, little-endian

The version stands before the body, so that another version is told apart before anything is read as what it is not.
Payloads are never pickled: a tensor is a dtype out of a fixed list, a shape, and bytes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import msgspec
import numpy as np

from ..errors import RunError, listing
from ..packet import NO_TENSORS, Array, Packet, Validity, frozen
from ..payload import Payload
from ..ports import DTYPE_BYTES
from .device_pool import DeviceLease
from .pool import Bytes

WIRE_VERSION = 2

PACKET, PACKETS, HANDED, LINK, WAKE = b"P", b"M", b"H", b"L", b"W"
"""Kinds: a packet, several, an outcome decided in the place of a dead process, the beginning of a connection, and what
a process sends itself so that its receiver looks up."""

_MAGIC = b"WG"
_PREFIX = len(_MAGIC) + 2
_IN_SLOT = 0
_NO_SLOT = -1

Frame = bytes | memoryview

Root = Bytes | DeviceLease
"""All of a slot, in memory of this machine or of a device."""

DTYPES = {name: np.dtype(name) for name in DTYPE_BYTES if name != "bfloat16"}
"""What travels; bfloat16 does as uint16."""

_NAMES = {dtype: name for name, dtype in DTYPES.items()}


class TensorHeader(msgspec.Struct, array_like=True, frozen=True):
    """One tensor. ``frame``: number of the frame that holds it, 0 when it lies in the slot at ``offset``."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    frame: int
    offset: int


class PacketHeader(msgspec.Struct, array_like=True, frozen=True):
    """All of a packet but its bytes. ``owner``: the process whose segment holds slot ``slot`` of the stream."""

    stream: str
    unit: int
    generation: int
    session: int
    incarnation: int
    pts_ns: int
    duration_ns: int
    validity: int
    produced_ns: int
    capture_ns: int | None
    capture_clock: str
    source_time_ns: int | None
    owner: str
    slot: int
    tensors: tuple[TensorHeader, ...]


class HandedHeader(msgspec.Struct, array_like=True, frozen=True):
    """An outcome that ``sender``, in that life, decided in the place of a dead process; it has no payload."""

    sender: str
    incarnation: int
    packet: PacketHeader


@dataclass(frozen=True, slots=True)
class Handed:
    """See `HandedHeader`."""

    packet: Packet
    sender: str
    incarnation: int


class SlotReader(Protocol):
    """Gives the bytes of a slot; see `ReadPool` and `DeviceReadPool`."""

    def lease(self, stream: str, slot: int) -> Bytes | DeviceLease:
        """All bytes of a slot, read-only, leased until they die."""
        ...


class Place(Protocol):
    """A slot that a payload lies in.

    Attributes:
        index: number within the stream.
        memory: added to the name of its process: empty for memory of this machine.
    """

    index: int
    memory: str

    def offset(self, tensor: str) -> int:
        """Place of a tensor inside it, in bytes."""
        ...


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(PacketHeader)
_list_decoder = msgspec.msgpack.Decoder(list[PacketHeader])
_handed_decoder = msgspec.msgpack.Decoder(HandedHeader)


def head(kind: bytes, body: bytes = b"") -> bytes:
    """Frame 0 of a message."""
    return b"%b%c%b%b" % (_MAGIC, WIRE_VERSION, kind, body)


def opened(frame: bytes) -> tuple[bytes, memoryview]:
    """Kind and body of a frame 0.

    Raises:
        RunError: another protocol, or another version of it.
    """
    if len(frame) < _PREFIX or frame[:2] != _MAGIC:
        raise RunError(f"message: found {frame[:8]!r} (expected a wangraph header), who else writes to this socket?")
    if frame[2] != WIRE_VERSION:
        raise RunError(
            f"message: found protocol version {frame[2]} (expected {WIRE_VERSION}), "
            "run the same wangraph in every process"
        )
    return frame[3:4], memoryview(frame)[_PREFIX:]


def encode(packet: Packet, slot: Place | None = None, owner: str = "") -> list[Frame]:
    """The frames of a packet: one when its tensors lie in ``slot`` of process ``owner``, else one more per tensor.

    Inline frames are the tensors themselves, not copies, where they are contiguous.

    Raises:
        RunError: a dtype that does not travel.
    """
    frames: list[Frame] = [b""]
    header = _header(packet, slot, owner, _placed(packet, slot, frames))
    frames[0] = head(PACKET, _encoder.encode(header))
    return frames


def encode_all(parts: Sequence[tuple[Packet, Place | None]], owner: str) -> list[Frame]:
    """The frames of several packets in one message, each with the slot that its tensors lie in; see `encode`."""
    if len(parts) == 1:
        return encode(*parts[0], owner)
    frames: list[Frame] = [b""]
    headers = [_header(packet, slot, owner, _placed(packet, slot, frames)) for packet, slot in parts]
    frames[0] = head(PACKETS, _encoder.encode(headers))
    return frames


def encode_handed(handed: Handed) -> list[Frame]:
    """The frame of an outcome that is handed over."""
    header = _header(handed.packet, None, "", ())
    return [head(HANDED, _encoder.encode(HandedHeader(handed.sender, handed.incarnation, header)))]


def handed_in(body: memoryview) -> Handed:
    """The outcome of a message of this kind.

    Raises:
        RunError: it is none.
    """
    try:
        header = _handed_decoder.decode(body)
        validity = Validity(header.packet.validity)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
        raise RunError(f"message: found a broken outcome (expected version {WIRE_VERSION}): {error}") from error
    return Handed(_packet(header.packet, validity, (), {}), header.sender, header.incarnation)


def _placed(packet: Packet, slot: Place | None, frames: list[Frame]) -> tuple[TensorHeader, ...]:
    """Places of a packet's tensors: in its slot, or in frames that are added here."""
    tensors = []
    # what lies in a slot of a device stays there
    for name, array in (packet.tensors if slot is not None and slot.memory else packet.on_host).items():
        dtype = _NAMES.get(array.dtype) or _NAMES.get(array.dtype.newbyteorder("="))
        if dtype is None:
            raise RunError(
                f"stream '{packet.stream}', unit {packet.unit}: tensor '{name}': found dtype {array.dtype.name} "
                f"(expected one of: {listing(DTYPES)}), convert it in the node"
            )
        if slot is not None:
            tensors.append(TensorHeader(name, dtype, array.shape, _IN_SLOT, slot.offset(name)))
            continue
        tensors.append(TensorHeader(name, dtype, array.shape, len(frames), 0))
        frames.append(bytes_of(cast(Array, array)))
    return tuple(tensors)


def decode(frames: Sequence[Frame], segments: Mapping[str, SlotReader]) -> Packet:
    """The packet in these frames. Its tensors are read-only looks into shared memory or into the frames.

    Args:
        segments: by the process that produces into them.

    Raises:
        RunError: not a packet, another version, or one that points outside of its slot or frames.
    """
    kind, body = opened(bytes(frames[0]) if frames else b"")
    if kind != PACKET:
        raise RunError(f"message: found kind {kind!r} (expected {PACKET!r}, a packet)")
    (packet,) = packets_in(kind, body, frames, segments)
    return packet


def messages_in(frames: Sequence[Frame], segments: Mapping[str, SlotReader]) -> list[Packet | Handed]:
    """Packets of a message between processes, see `decode`, or its outcome.

    Raises:
        RunError: neither, another version, or something that points outside of its slot or frames.
    """
    kind, body = opened(bytes(frames[0]))
    return [handed_in(body)] if kind == HANDED else [*packets_in(kind, body, frames, segments)]


def packets_in(
    kind: bytes, body: memoryview, frames: Sequence[Frame], segments: Mapping[str, SlotReader]
) -> list[Packet]:  # fmt: skip
    """The packets of a message whose first frame is `opened` already; see `decode`."""
    if kind not in (PACKET, PACKETS):
        raise RunError(f"message: found kind {kind!r} (expected {PACKET!r} or {PACKETS!r}, packets)")
    try:
        headers = [_decoder.decode(body)] if kind == PACKET else _list_decoder.decode(body)
        validities = [Validity(header.validity) for header in headers]
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
        raise RunError(f"message: found a broken packet header (expected version {WIRE_VERSION}): {error}") from error
    if not headers:
        raise RunError(f"message: found no packet in it (expected one or more, version {WIRE_VERSION})")
    pairs = zip(headers, validities, strict=True)
    return [_packet(header, validity, frames, segments) for header, validity in pairs]


def _packet(
    header: PacketHeader, validity: Validity, frames: Sequence[Frame], segments: Mapping[str, SlotReader]
) -> Packet:  # fmt: skip
    where = f"message: stream '{header.stream}', unit {header.unit}"
    root = _leased(where, header, segments)
    tensors = {t.name: _tensor(where, t, root, frames) for t in header.tensors}
    return Packet(
        stream=header.stream,
        unit=header.unit,
        generation=header.generation,
        pts_ns=header.pts_ns,
        duration_ns=header.duration_ns,
        validity=validity,
        tensors=tensors or NO_TENSORS,
        session=header.session,
        incarnation=header.incarnation,
        produced_ns=header.produced_ns,
        capture_ns=header.capture_ns,
        capture_clock=header.capture_clock,
        source_time_ns=header.source_time_ns,
    )


def _header(packet: Packet, slot: Place | None, owner: str, tensors: tuple[TensorHeader, ...]) -> PacketHeader:
    return PacketHeader(
        stream=packet.stream,
        unit=packet.unit,
        generation=packet.generation,
        session=packet.session,
        incarnation=packet.incarnation,
        pts_ns=packet.pts_ns,
        duration_ns=packet.duration_ns,
        validity=int(packet.validity),
        produced_ns=packet.produced_ns,
        capture_ns=packet.capture_ns,
        capture_clock=packet.capture_clock,
        source_time_ns=packet.source_time_ns,
        owner=owner + slot.memory if slot is not None else "",
        slot=_NO_SLOT if slot is None else slot.index,
        tensors=tensors,
    )


def _leased(where: str, header: PacketHeader, segments: Mapping[str, SlotReader]) -> Root | None:
    if header.slot == _NO_SLOT:
        return None
    if header.owner not in segments:
        raise RunError(
            f"{where}: found a payload in the shared memory of '{header.owner}' (attached: {listing(segments)}), "
            "do both processes run the same graph?"
        )
    return segments[header.owner].lease(header.stream, header.slot)


def _tensor(where: str, tensor: TensorHeader, root: Root | None, frames: Sequence[Frame]) -> Payload:
    dtype = DTYPES.get(tensor.dtype)
    if dtype is None or min(tensor.shape, default=0) < 0:
        raise RunError(
            f"{where}: tensor '{tensor.name}': found {tensor.dtype} {list(tensor.shape)} "
            f"(expected sizes and one of: {listing(DTYPES)})"
        )
    # in Python's integers: a header that was made up would wrap around in numpy's and pass the check
    n_bytes = math.prod(tensor.shape) * dtype.itemsize
    source: Frame | Root | None = root
    if tensor.frame != _IN_SLOT:
        source = memoryview(frames[tensor.frame]) if 0 < tensor.frame < len(frames) else None
    held = source.nbytes if isinstance(source, np.ndarray | memoryview | DeviceLease) else 0
    if source is None or tensor.offset < 0 or tensor.offset + n_bytes > held:
        raise RunError(
            f"{where}: tensor '{tensor.name}': found bytes {tensor.offset} to {tensor.offset + n_bytes} "
            f"(expected them within {held}), was the message cut?"
        )
    if isinstance(source, DeviceLease):
        return source.array(tensor.offset, tensor.shape, tensor.dtype)
    try:
        return frozen(np.ndarray(tensor.shape, dtype, buffer=source, offset=tensor.offset))
    except (ValueError, OverflowError) as error:  # more dimensions, or larger ones, than numpy knows
        raise RunError(f"{where}: tensor '{tensor.name}': found shape {list(tensor.shape)}: {error}") from error


def bytes_of(array: Array) -> memoryview:
    """The array's bytes in C order, little-endian; a copy only where they do not lie so already."""
    contiguous = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    return contiguous.reshape(-1).view(np.uint8).data
