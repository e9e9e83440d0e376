"""The live timeline of each visit, at an address that its visitor alone knows."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from aiohttp import web

from ...runtime.engine.run import Run
from ...runtime.observe.follow import Newest
from ...runtime.observe.records import Record
from ..timeline.serve import Feed

EVERY_S = 0.5
"""How often pages get what is new."""

MAX_PAGES = 16
"""Timelines that follow at once."""

POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; connect-src 'self'"
"""The timeline is one file that stands alone: its scripts and styles are in it."""


class Timelines:
    """Timelines of visits that go on. A visit's records are gathered from the first time that somebody asks for it.

    Args:
        name: of the graph.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._runs: dict[str, Run] = {}
        self._feeds: dict[str, Feed] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._followers = ThreadPoolExecutor(MAX_PAGES, "timeline")  # they wait for seconds: nobody else's threads
        self._n_pages = 0

    def add(self, visit: str, run: Run) -> None:
        """A visit has begun."""
        self._runs[visit] = run

    def remove(self, visit: str) -> None:
        """A visit is over."""
        self._runs.pop(visit, None)
        self._feeds.pop(visit, None)
        task = self._tasks.pop(visit, None)
        if task is not None:
            task.cancel()

    async def page(self, request: web.Request) -> web.StreamResponse:
        """The page of a visit as it is now; it follows by `steps`."""
        feed = self._feed(request.match_info["visit"])
        if feed is None:
            return web.Response(status=404, text="no such visit, or it is over\n")
        response = web.Response(text=await asyncio.to_thread(feed.page), content_type="text/html")
        response.headers["Content-Security-Policy"] = POLICY
        return response

    async def steps(self, request: web.Request) -> web.StreamResponse:
        """News as server-sent events, until the visit ends."""
        feed = self._feed(request.match_info["visit"])
        if feed is None:
            return web.Response(status=404, text="no such visit, or it is over\n")
        if self._n_pages >= MAX_PAGES:
            return web.Response(status=503, text=f"{MAX_PAGES} timelines are open already, close one\n")
        given = request.headers.get("Last-Event-ID") or request.query.get("after", "0")
        events = feed.events(int(given) if given.isdigit() else 0)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        await response.prepare(request)
        loop = asyncio.get_running_loop()
        self._n_pages += 1
        try:
            with suppress(ConnectionResetError):  # the page was closed
                while (event := await loop.run_in_executor(self._followers, next, events, None)) is not None:
                    await response.write(event)
        finally:
            self._n_pages -= 1
        return response

    def close(self) -> None:
        """Let go of the pages that follow; the feeds have ended."""
        for feed in self._feeds.values():
            feed.end()
        self._followers.shutdown(wait=False, cancel_futures=True)

    def _feed(self, visit: str) -> Feed | None:
        run = self._runs.get(visit)
        if run is None:
            return None
        if visit not in self._feeds:
            feed = self._feeds[visit] = Feed(run.collector.header, self._name)
            self._tasks[visit] = asyncio.create_task(_follow(run, feed))
        return self._feeds[visit]


async def _follow(run: Run, feed: Feed) -> None:
    """Give the feed what is new until the run ends."""
    records = run.records()
    n_records = n_dropped = 0
    try:
        while run.state != "ended":
            fresh: list[Record] = records.waiting()
            skipped, n_dropped = records.dropped - n_dropped, records.dropped
            n_records += len(fresh) + skipped
            if fresh or skipped:
                newest = Newest(run.collector.header, n_records, skipped, fresh, has_ended=False)
                await asyncio.to_thread(feed.take, newest)
            await asyncio.sleep(EVERY_S)
    finally:
        records.close()
        feed.end()
