"""Encoding of packets in a recording: CDR, little-endian, under ``ros2msg`` schemas, so that other viewers can read

A packet is one message `PACKET_SCHEMA`. Pictures (``uint8``, F H W 3) are kept as one `sensor_msgs/msg/Image` per
frame, which viewers draw; the packet that follows them says how many of them are its own.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np

from ..channel.wire import DTYPES, bytes_of
from ..errors import UserError
from ..packet import NO_TENSORS, WHOLE, Array, Packet, Validity, frozen

PACKET_TYPE = "wangraph_msgs/msg/Packet"
PACKET_SCHEMA = """\
# One stream's payload for one unit. Times are nanoseconds after the run's origin.
uint64 unit
uint64 session
uint32 generation
uint32 incarnation
uint8 validity          # 0 real, 1 empty, 2 missing, 3 repeated, 4 concealed, 5 end
uint8 frames            # so many messages before this one, on the topic of its pictures, are its payload
int64 pts_ns
int64 duration_ns
int64 produced_ns
bool has_capture
int64 capture_ns
string capture_clock
bool has_source_time
int64 source_time_ns    # a file's own position
wangraph_msgs/Tensor[] tensors
================================================================================
MSG: wangraph_msgs/Tensor
string name
string dtype
uint32[] shape
uint8[] data            # C order, little-endian
"""

IMAGE_TYPE = "sensor_msgs/msg/Image"
IMAGE_SCHEMA = """\
std_msgs/Header header
uint32 height
uint32 width
string encoding
uint8 is_bigendian
uint32 step
uint8[] data
================================================================================
MSG: std_msgs/Header
builtin_interfaces/Time stamp
string frame_id
================================================================================
MSG: builtin_interfaces/Time
int32 sec
uint32 nanosec
"""

_ENCAPSULATION = b"\x00\x01\x00\x00"


class _Writer:
    """Appends values, each aligned to its own size."""

    def __init__(self) -> None:
        self._parts: list[bytes | memoryview] = [_ENCAPSULATION]
        self._size = 0

    def number(self, code: str, value: int) -> None:
        size = struct.calcsize(code)
        self._pad(size)
        self._add(struct.pack("<" + code, value))

    def text(self, value: str) -> None:
        encoded = value.encode() + b"\0"
        self.number("I", len(encoded))
        self._add(encoded)

    def data(self, value: memoryview) -> None:
        self.number("I", value.nbytes)
        self._add(value)

    def message(self) -> bytes:
        return b"".join(self._parts)

    def _pad(self, size: int) -> None:
        if over := self._size % size:
            self._add(bytes(size - over))

    def _add(self, part: bytes | memoryview) -> None:
        self._parts.append(part)
        self._size += len(part)


class _Reader:
    """Takes values in the order in which they were written."""

    def __init__(self, message: bytes) -> None:
        if message[:4] != _ENCAPSULATION:
            raise ValueError(f"encapsulation {message[:4]!r}")
        self._bytes = memoryview(message)[4:]
        self._at = 0

    def number(self, code: str) -> int:
        size = struct.calcsize(code)
        self._at += -self._at % size
        (value,) = struct.unpack_from("<" + code, self._bytes, self._at)
        self._at += size
        assert isinstance(value, int)
        return value

    def text(self) -> str:
        return bytes(self.data())[:-1].decode()

    def data(self) -> memoryview:
        size = self.number("I")
        if self._at + size > len(self._bytes):
            raise ValueError(f"{size} bytes at {self._at} of {len(self._bytes)}")
        self._at += size
        return self._bytes[self._at - size : self._at]


def pictures_of(packet: Packet) -> Array | None:
    """The pictures that a packet carries, F H W 3, when that is all it carries; viewers can draw them."""
    array = packet.array if list(packet.tensors) == [WHOLE] else None
    drawable = array is not None and array.dtype == np.uint8 and array.ndim == 4 and array.shape[3] == 3
    return array if drawable and array is not None and 0 < len(array) < 256 else None


def encode_packet(packet: Packet, n_frames: int) -> bytes:
    """A packet as a `PACKET_SCHEMA` message, without its pictures when ``n_frames`` of them stand before it."""
    out = _Writer()
    out.number("Q", packet.unit)
    out.number("Q", packet.session)
    out.number("I", packet.generation)
    out.number("I", packet.incarnation)
    out.number("B", int(packet.validity))
    out.number("B", n_frames)
    for time_ns in (packet.pts_ns, packet.duration_ns, packet.produced_ns):
        out.number("q", time_ns)
    out.number("B", packet.capture_ns is not None)
    out.number("q", packet.capture_ns or 0)
    out.text(packet.capture_clock)
    out.number("B", packet.source_time_ns is not None)
    out.number("q", packet.source_time_ns or 0)
    tensors = {} if n_frames else packet.on_host
    out.number("I", len(tensors))
    for name, array in tensors.items():
        out.text(name)
        out.text(array.dtype.name)
        out.number("I", array.ndim)
        for size in array.shape:
            out.number("I", size)
        out.data(bytes_of(array))
    return out.message()


def decode_packet(stream: str, message: bytes, images: Sequence[bytes]) -> Packet:
    """The packet of a stream, with the pictures that stood before it.

    Raises:
        UserError: the message is not one of `PACKET_SCHEMA`, or pictures are missing.
    """
    try:
        return _decoded(stream, _Reader(message), images)
    except (ValueError, KeyError, struct.error, UnicodeDecodeError) as error:
        raise UserError(
            f"'{stream}': found a broken packet: {error} (expected a recording of wangraph), record it again"
        ) from error


def _decoded(stream: str, read: _Reader, images: Sequence[bytes]) -> Packet:
    unit, session, generation, incarnation = (read.number(code) for code in "QQII")
    validity, n_frames = Validity(read.number("B")), read.number("B")
    pts_ns, duration_ns, produced_ns = (read.number("q") for _ in range(3))
    has_capture, capture_ns, capture_clock = read.number("B"), read.number("q"), read.text()
    has_source, source_time_ns = read.number("B"), read.number("q")
    tensors = dict(_tensor(read) for _ in range(read.number("I")))
    if n_frames:
        if len(images) < n_frames:
            raise ValueError(f"{len(images)} of {n_frames} pictures")
        tensors[WHOLE] = frozen(np.stack([decode_image(image) for image in images[-n_frames:]]))
    return Packet(
        stream, unit, generation, pts_ns, duration_ns, validity, tensors or NO_TENSORS, session, produced_ns,
        capture_ns if has_capture else None, capture_clock, source_time_ns if has_source else None, incarnation,
    )  # fmt: skip


def _tensor(read: _Reader) -> tuple[str, Array]:
    name, dtype = read.text(), DTYPES[read.text()]
    shape = tuple(read.number("I") for _ in range(read.number("I")))
    array: Array = np.frombuffer(read.data(), dtype.newbyteorder("<")).reshape(shape)
    return name, frozen(array)


def encode_image(picture: Array, pts_ns: int, frame_id: str) -> bytes:
    """One picture, H W 3, as a `sensor_msgs/msg/Image`."""
    height, width, _ = picture.shape
    out = _Writer()
    out.number("i", pts_ns // 1_000_000_000)
    out.number("I", pts_ns % 1_000_000_000)
    out.text(frame_id)
    out.number("I", height)
    out.number("I", width)
    out.text("rgb8")
    out.number("B", 0)
    out.number("I", width * 3)
    out.data(bytes_of(picture))
    return out.message()


def decode_image(message: bytes) -> Array:
    """The picture, H W 3, that `encode_image` wrote."""
    read = _Reader(message)
    read.number("i"), read.number("I"), read.text()
    height, width = read.number("I"), read.number("I")
    encoding, _, _ = read.text(), read.number("B"), read.number("I")
    if encoding != "rgb8":
        raise ValueError(f"a picture in {encoding}")
    return np.frombuffer(read.data(), np.uint8).reshape(height, width, 3)
