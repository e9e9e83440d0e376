"""The way to a visitor beside the media: their WebSocket, as something that nothing has to wait for."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Protocol

from aiohttp import WSCloseCode, web

from .protocol import Over, ToVisitor, write_message

MAX_QUEUED = 2000
"""Messages that wait to be sent to one visitor; who takes none is not there."""


class Channel(Protocol):
    """Messages and media to a visitor; no call of it waits."""

    def send(self, message: ToVisitor) -> None:
        """Queue a message."""
        ...

    def send_media(self, data: bytes) -> None:
        """Queue a binary message."""
        ...

    def waiting_bytes(self) -> int:
        """Bytes that have not left yet."""
        ...


class SocketChannel:
    """The WebSocket of one visitor: a `Channel`. Nothing waits but the task that sends."""

    def __init__(self, socket: web.WebSocketResponse, request: web.Request) -> None:
        self._socket, self._request = socket, request
        self._queue: asyncio.Queue[str | bytes | None] = asyncio.Queue()
        self._sending = asyncio.create_task(self._send_all())
        self._queued_bytes = 0

    def send(self, message: ToVisitor) -> None:
        """Queue a message."""
        self._put(write_message(message))

    def send_media(self, data: bytes) -> None:
        """Queue a binary message."""
        self._put(data)

    def waiting_bytes(self) -> int:
        """Bytes that are queued here, and those that wait in the operating system's way out."""
        transport = self._request.transport
        return self._queued_bytes + (transport.get_write_buffer_size() if transport is not None else 0)

    async def close(self, over: Over | None = None) -> None:
        """Send what is queued, say goodbye, close."""
        if over is not None:
            self.send(over)
        self._queue.put_nowait(None)
        with suppress(TimeoutError, asyncio.CancelledError):
            await asyncio.wait_for(asyncio.shield(self._sending), 1.0)
        self._sending.cancel()
        with suppress(ConnectionError, RuntimeError, TimeoutError):
            await asyncio.wait_for(self._socket.close(code=WSCloseCode.OK), 1.0)

    def _put(self, data: str | bytes) -> None:
        if self._queue.qsize() >= MAX_QUEUED:
            self._sending.cancel()  # nobody takes anything: the reader finds the socket closed
            return
        self._queued_bytes += len(data)
        self._queue.put_nowait(data)

    async def _send_all(self) -> None:
        try:
            while (data := await self._queue.get()) is not None:
                self._queued_bytes -= len(data)
                if isinstance(data, str):
                    await self._socket.send_str(data)
                else:
                    await self._socket.send_bytes(data)
        except (ConnectionError, RuntimeError):
            pass  # the visitor is gone, which the reader finds out
        finally:
            if self._request.transport is not None and self._queue.qsize() >= MAX_QUEUED:
                self._request.transport.abort()


class NoChannel:
    """The channel of a visitor who has no WebSocket: what is said goes nowhere."""

    def send(self, message: ToVisitor) -> None:
        """Nothing."""

    def send_media(self, data: bytes) -> None:
        """Nothing."""

    def waiting_bytes(self) -> int:
        """None."""
        return 0
