"""Visits from the door to the end: who is let in, who comes back, and what becomes of a visit that nobody is in."""

from __future__ import annotations

import asyncio
import logging
import secrets
from contextlib import suppress
from dataclasses import dataclass, field

from ...runtime.errors import UserError, WangraphError
from .admission import Admission, Full
from .channel import Channel, SocketChannel
from .ends import ServedGraph
from .pool import Opened, RunPool
from .protocol import Hello, Over, Starting, Waiting
from .timelines import Timelines
from .visit import Visit
from .webrtc import WebRtcOptions

log = logging.getLogger("wangraph.serve")

RETURN_S = 10.0
"""How long a visit waits for its visitor to come back after the connection broke."""

DRAIN_S = 2.5
"""How long visits have to end when the server is asked to."""

CHECK_S = 0.25
"""How often a visit is looked after that nobody is in."""


@dataclass
class Counts:
    """Counts of what has happened so far, for ``/metrics``."""

    visits: int = 0
    resumed: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    failed: int = 0

    def refuse(self, reason: str) -> None:
        """Count a refusal."""
        self.refused[reason] = self.refused.get(reason, 0) + 1


class Lobby:
    """All visits of a server, in one event loop.

    Args:
        served: the graph.
        sessions: visits at once.
        pool: gives runs.
        webrtc: how WebRTC connections are set up.
        is_recording: whether visits are written whose visitors agree.

    Attributes:
        visits: that go on, by their secret names.
    """

    def __init__(
        self, served: ServedGraph, sessions: int, pool: RunPool, webrtc: WebRtcOptions, *, is_recording: bool
    ) -> None:
        self.counts = Counts()
        self.visits: dict[str, Visit] = {}
        self.admission = Admission(sessions)
        self.timelines = Timelines(served.name)
        self.is_closing = False
        self._served, self._pool, self._webrtc, self._is_recording = served, pool, webrtc, is_recording
        self._lives: dict[str, asyncio.Task[None]] = {}

    async def enter(self, hello: Hello, channel: Channel) -> Visit | Over:
        """A visit for a newcomer, once there is a place."""
        try:
            await self.admission.enter(lambda place, of: channel.send(Waiting(place, of, self.admission.places)))
        except Full:
            self.counts.refuse("full")
            return Over("refused", "too many people are waiting: come back later", again=True)
        opened: Opened | None = None
        try:
            channel.send(Starting())
            opened = await self._pool.take(is_recorded=self._is_recording and hello.consent is True)
            visit = Visit(secrets.token_urlsafe(12), opened, self._served, self._webrtc)
            await visit.begin(hello.params)
        except BaseException as error:
            if opened is not None:
                await self._pool.give_back(opened)
            self.admission.leave()
            if not self.is_closing:
                self._pool.prepare()
            if isinstance(error, UserError) and opened is not None:  # a mistake in what the visitor chose
                return Over("refused", str(error))
            if isinstance(error, WangraphError):  # one of ours, with paths of this machine in it
                self.counts.failed += 1
                log.error("serve: %s", error)
                return Over("failed", "the graph could not be started: see the server's log", again=True)
            raise
        self.counts.visits += 1
        self.visits[visit.name] = visit
        self.timelines.add(visit.name, visit.run)
        self._lives[visit.name] = asyncio.create_task(self._live_visit(visit))
        if self.admission.taken < self.admission.places:
            self._pool.prepare()
        return visit

    async def _live_visit(self, visit: Visit) -> None:
        """From a visit's beginning until its run ends, or its visitor does not come back."""
        over = Over("ended", "the graph has come to its end")
        living = asyncio.create_task(visit.live())
        try:
            while not living.done():
                await asyncio.wait([living], timeout=CHECK_S)
                if visit.is_over(RETURN_S):
                    break
            if living.done():
                living.result()
        except WangraphError as error:
            self.counts.failed += 1
            log.error("serve: %s", error)
            over = Over("failed", "the graph failed: see the server's log", again=True)
        except Exception:
            self.counts.failed += 1
            log.exception("serve: a visit failed")
            over = Over("failed", "the server made a mistake: see its log", again=True)
        finally:
            living.cancel()
            await asyncio.gather(living, return_exceptions=True)
            self.visits.pop(visit.name, None)
            self.timelines.remove(visit.name)
            channel = visit.channel
            if isinstance(channel, SocketChannel) and not self.is_closing:
                await channel.close(over)
            await self._pool.give_back(visit.opened)
            self._lives.pop(visit.name, None)
            self.admission.leave()
            if not self.is_closing:
                self._pool.prepare()

    async def replace(self, visit: Visit, channel: SocketChannel) -> None:
        """A visitor came back, perhaps before the old connection was seen to be gone."""
        before = visit.channel
        visit.attach(channel)
        if isinstance(before, SocketChannel):
            await before.close(Over("elsewhere", "the visit goes on in another window"))

    async def spare_is_ready(self) -> None:
        """Wait until the run ahead of time is open, if there is to be one."""
        await self._pool.ready()

    async def close(self) -> None:
        """End all visits in order."""
        self.is_closing = True
        closing = asyncio.create_task(self._pool.close())  # all runs at once, with those of visits among them
        for life in self._lives.values():
            life.cancel()
        await asyncio.gather(*self._lives.values(), return_exceptions=True)
        self.timelines.close()
        with suppress(TimeoutError):
            await asyncio.wait_for(closing, DRAIN_S)
