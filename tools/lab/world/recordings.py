"""Recorded sounds, read at the rate of the world."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ....runtime.errors import MediaError
from .signal import RATE, Sound, level, trim


def read_recording(path: Path) -> Sound:
    """A recorded word: any rate, mono or stereo, trimmed and levelled to 16 kHz mono.

    Raises:
        MediaError: it cannot be read, or is silent.
    """
    sound = trim(read_sound(path))
    if len(sound) < RATE // 20:
        raise MediaError(f"{path}: silent (expected a spoken word), remove or replace it")
    return level(sound)


def read_sound(path: Path) -> Sound:
    """A recording of any rate, mono or stereo, at 16 kHz mono; empty if there is nothing in it.

    Raises:
        MediaError: it cannot be read, or not all of it is a number.
    """
    import av

    try:
        with av.open(str(path)) as container:
            mono = av.AudioResampler(format="flt", layout="mono", rate=RATE)
            parts = [
                piece.to_ndarray()[0] for frame in [*container.decode(audio=0), None] for piece in mono.resample(frame)
            ]
    except (OSError, IndexError, ValueError, av.FFmpegError) as error:
        raise unreadable(path) from error
    sound = np.concatenate(parts).astype(np.float32) if parts else np.empty(0, np.float32)
    if not np.isfinite(sound).all():
        raise MediaError(f"{path}: found NaN or infinity (expected finite samples), remove or replace it")
    return sound


def unreadable(path: Path) -> MediaError:
    """Message about a file that is no recording."""
    return MediaError(f"{path}: not a readable recording (expected a WAV file), remove or replace it")
