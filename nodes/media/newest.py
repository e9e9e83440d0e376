"""Pictures of a clock that is not ours, at our instants: the newest at each, repeated or left out as need be."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]

STALE_NS = 1_000_000_000
"""A picture this old is no longer what is to be seen: a camera that gives nothing new is frozen or gone."""


class NewestPictures:
    """Keeps the pictures that came, each with its instant, until they have been shown or are too old.

    Pure: instants are arguments. No locks: an owner whose threads put and read at the same time has one.

    Args:
        most: pictures that wait at most; the oldest are dropped. More than come within a unit.

    Attributes:
        n_put: pictures that came.
        n_dropped: pictures that were never shown, as a newer one was there.
        n_held: instants that show the same picture as the one before.
    """

    def __init__(self, most: int) -> None:
        self.n_put = self.n_dropped = self.n_held = 0
        self._most = most
        self._waiting: deque[tuple[int, Image]] = deque()
        self._shown: tuple[int, Image] | None = None

    def put(self, image: Image, at_ns: int) -> None:
        """Keep one picture; instants ascend."""
        self.n_put += 1
        self._waiting.append((at_ns, image))
        if len(self._waiting) > self._most:
            self._waiting.popleft()
            self.n_dropped += 1

    def read(self, instants: Sequence[int]) -> list[Image] | None:
        """The newest picture at each of these instants, in ascending order; None where there is none or it is stale.

        Instants before the first picture show that one, so that a unit has pictures or has none.
        """
        found = [(at_ns, self._newest(at_ns)) for at_ns in instants]
        fresh = [shown if shown and at_ns - shown[0] < STALE_NS else None for at_ns, shown in found]
        first = next((shown for shown in fresh if shown is not None), None)
        if first is None:
            return None
        last, images = first, []
        for shown in fresh:
            last = shown or last
            images.append(last[1])
        return images

    def clear(self) -> None:
        """Forget all of them, as when the camera is gone."""
        self._waiting.clear()
        self._shown = None

    def _newest(self, at_ns: int) -> tuple[int, Image] | None:
        is_new = False
        while self._waiting and self._waiting[0][0] <= at_ns:
            self.n_dropped += is_new
            self._shown, is_new = self._waiting.popleft(), True
        self.n_held += not is_new and self._shown is not None
        return self._shown
