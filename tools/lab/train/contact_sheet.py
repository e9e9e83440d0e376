"""Contact sheets: what a codec or a model made, beside what it should have made, as one PNG."""

# N pictures, S side in pixels

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ....runtime.errors import MediaError
from ....runtime.output_file import claim
from ..world.signal import Plane, Sound

Picture = NDArray[np.uint8]


def strip(frames: Picture, every: int = 1) -> Picture:
    """Frames [N, S, S, 3] side by side, small ones enlarged: [S, N / every * S, 3]."""
    scale = max(1, 64 // frames.shape[1])
    row = np.concatenate(list(frames[::every]), axis=1)
    return np.ascontiguousarray(row.repeat(scale, axis=0).repeat(scale, axis=1))


def spectrogram(samples: Sound, width: int, height: int = 96) -> Picture:
    """Log magnitudes of a sound, low frequencies below, as a grey picture [height, width, 3]."""
    window = 512
    hop = max(1, (len(samples) - window) // max(1, width - 1))
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(samples, (0, window)), window)[::hop][:width]
    magnitudes = np.abs(np.fft.rfft(frames * np.hanning(window), axis=1)).T[: window // 2]
    rows = np.linspace(window // 2 - 1, 0, height).astype(int)
    grey: Plane = np.clip((np.log10(magnitudes[rows] + 1e-4) + 3) / 4.5, 0, 1).astype(np.float32)
    picture = np.zeros((height, width, 3), np.uint8)
    picture[:, : grey.shape[1]] = (grey * 255).astype(np.uint8)[:, :, None]
    return picture


def stack(rows: list[Picture], gap: int = 4) -> Picture:
    """Rows of any width, one below the other, on white."""
    width = max(row.shape[1] for row in rows)
    sheet = np.full((sum(row.shape[0] + gap for row in rows) - gap, width, 3), 255, np.uint8)
    y = 0
    for row in rows:
        sheet[y : y + row.shape[0], : row.shape[1]] = row
        y += row.shape[0] + gap
    return sheet


def write_png(path: Path, picture: Picture) -> None:
    """Write a picture [H, W, 3].

    Raises:
        MediaError: it cannot be written.
    """
    height, width, _ = picture.shape
    lines = b"".join(b"\0" + row.tobytes() for row in picture)
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(lines, 6)),
        (b"IEND", b""),
    )
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )
    try:
        claim(path)
        path.write_bytes(data)
    except OSError as error:
        raise MediaError(f"{path}: cannot be written ({error.strerror}), make room and --resume") from error
