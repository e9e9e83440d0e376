"""Media over WebRTC, by the package ``wrtc`` (Chrome's engine): what a browser does best where UDP reaches it.

The page offers, we answer; one connection carries the camera and the microphone in and the agent's picture and sound
out. All of it belongs to the event loop in which the carrier was made.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, Literal

import av
import numpy as np

from ...runtime.errors import MissingExtra, UserError
from .carrier import OfferRefused, Pictures, Received, Samples

if TYPE_CHECKING:
    import webrtc

MAX_BITRATE = 2_500_000
"""Bits of picture a second; the engine's own ceiling for small pictures is 600,000, which blurs a moving face."""

ANSWER_S = 5.0
"""What one step of an answer may take: an offer can be built so that the engine never comes back from it."""

GATHER_S = 2.0
"""A TURN server that does not answer delays the answer no longer than this; it then names what was found."""

LOW_DELAY = {
    "WebRTC-ForceSendPlayoutDelay": "min_ms:0,max_ms:0",
    "WebRTC-ForcePlayoutDelay": "min_ms:0,max_ms:0",
}
"""Field trials: pictures are shown when they come, and never wait for the sound."""

log = logging.getLogger("wangraph.serve")

_TURNED = re.compile(r"a=extmap:\d+(/\w+)? urn:3gpp:video-orientation\r?\n")
_MEDIA = re.compile(r"^m=(audio|video) (\d+) ", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class WebRtcOptions:
    """Options for the server's side of all connections.

    Attributes:
        ice_servers: STUN and TURN servers, as a browser's configuration has them: ``urls``, ``username`` and
            ``credential``.
        port_range: lowest and highest UDP port of ours, for firewalls; None: any.
    """

    ice_servers: Sequence[Mapping[str, Any]] = field(default_factory=tuple)
    port_range: tuple[int, int] | None = None


def prepare_webrtc(options: WebRtcOptions) -> None:
    """Load and set up the engine, once in a process and before its first connection; check the options.

    Raises:
        MissingExtra: the package is not installed.
        UserError: a server's address or the ports are no such.
    """
    library = _library()
    if not LOW_DELAY.items() <= library.field_trials.items():  # they are fixed from the first connection on
        library.field_trials.update(LOW_DELAY)
        library.allow_loopback()  # visitors on the same machine, where there is no network
    try:
        library.RTCPeerConnection(_configuration(library, options)).close()
    except (library.RTCException, ValueError, TypeError) as error:
        raise UserError(
            f"webrtc: {error} (expected servers like stun:stun.example.org:3478, TURN servers with a user name and a "
            "password, and ports from low to high), correct --ice-server or --udp-ports"
        ) from error


class WebRtcCarrier:
    """One visitor's WebRTC connection: a `carrier.Carrier`.

    Args:
        received: gets what the visitor sends.
        options: of the server.
        now_ns: the clock that stamps what comes.

    Raises:
        MissingExtra: the package is not installed.
    """

    name: Literal["webrtc", "socket"] = "webrtc"

    def __init__(
        self, received: Received, options: WebRtcOptions | None = None, now_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        library: Final = _library()
        self.dropped: dict[str, int] = {}
        self._webrtc = library
        self._received = received
        self._now_ns = now_ns
        self._tasks: list[asyncio.Task[None]] = []
        self._answering = asyncio.Lock()
        self._gathered = asyncio.Event()
        self._to_rgba = av.video.reformatter.VideoReformatter()
        self._was_connected = False
        self._is_closed = False
        self._connection = library.RTCPeerConnection(_configuration(library, options or WebRtcOptions()))
        self._video = library.VideoTrackGenerator()
        self._audio = library.MediaStreamTrackGenerator("audio")
        self._video_writer = self._video.writable.get_writer()
        self._audio_writer = self._audio.writable.get_writer()
        self._sender: webrtc.RTCRtpSender | None = None
        self._connection.on("track", self._on_track)
        self._connection.on("connectionstatechange", self._on_state)
        self._connection.on("icegatheringstatechange", self._on_gathering)

    async def answer(self, sdp: str) -> str:
        """The answer to a visitor's offer, with all candidates; also to a later one of the same connection.

        Raises:
            OfferRefused: it is no offer, or both sides have no codec in common; the connection is of no use any more.
        """
        async with self._answering:
            if self._is_closed:
                raise OfferRefused("webrtc: found a closed connection (expected an open one), begin a new one")
            try:
                answer = await asyncio.wait_for(self._answered(sdp), ANSWER_S + GATHER_S)
            except (self._webrtc.RTCException, ValueError, TypeError) as error:
                reason = " ".join(str(error).split())[:200]
                raise OfferRefused(
                    f"webrtc: {reason} (expected an offer that a browser made), media take the socket"
                ) from error
            except TimeoutError as error:
                raise OfferRefused(
                    f"webrtc: no answer within {ANSWER_S + GATHER_S:g} s (expected less than 1), media take the socket"
                ) from error
        _refuse_without_codec(sdp, answer)
        return answer

    def put_video(self, picture: Pictures, unit: int, part: int) -> None:
        """Send a picture now. The engine encodes it, and leaves it out where the way is full."""
        if not self._can_send("picture"):
            return
        height, width = picture.shape[:2]
        # PyAV widens RGB to RGBA in a third of the time that it takes to make I420 of it, and the engine does the rest
        source = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
        plane = self._to_rgba.reformat(source, format="rgba", threads=1).planes[0]
        library = self._webrtc
        init = library.VideoFrameBufferInit(
            format="RGBX",
            coded_width=width,
            coded_height=height,
            timestamp=0,  # the engine takes the time of the write
            layout=[library.PlaneLayout(0, plane.line_size)],
        )
        self._write(self._video_writer, library.VideoFrame(memoryview(plane), init))

    def put_audio(self, samples: Samples, rate_hz: int, unit: int, part: int) -> None:
        """Send sound; before the connection is there, nothing."""
        if not self._can_send("sound"):
            return
        init = self._webrtc.AudioDataInit(
            format="s16",
            sample_rate=rate_hz,
            number_of_frames=len(samples),
            number_of_channels=1,
            timestamp=0,
            data=np.ascontiguousarray(samples, "<i2").tobytes(),
        )
        self._write(self._audio_writer, self._webrtc.AudioData(init))

    def flush(self) -> None:
        """Nothing: what was put is on its way, and what the browser holds lasts 50 ms."""

    async def close(self) -> None:
        """Close the connection and its tracks; the reading tasks are over when this returns."""
        if self._is_closed:
            return
        self._is_closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._connection.close()
        for writer in (self._video_writer, self._audio_writer):
            await asyncio.gather(writer.close(), return_exceptions=True)

    async def _answered(self, sdp: str) -> str:
        library, connection = self._webrtc, self._connection
        # Without this extension a telephone turns its pictures itself; with it they would come lying on their side
        offer = library.RTCSessionDescriptionInit("offer", _TURNED.sub("", sdp))
        await connection.set_remote_description(offer)
        if self._sender is None:  # a second offer finds the tracks in their places
            stream = library.MediaStream([self._audio, self._video.track])  # one stream: the browser keeps the lips
            connection.add_track(self._audio, stream)
            self._sender = connection.add_track(self._video.track, stream)
        await connection.set_local_description(await connection.create_answer())
        await self._all_candidates()
        await self._give_bitrate(self._sender)
        description: webrtc.RTCSessionDescription = connection.local_description
        return description.sdp

    async def _all_candidates(self) -> None:
        if self._connection.ice_gathering_state == "complete":
            return
        try:
            await asyncio.wait_for(self._gathered.wait(), GATHER_S)
        except TimeoutError:
            self._count("candidates late")

    async def _give_bitrate(self, sender: webrtc.RTCRtpSender) -> None:
        parameters = sender.get_parameters()
        if parameters.encodings:
            parameters.encodings[0].max_bitrate = MAX_BITRATE
            # The engine would shrink large pictures at the start, and small ones for ever on a busy machine
            parameters.degradation_preference = self._webrtc.RTCDegradationPreference(
                "maintain-framerate-and-resolution"
            )
            await sender.set_parameters(parameters)

    def _can_send(self, what: str) -> bool:
        """True if there has been a connection. In a break sound goes on: a hole would delay all that comes after."""
        if self._is_closed or not self._was_connected:
            self._count(f"{what}, not connected")
            return False
        return True

    def _write(self, writer: Any, what: object) -> None:
        done = writer.write(what)
        done.add_done_callback(self._on_written)

    def _on_written(self, done: asyncio.Future[None]) -> None:
        if not done.cancelled() and done.exception() is not None:
            self._count("not written")

    def _count(self, where: str, n: int = 1) -> None:
        self.dropped[where] = self.dropped.get(where, 0) + n

    def _on_state(self, _event: object) -> None:
        state = self._connection.connection_state.value
        self._was_connected |= state == "connected"
        if state != "new":
            self._received.state(state)

    def _on_gathering(self, _event: object) -> None:
        if self._connection.ice_gathering_state == "complete":
            self._gathered.set()

    def _on_track(self, event: webrtc.RTCTrackEvent) -> None:
        if not self._is_closed:
            task = asyncio.create_task(self._read(event.track))
            task.add_done_callback(_log_failure)
            self._tasks.append(task)

    async def _read(self, track: webrtc.MediaStreamTrack) -> None:
        """Hand on what a track brings. The engine keeps the newest picture and 100 ms of sound, and drops older."""
        init = self._webrtc.MediaStreamTrackProcessorInit(track)
        processor = self._webrtc.MediaStreamTrackProcessor(init)
        where = "picture in" if track.kind == "video" else "sound in"
        async for media in processor.readable:
            try:
                if isinstance(media, self._webrtc.VideoFrame):
                    await self._take_picture(media)
                else:
                    self._take_sound(media)
            finally:
                media.close()  # else the engine's own memory waits for the garbage collector
            if processor.discarded_frames:
                self.dropped[where] = processor.discarded_frames

    async def _take_picture(self, frame: webrtc.VideoFrame) -> None:
        at_ns = self._now_ns()
        width, height = frame.coded_width & ~1, frame.coded_height & ~1
        if frame.format != "I420" or not width or not height:
            self._count("picture in, of another format")
            return
        rect = self._webrtc.DOMRectInit(0, 0, width, height)
        i420 = np.empty((height * 3 // 2, width), np.uint8)
        await frame.copy_to(i420.data.cast("B"), self._webrtc.VideoFrameCopyToOptions(rect=rect))
        self._received.video(av.VideoFrame.from_numpy_buffer(i420, "yuv420p"), at_ns)

    def _take_sound(self, sound: webrtc.AudioData) -> None:
        samples = np.empty(sound.number_of_frames * sound.number_of_channels, np.int16)
        options = self._webrtc.AudioDataCopyToOptions(plane_index=0, format="s16")
        sound.copy_to(samples.data.cast("B"), options)
        self._received.audio(mono(samples, sound.number_of_channels), int(sound.sample_rate), self._now_ns())


def mono(samples: Samples, channels: int) -> Samples:
    """The mean of interleaved channels."""
    if channels == 1:
        return samples
    mean: Samples = samples.reshape(-1, channels).mean(1, dtype=np.float32).round().astype(np.int16)
    return mean


def _log_failure(task: asyncio.Task[None]) -> None:
    """A reader that fails leaves a visitor unheard: nobody awaits it before the end."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("webrtc: nothing more is received of this visitor", exc_info=error)


def _refuse_without_codec(offer: str, answer: str) -> None:
    """Raise `OfferRefused` where the answer declines a line that the offer had: both have no codec in common."""
    for (kind, offered), (_, answered) in zip(_MEDIA.findall(offer), _MEDIA.findall(answer), strict=False):
        if offered != "0" and answered == "0":
            expected = "VP8" if kind == "video" else "Opus"
            raise OfferRefused(
                f"webrtc: found no {kind} codec that both sides have (expected {expected}), media take the socket"
            )


def _configuration(library: ModuleType, options: WebRtcOptions) -> webrtc.RTCConfiguration:
    servers = [
        library.RTCIceServer(server.get("urls", []), server.get("username"), server.get("credential"))
        for server in options.ice_servers
    ]
    configuration: webrtc.RTCConfiguration = library.RTCConfiguration(
        ice_servers=servers, port_range=options.port_range
    )
    return configuration


def _library() -> ModuleType:
    try:
        import webrtc
    except ImportError as error:
        raise MissingExtra(
            "webrtc: no package 'wrtc' (needed for WebRTC connections), pip install 'wangraph[live]'"
        ) from error
    return webrtc
