"""Admission of visits: so many at once, the others in the order in which they came."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

MAX_WAITING = 100
"""Visitors in the queue; those who come then are refused: each holds a socket."""


class Full(Exception):
    """The queue is full."""


class Admission:
    """Places for visits, in one event loop. Whoever leaves gives the place to the first who waits.

    Args:
        places: visits at once.
    """

    def __init__(self, places: int, max_waiting: int = MAX_WAITING) -> None:
        self.places = places
        self._max_waiting = max_waiting
        self._taken = 0
        self._queue: list[tuple[asyncio.Future[None], Callable[[int, int], None]]] = []

    @property
    def taken(self) -> int:
        """Places that are taken."""
        return self._taken

    @property
    def waiting(self) -> int:
        """Number of those who wait."""
        return len(self._queue)

    async def enter(self, on_place: Callable[[int, int], None]) -> None:
        """Take a place as soon as there is one; `leave` gives it back. Cancelled, it leaves the queue.

        Args:
            on_place: called with the place in the queue, from 1, and how many wait, at first and whenever it changes.

        Raises:
            Full: too many wait.
        """
        if self._taken < self.places and not self._queue:
            self._taken += 1
            return
        if len(self._queue) >= self._max_waiting:
            raise Full
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (turn, on_place)
        self._queue.append(entry)
        self._tell()
        try:
            await turn
        except asyncio.CancelledError:
            if entry in self._queue:
                self._queue.remove(entry)
                self._tell()
            elif turn.done() and not turn.cancelled():  # the place was given, and nobody is there to take it
                self.leave()
            raise

    def leave(self) -> None:
        """Give a place back."""
        while self._queue:
            turn, _ = self._queue.pop(0)
            if not turn.done():
                turn.set_result(None)  # the place changes hands: nobody else can come between
                self._tell()
                return
        self._taken -= 1

    def _tell(self) -> None:
        for place, (_, on_place) in enumerate(self._queue, start=1):
            on_place(place, len(self._queue))
