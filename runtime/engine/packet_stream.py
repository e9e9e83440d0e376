"""Packets of one stream, handed out to a program that runs a graph: by iteration, in a thread or an asyncio task."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from types import TracebackType

from ..packet import Packet


class Bell:
    """Wakes threads and asyncio tasks that wait for something to become true. `ring` may be called from any thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._tasks: set[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = set()

    def ring(self) -> None:
        """Something changed: let everybody look again."""
        with self._changed:
            self._changed.notify_all()
            tasks, self._tasks = self._tasks, set()
        for loop, future in tasks:
            if not loop.is_closed():
                loop.call_soon_threadsafe(_finish, future)

    def wait_for(self, is_true: Callable[[], bool], timeout_s: float | None = None) -> bool:
        """Wait in a thread; whether it became true in time."""
        with self._changed:
            return self._changed.wait_for(is_true, timeout_s)

    async def until(self, is_true: Callable[[], bool]) -> None:
        """Wait in a task."""
        loop = asyncio.get_running_loop()
        while True:
            with self._changed:  # under the lock, or a ring between the look and the wait would be missed
                if is_true():
                    return
                waiting = (loop, loop.create_future())
                self._tasks.add(waiting)
            try:
                await waiting[1]
            finally:
                with self._changed:
                    self._tasks.discard(waiting)


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class PacketStream:
    """Packets of a stream in the order in which they settled, until the run ends or `close` is called.

    Iterate over it, with ``for`` in a thread or ``async for`` in a task; one consumer at a time. What is not consumed
    waits here: at most ``backlog`` packets, the newest; older ones are dropped and counted.

    Attributes:
        stream: its name.
        dropped: how many packets were dropped because nobody consumed them in time.
    """

    def __init__(self, stream: str, backlog: int | None, bell: Bell) -> None:
        self.stream = stream
        self.dropped = 0
        self._waiting: deque[Packet] = deque()
        self._backlog = backlog
        self._is_over = False
        self._bell = bell

    def put(self, packet: Packet) -> None:
        """Take a packet in; it must not lie in memory that others write. From any thread."""
        if self._is_over:
            return
        if self._backlog is not None and len(self._waiting) >= self._backlog:
            self._waiting.popleft()
            self.dropped += 1
        self._waiting.append(packet)
        self._bell.ring()

    def close(self) -> None:
        """End the iteration after what waits."""
        self._is_over = True
        self._bell.ring()

    def get(self, timeout_s: float | None = None) -> Packet | None:
        """The next packet; None when there is no more, or none came in time."""
        self._bell.wait_for(self._has_news, timeout_s)
        return self._next()

    def __iter__(self) -> PacketStream:
        return self

    def __next__(self) -> Packet:
        packet = self.get()
        if packet is None:
            raise StopIteration
        return packet

    def __aiter__(self) -> PacketStream:
        return self

    async def __anext__(self) -> Packet:
        await self._bell.until(self._has_news)
        packet = self._next()
        if packet is None:
            raise StopAsyncIteration
        return packet

    def __enter__(self) -> PacketStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _has_news(self) -> bool:
        return bool(self._waiting) or self._is_over

    def _next(self) -> Packet | None:
        return self._waiting.popleft() if self._waiting else None
