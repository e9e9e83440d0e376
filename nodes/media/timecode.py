"""A time code in the picture that survives compression and scaling: the frame number in large black and white cells.

The code is a band across the top eighth of the picture, two rows of twelve cells. In reading order: a white and a
black cell to find it by, 20 bits of the frame number with the highest first, and two parity bits (of the even and of
the odd bit places). The number wraps after 2**20 frames, 11 hours at 25 fps.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]

ROWS, COLUMNS = 2, 12
BITS = 20
MIN_WIDTH, MIN_HEIGHT = 64, 64
"""Smallest picture whose cells are still found after H.264."""

BAND = 8
"""The code takes 1 / BAND of the picture's height."""

_DARK, _LIGHT = 96, 160


def draw_timecode(image: Image, frame: int) -> None:
    """Write a frame number into an RGB picture ``[H, W, 3]``."""
    ys, xs = _edges(image.shape)
    for index, cell in enumerate(_cells(frame)):
        row, column = divmod(index, COLUMNS)
        image[ys[row] : ys[row + 1], xs[column] : xs[column + 1]] = 255 * cell


def read_timecode(image: NDArray[Any]) -> int | None:
    """The frame number in an RGB picture ``[H, W, 3]`` or a grey one ``[H, W]``, None when it holds no whole code."""
    ys, xs = _edges(image.shape)
    cells = []
    for row in range(ROWS):
        for column in range(COLUMNS):
            level = _middle(image, ys[row], ys[row + 1], xs[column], xs[column + 1]).mean()
            if _DARK < level < _LIGHT:
                return None
            cells.append(int(level >= _LIGHT))
    frame = int("".join(map(str, cells[2 : 2 + BITS])), 2)
    return frame if cells == _cells(frame) else None


def _cells(frame: int) -> list[int]:
    bits = [frame >> place & 1 for place in reversed(range(BITS))]
    return [1, 0, *bits, sum(bits[0::2]) % 2, sum(bits[1::2]) % 2]


def _edges(shape: tuple[int, ...]) -> tuple[list[int], list[int]]:
    """Pixels at which the rows and the columns of cells begin and end."""
    height, width = shape[:2]
    ys = [height * row // (BAND * ROWS) for row in range(ROWS + 1)]
    return ys, [width * column // COLUMNS for column in range(COLUMNS + 1)]


def _middle(image: NDArray[Any], top: int, bottom: int, left: int, right: int) -> NDArray[Any]:
    """The inner half of a cell: its borders smear."""
    dy, dx = (bottom - top) // 4, (right - left) // 4
    return image[top + dy : bottom - dy, left + dx : right - dx]
