"""A server that speaks the visitor's protocol and does what a test tells it, for the tests of the page."""

from __future__ import annotations

import asyncio
import functools
import itertools
import threading
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

import av
import msgspec
import numpy as np
from aiohttp import WSMsgType, web

from wangraph.tools import serve
from wangraph.tools.serve import protocol
from wangraph.tools.serve.protocol import AUDIO, JPEG, About, AudioFormat, EndFormats, Media, VideoFormat, Welcome

PAGE = Path(serve.__file__).parent / "page"
TOKEN = "a-token"
POLICY = "default-src 'self'"
WAIT_S = 20.0
BOTH = EndFormats(VideoFormat(64, 64, 25.0), AudioFormat(16_000), text=True, event=True)
TONE = (6000 * np.sin(2 * np.pi * 500 * np.arange(320) / 16_000)).astype("<i2").tobytes()
"""20 ms of 500 Hz: whole periods, so that parts join without a click."""

M = TypeVar("M")


@functools.cache
def picture(red: int, green: int, blue: int, side: int = 64) -> bytes:
    """A picture of one colour, as JPEG."""
    codec = av.CodecContext.create("mjpeg", "w")
    codec.width = codec.height = side
    codec.pix_fmt, codec.time_base = "yuvj420p", Fraction(1, 25)
    frame = av.VideoFrame.from_ndarray(np.full((side, side, 3), (red, green, blue), np.uint8), "rgb24")
    return b"".join(bytes(packet) for packet in [*codec.encode(frame.reformat(format="yuvj420p")), *codec.encode(None)])


