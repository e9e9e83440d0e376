"""Contents of a media file, known before it is played."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from ...runtime.errors import MediaError

LONGEST_HOLE_S = 10
"""A longer hole between two time stamps is believed only where the file's stated length has room for it."""


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """A file's picture and sound.

    Attributes:
        width: displayed width in pixels (turned upright, square pixels, odd sizes rounded up to even); 0: no picture.
        height: displayed height in pixels, as ``width``.
        has_audio: whether there is sound.
        start: media time of the file's earliest stream in seconds; position 0 for whoever plays it.
        duration_s: length as the header states it; None when it does not.
    """

    width: int
    height: int
    has_audio: bool
    start: Fraction
    duration_s: float | None

    @property
    def has_video(self) -> bool:
        """True if there is a picture."""
        return self.width > 0


def probe(path: Path) -> MediaInfo:
    """Look at a file: its header and its first picture, which alone knows how it is turned.

    Raises:
        MediaError: no such file, no permission, not media, or neither picture nor sound in it.
    """
    check_readable(path)
    stat = os.stat(path)
    return _probe(path, stat.st_mtime_ns, stat.st_size)


def check_readable(path: Path, where: str = "capture.file", wanted: str = "a media file") -> None:
    """Raise `MediaError` unless ``path`` is a file that may be read and is not empty."""
    found = None
    if not path.exists():
        found = "no such file"
    elif not path.is_file():
        found = "not a file"
    elif not os.access(path, os.R_OK):
        found = "no permission to read"
    elif path.stat().st_size == 0:
        found = "empty file"
    if found is not None:
        raise MediaError(f"{where}: {path}: {found} (expected {wanted}), set params.path")


def open_media(path: Path) -> Any:
    """An open PyAV input container.

    Raises:
        MediaError: FFmpeg cannot make sense of the file.
    """
    import av

    try:
        return av.open(str(path), metadata_errors="ignore")
    except (av.error.FFmpegError, OSError) as error:
        reason = error.strerror or type(error).__name__
        raise MediaError(
            f"capture.file: {path}: {reason} (expected a file that FFmpeg can read), try: ffprobe '{path}'"
        ) from error


def video_stream(container: Any) -> Any:
    """The stream of moving pictures, None without one; the cover of a record is not one."""
    from av.stream import Disposition

    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    return streams[0] if streams else None


def audio_stream(container: Any) -> Any:
    """The first stream of sound, None without one."""
    return container.streams.audio[0] if container.streams.audio else None


def upright_size(frame: Any, stream: Any) -> tuple[int, int]:
    """Displayed ``(width, height)`` of a decoded frame: square pixels, turned upright, not yet even."""
    aspect = stream.sample_aspect_ratio or Fraction(1)
    width = max(1, round(frame.width * aspect)) if aspect > 0 else frame.width
    size = (width, frame.height)
    return size if frame.rotation % 180 == 0 else size[::-1]


def even(pixels: int) -> int:
    """``pixels`` rounded up to an even number, as H.264 with halved colour wants it."""
    return pixels + pixels % 2


def decoded(container: Any, stream: Any, on_damage: Callable[[str], None]) -> Iterator[Any]:
    """Decoded frames of one stream. Damaged packets are passed over, and told with the reason; a file that cannot be
    read on ends there."""
    import av

    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except IndexError:  # a packet of a stream that the header does not know
            on_damage("unknown stream")
            packets = container.demux(stream)
            continue
        except av.error.FFmpegError as error:
            on_damage(error.strerror or type(error).__name__)
            return
        if packet is None:
            return
        try:
            yield from packet.decode()
        except av.error.EOFError:
            return
        except av.error.FFmpegError as error:
            on_damage(error.strerror or type(error).__name__)


def is_stray(at: Fraction, last: Fraction, info: MediaInfo) -> bool:
    """True if a time stamp is damaged: far after the one before it, and after the file's stated end."""
    beyond = info.duration_s is not None and at > info.start + Fraction(info.duration_s) + 1
    return beyond and at > last + LONGEST_HOLE_S


@functools.lru_cache(maxsize=16)
def _probe(path: Path, mtime_ns: int, n_bytes: int) -> MediaInfo:
    import av

    with open_media(path) as container:
        video, audio = video_stream(container), audio_stream(container)
        width = height = 0
        if video is not None:
            first = next(decoded(container, video, lambda reason: None), None)
            if first is not None:
                width, height = upright_size(first, video)
            elif audio is None:
                raise MediaError(
                    f"capture.file: {path}: found no picture that can be decoded (expected at least one), "
                    f"try: ffprobe '{path}'"
                )
        if video is None and audio is None:
            raise MediaError(
                f"capture.file: {path}: found neither picture nor sound (expected at least one), try: ffprobe '{path}'"
            )
        start = Fraction(container.start_time or 0, av.time_base)
        duration = container.duration / av.time_base if container.duration else None
        return MediaInfo(even(width), even(height), audio is not None, start, duration)
