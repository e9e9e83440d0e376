"""One visit: a run, what the visitor sends, what the graph gives, and the connection that may break and come back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Literal

import av
import msgspec

from ...runtime.engine.run import Run
from ...runtime.errors import MissingExtra, RunError, UserError
from ...runtime.plan.catalogue import resolve
from ...runtime.plan.plan import Plan
from ...wan_core.text import STOP_KEY
from .access import Allowance
from .carrier import Carrier, OfferRefused, Samples
from .channel import Channel
from .ends import SERVED, VISITOR, ServedGraph
from .feed import Feed
from .inbound import Inbound
from .pacer import Pacer, pace
from .played import PlayedUnits
from .playout import Playout
from .pool import Opened
from .protocol import (
    MAX_TYPED,
    Answer,
    Caption,
    Carried,
    Change,
    Changed,
    Devices,
    Flush,
    FromVisitor,
    Interrupt,
    LiveParam,
    Media,
    Offer,
    Ping,
    Played,
    Pong,
    Problem,
    Seen,
    Socket,
    ToVisitor,
    Typed,
    Watch,
)
from .socket import SocketCarrier
from .strip import Strip
from .webrtc import WebRtcCarrier, WebRtcOptions

TYPED_PER_S, TYPED_BURST = 2.0, 10.0
"""Texts, changes and interruptions of one visitor."""


class Visit:
    """See the module. All of it in one event loop; `live` is its main task.

    Args:
        name: cannot be guessed: who knows it may go on with the visit.
        opened: its run, which has not begun.
        served: the graph.
        webrtc: how WebRTC connections are set up.

    Attributes:
        channel: while a visitor is connected.
    """

    def __init__(self, name: str, opened: Opened, served: ServedGraph, webrtc: WebRtcOptions) -> None:
        self.name, self.opened = name, opened
        self.channel: Channel | None = None
        self.carrier: Carrier | None = None
        self._served, self._webrtc = served, webrtc
        self._allowance = Allowance(TYPED_PER_S, TYPED_BURST)
        self._is_watching = False
        self._left_ns: int | None = time.monotonic_ns()
        self._has_left = False
        self._answering = asyncio.Lock()
        self._heard_unit = -1
        self._values: dict[tuple[str, str], Any] = {}

    @property
    def run(self) -> Run:
        """The visit's run."""
        return self.opened.run

    # Life

    async def begin(self, params: Mapping[str, Any]) -> None:
        """Set what the visitor chose, and let unit 0 begin.

        Raises:
            UserError: a parameter that is not there, or a value that it refuses.
            WangraphError: the run failed.
        """
        for key, value in params.items():
            self._set(*key.rpartition(".")[::2], value)
        self.run.begin()
        await self.run.until("running")
        timebase = self.run.timebase
        if timebase is None:
            raise RunError(f"visit: graph '{self._served.name}' ended before it began")
        plan, streams = self.run.plan, self._served.streams
        self.inbound = Inbound(timebase.clock, self._served.inputs, timebase.origin_ns)
        self.feed = Feed(self.run, self._served.takes, self.inbound)
        self.played = PlayedUnits(self.feed.add_outcome)
        self.pacer = Pacer(timebase.clock, self._served.outputs, time.monotonic_ns())
        self.playout = Playout(
            plan, streams, timebase.origin_ns, self._symbols(), self.pacer, self._send, time.monotonic_ns
        )
        self.strip = Strip(plan, self.nodes)

    async def live(self) -> None:
        """Serve the visit until its run ends.

        Raises:
            WangraphError: the run failed.
        """
        kinds = [kind for kind in ("video", "audio", "text", "event") if kind in self._served.streams]
        tasks = [
            asyncio.create_task(self.feed.forever(time.monotonic_ns)),
            asyncio.create_task(pace(self.pacer)),
            asyncio.create_task(self._flush_at_fences()),
            asyncio.create_task(self._tell_times()),
            asyncio.create_task(self._show_seen()),
            *(asyncio.create_task(self._take(kind)) for kind in kinds),
        ]
        ended = asyncio.create_task(self.run.until("ended"))
        waiting = {ended, *tasks}
        try:
            while not ended.done():
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                if self.run.state != "ended":  # else the run's own error is what matters, not who met its end first
                    for task in done:
                        task.result()
            ended.result()
        finally:
            for task in (ended, *tasks):
                task.cancel()
            await asyncio.gather(ended, *tasks, return_exceptions=True)
            await self._use(None)

    @property
    def nodes(self) -> list[str]:
        """Nodes of the served graph, in order of the data."""
        return [name for name in self.run.plan.nodes if name.startswith(f"{SERVED}/")]

    # The connection

    def attach(self, channel: Channel) -> None:
        """A visitor is connected."""
        self.channel, self._left_ns = channel, None

    async def detach(self, channel: Channel) -> None:
        """The connection broke, unless another one has taken its place."""
        if self.channel is not channel:
            return
        self.channel, self._left_ns = None, time.monotonic_ns()
        self.inbound.devices("absent", "absent")
        self._is_watching = False
        await self._use(None)

    def leave(self) -> None:
        """The visitor is gone for good."""
        self._has_left = True

    def is_over(self, patience_s: float) -> bool:
        """True if the visitor is gone for good, or has been away for so long."""
        away_ns = 0 if self._left_ns is None else time.monotonic_ns() - self._left_ns
        return self._has_left or away_ns > patience_s * 1e9

    async def offer(self, sdp: str) -> str:
        """The answer to a WebRTC offer; media take that way from now on.

        Raises:
            OfferRefused: it cannot be answered.
            MissingExtra: WebRTC is not installed.
        """
        async with self._answering:
            if not isinstance(self.carrier, WebRtcCarrier):
                await self._use(WebRtcCarrier(_Received(self), self._webrtc))
            carrier = self.carrier
            assert isinstance(carrier, WebRtcCarrier)
            try:
                return await carrier.answer(sdp)
            except BaseException:
                await self._use(None)
                raise

    def receive_media(self, media: Media) -> None:
        """A binary message."""
        if isinstance(self.carrier, SocketCarrier):
            self.carrier.receive(media)

    def carrier_changed(self, state: str) -> None:
        """The connection of the media came or went: all that is known of a visitor without a channel."""
        if self.channel is not None:
            return
        if state == "connected":
            self._left_ns = None
        elif self._left_ns is None:
            self._left_ns = time.monotonic_ns()

    async def _use(self, carrier: Carrier | None) -> None:
        before, self.carrier = self.carrier, carrier
        self.pacer.carrier = carrier
        if before is not None:
            await before.close()

    # Messages

    async def handle(self, message: FromVisitor) -> None:
        """Do what a visitor's message says; what cannot be done is answered by a `Problem`."""
        if isinstance(message, Typed | Change | Interrupt) and not self._allowance.spend(1, time.monotonic()):
            self._send(Problem(f"too many messages (expected at most {TYPED_PER_S:g} a second), wait a moment"))
            return
        try:
            await self._do(message)
        except (UserError, RunError) as error:
            self._send(Problem(str(error)))

    async def _do(self, message: FromVisitor) -> None:
        match message:
            case Offer(sdp):
                with suppress(OfferRefused, MissingExtra):
                    self._send(Answer(await self.offer(sdp)))
                    self._send(Carried("webrtc"))
                    return
                await self._do(Socket())
            case Socket():
                channel = self.channel
                if channel is not None and not isinstance(self.carrier, SocketCarrier):
                    await self._use(SocketCarrier(_Received(self), channel.send_media, channel.waiting_bytes))
                self._send(Carried("socket"))
            case Devices(camera, microphone):
                self.inbound.devices(camera, microphone)
            case Typed(text):
                self._type(text)
            case Interrupt():
                self.interrupt()
            case Change(node, name, value):
                self._set(node, name, value)
                self._send(Changed(node, name, value))
            case Played():
                self._take_played(message)
            case Watch(is_on):
                self._is_watching = is_on
            case Ping(at_ms):
                self._send(Pong(at_ms, time.time() * 1000))
            case _:
                pass

    def _type(self, text: str) -> None:
        if "text" not in self._served.takes:
            raise UserError(f"graph '{self._served.name}': found a typed text (expected none), it reads no text")
        if len(text) > MAX_TYPED:
            raise UserError(f"found {len(text)} characters (expected at most {MAX_TYPED}), type less")
        if text.strip():
            self.run.send(f"{VISITOR}.text", text)
            self._send(Caption(self._unit_now(), "visitor", text))

    def _set(self, node: str, name: str, value: Any) -> None:
        known = [f"{p.node}.{p.name}" for p in self._served.params]
        if f"{node}.{name}" not in known:
            raise UserError(f"found the parameter '{node}.{name}' (expected one of: {', '.join(known) or 'none'})")
        self.run.set(node, **{name: value})
        self._values[node, name] = value

    def interrupt(self) -> None:
        """Quiet, at once: what the graph is making is fenced, what it goes on saying is not handed out. A graph that
        reads text is told by the stop key, so that its agent stops by itself, too."""
        self.playout.interrupt(self._playing())
        sound = self._served.streams.get("audio")
        node = None if sound is None else self.run.plan.nodes[self.run.plan.streams[sound].node]
        made = [inlet.stream for inlet in node.inputs if inlet.kind == "audio"] if node is not None else []
        if made:
            self.run.fence(made)  # which flushes, as every fence does
        else:
            self._flush()
        if "text" in self._served.takes:  # last: a graph that takes no more texts must not keep the sound going
            self.run.send(f"{VISITOR}.text", STOP_KEY)

    def _flush(self) -> None:
        """Drop what was handed out and is not heard yet, here and in the page."""
        first = self._playing()
        self.pacer.flush()
        self.played.flushed(first)
        self._send(Flush(first))

    def _take_played(self, played: Played) -> None:
        unit = played.audio
        if unit < 0 and played.audio_at_ms:
            at_ns = time.monotonic_ns() - round((time.time() * 1000 - played.audio_at_ms) * 1e6)
            written = self.pacer.sound_at(at_ns)
            unit = -1 if written is None else written[0]
        if unit > self._heard_unit:
            self._heard_unit = unit
            self.played.acknowledged(unit - 1)  # the unit that is heard now may still be cut off

    # What the graph gives

    async def _take(self, kind: str) -> None:
        async for packet in self.run.packets(self._served.streams[kind]):
            self.playout.take(kind, packet)
            if kind == "audio":
                self.played.sent(packet.unit, not self.playout.is_quiet)

    async def _flush_at_fences(self) -> None:
        sound = self._served.streams.get("audio")
        concerned = set() if sound is None else {sound, *streams_above(self.run.plan, sound)}
        async for fence in self.run.fences():
            if concerned & set(fence.streams):
                self._flush()

    async def _tell_times(self) -> None:
        records = self.run.records()
        async for record in records:
            for times in self.strip.add([record, *records.waiting()]):
                level, has_picture = self.feed.level(times.unit)
                self._send(msgspec.structs.replace(times, heard_level=level, has_picture=has_picture))

    async def _show_seen(self) -> None:
        while True:
            await asyncio.sleep(1)
            seen = self.feed.seen() if self._is_watching and self.channel is not None else None
            if seen is not None:
                self._send(Seen(*seen))

    # Inside

    def dropped(self) -> dict[str, int]:
        """Pictures and parts of sound that were left out, by hop and reason."""
        arrived = self.inbound.figures()
        lost = {"ms of sound dropped": arrived.dropped_ms, "ms of sound late": arrived.silent_ms}
        paced = self.pacer.figures
        hops = {
            "in": {where: round(ms) for where, ms in lost.items() if ms >= 1},
            "pacer": {"units": paced.units_dropped, "ms of sound missed": round(paced.missed_ms)},
        }
        if self.carrier is not None:
            hops[self.carrier.name] = self.carrier.dropped
        return {f"{hop}: {where}": n for hop, counts in hops.items() for where, n in counts.items() if n}

    def params(self) -> list[LiveParam]:
        """Parameters that can be changed, with their values now."""
        values = self._values
        return [msgspec.structs.replace(p, value=values.get((p.node, p.name), p.value)) for p in self._served.params]

    def _send(self, message: ToVisitor) -> None:
        if self.channel is not None:
            self.channel.send(message)

    def _playing(self) -> int:
        """The unit whose sound is handed out now."""
        written = self.pacer.sound_at(time.monotonic_ns())
        return 0 if written is None else written[0]

    def _unit_now(self) -> int:
        timebase = self.run.timebase
        return 0 if timebase is None else max(0, timebase.unit_at(time.monotonic_ns()))

    def _symbols(self) -> Any:
        stream = self._served.streams.get("event")
        if stream is None:
            return ()
        name, _, port = stream.rpartition(".")
        node = self.run.plan.nodes[name]
        return resolve(node.target).symbols(node.params).get(port, ())


class _Received:
    """Receiver for a carrier: media go to the visit's units; how it fares, to the visit."""

    def __init__(self, visit: Visit) -> None:
        self._visit, self._sender = visit, visit.inbound.sender()

    def video(self, picture: av.VideoFrame, at_ns: int) -> None:
        """A picture."""
        self._sender.video(picture, at_ns)

    def audio(self, samples: Samples, rate_hz: int, at_ns: int) -> None:
        """Sound."""
        self._sender.audio(samples, rate_hz, at_ns)

    def state(self, name: Literal["connecting", "connected", "disconnected", "failed", "closed"]) -> None:
        """The connection of the media came or went."""
        self._visit.carrier_changed(name)


def streams_above(plan: Plan, stream: str) -> set[str]:
    """The streams that a stream is made of within a unit; feedback does not count."""
    found: set[str] = set()
    waiting = [plan.streams[stream].node]
    while waiting:
        for inlet in plan.nodes[waiting.pop()].inputs:
            if not inlet.delay and inlet.stream not in found:
                found.add(inlet.stream)
                waiting.append(plan.streams[inlet.stream].node)
    return found
