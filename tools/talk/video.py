"""MP4 of what came back to a visitor, written by a thread: an encoder in the event loop would delay the media."""

from __future__ import annotations

from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from queue import SimpleQueue
from threading import Thread

import av
import numpy as np

from ...nodes.media.captions import Caption, CaptionMerger, SrtWriter
from ...nodes.media.mp4 import Mp4Writer
from ...nodes.media.pictures import Image, Scaler
from ...nodes.media.probe import even
from ...nodes.media.writable import check_replaced, check_writable
from ...runtime.errors import MediaError
from ...runtime.output_file import SIGNS
from ..serve.carrier import Samples
from ..serve.codecs import Damaged, JpegDecoder
from ..serve.socket import RATE_HZ
from .clip import PIECE_MS

PAUSE_MS = 1000
"""A caption ends after this long without a word."""


class VisitVideo:
    """Appends 40 ms at a time.

    Args:
        path: of the MP4; captions go beside it, as ``.srt``.
        size: ``(width, height)`` of the pictures; None: there are none.
        has_captions: whether words are expected.

    Raises:
        MediaError: it cannot be written.
    """

    def __init__(self, path: Path, size: tuple[int, int] | None, has_captions: bool) -> None:
        check_writable("talk", path)
        if has_captions:
            check_replaced("talk", path.with_suffix(".srt"), "caption file", SIGNS[".srt"])
        self._size = None if size is None else (even(size[0]), even(size[1]))
        self._writer = Mp4Writer(path, Fraction(1000, PIECE_MS), self._size, RATE_HZ, has_captions=has_captions)
        self._srt = SrtWriter(path.with_suffix(".srt")) if has_captions else None
        self._queue: SimpleQueue[tuple[bytes | None, Samples] | Caption | None] = SimpleQueue()
        self._error: MediaError | None = None
        self._decoder, self._scaler = JpegDecoder(), Scaler()
        self._last: tuple[bytes | None, Image | None] = (None, None)
        self._thread = Thread(target=self._write, name="video", daemon=True)
        self._thread.start()

    def add(self, picture: bytes | None, samples: Samples) -> None:
        """Append 40 ms: the JPEG that is shown (None: black), and the sound that is heard."""
        self._queue.put((picture, samples))

    def caption(self, caption: Caption) -> None:
        """Append a caption that is over, in order of time."""
        self._queue.put(caption)

    def close(self) -> None:
        """Finish the file.

        Raises:
            MediaError: it could not be written; what was written before can be played.
        """
        self._queue.put(None)
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _write(self) -> None:
        try:
            while (item := self._queue.get()) is not None:
                if isinstance(item, Caption):
                    self._writer.write_caption(item)
                    if self._srt is not None:
                        self._srt.write(item)
                else:
                    self._append(*item)
            self._writer.close()
        except MediaError as error:
            self._error = error

    def _append(self, picture: bytes | None, samples: Samples) -> None:
        if self._size is not None:
            self._writer.write_frame(self._image(picture))
        self._writer.write_samples(np.multiply(samples, 1 / 32768, dtype=np.float32))

    def _image(self, picture: bytes | None) -> Image:
        assert self._size is not None
        if self._last[1] is None or self._last[0] is not picture:
            image: Image = self._last[1] if self._last[1] is not None else np.zeros((*self._size[::-1], 3), np.uint8)
            if picture is not None:
                with suppress(Damaged):  # the picture before it stays
                    image = self._scaled(self._decoder.decode(picture))
            self._last = picture, image
        assert self._last[1] is not None
        return self._last[1]

    def _scaled(self, frame: av.VideoFrame) -> Image:
        assert self._size is not None
        return self._scaler.scaled(frame, self._size)


class Transcript:
    """Captions of both sides out of words as they come; times are milliseconds of the video."""

    def __init__(self) -> None:
        self._mergers = {"agent": CaptionMerger(PAUSE_MS), "visitor": CaptionMerger(PAUSE_MS)}

    def add(self, who: str, text: str, at_ms: int, unit_ms: int) -> list[Caption]:
        """Words of one side, from this instant on; the captions that are over by now."""
        return self._named(who, self._mergers[who].add(text, at_ms, at_ms + unit_ms))

    def pass_time(self, at_ms: int) -> list[Caption]:
        """The captions that are over by now."""
        return [c for who, merger in self._mergers.items() for c in self._named(who, merger.add(None, at_ms, at_ms))]

    def finish(self, at_ms: int) -> list[Caption]:
        """The captions that are open at the end."""
        return [c for who, merger in self._mergers.items() for c in self._named(who, merger.finish(at_ms))]

    def _named(self, who: str, caption: Caption | None) -> list[Caption]:
        return [] if caption is None else [Caption(caption.start_ms, caption.end_ms, f"{who}: {caption.text}")]
