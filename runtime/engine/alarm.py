"""An alarm: what a thread sleeps on until an instant, or until another thread rings."""

from __future__ import annotations

import threading


class Alarm:
    """One sleeper, many who ring. A ring with nobody asleep ends the next sleep at once: none is lost.

    A `threading.Condition` does the same in a dozen calls of Python each time, on the way of every unit.
    """

    def __init__(self) -> None:
        self._rings = threading.Lock()
        self._rings.acquire()
        self._guard = threading.Lock()

    def sleep(self, seconds: float | None) -> None:
        """Until it rings, or so long; None: however long that takes."""
        self._rings.acquire(timeout=-1 if seconds is None else min(max(0.0, seconds), threading.TIMEOUT_MAX))

    def ring(self) -> None:
        """Wake the sleeper. From any thread."""
        # two at a time would both find it silent, and the second one would free what is free already, which raises
        with self._guard:
            if self._rings.locked():
                self._rings.release()
