"""Way of what the graph gives to a visitor: pictures and sound to the pacer, words and states as messages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ...runtime.packet import Packet
from ...runtime.plan.plan import Plan
from .pacer import Pacer
from .protocol import Caption, State, ToVisitor

WAIT_UNITS = 2
"""Units that wait for their second half, the sound or the picture, before they are handed out without it."""

SPEAKING = "speak"
"""A state whose name begins so is one in which the agent is heard; an interruption lasts until it is over."""

QUIET_S = 3.0
"""How long an interruption keeps the agent quiet at most, and always where its graph tells no states."""


class Playout:
    """Joins the streams of one run by units.

    Args:
        plan: of the run.
        streams: by what comes out, of `ends.KINDS`.
        origin_ns: the beginning of unit 0 on the machine's monotonic clock.
        symbols: names of the numbers in an event, see `Node.symbols`.
        pacer: gets pictures and sound.
        send: gets messages.
        now_ns: the machine's monotonic clock.

    Attributes:
        state: of the agent, as its graph names it; empty where it does not.
    """

    def __init__(
        self,
        plan: Plan,
        streams: Mapping[str, str],
        origin_ns: int,
        symbols: Sequence[Sequence[str]],
        pacer: Pacer,
        send: Callable[[ToVisitor], None],
        now_ns: Callable[[], int],
    ) -> None:
        self.state = ""
        self._plan, self._origin_ns, self._symbols = plan, origin_ns, symbols
        self._pacer, self._send, self._now_ns = pacer, send, now_ns
        self._media = [kind for kind in ("video", "audio") if kind in streams]
        self._halves: dict[int, dict[str, NDArray[np.generic] | None]] = {}
        self._quiet_from: int | None = None

    def take(self, kind: str, packet: Packet) -> None:
        """A packet of one of the streams, as it settled."""
        if kind in self._media:
            self._join(kind, packet)
        elif not packet.tensors:
            return
        elif kind == "text":
            self._send(Caption(packet.unit, "agent", packet.array.tobytes().decode(errors="replace")))
        elif kind == "event":
            self._take_event(packet)

    def interrupt(self, unit: int) -> None:
        """The visitor wants quiet from this unit on: what the agent is saying is not handed out to its end."""
        self._quiet_from = unit

    @property
    def is_quiet(self) -> bool:
        """True if an interruption goes on."""
        return self._quiet_from is not None

    def _take_event(self, packet: Packet) -> None:
        number = int(packet.array.reshape(-1)[0])
        names = self._symbols[0] if self._symbols else ()
        name = names[number] if number < len(names) else str(number)
        if name != self.state:
            self.state = name
            self._send(State(packet.unit, name))
        is_over = any(map(_speaks, names)) and not _speaks(name)
        if self._quiet_from is not None and is_over and packet.unit > self._quiet_from:
            self._quiet_from = None

    def _join(self, kind: str, packet: Packet) -> None:
        """Keep one half of a unit until the other is there."""
        half = packet.array if packet.tensors else None
        self._halves.setdefault(packet.unit, {})[kind] = half
        newest = max(self._halves)
        for unit in sorted(self._halves):
            if len(self._halves[unit]) == len(self._media) or unit <= newest - WAIT_UNITS:
                self._hand_out(unit, self._halves.pop(unit))
            else:
                return

    def _hand_out(self, unit: int, halves: Mapping[str, NDArray[np.generic] | None]) -> None:
        video, audio = halves.get("video"), halves.get("audio")
        if self._quiet_from is not None:
            if (unit - self._quiet_from) * self._plan.clock.period_ns > QUIET_S * 1e9:
                self._quiet_from = None
            else:
                audio = None
        self._pacer.put(
            unit,
            None if video is None else np.asarray(video, np.uint8),
            None if audio is None else np.asarray(audio, np.float32),
            self._origin_ns + self._plan.release_ns(unit) + self._plan.latency_ns,
            self._now_ns(),
        )


def _speaks(state: str) -> bool:
    return state.startswith(SPEAKING)