class FakeServer:
    """Serves the page and one visitor at a time, in a thread of its own.

    Attributes:
        about: what it says of itself and in its welcome; a test may change it before the page is opened.
        refusal: what a hello is answered with.
        is_full: newcomers wait until `admit`.
        is_sending: whether it paces pictures and sound to a visitor whose media go through the socket.
    """

    def __init__(self) -> None:
        self.about: dict[str, Any] = {
            "graph": "duplex", "inputs": BOTH, "outputs": BOTH, "params": [], "is_recorded": False,
            "nodes": ["see", "hear", "think"], "unit_ms": 160.0, "latency_ms": 240.0, "webrtc": False,
            "ice_servers": [], "timeline": "",
        }  # fmt: skip
        self.refusal: protocol.Over | None = None
        self.is_full = False
        self.is_sending = True
        self.colour = (200, 40, 40)
        self.port = 0
        self.hellos: list[protocol.Hello] = []
        self._received: list[protocol.FromVisitor | Media] = []
        self._changed = threading.Condition()
        self._socket: web.WebSocketResponse | None = None
        self._visits: set[str] = set()
        self._sent = 0

    # In the test's thread

    @property
    def link(self) -> str:
        return f"http://127.0.0.1:{self.port}/#token={TOKEN}"

    def start(self) -> None:
        is_up = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(is_up)), daemon=True)
        self._thread.start()
        assert is_up.wait(WAIT_S)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(WAIT_S)

    def wait_for(self, kind: type[M], accept: Callable[[M], bool] = lambda _: True) -> M:
        """The first message of this kind that is acceptable, of those that came and come."""
        with self._changed:
            found = self._changed.wait_for(lambda: self._find(kind, accept), WAIT_S)
        assert found, f"no {kind.__name__} came; came: {[type(m).__name__ for m in self._received][-20:]}"
        return found[0]

    def forget(self) -> None:
        """Count only what comes from now on."""
        with self._changed:
            self._received.clear()

    def count(self, kind: type[M], accept: Callable[[M], bool] = lambda _: True) -> int:
        with self._changed:
            return len(self._find(kind, accept))

    def send(self, *messages: protocol.ToVisitor) -> None:
        async def write() -> None:
            for message in messages:
                await self._socket.send_str(protocol.write_message(message))

        asyncio.run_coroutine_threadsafe(write(), self._loop).result(WAIT_S)

    def admit(self) -> None:
        self.is_full = False
        asyncio.run_coroutine_threadsafe(self._welcome(self.hellos[-1]), self._loop).result(WAIT_S)

    def cut(self) -> None:
        """End the visitor's socket without a word."""
        self._loop.call_soon_threadsafe(self._socket._writer.transport.abort)

    def _find(self, kind: type[M], accept: Callable[[M], bool]) -> list[M]:
        return [m for m in self._received if isinstance(m, kind) and accept(m)]

    # In the server's thread

    async def _serve(self, is_up: threading.Event) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        app = web.Application()
        app.add_routes([web.get("/", self._index), web.get("/about", self._about), web.get("/live", self._live)])
        app.router.add_static("/page", PAGE)
        app.on_response_prepare.append(_restrict)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]
        pacing = asyncio.create_task(self._pace())
        is_up.set()
        await self._over.wait()
        pacing.cancel()
        if self._socket is not None:
            self._socket._writer.transport.abort()
        await runner.cleanup()

    async def _index(self, request: web.Request) -> web.FileResponse:
        return web.FileResponse(PAGE / "index.html")

    async def _about(self, request: web.Request) -> web.Response:
        if request.headers.get(protocol.TOKEN_HEADER) != TOKEN:
            return web.Response(status=401)
        names = About.__struct_fields__
        about = About(**{"version": protocol.VERSION, **{k: v for k, v in self.about.items() if k in names}})
        return web.Response(body=msgspec.json.encode(about), content_type="application/json")

    async def _live(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            if message.type == WSMsgType.BINARY:
                self._note(protocol.read_media(message.data))
            elif message.type == WSMsgType.TEXT:
                await self._obey(socket, protocol.read_message(message.data))
        if self._socket is socket:
            self._socket = None
        return socket

    async def _obey(self, socket: web.WebSocketResponse, message: protocol.FromVisitor) -> None:
        answer: protocol.ToVisitor | None = None
        match message:
            case protocol.Hello():
                self._socket = socket
                self.hellos.append(message)
                if self.refusal:
                    await socket.send_str(protocol.write_message(self.refusal))
                    await socket.close()
                elif self.is_full:
                    answer = protocol.Waiting(2, 3, 1)
                else:
                    await self._welcome(message)
            case protocol.Ping() if not self.is_full:  # as the server does
                answer = protocol.Pong(message.at_ms, 0.0)
            case protocol.Socket():
                answer = protocol.Carried("socket")
            case protocol.Change():
                answer = protocol.Changed(message.node, message.name, message.value)
            case protocol.Interrupt():
                answer = protocol.Flush(self._sent)
        if answer is not None:
            await socket.send_str(protocol.write_message(answer))
        self._note(message)

    async def _welcome(self, hello: protocol.Hello) -> None:
        is_resumed = hello.visit in self._visits
        visit = hello.visit if is_resumed else f"visit-{len(self._visits)}"
        self._visits.add(visit)
        is_recorded = self.about["is_recorded"] and hello.consent is True
        about = {**self.about, "visit": visit, "is_resumed": is_resumed, "is_recorded": is_recorded}
        await self._socket.send_str(protocol.write_message(Welcome(**about)))

    async def _pace(self) -> None:
        """20 ms of sound, and every second time a picture."""
        begin = self._loop.time()
        for k in itertools.count():
            await asyncio.sleep(max(0.0, begin + 0.02 * k - self._loop.time()))
            if not (self._socket and self.is_sending and self.count(protocol.Socket)):
                continue
            unit, part = divmod(self._sent, 8)
            self._sent += 1
            messages = [Media(AUDIO, True, part, unit, 0, TONE)]
            if part % 2 == 0:
                messages.append(Media(JPEG, True, part // 2, unit, 0, picture(*self.colour)))
            for media in messages:
                try:
                    await self._socket.send_bytes(protocol.write_media(media))
                except (ConnectionError, AttributeError):
                    break  # the visitor has gone meanwhile

    def _note(self, message: protocol.FromVisitor | Media) -> None:
        with self._changed:
            self._received.append(message)
            self._changed.notify_all()


async def _restrict(request: web.Request, response: web.StreamResponse) -> None:
    response.headers["Content-Security-Policy"] = POLICY
