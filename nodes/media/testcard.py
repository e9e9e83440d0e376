"""The test picture: a time code, a clock, a dot that goes round, and a square that flashes with the beep."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from .timecode import BAND, Image, draw_timecode

FLASH_S = Fraction(1, 10)
"""How long the square flashes and the tone sounds at the start of each second."""

BEEP_HZ = 1000
BEEP_LEVEL = 0.5

# Which of the seven segments make up a digit: top, upper left, upper right, middle, lower left, lower right, bottom.
_SEGMENTS = (
    "1110111", "0010010", "1011101", "1011011", "0111010", "1101011", "1101111", "1010010", "1111111", "1111011",
)  # fmt: skip


def flash_frame(second: int, fps: Fraction) -> int:
    """The first frame of the flash of a second: the first that begins at or after it."""
    return -int(-second * fps // 1)


def flash_square(height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns of the square that flashes, at the lower right."""
    side = min(height, width) // 4
    edge = max(2, side // 6)
    return slice(height - side - edge, height - edge), slice(width - side - edge, width - edge)


def background(height: int, width: int) -> Image:
    """Still part of the picture: a soft gradient with a frame around the square that flashes."""
    y, x = np.mgrid[0:height, 0:width]
    image = np.empty((height, width, 3), np.uint8)
    image[..., 0] = 30 + 50 * x // width
    image[..., 1] = 50 + 60 * y // height
    image[..., 2] = 90 + 60 * (width - x) // width
    rows, columns = flash_square(height, width)
    edge = max(1, height // 96)
    image[rows.start - edge : rows.stop + edge, columns.start - edge : columns.stop + edge] = 200
    image[rows, columns] = 0
    return image


def draw_frame(image: Image, still: Image, frame: int, fps: Fraction) -> None:
    """Draw frame number ``frame`` into ``image`` ``[H, W, 3]`` over the background ``still``."""
    image[:] = still
    height, width = image.shape[:2]
    second = int(frame / fps)
    if frame < flash_frame(second, fps) + math.ceil(FLASH_S * fps):
        image[flash_square(height, width)] = 255
    draw_timecode(image, frame)
    _draw_dot(image, frame / fps)
    _draw_clock(image, second)


def beeps(first: int, into: NDArray[np.float32], rate_hz: int, fps: Fraction) -> None:
    """Write samples from number ``first`` on: a tone from the instant at which each second's flash is first shown."""
    into[:] = 0
    end = first + len(into)
    length = int(FLASH_S * rate_hz)
    for second in range(max(0, first // rate_hz - 1), end // rate_hz + 1):
        onset = round(flash_frame(second, fps) / fps * rate_hz)
        low, high = max(first, onset), min(end, onset + length)
        if low < high:
            n = np.arange(low - onset, high - onset)
            fade_out = np.minimum(1, (length - n) / (rate_hz * 0.005))
            into[low - first : high - first] = BEEP_LEVEL * np.sin(2 * np.pi * BEEP_HZ / rate_hz * n) * fade_out


def _draw_dot(image: Image, seconds: Fraction) -> None:
    """A dot that goes round once in two seconds, so that an eye sees every stutter."""
    height, width = image.shape[:2]
    radius = max(2, height // 16)
    room = height - height // BAND
    angle = math.pi * float(seconds % 2)
    cy = height - room / 2 - math.cos(angle) * room * 0.35
    cx = width * 0.28 + math.sin(angle) * room * 0.35
    y, x = np.ogrid[0:height, 0:width]
    top, left = int(cy) - radius - 1, int(cx) - radius - 1
    box = slice(max(0, top), int(cy) + radius + 2), slice(max(0, left), int(cx) + radius + 2)
    image[box][(y[box[0]] - cy) ** 2 + (x[:, box[1]] - cx) ** 2 <= radius**2] = (255, 200, 40)


def _draw_clock(image: Image, second: int) -> None:
    """Minutes and seconds in seven-segment digits, at the upper right."""
    height, width = image.shape[:2]
    minutes, seconds = divmod(second, 60)
    unit = max(1, height // 64)
    digits = f"{minutes % 100:02d}{seconds:02d}"
    left = width - unit * (len(digits) * 6 + 4)
    top = height // BAND + unit * 3
    for place, digit in enumerate(digits):
        x = left + unit * (6 * place + (2 if place > 1 else 0))
        _draw_digit(image, int(digit), top, x, unit)
    for dot in (3, 6):
        image[
            top + dot * unit : top + (dot + 1) * unit, left + 12 * unit - unit // 2 : left + 13 * unit - unit // 2
        ] = 255


def _draw_digit(image: Image, digit: int, top: int, left: int, unit: int) -> None:
    """One digit, 4 x 9 units."""
    # (row, column, rows, columns) of each segment
    boxes = ((0, 0, 1, 4), (0, 0, 5, 1), (0, 3, 5, 1), (4, 0, 1, 4), (4, 0, 5, 1), (4, 3, 5, 1), (8, 0, 1, 4))
    for lit, (y, x, rows, columns) in zip(_SEGMENTS[digit], boxes, strict=True):
        if lit == "1":
            image[top + y * unit : top + (y + rows) * unit, left + x * unit : left + (x + columns) * unit] = 255
