"""A visitor without a browser: sends a file as camera and microphone in real time, plays and measures what comes back.

The reference for who writes a client: `_Conversation` is the whole protocol, `protocol` its words.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import parse_qs, urlsplit

import msgspec
import numpy as np

from ...nodes.media.captions import Caption
from ...runtime.errors import MissingExtra, RunError, UserError
from ...runtime.units import MS, NS
from ..serve import protocol
from ..serve.carrier import Samples
from ..serve.socket import RATE_HZ
from .clip import PART_MS, PARTS, PIECE_MS, Clip, Piece
from .measures import Measures, TalkFigures, now_ms
from .player import Player
from .video import Transcript, VisitVideo

if TYPE_CHECKING:
    import aiohttp

TICK_MS = PART_MS
CONNECT_S = 10.0
TAIL_S = 2.0
"""After the clip's end, for the last answer."""

REASON_S = 1.0
"""For a server that hangs up to have said why."""

PLAYED_EVERY = 24
"""Ticks between two words of what was played."""

PING_EVERY = 100
"""Ticks between two pings."""

MINE = ("token", "version", "refused")
"""Reasons of an `Over` that are the caller's mistake."""

_TO_VISITOR = msgspec.json.Decoder(protocol.ToVisitor)


@dataclass(frozen=True, slots=True)
class TalkOptions:
    """Options of a visitor.

    Attributes:
        link: that `wangraph serve` printed.
        source: the file that is sent; None: camera and microphone are absent.
        output: MP4 of what comes back; None: it is not kept.
        seconds: how long to stay; None: as long as the clip, and a little.
        text: what is typed when the visit begins.
        interrupt_s: when to interrupt, after the beginning; None: never.
        clock_ppm: how much faster than this machine's clock the source runs, as a camera or a microphone may.
    """

    link: str
    source: Path | None = None
    output: Path | None = None
    seconds: float | None = None
    text: str = ""
    interrupt_s: float | None = None
    clock_ppm: float = 0.0


class Source(Protocol):
    """Media that a visitor sends: a `Clip`, or something like it."""

    has_picture: bool
    has_sound: bool
    is_whole: bool

    @property
    def read_s(self) -> float:
        """Seconds read so far; all of it once it `is_whole`."""
        ...

    def piece(self, number: int) -> Piece:
        """Picture and sound that are sent ``number * 40`` ms after the beginning."""
        ...

    def close(self) -> None:
        """Close it; what was read can be had on."""
        ...


Clips = dict[tuple[int, int] | None, Source]
"""Those that visitors of one process share, by the size of their pictures."""

Tell = Callable[[str, str], None]
"""Is given what happens: who (``agent``, ``visitor``, ``server``) and words."""


async def talk(
    options: TalkOptions, tell: Tell, clips: Clips | None = None, measures: Measures | None = None
) -> TalkFigures:
    """One visit from beginning to end.

    Args:
        options: what the visitor does.
        tell: is given what happens.
        clips: shared with other visitors of this process.
        measures: collects the figures.

    Raises:
        UserError: no link, nobody there, or the server refuses the visitor.
        MissingExtra: ``aiohttp`` is not installed.
        MediaError: the source cannot be read, or the output not be written.
        RunError: the visit ended otherwise than it should.
    """
    address, token = parse_link(options.link)
    aiohttp = _library()
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S)) as session:
        try:
            socket = await session.ws_connect(address, max_msg_size=4 * protocol.MAX_MEDIA_BYTES, compress=0)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            reason = str(error) or type(error).__name__
            raise UserError(
                f"talk: {address}: {reason} (expected a server that answers), start one with: wangraph serve GRAPH"
            ) from error
        async with socket:
            try:
                conversation = _Conversation(
                    options, socket, tell, {} if clips is None else clips, measures or Measures()
                )
                return await conversation.run(token)
            except (aiohttp.ClientError, ConnectionError) as error:
                raise RunError(f"talk: the connection broke: {error} (expected it to last), try again") from error
            except (msgspec.DecodeError, ValueError) as error:
                raise RunError(
                    f"talk: the server sent what is no message: {error} (expected version {protocol.VERSION} of the "
                    "protocol), install the same wangraph on both sides"
                ) from error


