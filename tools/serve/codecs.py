"""Pictures as bytes and back, for the socket: JPEG both ways, and VP8 as a browser's WebCodecs make it.

What is decoded comes from strangers: its size is bounded before anything is allocated, its work by its shape.
"""

from __future__ import annotations

import re
from fractions import Fraction

import av
import numpy as np

from .carrier import Pictures

MAX_PIXELS = 1920 * 1080
"""Of a picture that is decoded; larger ones are damage."""

QUALITY = "3"
"""JPEG's quantiser, 2 (best) to 31: 41 dB and 5 KB for a face at 256x256."""

_OPTIONS = {"max_pixels": str(MAX_PIXELS)}  # FFmpeg refuses the header; a picture of 60000x60000 has 10 GB

_START = b"\xff\xd8"
_SCAN, _END = 0xDA, 0xD9
_BASELINE = (0xC0, 0xC1)
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
"""A marker inside coded data: neither a stuffed byte nor a restart."""


class Damaged(Exception):
    """Bytes that are no picture, or none that is decoded."""


class JpegEncoder:
    """Writes RGB pictures as JPEG. A picture that is the same object as the last one costs nothing."""

    def __init__(self) -> None:
        self._to_yuv = av.video.reformatter.VideoReformatter()
        self._size: tuple[int, int] | None = None
        self._last: tuple[Pictures, bytes] | None = None

    def encode(self, picture: Pictures) -> bytes:
        """A picture ``[H, W, 3]`` as baseline JPEG."""
        if self._last is not None and self._last[0] is picture:
            return self._last[1]
        size = (picture.shape[1], picture.shape[0])
        if size != self._size:
            self._codec = _mjpeg(size)
            self._size = size
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
        frame = self._to_yuv.reformat(frame, format="yuvj420p", threads=1)
        data = b"".join(bytes(packet) for packet in self._codec.encode(frame))
        self._last = picture, data
        return data


class JpegDecoder:
    """Reads JPEG pictures as canvases and cameras write them: baseline, one scan."""

    def __init__(self) -> None:
        self._codec = _decoder("mjpeg")

    def decode(self, data: bytes) -> av.VideoFrame:
        """The picture.

        Raises:
            Damaged: no JPEG, too large, or of a kind whose decoding time its bytes do not bound.
        """
        frames = _decoded(self._codec, _one_scan(data))
        if not frames:
            raise Damaged("no picture in it")
        return frames[0]


class Vp8Decoder:
    """Reads a sequence of VP8 frames. After a damaged or missing one it waits for the next that stands alone."""

    def __init__(self) -> None:
        self._codec = _decoder("vp8")
        self._has_key = False

    def decode(self, data: bytes) -> av.VideoFrame | None:
        """The picture; None where a frame shows none.

        Raises:
            Damaged: no VP8, too large, or with none before it that it needs.
        """
        is_key = bool(data) and not data[0] & 1  # the frame's own word counts, not its sender's
        if not (is_key or self._has_key):
            raise Damaged("no key picture before it")
        if is_key and not self._has_key:
            self._codec = _decoder("vp8")  # a codec that has failed once may refuse all that follows
        self._has_key = False
        frames = _decoded(self._codec, data)
        self._has_key = True
        return frames[0] if frames else None

    def lose(self) -> None:
        """A frame was left out: those that need it are not decoded."""
        self._has_key = False


def _one_scan(data: bytes) -> bytes:
    """A JPEG up to its end marker.

    Raises:
        Damaged: it is none, or has more than one scan: each costs a pass over all pixels, and a few bytes.
    """
    if not data.startswith(_START):
        raise Damaged("no JPEG")
    at, has_frame = 2, False
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            raise Damaged("no marker where one belongs")
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        has_frame = has_frame or marker in _BASELINE
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == _SCAN:
            break
    after = _MARKER.search(data, at)
    if not has_frame or after is None or data[after.start() + 1] != _END:
        raise Damaged("no baseline JPEG of one scan")
    return data[: after.end()]


def _decoded(codec: av.VideoCodecContext, data: bytes) -> list[av.VideoFrame]:
    if not data:  # to FFmpeg this is the end of the stream
        raise Damaged("no bytes")
    try:
        return list(codec.decode(av.Packet(data)))
    except (av.error.FFmpegError, ValueError) as error:
        raise Damaged(getattr(error, "strerror", None) or str(error)) from error


def _decoder(name: str) -> av.VideoCodecContext:
    codec = av.CodecContext.create(name, "r")
    assert isinstance(codec, av.VideoCodecContext)
    codec.thread_count = 1  # threads cost more than they gain at a webcam's size
    codec.options = dict(_OPTIONS)
    return codec


def _mjpeg(size: tuple[int, int]) -> av.VideoCodecContext:
    codec = av.CodecContext.create("mjpeg", "w")
    assert isinstance(codec, av.VideoCodecContext)
    codec.width, codec.height = size
    codec.pix_fmt = "yuvj420p"
    codec.time_base = Fraction(1, 25)
    codec.thread_count = 1
    # the standard's Huffman tables: a tenth more bytes, and a third less time than tables of its own
    codec.options = {"huffman": "default", "qmin": QUALITY, "qmax": QUALITY}
    return codec
