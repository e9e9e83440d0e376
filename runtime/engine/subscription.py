"""Things that a run hands out to the program that runs it: by iteration, in a thread or an asyncio task."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T")


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
            # a task can end with its loop and leave its future here: the call would raise in the run's own thread
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


class Subscription(Generic[T]):
    """Items of one kind that a run hands out, packets of a stream for example, in order, until its end or `close`.

    Iterate over it, with ``for`` in a thread or ``async for`` in a task; one consumer at a time. What is not consumed
    waits here: at most ``backlog`` items, the newest; older ones are dropped and counted.

    Attributes:
        name: of what it is: a stream, ``fences`` or ``records``.
        dropped: how many items were dropped because nobody consumed them in time.
    """

    def __init__(self, name: str, backlog: int | None, bell: Bell) -> None:
        self.name = name
        self.dropped = 0
        self._waiting: deque[T] = deque()
        self._backlog = backlog
        self._is_over = False
        self._bell = bell

    def put(self, item: T) -> None:
        """Add an item; a packet must not lie in memory that others write. From any thread."""
        self.put_all((item,))

    def put_all(self, items: Iterable[T]) -> None:
        """Add items, and wake who waits once."""
        if self._is_over:
            return
        for item in items:
            # the run waits for no consumer: one that sleeps would hold up the playout
            if self._backlog is not None and len(self._waiting) >= self._backlog:
                self._waiting.popleft()
                self.dropped += 1
            self._waiting.append(item)
        self._bell.ring()

    def close(self) -> None:
        """End the iteration after what waits."""
        self._is_over = True
        self._bell.ring()

    def get(self, timeout_s: float | None = None) -> T | None:
        """The next item; None when there is no more, or none came in time."""
        self._bell.wait_for(self._has_news, timeout_s)
        return self._next()

    def waiting(self) -> list[T]:
        """Everything that waits by now, in order; does not wait for more."""
        found: list[T] = []
        while self._waiting:
            found.append(self._waiting.popleft())
        return found

    def __iter__(self) -> Subscription[T]:
        return self

    def __next__(self) -> T:
        item = self.get()
        if item is None:
            raise StopIteration
        return item

    def __aiter__(self) -> Subscription[T]:
        return self

    async def __anext__(self) -> T:
        await self._bell.until(self._has_news)
        item = self._next()
        if item is None:
            raise StopAsyncIteration
        return item

    def __enter__(self) -> Subscription[T]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _has_news(self) -> bool:
        return bool(self._waiting) or self._is_over

    def _next(self) -> T | None:
        return self._waiting.popleft() if self._waiting else None
