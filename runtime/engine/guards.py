"""Guards: what a node gives out, looked at for numbers that would spoil what follows.

A NaN in a sound silences a codec for good, stops an encoder with a message about something else, and poisons every
state that it reaches. So it is found where it is made, by the node's name, and the unit can be lost instead: settled as
missing, for all its readers alike, which the graph knows how to go on from.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from ..payload import Payload, is_on_host, on_host
from ..plan.plan import StreamPlan

FULL_SCALE = 1.0001
"""Of samples: beyond it a sound is clipped wherever it is played; the rest is room for rounding."""

Notice = Callable[[str, str], None]
"""Takes a note: its kind and its text."""


def no_notice(kind: str, text: str) -> None:
    """For a body that nobody watches."""


class OutputGuard:
    """Looks at one output of a node, unit by unit.

    Args:
        stream: its plan; the guard is the strictest that its readers ask for.
        notice: gets a note of the first unit that was bad, and whenever their number has doubled.

    Attributes:
        n_bad: units that had numbers which are not finite.
        n_clipped: units of a sound that went beyond full scale.
    """

    def __init__(self, stream: StreamPlan, notice: Notice) -> None:
        self.n_bad = self.n_clipped = 0
        self.policy = stream.guard
        self._name, self._is_sound = f"node '{stream.node}', output '{stream.port}'", stream.kind == "audio"
        self._notice = notice
        self._reported = 0

    def fault_in(self, tensors: Mapping[str, Payload]) -> str:
        """In words, how many numbers are not finite; empty for none. A clipped sound is counted, and is none."""
        for name, payload in tensors.items():
            if not is_on_host(payload) or payload.dtype.kind != "f":
                continue  # a look must not cost a copy from a device
            array = on_host(payload)
            if not array.size:
                continue
            # no copy: of a large tensor, one made to be looked at costs more than the look. NaN survives both.
            highest, lowest = np.maximum.reduce(array, axis=None), np.minimum.reduce(array, axis=None)
            if not (lowest > -math.inf and highest < math.inf):
                n = int(array.size - np.isfinite(array).sum())
                where = f" of tensor '{name}'" if name else ""
                return f"{n} of {array.size} numbers{where} that are NaN or infinite"
            if self._is_sound and (highest > FULL_SCALE or lowest < -FULL_SCALE):
                self.n_clipped += 1
        return ""

    def strike(self, unit: int, found: str) -> None:
        """Count a bad unit, and tell of it now and then."""
        self.n_bad += 1
        if self.n_bad < 2 * self._reported:
            return
        self._reported = self.n_bad
        outcome = "lost instead" if self.policy == "conceal" else "given out all the same"
        so_far = f", {self.n_bad} units so far" if self.n_bad > 1 else ""
        self._notice("guard", f"{self._name}, unit {unit}: found {found} (expected finite), {outcome}{so_far}")

    @property
    def report(self) -> str:
        """Findings over the whole run, in words; empty for none."""
        parts = []
        if self.n_bad:
            lost = ", lost instead" if self.policy == "conceal" else ""
            parts.append(f"{self.n_bad} units with NaN or infinite numbers{lost}")
        if self.n_clipped:
            parts.append(f"{self.n_clipped} units beyond full scale")
        return f"{self._name}: {'; '.join(parts)}" if parts else ""


def guards_of(streams: Mapping[str, StreamPlan], notice: Notice) -> dict[str, OutputGuard]:
    """The guards of a node's outputs, by port; none where nothing can be wrong, or nobody asks."""
    return {
        port: OutputGuard(stream, notice)
        for port, stream in streams.items()
        if stream.guard != "off" and any(_is_float(tensor.dtype) for tensor in stream.tensors)
    }


def _is_float(dtype: str | None) -> bool:
    return dtype is None or dtype.startswith("float")
