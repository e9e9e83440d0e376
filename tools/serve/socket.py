"""Media through the visitor's own WebSocket: where WebRTC does not reach, and for clients that are no browser."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

import av
import numpy as np

from .carrier import Pictures, Received, Samples
from .codecs import Damaged, JpegDecoder, JpegEncoder, Vp8Decoder
from .protocol import AUDIO, JPEG, MAX_MEDIA_BYTES, Media, write_media

RATE_HZ = 16_000
"""Of sound on the socket."""

FULL_BYTES = 30_000
"""Above so much that has not left, pictures are left out: what waits on the way to a visitor is delay."""

STALLED_BYTES = 96_000
"""Above this sound is left out, too: 2 s of it are waiting behind the pictures, and more would wait for ever."""

MAX_SAMPLES = RATE_HZ
"""Of one message from a visitor: a second."""

PICTURES_S = 35
"""A visitor's pictures that are decoded in a second; a camera has 30."""

PICTURES_AT_ONCE = 10
"""After a break on the way, so many may come together."""


class SocketCarrier:
    """Media of one visitor through a socket: a `carrier.Carrier`.

    Args:
        received: gets what the visitor sends.
        send_bytes: takes one binary message, and does not wait.
        waiting_bytes: how many bytes have not left yet.
        now_ns: the clock that stamps what comes and goes.
    """

    name: Literal["webrtc", "socket"] = "socket"

    def __init__(
        self,
        received: Received,
        send_bytes: Callable[[bytes], object],
        waiting_bytes: Callable[[], int],
        now_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.dropped: dict[str, int] = {}
        self._received = received
        self._send_bytes = send_bytes
        self._waiting_bytes = waiting_bytes
        self._now_ns = now_ns
        self._encoder = JpegEncoder()
        self._jpeg, self._vp8 = JpegDecoder(), Vp8Decoder()
        self._rate = _Rate(PICTURES_S, PICTURES_AT_ONCE)
        self._resampler: tuple[int, av.AudioResampler] | None = None
        self._is_closed = False
        received.state("connected")

    def put_video(self, picture: Pictures, unit: int, part: int) -> None:
        """Send a picture, if what was sent before has left."""
        if self._is_closed:
            return
        if self._waiting_bytes() > FULL_BYTES:
            self._drop("picture, way is full")
            return
        data = self._encoder.encode(picture)
        if len(data) > MAX_MEDIA_BYTES - 64:
            self._drop("picture, too large")
            return
        self._send(JPEG, unit, part, data)

    def put_audio(self, samples: Samples, rate_hz: int, unit: int, part: int) -> None:
        """Send sound, unless the visitor has taken nothing for seconds."""
        if self._is_closed:
            return
        if self._waiting_bytes() > STALLED_BYTES:
            self._drop("sound, way is full")
            return
        samples = samples if rate_hz == RATE_HZ else self._resampled(samples, rate_hz)
        if len(samples):
            self._send(AUDIO, unit, part, np.ascontiguousarray(samples, "<i2").tobytes())

    def receive(self, media: Media) -> None:
        """A visitor's message; damaged ones are counted and dropped."""
        if self._is_closed:
            return
        at_ns = self._now_ns()
        if media.kind == AUDIO:
            self._receive_sound(media.data, at_ns)
        elif self._rate.admits(at_ns):
            self._receive_picture(media, at_ns)
        else:
            self._vp8.lose()
            self._drop("picture in, too many")

    def flush(self) -> None:
        """Nothing: what was put is on its way."""

    async def close(self) -> None:
        """Send and hand on nothing more; the socket itself belongs to the visit."""
        if not self._is_closed:
            self._is_closed = True
            self._received.state("closed")

    def _receive_sound(self, data: bytes, at_ns: int) -> None:
        if len(data) % 2 or not 0 < len(data) <= 2 * MAX_SAMPLES:
            self._drop("sound in, damaged")
            return
        self._received.audio(np.frombuffer(data, "<i2"), RATE_HZ, at_ns)

    def _receive_picture(self, media: Media, at_ns: int) -> None:
        decoder = self._jpeg if media.kind == JPEG else self._vp8
        try:
            picture = decoder.decode(media.data)
        except Damaged:
            self._drop("picture in, damaged")
            return
        if picture is not None:
            self._received.video(picture, at_ns)

    def _send(self, kind: int, unit: int, part: int, data: bytes) -> None:
        self._send_bytes(write_media(Media(kind, kind == JPEG, part, max(unit, 0), self._now_ns() // 1000, data)))

    def _resampled(self, samples: Samples, rate_hz: int) -> Samples:
        if self._resampler is None or self._resampler[0] != rate_hz:
            self._resampler = rate_hz, av.AudioResampler(format="s16", layout="mono", rate=RATE_HZ)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[None]), format="s16", layout="mono")
        frame.sample_rate = rate_hz
        parts = [part.to_ndarray()[0] for part in self._resampler[1].resample(frame)]
        return np.concatenate(parts) if parts else np.empty(0, np.int16)

    def _drop(self, where: str) -> None:
        self.dropped[where] = self.dropped.get(where, 0) + 1


class _Rate:
    """Admits so many a second, and so many at once."""

    def __init__(self, a_second: int, at_once: int) -> None:
        self._every_ns = 1_000_000_000 // a_second
        self._slack_ns = at_once * self._every_ns
        self._full_at_ns: int | None = None  # when the admitted ones would be over, each taking its part of a second

    def admits(self, at_ns: int) -> bool:
        full_at_ns = at_ns if self._full_at_ns is None else max(self._full_at_ns, at_ns)
        if full_at_ns - at_ns >= self._slack_ns:
            return False
        self._full_at_ns = full_at_ns + self._every_ns
        return True
