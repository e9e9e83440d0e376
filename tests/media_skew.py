"""How far apart picture and sound are in a file, measured on what a player gets: the test picture's flash and beep."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from wangraph.nodes.media.probe import audio_stream, decoded, open_media, video_stream
from wangraph.nodes.media.testcard import flash_square
from wangraph.nodes.media.timecode import read_timecode
from wangraph.runtime.errors import MediaError


def measure_skew(path: Path) -> list[float]:
    """Milliseconds by which each beep starts after its flash (negative: before), as decoded, one for each second.

    A flash without a beep within half a second of it, or the other way round, is left out.

    Raises:
        MediaError: the file cannot be read, or lacks picture or sound.
    """
    flashes, beeps = np.array(flash_onsets(path)), np.array(beep_onsets(path))
    if not len(flashes) or not len(beeps):
        return []
    nearest = beeps[np.abs(beeps[None] - flashes[:, None]).argmin(axis=1)]
    return [float(1000 * skew) for skew in nearest - flashes if abs(skew) < 0.5]


def flash_onsets(path: Path) -> list[float]:
    """Times in seconds at which the square turns white."""
    onsets, was_lit = [], False
    with open_media(path) as container:
        stream = video_stream(container)
        if stream is None:
            raise MediaError(f"{path}: found no picture (expected the test picture), record capture.pattern")
        for frame in decoded(container, stream, _ignored):
            grey = frame.to_ndarray(format="gray")
            is_lit = bool(grey[flash_square(*grey.shape)].mean() > 128)
            if is_lit and not was_lit:
                onsets.append(float(frame.pts * frame.time_base))
            was_lit = is_lit
    return onsets


def beep_onsets(path: Path) -> list[float]:
    """Times in seconds at which a tone rises out of silence, to about a millisecond."""
    with open_media(path) as container:
        stream = audio_stream(container)
        if stream is None:
            raise MediaError(f"{path}: found no sound (expected the test tone), record capture.pattern")
        starts, pieces = [], []
        for frame in decoded(container, stream, _ignored):
            starts.append(float(frame.pts * frame.time_base))
            samples = np.abs(frame.to_ndarray().astype(np.float32))
            if not frame.format.is_planar:
                samples = samples.reshape(-1, len(frame.layout.channels)).T
            pieces.append(samples.max(axis=0))
            rate_hz = frame.sample_rate
    if not pieces:
        return []
    loudness = np.concatenate(pieces)
    times = np.concatenate([s + np.arange(len(p)) / rate_hz for s, p in zip(starts, pieces, strict=True)])
    loud = np.flatnonzero(loudness > 0.3 * loudness.max())
    if not len(loud) or loudness.max() <= 0:
        return []
    is_onset = np.diff(times[loud], prepend=-np.inf) > 0.2
    return [float(t) for t in times[loud[is_onset]]]


def read_timecodes(path: Path) -> list[int | None]:
    """The frame number in every picture of a file, None where it cannot be read."""
    with open_media(path) as container:
        stream = video_stream(container)
        if stream is None:
            return []
        return [read_timecode(frame.to_ndarray(format="gray")) for frame in decoded(container, stream, _ignored)]


def _ignored(reason: str) -> None:
    """A damaged packet is a picture that cannot be read, as any other."""
