"""The server: one HTTP port, one WebSocket per visitor, and the visits behind them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

import msgspec
from aiohttp import WSMsgType, web

from ...runtime.errors import MissingExtra, UserError
from .access import Access, Allowance
from .channel import NoChannel, SocketChannel
from .ends import SERVED, ServedGraph
from .figures import metrics_text
from .inbound import prepare_inbound
from .lobby import Lobby
from .pool import RunPool
from .protocol import (
    MAX_MEDIA_BYTES,
    MAX_TEXT_BYTES,
    VERSION,
    About,
    Bye,
    Hello,
    Over,
    Welcome,
    read_media,
    read_message,
)
from .visit import Visit
from .webrtc import WebRtcOptions, prepare_webrtc

log = logging.getLogger("wangraph.serve")

HELLO_S = 5.0
"""How long a socket may stay silent before it says who it is."""

HEARTBEAT_S = 20.0
"""How often a socket is asked whether it is still there: a network that is gone says nothing."""

MESSAGES_PER_S, MESSAGES_BURST = 400.0, 800.0
"""Of one socket, media and others: 25 pictures and 125 pieces of sound a second, and what piled up on the way."""

BYTES_PER_S, BYTES_BURST = 4e6, 8e6
"""Of one socket: thirty times what the page sends."""

IDLE_S = 30.0
"""How long a connection may take to ask, and how long it is kept after that: each holds a file descriptor."""

MAX_STRANGE = 20
"""Messages of one socket that make no sense before it is closed."""

WHIP = "whip"

POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; connect-src 'self' ws: wss:; "
    "worker-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class ServerOptions:
    """Options of a server.

    Attributes:
        host: address to listen on.
        port: 0 takes a free one.
        sessions: visits at once.
        record: folder for recorded visits; None: none are.
        webrtc: how WebRTC connections are set up; None: media take the socket only.
        token: what a link carries.
        tls: certificate and key, PEM files.
    """

    host: str
    port: int
    sessions: int
    token: str
    record: Path | None = None
    webrtc: WebRtcOptions | None = field(default_factory=WebRtcOptions)
    tls: tuple[Path, Path] | None = None


class Server:
    """Serves one graph. `start`, then `close`; all in one event loop.

    Args:
        served: the graph.
        options: how.
        pool: gives runs; another one in tests.
    """

    def __init__(self, served: ServedGraph, options: ServerOptions, pool: RunPool | None = None) -> None:
        self.served, self.options = served, options
        self._access = Access(options.token, options.host)
        self._pool = pool or RunPool(served, options.record)
        self.lobby = Lobby(
            served,
            options.sessions,
            self._pool,
            options.webrtc or WebRtcOptions(),
            is_recording=options.record is not None,
        )
        self._channels: set[SocketChannel] = set()
        self._has_webrtc = False
        self.app = self._make_app()
        self._runner: web.AppRunner | None = None
        self.port = 0

    async def start(self) -> None:
        """Open a run ahead of time, then listen.

        Raises:
            UserError: the port is taken, the certificate cannot be read, or a WebRTC option is wrong.
            WangraphError: the graph cannot be opened.
        """
        from .tls import ssl_context

        if self.options.webrtc is not None:
            with suppress(MissingExtra):
                prepare_webrtc(self.options.webrtc)
                self._has_webrtc = True
        prepare_inbound(self.served.inputs)
        context = None if self.options.tls is None else ssl_context(*self.options.tls)
        self._runner = web.AppRunner(self.app, access_log=None, shutdown_timeout=1.0, keepalive_timeout=IDLE_S)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.options.host, self.options.port, ssl_context=context)
        try:
            await site.start()
        except OSError as error:
            await self._runner.cleanup()
            raise UserError(
                f"--port: {self.options.host}:{self.options.port}: {error.strerror or error} "
                "(expected a free port of this machine), name another one, or 0 for any"
            ) from error
        self.port = self._runner.addresses[0][1]
        try:
            await self.lobby.spare_is_ready()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """End all visits in order, then listen no more."""
        self.lobby.is_closing = True
        over = Over("closing", "the server was stopped", again=False)
        await asyncio.gather(self.lobby.close(), *(channel.close(over) for channel in list(self._channels)))
        if self._runner is not None:
            await self._runner.cleanup()

    @property
    def link(self) -> str:
        """Link that a visitor opens."""
        scheme = "https" if self.options.tls else "http"
        host = self.options.host if self.options.host not in ("0.0.0.0", "::") else "localhost"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{self.port}/#token={self.options.token}"

    # Routes

    def _make_app(self) -> web.Application:
        app = web.Application(middlewares=[self._guard], client_max_size=MAX_TEXT_BYTES)
        app.router.add_get("/", self._index)
        app.router.add_get("/page/{name}", self._page_file)
        app.router.add_get("/about", self._about)
        app.router.add_get("/live", self._live)
        app.router.add_get("/healthz", self._health)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/timeline/{visit}/", self.lobby.timelines.page)
        app.router.add_get("/timeline/{visit}/steps", self.lobby.timelines.steps)
        app.router.add_post(f"/{WHIP}", self._whip_offer)
        app.router.add_delete(f"/{WHIP}/{{visit}}", self._whip_end)
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse pages of other sites, whatever they ask for; answer mistakes in one line of text."""
        refusal = self._access.refusal(request.headers)
        if refusal:
            self.lobby.counts.refuse("origin")
            return web.Response(status=403, text=f"{refusal}\n")
        response = await handler(request)
        if not response.prepared:
            response.headers.setdefault("Cache-Control", "no-store")
            response.headers.setdefault("X-Content-Type-Options", "nosniff")
            response.headers.setdefault("Referrer-Policy", "no-referrer")
        return response

    async def _index(self, request: web.Request) -> web.StreamResponse:
        return _file("index.html")

    async def _page_file(self, request: web.Request) -> web.StreamResponse:
        return _file(request.match_info["name"])

    async def _about(self, request: web.Request) -> web.StreamResponse:
        if (wrong := self._wrong_token(request)) is not None:
            return wrong
        about = About(
            version=VERSION,
            graph=self.served.name,
            inputs=self.served.inputs,
            outputs=self.served.outputs,
            params=self.served.params,
            is_recorded=self.options.record is not None,
        )
        return web.Response(body=msgspec.json.encode(about), content_type="application/json")

    async def _health(self, request: web.Request) -> web.StreamResponse:
        state = "closing" if self.lobby.is_closing else "ok"
        figures = {
            "state": state,
            "graph": self.served.name,
            "sessions": self.lobby.admission.places,
            "taken": self.lobby.admission.taken,
            "waiting": self.lobby.admission.waiting,
        }
        return web.json_response(figures, status=503 if self.lobby.is_closing else 200)

    async def _metrics(self, request: web.Request) -> web.StreamResponse:
        if (wrong := self._wrong_token(request)) is not None:
            return wrong
        try:
            text = metrics_text(self.lobby)
        except MissingExtra as error:
            return web.Response(status=501, text=f"{error}\n")
        return web.Response(text=text, content_type="text/plain", charset="utf-8")

    def _wrong_token(self, request: web.Request) -> web.Response | None:
        if self._access.knows(self._access.token_of(request.headers, request.query)):
            return None
        self.lobby.counts.refuse("token")
        return web.Response(status=401, text="token: not this one (expected that of the link), open the link again\n")

    # WebSocket

    async def _live(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(heartbeat=HEARTBEAT_S, max_msg_size=MAX_MEDIA_BYTES, compress=False)
        await socket.prepare(request)
        channel = SocketChannel(socket, request)
        self._channels.add(channel)
        over: Over | None = None
        try:
            over = await self._converse(socket, channel)
        except asyncio.CancelledError:
            raise
        except Exception:
            log.exception("serve: a visitor's socket failed")
            over = Over("failed", "the server made a mistake, see its log", again=True)
        finally:
            self._channels.discard(channel)
            await channel.close(over)
        return socket

    async def _converse(self, socket: web.WebSocketResponse, channel: SocketChannel) -> Over | None:
        """From hello to goodbye; what is said at the end, if somebody is there to hear it."""
        hello = await self._hello(socket)
        if isinstance(hello, Over):
            self.lobby.counts.refuse(hello.reason)
            return hello
        visit = self.lobby.visits.get(hello.visit)
        if visit is not None:
            self.lobby.counts.resumed += 1
            await self.lobby.replace(visit, channel)
        else:
            entering = asyncio.create_task(self.lobby.enter(hello, channel))
            gone = asyncio.create_task(_until_closed(socket))
            await asyncio.wait([entering, gone], return_when=asyncio.FIRST_COMPLETED)
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)
            if not entering.done():
                entering.cancel()
                await asyncio.gather(entering, return_exceptions=True)
                return None
            found = await entering
            if isinstance(found, Over):
                return found
            visit = found
            visit.attach(channel)
        channel.send(self._welcome(visit, is_resumed=visit.name == hello.visit))
        try:
            return await self._serve(socket, channel, visit)
        finally:
            await visit.detach(channel)

    async def _hello(self, socket: web.WebSocketResponse) -> Hello | Over:
        try:
            message = read_message((await socket.receive_str(timeout=HELLO_S)).encode())
        except (TimeoutError, TypeError, msgspec.MsgspecError):
            message = None
        if not isinstance(message, Hello):
            return Over("garbage", "found no hello (expected one as the first message), see docs/live.md")
        if not self._access.knows(message.token):
            return Over("token", "this link's token is not the server's any more: open the link that it printed")
        if message.version != VERSION:
            return Over("version", f"found protocol {message.version} (expected {VERSION}): load the page again")
        if self.lobby.is_closing:
            return Over("closing", "the server was stopped")
        return message

    async def _serve(self, socket: web.WebSocketResponse, channel: SocketChannel, visit: Visit) -> Over | None:
        """Messages of one socket until it closes."""
        messages, size = Allowance(MESSAGES_PER_S, MESSAGES_BURST), Allowance(BYTES_PER_S, BYTES_BURST)
        n_strange = 0
        async for message in socket:
            if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                continue
            now_s = time.monotonic()
            if not (messages.spend(1, now_s) and size.spend(len(message.data), now_s)):
                self.lobby.counts.refuse("rate")
                return Over("rate", "more was sent than a visitor may (400 messages and 4 MB a second)")
            try:
                if message.type is WSMsgType.BINARY:
                    visit.receive_media(read_media(message.data))
                    continue
                if len(message.data) > MAX_TEXT_BYTES:
                    raise ValueError("too long")
                message_in = read_message(message.data.encode())
            except (ValueError, msgspec.MsgspecError):
                n_strange += 1
                if n_strange > MAX_STRANGE:
                    self.lobby.counts.refuse("garbage")
                    return Over("garbage", "messages made no sense (expected those of docs/live.md)")
                continue
            if isinstance(message_in, Bye):
                visit.leave()
                return Over("bye", "goodbye")
            await visit.handle(message_in)
        return None

    def _welcome(self, visit: Visit, *, is_resumed: bool) -> Welcome:
        options, served = self.options, self.served
        servers = [dict(server) for server in options.webrtc.ice_servers] if options.webrtc else []
        return Welcome(
            visit=visit.name,
            graph=served.name,
            is_resumed=is_resumed,
            inputs=served.inputs,
            outputs=served.outputs,
            params=visit.params(),
            nodes=[name.removeprefix(f"{SERVED}/") for name in visit.nodes],
            unit_ms=float(visit.run.plan.clock.period) * 1000,
            latency_ms=visit.run.plan.latency_ns / 1e6,
            webrtc=self._has_webrtc,
            ice_servers=servers,
            is_recorded=visit.opened.recording is not None,
            timeline=f"/timeline/{visit.name}/",
        )

    # WebRTC without a WebSocket, as WHIP does it

    async def _whip_offer(self, request: web.Request) -> web.StreamResponse:
        if (wrong := self._wrong_token(request)) is not None:
            return wrong
        if request.content_type != "application/sdp":
            return web.Response(status=415, text="Content-Type: expected application/sdp\n")
        if not self._has_webrtc:
            return web.Response(status=501, text="webrtc: not installed (expected the extra 'live')\n")
        if self.lobby.admission.taken >= self.lobby.admission.places:
            return web.Response(
                status=503, text="all places are taken, try again later\n", headers={"Retry-After": "5"}
            )
        visit = await self.lobby.enter(Hello(self.options.token), NoChannel())
        if isinstance(visit, Over):
            return web.Response(status=503, text=f"{visit.text}\n")
        try:
            answer = await visit.offer(await request.text())
        except UserError as error:
            visit.leave()
            return web.Response(status=400, text=f"{error}\n")
        visit.inbound.devices("on", "on")
        return web.Response(
            status=201, text=answer, content_type="application/sdp", headers={"Location": f"/{WHIP}/{visit.name}"}
        )

    async def _whip_end(self, request: web.Request) -> web.StreamResponse:
        visit = self.lobby.visits.get(request.match_info["visit"])
        if visit is None:
            return web.Response(status=404, text="no such visit\n")
        visit.leave()
        return web.Response(text="")


async def _until_closed(socket: web.WebSocketResponse) -> None:
    """Until the visitor goes away, or says goodbye; nothing else is expected before the welcome."""
    async for message in socket:
        if message.type is WSMsgType.TEXT:
            with suppress(msgspec.MsgspecError):
                if isinstance(read_message(message.data.encode()), Bye):
                    return


def _file(name: str) -> web.Response:
    """A file of the page."""
    kinds = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
    kind = kinds.get(Path(name).suffix)
    path = resources.files(__package__) / "page" / name
    if kind is None or "/" in name or name.startswith(".") or not path.is_file():
        return web.Response(status=404, text="no such file\n")
    response = web.Response(body=path.read_bytes(), content_type=kind, charset="utf-8")
    response.headers["Content-Security-Policy"] = POLICY
    return response
