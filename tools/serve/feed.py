"""Units of what a visitor sends, handed to the graph just before each is complete."""

from __future__ import annotations

import asyncio
import base64
import math
from collections import deque
from collections.abc import Callable, Sequence

import av
import numpy as np
from numpy.typing import NDArray

from ...runtime.engine.run import Run
from .ends import VISITOR
from .inbound import CUT_NS, Inbound

SILENCE_DB = -90.0
"""Loudness of a sound that is all zero."""


class Feed:
    """Hands a visitor's units to a run, one after the other, until the run ends.

    Args:
        run: that has begun.
        takes: ports of the visitor's node that the graph reads.
        inbound: gives the units.

    Attributes:
        n_skipped: units that were not handed over, because this process was held up for longer than a unit.
    """

    def __init__(self, run: Run, takes: Sequence[str], inbound: Inbound) -> None:
        timebase = run.timebase
        assert timebase is not None, "feed a run that has begun"
        self.n_skipped = 0
        self._run, self._takes, self._inbound, self._timebase = run, set(takes), inbound, timebase
        self._levels: dict[int, tuple[float | None, bool]] = {}
        self._outcomes: deque[tuple[int, bool]] = deque()
        self._seen: tuple[int, NDArray[np.uint8]] | None = None

    async def forever(self, now_ns: Callable[[], int]) -> None:
        """Hand over every unit at its time."""
        unit = max(0, self._timebase.unit_at(now_ns() + CUT_NS))
        while self._run.state != "ended":
            await asyncio.sleep(max(0, self._due_ns(unit) - now_ns()) / 1e9)
            self.hand_over(unit)
            newest = max(unit + 1, self._timebase.unit_at(now_ns() + CUT_NS))
            self.n_skipped += newest - unit - 1
            unit = newest

    def hand_over(self, unit: int) -> None:
        """Send what there is of a unit, and what is known of what was heard."""
        given = self._inbound.unit(unit)
        sound, pictures = given.get("audio"), given.get("video")
        for port, value in given.items():
            if value is not None and port in self._takes:
                self._run.send(f"{VISITOR}.{port}", value)
        if pictures is not None:
            self._seen = unit, np.array(pictures[-1], np.uint8)
        self._levels[unit] = (None if sound is None else loudness(sound), pictures is not None)
        self._levels.pop(unit - 64, None)
        if self._outcomes and "played" in self._takes:
            answered, was_heard = self._outcomes.popleft()
            self._run.send(f"{VISITOR}.played", np.array([answered, not was_heard], np.int64))

    def add_outcome(self, unit: int, was_heard: bool) -> None:
        """The visitor heard this unit of the graph's, or did not; in order, each unit once."""
        self._outcomes.append((unit, was_heard))

    def level(self, unit: int) -> tuple[float | None, bool]:
        """Loudness of what was handed over for a unit, in dB of full scale, and whether there was a picture."""
        return self._levels.get(unit, (None, False))

    def seen(self) -> tuple[int, str] | None:
        """The newest picture that was handed over: its unit, and a PNG as base64."""
        if self._seen is None:
            return None
        unit, picture = self._seen
        return unit, base64.b64encode(png(picture)).decode()

    def _due_ns(self, unit: int) -> int:
        return self._timebase.origin_ns + self._timebase.clock.release_ns(unit) - CUT_NS


def loudness(samples: NDArray[np.generic]) -> float:
    """Root mean square of samples in -1..1, in dB of full scale."""
    power = float(np.mean(np.square(samples.astype(np.float64)))) if samples.size else 0.0
    return round(10 * math.log10(power), 1) if power > 1e-9 else SILENCE_DB


def png(picture: NDArray[np.uint8]) -> bytes:
    """An RGB picture ``[H, W, 3]`` as a PNG."""
    encoder = av.CodecContext.create("png", "w")
    encoder.width, encoder.height, encoder.pix_fmt = picture.shape[1], picture.shape[0], "rgb24"
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
    return b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])
