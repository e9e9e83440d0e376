"""Cameras as the kernel lists them, with a driver that answers from a table."""

from __future__ import annotations

import errno
import os
import struct
from fractions import Fraction
from pathlib import Path

import pytest

from wangraph.nodes.devices.v4l2 import Listed, Mode, best_mode, cameras

CAPTURE, METADATA, DEVICE_CAPS = 0x1, 0x00800000, 0x80000000
DISCRETE, STEPWISE = 1, 3

Table = dict[str, dict[tuple[int, int], list[Fraction]]]


class Driver:
    """Answers as V4L2 does. ``formats``: four letters -> (width, height) -> rates."""

    def __init__(
        self, name: str, capabilities: int = CAPTURE, formats: Table | None = None, is_range: bool = False
    ) -> None:
        self.name, self.capabilities, self.is_range = name, capabilities, is_range
        self.formats = formats or {}

    def answer(self, request: int, buffer: bytearray) -> None:
        size, number = request >> 16 & 0x3FFF, request & 0xFF
        assert size == len(buffer), "the request carries the size of its structure"
        {0: self._capabilities, 2: self._format, 74: self._size, 75: self._rate}[number](buffer)

    def _capabilities(self, buffer: bytearray) -> None:
        struct.pack_into("16s32s32sIII", buffer, 0, b"toy", self.name.encode(), b"usb", 0,
                         DEVICE_CAPS | CAPTURE | METADATA, self.capabilities)  # fmt: skip

    def _format(self, buffer: bytearray) -> None:
        index, kind = struct.unpack_from("II", buffer)
        assert kind == 1
        struct.pack_into("4s", buffer, 44, _at(list(self.formats), index).encode())

    def _size(self, buffer: bytearray) -> None:
        index, code = struct.unpack_from("I4s", buffer)
        width, height = _at(list(self.formats[code.decode()]), index)
        if self.is_range:
            struct.pack_into("I6I", buffer, 8, STEPWISE, 16, width, 2, 16, height, 2)
        else:
            struct.pack_into("III", buffer, 8, DISCRETE, width, height)

    def _rate(self, buffer: bytearray) -> None:
        index, code, width, height = struct.unpack_from("I4sII", buffer)
        rate = _at(self.formats[code.decode()][width, height], index)
        struct.pack_into("III", buffer, 16, DISCRETE, rate.denominator, rate.numerator)


def _at(values, index):
    if index >= len(values):
        raise OSError(errno.EINVAL, "Invalid argument")
    return values[index]


def listed(folder: Path, drivers: dict[int, Driver]) -> list[Listed]:
    """Cameras of a /dev that has these devices."""
    for number in drivers:
        (folder / f"video{number}").touch()

    def ioctl(file: int, request: int, buffer: bytearray) -> object:
        return drivers[int(os.readlink(f"/proc/self/fd/{file}").rpartition("video")[2])].answer(request, buffer)

    return cameras(folder, ioctl)


def test_a_camera_is_listed_with_all_that_it_can_give(tmp_path):
    formats = {"YUYV": {(640, 480): [Fraction(30), Fraction(15)]}, "MJPG": {(1280, 720): [Fraction(30)]}}
    [found] = listed(tmp_path, {0: Driver("Front camera", formats=formats)})
    assert found == Listed(
        str(tmp_path / "video0"),
        "Front camera",
        (
            Mode("YUYV", 640, 480, Fraction(30)),
            Mode("YUYV", 640, 480, Fraction(15)),
            Mode("MJPG", 1280, 720, Fraction(30)),
        ),
    )


def test_the_file_of_a_cameras_metadata_is_no_camera(tmp_path):
    found = listed(tmp_path, {0: Driver("Front"), 1: Driver("Front", METADATA), 10: Driver("Back"), 2: Driver("Top")})
    assert [Path(camera.path).name for camera in found] == ["video0", "video2", "video10"]


def test_of_a_range_of_sizes_the_largest_is_listed(tmp_path):
    driver = Driver("Any", formats={"NV12": {(1920, 1080): [Fraction(30000, 1001)]}}, is_range=True)
    [found] = listed(tmp_path, {0: driver})
    assert found.modes == (Mode("NV12", 1920, 1080, Fraction(30000, 1001)),)


def test_a_camera_that_may_not_be_opened_is_listed_with_the_reason(tmp_path, monkeypatch):
    def refuse(path: Path, flags: int) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    (tmp_path / "video0").touch()
    monkeypatch.setattr(os, "open", refuse)
    assert cameras(tmp_path) == [Listed(str(tmp_path / "video0"), "video0 (Permission denied)")]


def test_a_file_that_is_no_device_is_passed_over(tmp_path):
    (tmp_path / "video0").touch()
    assert cameras(tmp_path) == []


YUYV = [Mode("YUYV", 640, 480, Fraction(30)), Mode("YUYV", 1280, 720, Fraction(10))]
MJPG = [
    Mode("MJPG", 640, 480, Fraction(30)),
    Mode("MJPG", 1280, 720, Fraction(30)),
    Mode("MJPG", 1920, 1080, Fraction(30)),
]


@pytest.mark.parametrize(
    ("modes", "size", "best"),
    [
        ((*MJPG, *YUYV), (64, 64), YUYV[0]),
        ((*YUYV, *MJPG), (640, 360), YUYV[0]),
        ((*YUYV, *MJPG), (1280, 720), MJPG[1]),
        ((*YUYV, *MJPG), (4000, 3000), MJPG[2]),
        (YUYV, (1280, 720), YUYV[0]),
        ((Mode("XYZW", 640, 480, Fraction(30)),), (64, 64), None),
        ((Mode("MJPG", 320, 240, Fraction(15)), Mode("MJPG", 640, 480, Fraction(5))), (640, 480), Mode("MJPG", 320, 240, Fraction(15))),
        ((), (64, 64), None),
    ],
    ids=["small", "cheapest that fills", "compressed for speed", "largest of too small", "speed before size", "unknown format",
         "the fastest of too slow", "nothing known"],
)  # fmt: skip
def test_a_camera_is_asked_for_speed_then_size_then_no_compression(modes, size, best):
    assert best_mode(tuple(modes), size, Fraction(25)) == best
