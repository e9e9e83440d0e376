"""Sound of a file as one mono stream of samples at a fixed rate, placed by its time stamps."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .probe import MediaInfo, audio_stream, decoded, is_stray, open_media

Samples = NDArray[np.float32]

JUMP_S = Fraction(1, 25)
"""Time stamps that stray less than this from the samples' own count are rounding, more is a hole or an overlap."""


class SoundReader:
    """Plays the sound of a file, in order: sample n is the sound at ``n / rate_hz`` seconds.

    Holes between time stamps, and what comes before a late start, are silence; overlaps are cut.

    Args:
        start: position in the file of sample 0, in seconds after the file's own start.
    """

    def __init__(self, path: Path, info: MediaInfo, rate_hz: int, start: Fraction) -> None:
        self.end_sample = 0
        self.broken: str | None = None
        self._rate_hz = rate_hz
        self._info = info
        self._origin = info.start + start
        self._container = open_media(path)
        self._stream = audio_stream(self._container)
        if start > 0:
            self._container.seek(int(self._origin / self._stream.time_base), stream=self._stream)
        self._pieces = self._placed()
        self._ahead: deque[tuple[int, Samples]] = deque()
        self._pull()

    def has_more(self, sample: int) -> bool:
        """True if there is sound at or after sample number ``sample``; nothing is lost by asking."""
        while self.end_sample <= sample and self._pull():
            pass
        return self.end_sample > sample

    def read(self, first: int, into: Samples) -> None:
        """Write samples from number ``first`` on into an array ``[S]``; asked for in ascending order."""
        end = first + len(into)
        self.skip_to(first)
        self.has_more(end)
        into[:] = 0
        for at, samples in self._ahead:
            low, high = max(first, at), min(end, at + len(samples))
            if low < high:
                into[low - first : high - first] = samples[low - at : high - at]

    def skip_to(self, sample: int) -> None:
        """Drop everything before sample number ``sample``."""
        while self._ahead or self._pull():
            at, samples = self._ahead[0]
            if at + len(samples) > sample:
                return
            self._ahead.popleft()

    def close(self) -> None:
        """Close the file."""
        self._pieces.close()
        self._container.close()

    def _pull(self) -> bool:
        """Decode one piece more; False at the end."""
        piece = next(self._pieces, None)
        if piece is None:
            return False
        self._ahead.append(piece)
        self.end_sample = piece[0] + len(piece[1])
        return True

    def _on_damage(self, reason: str) -> None:
        self.broken = reason

    def _placed(self) -> Generator[tuple[int, Samples], None, None]:
        """``(number of the first sample, samples)``, ascending and without overlap."""
        end: int | None = None
        for at, samples in self._resampled():
            if end is not None and at < end:
                samples, at = samples[end - at :], end
            if len(samples):
                end = at + len(samples)
                yield at, samples

    def _resampled(self) -> Iterator[tuple[int, Samples]]:
        import av

        resampler: Any = None
        write = 0
        expected: Fraction | None = None
        layout: tuple[str, int, str] | None = None
        for frame in decoded(self._container, self._stream, self._on_damage):
            at = Fraction(frame.pts * frame.time_base) - self._origin if frame.pts is not None else expected or 0
            last = self._origin + (expected if expected is not None else 0)
            if is_stray(at + self._origin, last, self._info):
                self._on_damage("time stamps out of order")
                continue
            found = (frame.layout.name, frame.sample_rate, frame.format.name)
            if expected is None or abs(at - expected) > JUMP_S or found != layout:
                if resampler is not None:
                    yield from _numbered(resampler.resample(None), write)
                resampler = av.AudioResampler(format="flt", layout="mono", rate=self._rate_hz)
                write, expected, layout = round(at * self._rate_hz), Fraction(at), found
            expected += Fraction(frame.samples, frame.sample_rate)
            frame.pts = None  # the count of samples says where they belong, not each frame's rounding
            try:
                resampled = resampler.resample(frame)
            except av.error.FFmpegError as error:
                self._on_damage(error.strerror or type(error).__name__)
                resampler = expected = None
                continue
            for position, samples in _numbered(resampled, write):
                yield position, samples
                write = position + len(samples)
        if resampler is not None:
            yield from _numbered(resampler.resample(None), write)


def _numbered(frames: list[Any], first: int) -> Iterator[tuple[int, Samples]]:
    for frame in frames:
        samples = np.clip(frame.to_ndarray()[0], -1, 1).astype(np.float32, copy=False)
        yield first, samples
        first += len(samples)
