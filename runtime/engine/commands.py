"""What is asked of a run while it goes on: to end, to raise a fence. From any thread, or from a signal handler."""

from __future__ import annotations

import os
import select
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple


class FenceAsked(NamedTuple):
    """Drop what these streams hold of older generations from ``first_unit`` on (None: from the unit going on)."""

    streams: tuple[str, ...]
    first_unit: int | None


class Asked:
    """A mailbox with a bell: who serves the run waits on `fileno` and looks after it rang."""

    def __init__(self) -> None:
        self.stops = 0
        self._fences: deque[FenceAsked] = deque()
        self._bell, self._button = os.pipe()
        os.set_blocking(self._bell, False)
        os.set_blocking(self._button, False)

    def stop(self) -> None:
        """End in order; asked twice, at once."""
        self.stops += 1
        self._ring()

    def fence(self, streams: Sequence[str], first_unit: int | None) -> None:
        """Raise a fence."""
        self._fences.append(FenceAsked(tuple(streams), first_unit))
        self._ring()

    def take_fences(self) -> list[FenceAsked]:
        """Fences asked for since the last call."""
        taken = []
        while self._fences:
            taken.append(self._fences.popleft())
        return taken

    def fileno(self) -> int:
        """Readable after the bell rang."""
        return self._bell

    def wait(self, seconds: float) -> None:
        """Until the bell rings, or so long."""
        if select.select([self._bell], [], [], seconds)[0]:
            self.quiet()

    def quiet(self) -> None:
        """Let the bell ring again for what is asked from now on."""
        try:
            os.read(self._bell, 4096)
        except BlockingIOError:
            return

    def close(self) -> None:
        """Nobody serves the run any more."""
        os.close(self._bell)
        os.close(self._button)
        self._button = -1

    def _ring(self) -> None:
        if self._button < 0:
            return
        try:
            os.write(self._button, b"!")
        except BlockingIOError:
            return  # it rings already
