"""An MP4 that can be played at any moment while it is written, and is an ordinary one when it is closed."""

from __future__ import annotations

import io
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...runtime.errors import MediaError
from ...runtime.output_file import claim
from .captions import Caption
from .mp4_index import FragmentIndex

AAC_RATES_HZ = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)

FRAGMENT_MS = 320
"""What a killed process loses at most."""

_OPTIONS = {
    # The first fragment's header waits until the encoder's priming delay is known, so that sound is not shifted. No
    # trailer: FFmpeg would remember every fragment for it; `FragmentIndex` makes an ordinary file in the end.
    "movflags": "empty_moov+delay_moov+default_base_moof+skip_trailer",
    "frag_duration": str(FRAGMENT_MS * 1000),
    "flush_packets": "1",
    "max_interleave_delta": "1",  # captions are rare: nothing waits for the next one
}

_BT709 = 1
_LIMITED_RANGE = 1


class Mp4Writer:
    """Writes H.264, AAC and captions to one file, unit by unit.

    Args:
        size: ``(width, height)`` in pixels, both even; None: no picture.
        rate_hz: of the sound; None: no sound.
        has_captions: whether there is a caption track.
        crf: quality, 0 (best) .. 51.
        preset: x264's, ``ultrafast`` .. ``placebo``.

    Raises:
        MediaError: the file cannot be made, or the rate is none that AAC knows.
    """

    def __init__(
        self,
        path: Path,
        fps: Fraction,
        size: tuple[int, int] | None,
        rate_hz: int | None,
        *,
        has_captions: bool = False,
        crf: int = 20,
        preset: str = "veryfast",
    ) -> None:
        import av

        self.path = path
        if rate_hz is not None and rate_hz not in AAC_RATES_HZ:
            rates = ", ".join(map(str, AAC_RATES_HZ))
            raise MediaError(f"sink.mp4: {path}: found audio at {rate_hz} Hz (expected one of: {rates}), resample it")
        self._video: Any = None
        self._audio: Any = None
        self._captions: Any = None
        self._frame_length = 1 / fps
        self._n_frames = 0
        self._n_samples = 0
        self._captioned_ms = 0
        try:
            claim(path)
            self._file = WholeFile(str(path), "w+b")
        except OSError as error:
            raise self._error(error) from error
        self._index = FragmentIndex(self._file, path.parent)
        self._container = av.open(self._file, "w", format="mp4", options=_OPTIONS)
        if size is not None:
            self._video = self._add_video(fps, size, crf, preset)
        if rate_hz is not None:
            self._audio = self._add_audio(rate_hz)
        if has_captions:
            self._captions = self._add_captions()
        self._scaler = av.video.reformatter.VideoReformatter()
        for stream in (self._video, self._audio):
            if stream is not None:
                stream.codec_context.open()  # now, so that the first unit takes no longer than the others

    def write_frame(self, image: NDArray[np.uint8]) -> None:
        """Append one RGB picture ``[H, W, 3]`` of the size given at the start.

        Raises:
            MediaError: it cannot be encoded or written; what was written before can be played.
        """
        import av

        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        frame = self._scaler.reformat(frame, format="yuv420p", dst_colorspace="ITU709", threads=1)
        frame.pts, frame.time_base = self._n_frames, self._frame_length
        self._n_frames += 1
        self._encode(self._video, frame)

    def write_samples(self, samples: NDArray[np.float32]) -> None:
        """Append mono samples ``[S]``.

        Raises:
            MediaError: as `write_frame`.
        """
        import av

        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[None]), format="flt", layout="mono")
        frame.sample_rate, frame.pts = self._audio.rate, self._n_samples
        frame.time_base = Fraction(1, self._audio.rate)
        self._n_samples += len(samples)
        self._encode(self._audio, frame)

    def write_caption(self, caption: Caption) -> None:
        """Append a caption; it begins at or after the end of the one before, and within what is written.

        Raises:
            MediaError: as `write_frame`.
        """
        start_ms = max(caption.start_ms, self._captioned_ms)
        end_ms = min(caption.end_ms, self._written_ms)
        if end_ms > start_ms:  # the muxer itself clears the screen at the end
            self._mux(self._caption_packet(caption.text, start_ms, end_ms - start_ms))
            self._captioned_ms = end_ms

    def close(self, last: Caption | None = None) -> None:
        """Write what the encoders hold, the caption that was still open, and the index.

        Raises:
            MediaError: as `write_frame`.
        """
        import av

        if self._file.closed:
            return
        if self._video is not None and self._n_frames:
            self._encode(self._video, None)
        if self._audio is not None and self._n_samples:
            self._encode(self._audio, None)
        if last is not None:
            self._write_last_caption(last)
        try:
            self._container.close()
            self._index.finish()
            self._index.close()
            self._file.close()
        except (av.error.FFmpegError, OSError) as error:
            self._give_up(error)

    def _write_last_caption(self, caption: Caption) -> None:
        """The caption that ends with the video. The muxer guesses how long the cleared screen after it lasts: as long
        as whatever came before, so a clearing of 1 ms comes before, and the video does not get longer."""
        end_ms = min(caption.end_ms, self._written_ms - 2)
        self.write_caption(replace(caption, end_ms=end_ms))
        self._mux(self._caption_packet("", end_ms, 1))

    @property
    def _written_ms(self) -> int:
        seconds = self._n_frames * self._frame_length if self._video is not None else 0
        if self._audio is not None:
            seconds = max(seconds, Fraction(self._n_samples, self._audio.rate))
        return int(seconds * 1000)

    def _encode(self, stream: Any, frame: Any) -> None:
        import av

        try:
            packets = stream.encode(frame)
        except (av.error.FFmpegError, OSError) as error:
            self._give_up(error)
        self._mux(packets)

    def _mux(self, packets: Any) -> None:
        import av

        try:
            self._container.mux(packets)
            self._index.collect()
        except (av.error.FFmpegError, OSError) as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        """Leave the file as it is: an index written after a failure would hide what can be played."""
        self._file.close()
        self._index.close()
        self._container.close()
        raise self._error(error) from error

    def _error(self, error: Exception) -> MediaError:
        reason = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
        remedy = "free some space" if "space" in reason or "large" in reason else "set params.path"
        return MediaError(f"sink.mp4: {self.path}: {reason} (expected a file that can be written), {remedy}")

    def _add_video(self, fps: Fraction, size: tuple[int, int], crf: int, preset: str) -> Any:
        options = {"preset": preset, "crf": str(crf), "tune": "zerolatency"}  # no picture is held back
        stream = self._container.add_stream("libx264", rate=fps, options=options)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.time_base = 1 / fps
        context = stream.codec_context
        context.thread_count = 1
        context.gop_size = max(1, round(fps))
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = _LIMITED_RANGE
        return stream

    def _add_audio(self, rate_hz: int) -> Any:
        stream = self._container.add_stream("aac", rate=rate_hz, layout="mono")
        stream.bit_rate = min(128_000, 4 * rate_hz)
        stream.time_base = Fraction(1, rate_hz)
        return stream

    def _add_captions(self) -> Any:
        stream = self._container.add_mux_stream("mov_text")
        stream.time_base = Fraction(1, 1000)
        return stream

    def _caption_packet(self, text: str, start_ms: int, length_ms: int) -> Any:
        import av

        words = text.encode()
        packet = av.Packet(len(words).to_bytes(2, "big") + words)
        packet.stream = self._captions
        packet.time_base = Fraction(1, 1000)
        packet.pts = packet.dts = start_ms
        packet.duration = max(1, length_ms)
        return packet


class WholeFile(io.FileIO):
    """An unbuffered file whose `write` takes all of the bytes or raises: FFmpeg does not notice half a write."""

    def write(self, data: Any) -> int:
        """Write all of ``data``."""
        view = memoryview(data)
        written = 0
        while written < len(view):
            written += super().write(view[written:]) or 0
        return written
