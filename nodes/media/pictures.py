"""Pictures of a file at the clock's rate: any rate, size, shape and turn in, equal RGB frames out."""

from __future__ import annotations

from collections.abc import Generator
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .probe import MediaInfo, decoded, is_stray, open_media, upright_size, video_stream

Image = NDArray[np.uint8]
Fit = Literal["crop", "pad", "stretch"]

DARK_SIZE = (336, 192)
"""Width and height of the black picture that stands in where there never was one."""

LEAD_IN_S = Fraction(1, 2)
"""A first picture that comes this late or less is shown from the start; before a later one the screen is black."""


class PictureReader:
    """Plays the pictures of a file, in order, on a fixed grid of frames.

    The source picture with time stamp t is shown from frame ``round(t * fps)`` on: the picture that was on screen at
    that instant, to within half a frame, whatever the source's rate, and every picture where the rates are equal.

    Args:
        size: ``(width, height)`` of the frames given out.
        fit: how another shape becomes that one: crop what overhangs, pad with black, or stretch.
        start: position in the file of frame 0, in seconds after the file's own start.
    """

    def __init__(
        self, path: Path, info: MediaInfo, fps: Fraction, size: tuple[int, int], fit: Fit, start: Fraction
    ) -> None:
        self.end_frame = 0
        self.broken: str | None = None
        self._info = info
        self._size = size
        self._fit = fit
        self._fps = fps
        self._origin = info.start + start
        self._container = open_media(path)
        self._stream = video_stream(self._container)
        self._stream.thread_type = "AUTO" if self._stream.width * self._stream.height > 1280 * 720 else "NONE"
        self._scaler = Scaler()
        self._frames = self._decoded()
        self._shown: Any = None
        self._image: Image | None = None
        self._ahead: tuple[int, Any] | None = None
        if start > 0:
            self._container.seek(int(self._origin / self._stream.time_base), stream=self._stream)
        self._pull()

    def has_more(self, frame: int) -> bool:
        """True if the file still shows a picture at frame number ``frame``."""
        self.skip_to(frame)
        return self._ahead is not None or self.end_frame > frame

    def read(self, frame: int, into: Image) -> None:
        """Write frame number ``frame`` into an array ``[H, W, 3]``; frames are asked for in ascending order."""
        self.skip_to(frame + 1)
        first = self._ahead if self._shown is None else None
        if first is not None and first[0] <= LEAD_IN_S * self._fps:
            self._shown, self._image = first[1], None
        if self._shown is None:
            into[:] = 0
            return
        if self._image is None:
            self._image = self._converted(self._shown)
        into[:] = self._image

    def skip_to(self, frame: int) -> None:
        """Decode up to and without ``frame``, giving nothing out."""
        while self._ahead is not None and self._ahead[0] < frame:
            self._shown, self._image = self._ahead[1], None
            self._pull()

    def close(self) -> None:
        """Close the file."""
        self._frames.close()
        self._container.close()

    def _pull(self) -> None:
        source = next(self._frames, None)
        if source is None:
            self._ahead = None
            return
        at = (source.pts * source.time_base - self._origin) * self._fps
        shown_from = int((at + Fraction(1, 2)) // 1)
        self.end_frame = max(self.end_frame, shown_from + 1, int((at + self._length(source)) // 1))
        self._ahead = shown_from, source

    def _length(self, source: Any) -> Fraction:
        """Length for which the source shows a picture, in frames of the clock, rounded to the nearest."""
        length = source.duration * source.time_base if source.duration else 1 / (self._stream.average_rate or 25)
        return Fraction(length) * self._fps + Fraction(1, 2)

    def _decoded(self) -> Generator[Any, None, None]:
        last = self._info.start
        for frame in decoded(self._container, self._stream, self._on_damage):
            if frame.pts is None:
                continue
            at = frame.pts * frame.time_base
            if is_stray(at, last, self._info):
                self._on_damage("time stamps out of order")
                continue
            last = at
            yield frame

    def _on_damage(self, reason: str) -> None:
        self.broken = reason

    def _converted(self, source: Any) -> Image:
        turns = source.rotation // 90 % 4
        shape = upright_size(source, self._stream)
        return self._scaler.fitted(source, shape, self._size, self._fit, turns)


class Scaler:
    """Scales and converts decoded pictures to RGB, each size with a converter of its own (they are slow to make)."""

    def __init__(self) -> None:
        self._converters: dict[tuple[int, int], Any] = {}

    def fitted(self, source: Any, shape: tuple[int, int], size: tuple[int, int], fit: Fit, turns: int) -> Image:
        """A PyAV frame as ``[H, W, 3]``.

        Args:
            shape: its ``(width, height)`` as seen, after turning.
            size: ``(width, height)`` wanted.
            turns: quarter turns counter-clockwise to the upright picture.
        """
        width, height = fitted_size(shape, size, fit)
        across = (width, height) if turns % 2 == 0 else (height, width)
        image = np.rot90(self.scaled(source, across), turns)
        return _framed(image, size, fit)

    def scaled(self, source: Any, size: tuple[int, int]) -> Image:
        """A PyAV frame as RGB ``[H, W, 3]`` at ``size`` = ``(width, height)``."""
        from av.video.reformatter import VideoReformatter

        converter = self._converters.get(size)
        if converter is None:
            converter = self._converters[size] = VideoReformatter()
        converted = converter.reformat(source, width=size[0], height=size[1], format="rgb24", threads=1)
        return np.asarray(converted.to_ndarray(), np.uint8)

    def resized(self, image: Image, size: tuple[int, int]) -> Image:
        """An RGB array ``[h, w, 3]`` at ``size`` = ``(width, height)``; the array itself when it has that size."""
        if image.shape[:2] == size[::-1]:
            return image
        import av

        return self.scaled(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24"), size)


def fitted_size(shape: tuple[int, int], size: tuple[int, int], fit: Fit) -> tuple[int, int]:
    """``(width, height)`` to scale a picture of ``shape`` to, before it is cropped or padded to ``size``."""
    near = abs(shape[0] - size[0]) <= 1 and abs(shape[1] - size[1]) <= 1
    if near:  # an odd size on its way to the even one: an edge is added, nothing is resampled
        return shape
    if fit == "stretch":
        return size
    ratios = (Fraction(size[0], shape[0]), Fraction(size[1], shape[1]))
    ratio = max(ratios) if fit == "crop" else min(ratios)
    return max(1, round(shape[0] * ratio)), max(1, round(shape[1] * ratio))


def _framed(image: Image, size: tuple[int, int], fit: Fit) -> Image:
    """The middle of ``image`` where it is larger than ``size``, centred on black (an edge of 1: repeated) else."""
    width, height = size
    top, left = max(0, image.shape[0] - height) // 2, max(0, image.shape[1] - width) // 2
    image = image[top : top + height, left : left + width]
    missing = (height - image.shape[0], width - image.shape[1])
    if missing == (0, 0):
        return image
    before = (missing[0] // 2, missing[1] // 2)
    margins = [(before[i], missing[i] - before[i]) for i in (0, 1)] + [(0, 0)]
    if max(missing) <= 1 or fit != "pad":
        return np.pad(image, margins, mode="edge")
    return np.pad(image, margins)
