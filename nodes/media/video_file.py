"""One file of a video and the captions beside it: what `sink.mp4` writes, once or every so many seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .captions import Caption, CaptionMerger, SrtWriter
from .mp4 import Mp4Writer


class VideoFile:
    """A video with its captions, which begin and end with it.

    Args:
        merger: makes the captions; None: there are none.
        start_ms: when its first unit begins; captions come with times of the same clock.
    """

    def __init__(self, writer: Mp4Writer, merger: CaptionMerger | None, start_ms: int) -> None:
        self._writer = writer
        self._merger = merger
        self._srt = SrtWriter(captions_path(writer.path)) if merger is not None else None
        self._start_ms = start_ms
        self._end_ms = 0

    @property
    def captions(self) -> Path | None:
        """The file of captions; None while there are none in it."""
        return self._srt.path if self._srt is not None and self._srt.n_captions else None

    def write_frame(self, image: NDArray[np.uint8]) -> None:
        """Append a picture, see `Mp4Writer.write_frame`."""
        self._writer.write_frame(image)

    def write_samples(self, samples: NDArray[np.float32]) -> None:
        """Append sound, see `Mp4Writer.write_samples`."""
        self._writer.write_samples(samples)

    def end_unit(self, text: str | None, start_ms: int, end_ms: int) -> None:
        """Take in a unit's words, when its pictures and sound are written.

        Raises:
            MediaError: a caption is complete and cannot be written.
        """
        self._end_ms = end_ms - self._start_ms
        if self._merger is not None:
            caption = self._merger.add(text, start_ms - self._start_ms, self._end_ms)
            if caption is not None:
                self._writer.write_caption(caption)
                self._write_beside(caption)

    def close(self) -> None:
        """Finish the file with the caption that is still open.

        Raises:
            MediaError: as `Mp4Writer.write_frame`.
        """
        last = self._merger.finish(self._end_ms) if self._merger is not None else None
        if last is not None:
            self._write_beside(last)
        self._writer.close(last)

    def _write_beside(self, caption: Caption) -> None:
        assert self._srt is not None
        self._srt.write(caption)


def captions_path(path: Path) -> Path:
    """Path of the captions of a video."""
    return path.with_suffix(".srt")


def part_path(path: Path, number: int) -> Path:
    """Name of a part of a video: ``talk.mp4`` -> ``talk-000.mp4``."""
    return path.with_name(f"{path.stem}-{number:03d}{path.suffix}")
