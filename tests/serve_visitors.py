"""A server of a real graph in this process, and visitors who speak its protocol by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import aiohttp
import msgspec
import numpy as np

from wangraph.tools.serve.app import Server, ServerOptions
from wangraph.tools.serve.ends import ServedGraph
from wangraph.tools.serve.protocol import (
    AUDIO,
    Devices,
    FromVisitor,
    Hello,
    Media,
    Over,
    Socket,
    ToVisitor,
    Welcome,
    write_media,
    write_message,
)

TOKEN = "the token"
Message = TypeVar("Message")


FILTER = """
# What the visitor sends, as it is; with so much time that a busy machine misses nothing.
latency_ms: 1600
processes:
  main: {lanes: [loop, play]}
nodes:
  me:   {type: capture.pattern, params: {width: 64, height: 64}}
  same: {type: flow.tee, inputs: {value: me.audio}}
  sync: {type: sync.playout, lane: play, inputs: {video: me.video, audio: same.a}}
exports:
  inputs:  {video: me.video, audio: me.audio}
  outputs: {video: sync.video, audio: sync.audio}
  standalone: [me]
"""

_DECODER: msgspec.json.Decoder[ToVisitor] = msgspec.json.Decoder(ToVisitor)


@asynccontextmanager
async def serving(
    graph: str = "",
    sessions: int = 1,
    record: Path | None = None,
    port: int = 0,
    settings: Mapping[str, Any] | None = None,
    **more: Any,
) -> AsyncIterator[Server]:
    """A server on a free port of the loopback interface, of `FILTER` if no graph is named.

    Media take the socket unless ``webrtc`` says otherwise.
    """
    options = ServerOptions("127.0.0.1", port, sessions, TOKEN, record, more.pop("webrtc", None), **more)
    with TemporaryDirectory() as folder:
        Path(folder, "filter.yaml").write_text(FILTER)
        served = ServedGraph(graph or str(Path(folder, "filter.yaml")), settings)
    server = Server(served, options)
    await server.start()
    try:
        yield server
    finally:
        await server.close()


class Visitor:
    """One WebSocket."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.messages: list[ToVisitor] = []
        self.media: list[bytes] = []

    async def say(self, message: FromVisitor) -> None:
        """Send a message."""
        await self.socket.send_str(write_message(message))

    async def until(self, kind: type[Message], accept: Callable[[Message], bool] = lambda message: True) -> Message:
        """The next message of a kind; what came before is kept, and an `Over` that was not waited for fails."""
        async with asyncio.timeout(30):
            async for received in self.socket:
                if received.type is aiohttp.WSMsgType.BINARY:
                    self.media.append(received.data)
                    continue
                message = _DECODER.decode(received.data)
                self.messages.append(message)
                if isinstance(message, kind) and accept(message):
                    return message
                assert not isinstance(message, Over), message
        raise AssertionError(f"closed before a {kind.__name__}: {self.messages[-3:]}")

    async def until_media(self, n: int) -> list[bytes]:
        """So many binary messages."""
        async with asyncio.timeout(30):
            while len(self.media) < n:
                received = await self.socket.receive()
                if received.type is aiohttp.WSMsgType.BINARY:
                    self.media.append(received.data)
                elif received.type is aiohttp.WSMsgType.TEXT:
                    self.messages.append(_DECODER.decode(received.data))
                else:
                    raise AssertionError(f"closed after {len(self.media)} media")
        return self.media

    async def enter(self, token: str = TOKEN, **more: Any) -> Welcome:
        """Say hello, and be let in."""
        await self.say(Hello(token, **more))
        return await self.until(Welcome)

    async def talk(self, seconds: float, frequency_hz: float = 440) -> None:
        """Turn the microphone on, and send a tone at the pace of a microphone."""
        await self.say(Devices("absent", "on"))
        await self.say(Socket())
        loop = asyncio.get_running_loop()
        begin = loop.time()
        for number in range(int(seconds * 50)):
            at = (np.arange(320) + number * 320) / 16000
            samples = (8000 * np.sin(2 * np.pi * frequency_hz * at)).astype("<i2")
            await asyncio.sleep(max(0, begin + number * 0.02 - loop.time()))
            if self.socket.closed:
                return
            await self.socket.send_bytes(write_media(Media(AUDIO, True, 0, number, 0, samples.tobytes())))


@asynccontextmanager
async def visiting(server: Server, **headers: str) -> AsyncIterator[Visitor]:
    """A visitor's socket, open."""
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"http://127.0.0.1:{server.port}/live", headers=headers) as socket,
    ):
        yield Visitor(socket)
