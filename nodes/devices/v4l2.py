"""Cameras as Linux lists them: their names, and the sizes, formats and rates that they can give (V4L2)."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

Ioctl = Callable[[int, int, bytearray], object]
"""``ioctl(file, request, buffer)``: fills the buffer, or raises OSError."""

FORMATS = {
    "YUYV": "yuyv422",
    "UYVY": "uyvy422",
    "NV12": "nv12",
    "YU12": "yuv420p",
    "RGB3": "rgb24",
    "BGR3": "bgr24",
    "GREY": "gray",
    "MJPG": "mjpeg",
    "H264": "h264",
}
"""Pixel formats that FFmpeg reads from a camera: the driver's four letters -> FFmpeg's name."""

COMPRESSED = {"MJPG", "H264"}

MAX_CAMERAS = 64

_QUERYCAP, _ENUM_FMT = 0x80685600, 0xC0405602
_ENUM_SIZES, _ENUM_RATES = 0xC02C564A, 0xC034564B
_CAPTURE, _DEVICE_CAPS = 0x1, 0x80000000
_CAPTURE_TYPE = 1
_DISCRETE = 1


@dataclass(frozen=True, slots=True)
class Mode:
    """One way in which a camera can give pictures. ``format`` is the driver's four letters."""

    format: str
    width: int
    height: int
    fps: Fraction


@dataclass(frozen=True, slots=True)
class Listed:
    """A camera. ``modes`` is empty where the driver does not list them."""

    path: str
    name: str
    modes: tuple[Mode, ...] = ()


def cameras(folder: Path = Path("/dev"), ioctl: Ioctl | None = None) -> list[Listed]:
    """Cameras of this machine, in the order of their numbers. Of one that may not be opened only the path is known."""
    paths = sorted((p for p in folder.glob("video*") if p.name[5:].isdigit()), key=lambda p: int(p.name[5:]))
    return [camera for path in paths[:MAX_CAMERAS] if (camera := _listed(path, ioctl or _system_ioctl)) is not None]


def best_mode(modes: tuple[Mode, ...], size: tuple[int, int], fps: Fraction) -> Mode | None:
    """The mode to ask for: as fast as ``fps``, then the smallest that fills ``size``, then not compressed.

    A camera that fills neither gives the fastest, then the largest picture. None where no mode is known.
    """

    def rank(mode: Mode) -> tuple[object, ...]:
        is_fast = mode.fps >= fps - Fraction(1, 10)
        fills = mode.width >= size[0] and mode.height >= size[1]
        area = mode.width * mode.height
        speed = 0 if is_fast else -mode.fps
        return (not is_fast, speed, not fills, area if fills else -area, mode.format in COMPRESSED, mode.fps)

    return min((mode for mode in modes if mode.format in FORMATS), key=rank, default=None)


def _listed(path: Path, ioctl: Ioctl) -> Listed | None:
    """The camera behind a device file; None where the file is of something else, such as a camera's metadata."""
    try:
        file = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    except OSError as error:
        return Listed(str(path), f"{path.name} ({error.strerror})") if error.errno != errno.ENODEV else None
    try:
        buffer = bytearray(104)
        ioctl(file, _QUERYCAP, buffer)
        card, everything, this = struct.unpack("16x32s36xII12x", buffer)
        capabilities = this if everything & _DEVICE_CAPS else everything
        if not capabilities & _CAPTURE:
            return None
        name = card.split(b"\0")[0].decode(errors="replace")
        return Listed(str(path), name, tuple(_modes(file, ioctl)))
    except OSError:
        return None
    finally:
        os.close(file)


def _modes(file: int, ioctl: Ioctl) -> Iterator[Mode]:
    for (code,) in _each(file, ioctl, _ENUM_FMT, "II36x", (_CAPTURE_TYPE,), "44xI16x", 64):
        letters = struct.pack("<I", code).decode(errors="replace")
        for kind, *sizes in _each(file, ioctl, _ENUM_SIZES, "II", (code,), "8xI6I8x", 44):
            # A range (smallest, largest, step) stands for its largest size.
            width, height = (sizes[0], sizes[1]) if kind == _DISCRETE else (sizes[1], sizes[4])
            for fps in _rates(file, ioctl, code, width, height):
                yield Mode(letters, width, height, fps)


def _rates(file: int, ioctl: Ioctl, code: int, width: int, height: int) -> Iterator[Fraction]:
    for _, over, under in _each(file, ioctl, _ENUM_RATES, "IIII", (code, width, height), "16xIII24x", 52):
        if over:  # seconds a picture, as a fraction; of a range, the shortest
            yield Fraction(under, over)


def _each(
    file: int, ioctl: Ioctl, request: int, given: str, values: tuple[int, ...], answer: str, size: int
) -> Iterator[tuple[int, ...]]:
    """All answers to a request that numbers them from 0, to the one that the driver refuses."""
    for index in range(256):
        buffer = bytearray(struct.pack(given, index, *values).ljust(size, b"\0"))
        try:
            ioctl(file, request, buffer)
        except OSError:
            return
        yield struct.unpack(answer, buffer)


def _system_ioctl(file: int, request: int, buffer: bytearray) -> object:
    import fcntl

    return fcntl.ioctl(file, request, buffer)
