"""The timeline of a run that goes on: a page on a loopback port, and what is new, sent to it as it comes.

The page is the one that a trace makes, of the records so far. It asks for ``/steps``, a stream of server-sent events:
``step`` (a `View` of the newest records), ``again`` (load the page again), ``end`` (the run is over).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import msgspec

from ...runtime.errors import UserError
from ...runtime.observe.follow import Newest
from ...runtime.observe.loopback import LoopbackHandler, LoopbackServer
from ...runtime.observe.records import Header, Note
from ...runtime.plan.plan import from_plain
from .columns import view_of
from .facts import Run, misses
from .html import page_of
from .story import Blamed, story

KEPT_RECORDS = 240_000
"""Kept of a run that goes on: some 20 minutes of a graph of ten nodes. Then the older half is let go."""

OPEN_UNITS = 12
"""How many units back from the newest a new record may still change how late its nodes were."""

STORY_RECORDS = 4000
"""How many records back the culprits of a new miss are looked for."""

STEPS = 200
"""Steps kept for pages that fell behind; those that fell further load again."""

BEAT_S = 10.0
"""How often a page hears something when nothing happens."""


class Feed:
    """Knowledge of the run, for any number of pages. `take` in one thread, the rest in any."""

    def __init__(self, header: Header, name: str) -> None:
        self.name = name
        self._run = Run(header, from_plain(header.plan))
        self._blamed: dict[int, list[Blamed]] = {}
        self._steps: deque[bytes] = deque(maxlen=STEPS)
        self._number = 0
        self._again = 0
        self._has_ended = False
        self._changed = threading.Condition()

    @property
    def n_units(self) -> int:
        """Units so far."""
        return self._run.n_units

    def take(self, news: Newest) -> None:
        """Take in the newest records, and tell the pages."""
        run = self._run
        fresh = Run(run.header, run.plan)
        fresh.add(news.records)
        if news.n_skipped and run.records:
            text = f"{news.n_skipped} records were not told: the run was faster than its timeline"
            fresh.add([Note(run.plan.release_ns(run.n_units), "timeline", "warning", text)])
        fresh.sort()
        with self._changed:
            since = max(0, min(run.first_open, run.n_units - OPEN_UNITS))
            run.add(fresh.records)
            blamed = story(run, misses(run, since), run.records[-STORY_RECORDS:])
            self._blamed |= {unit: [b for b in blamed if b.unit == unit] for unit in {b.unit for b in blamed}}
            view = view_of(run, name=self.name, blamed=blamed, fresh=fresh, since=since)
            self._steps.append(msgspec.json.encode(view))
            self._number += 1
            self._has_ended = news.has_ended
            if len(run.records) > KEPT_RECORDS:
                self._let_go()
            self._changed.notify_all()

    def end(self) -> None:
        """Nothing more will come."""
        with self._changed:
            self._run.end()
            self._has_ended = True
            self._changed.notify_all()

    def _let_go(self) -> None:
        """Forget the older half; pages load what is left."""
        self._run = self._run.shortened(KEPT_RECORDS // 2)
        self._run.sort()
        self._blamed = {unit: blamed for unit, blamed in self._blamed.items() if unit >= self._run.first_unit}
        self._again = self._number

    def page(self, *, live: bool = True) -> str:
        """The page of all that is kept; following the run, or as a file that stands alone."""
        with self._changed:
            blamed = [b for unit in sorted(self._blamed) for b in self._blamed[unit]]
            view = view_of(self._run, name=self.name, blamed=blamed)
            return page_of(view, live=self._number if live else None)

    def events(self, after: int) -> Iterator[bytes]:
        """Server-sent events for a page that holds ``after`` steps; ends with the run."""
        has_ended = False
        while not has_ended:
            steps, has_ended = self._since(after)
            if steps is None:
                yield b"event: again\ndata:\n\n"
                return
            for step in steps:
                after += 1
                yield b"id: %d\nevent: step\ndata: %s\n\n" % (after, step)
            if not steps and not has_ended:
                yield b":\n\n"
        yield b"event: end\ndata:\n\n"

    def _since(self, after: int) -> tuple[list[bytes] | None, bool]:
        """Steps that came after these, waited for; None when some of them are gone; and whether they are the last."""
        with self._changed:
            self._changed.wait_for(lambda: self._number != after or self._has_ended, BEAT_S)
            behind = self._number - after
            if not 0 <= behind <= len(self._steps) or after < self._again:
                return None, False
            return list(self._steps)[len(self._steps) - behind :], self._has_ended


class PageServer:
    """Serves a feed at `url`, to this machine alone, and to those alone who know the url, until `close`.

    Raises:
        UserError: the port is taken.
    """

    def __init__(self, feed: Feed, port: int = 0) -> None:
        try:
            self._server = _Server(("127.0.0.1", port), _Handler)
        except (OSError, OverflowError) as error:
            reason = error.strerror if isinstance(error, OSError) else "no such port"
            raise UserError(f"--port: {port}: {reason} (expected a free port), name another one") from error
        self._server.feed = feed
        self.url = f"http://127.0.0.1:{self._server.server_port}/?token={self._server.token}"
        self._thread = threading.Thread(target=self._server.serve_forever, name="timeline", daemon=True)
        self._thread.start()

    def close(self, grace_s: float = 2.0) -> None:
        """Free the port, once the pages have heard that the run has ended."""
        with self._server.listening:
            self._server.listening.wait_for(lambda: not self._server.listeners, grace_s)
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(LoopbackServer):
    feed: Feed

    def __init__(self, address: tuple[str, int], handler: type[LoopbackHandler]) -> None:
        super().__init__(address, handler)
        self.listening = threading.Condition()
        self.listeners = 0


class _Handler(LoopbackHandler):
    server: _Server

    def answer(self) -> None:
        """Give the page, or its steps."""
        where = urlsplit(self.path)
        if where.path == "/":
            self._send_page()
        elif where.path == "/steps":
            after = self.headers.get("Last-Event-ID") or parse_qs(where.query).get("after", ["0"])[0]
            self._send_steps(int(after) if after.isascii() and after.isdigit() and len(after) < 19 else 0)
        elif where.path == "/favicon.ico":
            self.send_response(204)
            self.end_headers()
        else:
            self.send_error(404, "expected / or /steps")

    def tokens(self) -> list[str]:
        """The cookie, too, which the page got with its address: its own requests bring that."""
        return [*super().tokens(), self._cookie()]

    def _cookie(self) -> str:
        pairs = (pair.strip().partition("=") for pair in self.headers.get("Cookie", "").split(";"))
        return next((value for name, _, value in pairs if name == self._cookie_name), "")

    @property
    def _cookie_name(self) -> str:
        # cookies are shared by all ports of a host: another timeline has another one
        return f"wangraph-{self.server.server_port}"

    def _send_page(self) -> None:
        page = self.server.feed.page().encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(page)))
        self.send_header("Set-Cookie", f"{self._cookie_name}={self.server.token}; HttpOnly; SameSite=Strict; Path=/")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(page)

    def _send_steps(self, after: int) -> None:
        with self.server.listening:
            self.server.listeners += 1
        try:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            for event in self.server.feed.events(after):
                self.wfile.write(event)
                self.wfile.flush()
        except (ConnectionError, TimeoutError):
            pass  # the page was closed, or takes nothing: nobody listens any more
        finally:
            with self.server.listening:
                self.server.listeners -= 1
                self.server.listening.notify_all()