def parse_link(link: str) -> tuple[str, str]:
    """The WebSocket's address and the token in a link.

    Raises:
        UserError: it is none.
    """
    parts = urlsplit(link)
    schemes = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}
    if parts.scheme not in schemes or not parts.netloc:
        raise UserError(
            f"talk: found '{link}' (expected a link like http://127.0.0.1:8080/#token=...), copy the one that "
            "wangraph serve prints"
        )
    tokens = parse_qs(parts.fragment).get("token") or parse_qs(parts.query).get("token") or [""]
    path = parts.path if parts.path.endswith("/live") else parts.path.rstrip("/") + "/live"
    return f"{schemes[parts.scheme]}://{parts.netloc}{path}", tokens[0]


class _Conversation:
    """One visit over an open socket."""

    def __init__(
        self,
        options: TalkOptions,
        socket: aiohttp.ClientWebSocketResponse,
        tell: Tell,
        clips: Clips,
        measures: Measures,
    ) -> None:
        self._options, self._socket, self._tell, self._clips = options, socket, tell, clips
        self._measures = measures
        self._began_ns = self._start_ns = 0  # when the welcome came, and when sending began
        self._over: protocol.Over | None = None
        self._has_left = False
        self._player = Player(160.0, 25.0, measures.picture_seen)
        self._video: VisitVideo | None = None
        self._transcript = Transcript()
        self._unit_ms = 160.0
        self._for_video: Samples = np.zeros(0, np.int16)  # heard, and not in it yet

    async def run(self, token: str) -> TalkFigures:
        """Say hello, talk, leave."""
        figures, began_ns = self._measures.figures, time.monotonic_ns()
        await self._send(protocol.Hello(token=token))
        welcome = await self._welcomed()
        self._began_ns = time.monotonic_ns()
        figures.visit, figures.waited_s = welcome.visit, (self._began_ns - began_ns) / NS
        try:
            await self._talk(welcome)
        finally:
            await self._finish()
        self._judge_end()
        return figures

    async def _welcomed(self) -> protocol.Welcome:
        async with aclosing(self._messages()) as messages:
            async for message in messages:
                if isinstance(message, protocol.Welcome):
                    return message
                if isinstance(message, protocol.Waiting):
                    self._tell("server", f"place {message.place} of {message.of}, {message.sessions} served at once")
                elif isinstance(message, protocol.Starting):
                    self._tell("server", message.text or "starting")
        self._judge_end()
        raise RunError("talk: the visit was over before it began (expected a welcome), look at the server's log")

    async def _talk(self, welcome: protocol.Welcome) -> None:
        self._unit_ms = welcome.unit_ms
        video = welcome.outputs.video
        self._player = Player(welcome.unit_ms, video.fps if video else 25.0, self._measures.picture_seen)
        if self._options.output is not None:
            size = (video.width, video.height) if video else None
            self._video = VisitVideo(
                self._options.output, size, welcome.outputs.text or welcome.inputs.audio is not None
            )
        clip = self._clip(welcome)
        await self._send(
            protocol.Devices(
                camera="on" if clip and clip.has_picture else "absent",
                microphone="on" if clip and clip.has_sound else "absent",
            )
        )
        await self._send(protocol.Socket())
        if self._options.text:
            await self._send(protocol.Typed(text=self._options.text))
        await self._exchange(clip)

    async def _exchange(self, clip: Source | None) -> None:
        """Send and receive until one of both is over."""
        receiving, sending = asyncio.create_task(self._receive()), asyncio.create_task(self._send_all(clip))
        try:
            await asyncio.wait([receiving, sending], return_when=asyncio.FIRST_COMPLETED)
            if not self._has_left:  # nothing can be sent any more: the reason may be on its way
                await asyncio.wait([receiving], timeout=REASON_S)
        finally:
            for task in (receiving, sending):
                task.cancel()
            results = await asyncio.gather(receiving, sending, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result

    async def _send_all(self, clip: Source | None) -> None:
        try:
            await self._tick_on(clip)
            self._has_left = True
            await self._send(protocol.Bye())
        except ConnectionError:
            pass  # the server has hung up; what it said last decides what that means

    def _clip(self, welcome: protocol.Welcome) -> Source | None:
        wanted = welcome.inputs.video
        size = (wanted.width, wanted.height) if wanted else None
        if size not in self._clips:
            if self._options.source is None:
                return None
            self._clips[size] = Clip(self._options.source, size, welcome.inputs.audio is not None)
        return self._clips[size]

    # From the server --------------------------------------------------------------------------------------------------

    async def _messages(self) -> AsyncGenerator[protocol.ToVisitor, None]:
        """Messages until the server hangs up or says that it is over; media go to the player."""
        import aiohttp

        async for frame in self._socket:
            if frame.type is aiohttp.WSMsgType.BINARY:
                self._take_media(protocol.read_media(frame.data))
            elif frame.type is aiohttp.WSMsgType.TEXT:
                message = _TO_VISITOR.decode(frame.data)
                if isinstance(message, protocol.Over):
                    self._over = message
                    return
                yield message

    async def _receive(self) -> None:
        async for message in self._messages():
            self._take(message)

    def _take_media(self, media: protocol.Media) -> None:
        player, now_ns = self._player, time.monotonic_ns()
        if media.kind == protocol.AUDIO:
            player.sound(np.frombuffer(media.data, "<i2"), media.unit, media.part, now_ns)
        else:
            player.show(media.data, media.unit, media.part, now_ns)

    def _take(self, message: protocol.ToVisitor) -> None:
        if isinstance(message, protocol.Caption):
            self._caption(message)
        elif isinstance(message, protocol.Times):
            self._measures.times(message)
        elif isinstance(message, protocol.Pong):
            self._measures.pong(message.at_ms)
        elif isinstance(message, protocol.Flush):
            self._hear(time.monotonic_ns())  # until now it was heard
            self._player.flush()
        elif isinstance(message, protocol.Problem):
            self._measures.figures.problems.append(message.text)
            self._tell("server", message.text)

    def _caption(self, caption: protocol.Caption) -> None:
        if not self._start_ns:  # the video has not begun
            return
        at_ms = (time.monotonic_ns() - self._start_ns) // MS
        self._write_captions(self._transcript.add(caption.who, caption.text, at_ms, round(self._unit_ms)))

    # To the server, and what is heard ---------------------------------------------------------------------------------

    async def _tick_on(self, clip: Source | None) -> None:
        """Send, play and measure at every tick until the time is over."""
        tick, self._start_ns = 0, time.monotonic_ns()  # opening the clip took a while
        self._player.play(self._start_ns)
        while not self._is_time(clip, tick):
            await asyncio.sleep(
                max(0.0, (self._start_ns - time.monotonic_ns()) / NS + due_s(tick, self._options.clock_ppm))
            )
            sent = await self._send_media(clip, tick)
            await self._send_words(tick)
            self._play(sent, tick)
            tick += 1

    def _is_time(self, clip: Source | None, tick: int) -> bool:
        talked_s = tick * TICK_MS / 1000
        if self._options.seconds is not None:
            return talked_s >= self._options.seconds
        return (clip is None or clip.is_whole) and talked_s >= (0.0 if clip is None else clip.read_s) + TAIL_S

    async def _send_media(self, clip: Source | None, tick: int) -> Samples | None:
        """Send what is due in a tick; its sound."""
        if clip is None:
            return None
        number, part = divmod(tick, PARTS)
        piece = clip.piece(number)
        if self._options.seconds is None and clip.is_whole and number * PIECE_MS >= clip.read_s * 1000:
            return None  # the clip was sent once
        at_us = time.monotonic_ns() // 1000
        if part == 0 and piece.picture is not None:
            media = protocol.Media(protocol.JPEG, True, 0, number, at_us, piece.picture)
            await self._socket.send_bytes(protocol.write_media(media))
            self._measures.picture_sent(number, time.monotonic_ns())
        if not piece.sound:
            return None
        media = protocol.Media(protocol.AUDIO, False, 0, tick, at_us, piece.sound[part])
        await self._socket.send_bytes(protocol.write_media(media))
        return np.frombuffer(piece.sound[part], "<i2")

    async def _send_words(self, tick: int) -> None:
        if tick % PLAYED_EVERY == 0:
            player, figures = self._player, self._player.figures
            await self._send(protocol.Played(player.heard, player.seen, figures.underruns, figures.shown))
        if tick % PING_EVERY == 0:
            await self._send(protocol.Ping(at_ms=now_ms()))
        at_s = self._options.interrupt_s
        if at_s is not None and tick == int(at_s * 1000 / TICK_MS):
            self._measures.interrupted(time.monotonic_ns())
            await self._send(protocol.Interrupt())

    def _play(self, sent: Samples | None, tick: int) -> None:
        now_ns = time.monotonic_ns()
        self._measures.sent(sent)
        self._hear(now_ns)
        if (
            tick % PARTS == PARTS - 1 and self._video is not None
        ):  # the video's clock is exact, and ours may have slept too long
            exact = np.zeros(PIECE_MS * RATE_HZ // 1000, np.int16)
            now, self._for_video = np.split(self._for_video, [len(exact)])
            exact[: len(now)] = now
            self._video.add(self._player.picture, exact)
        self._write_captions(self._transcript.pass_time((now_ns - self._start_ns) // MS))

    def _hear(self, now_ns: int) -> None:
        heard = self._player.play(now_ns)
        self._measures.heard(heard, now_ns)
        if self._video is not None:
            self._for_video = np.concatenate([self._for_video, heard])

    def _write_captions(self, captions: list[Caption]) -> None:
        for caption in captions:
            who, _, text = caption.text.partition(": ")
            self._tell(who, text)
            if self._video is not None:
                self._video.caption(caption)

    # The end ----------------------------------------------------------------------------------------------------------

    async def _finish(self) -> None:
        now_ns = time.monotonic_ns()
        self._measures.finish(self._player, self._began_ns, now_ns)
        self._write_captions(self._transcript.finish((now_ns - self._start_ns) // MS))
        if self._video is not None:
            await asyncio.to_thread(self._video.close)

    def _judge_end(self) -> None:
        """Raise unless the visit ended as it should: by us, or with the graph."""
        if self._over is None and self._began_ns and not self._has_left:
            raise RunError("talk: the server hung up in the middle of the visit (expected a word), look at its log")
        if self._over is None or self._over.reason in ("ended", "bye"):
            return
        kind = UserError if self._over.reason in MINE else RunError
        raise kind(f"talk: the server ended the visit: {self._over.text} ({self._over.reason})")

    async def _send(self, message: protocol.FromVisitor) -> None:
        await self._socket.send_str(protocol.write_message(message))


def due_s(tick: int, clock_ppm: float) -> float:
    """Instant at which a tick of the source's clock is due, in seconds of ours after the beginning."""
    return tick * TICK_MS / 1000 / (1 + clock_ppm / 1e6)


def _library() -> Any:
    try:
        import aiohttp
    except ImportError as error:
        raise MissingExtra("talk: no package 'aiohttp' (needed to connect), pip install 'wangraph[live]'") from error
    return aiohttp
