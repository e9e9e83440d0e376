"""The scheduler under a decision log: the same events and decisions, taken from what was recorded.

Time decides nothing here. A node fires with the units, mode and level that the log names, as soon as what it takes
in has been made again; a (stream, unit) settles as the log says, whatever the body gives this time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping

from msgspec.structs import replace

from ..packet import Packet, Validity
from ..plan.plan import NodePlan, Plan
from .decide import Fire
from .events import Event, Fenced, Firing, Settlement, Updated
from .scheduler import NodeState, Scheduler
from .window import Settled

AHEAD_UNITS = 32
"""How far sources may run ahead of the slowest node: time does not hold them here, and packets are memory."""


class ReplayScheduler(Scheduler):
    """Follows ``log``; nodes end where they ended in it."""

    def __init__(
        self,
        plan: Plan,
        *,
        log: Iterable[Event],
        initial: Mapping[tuple[str, str], Packet] | None = None,
        tap: Callable[[Packet], None] | None = None,
    ) -> None:
        super().__init__(plan, initial=initial, tap=tap)
        self._timed = []
        self._look_ahead = sum(i.look_ahead for n in plan.nodes.values() for i in n.inputs)
        self._firings: dict[str, deque[Firing]] = {name: deque() for name in self.nodes}
        self._outcomes: dict[tuple[str, int], Validity] = {}
        for event in log:
            if isinstance(event, Firing) and event.node in self._firings:
                self._firings[event.node].append(event)
            elif isinstance(event, Settlement):
                self._outcomes[event.stream, event.unit] = Validity(event.validity)
            elif isinstance(event, Updated) and event.node in self.nodes:
                self._change(event)
            elif isinstance(event, Fenced):
                self._decided(event)

    def wakeup(self, now: int) -> int | None:
        """Never: nothing waits for time."""
        return None

    def _next(self, state: NodeState, now: int) -> Fire | None:
        script = self._firings[state.plan.name]
        if not script:
            self._end(state, state.cursor, now)
            return None
        planned = script[0]
        if state.plan.is_source and planned.first > self._slowest() + AHEAD_UNITS + self._look_ahead:
            return None
        if planned.mode != "skip":
            for unit in range(planned.first, planned.last + 1):
                if not state.plan.is_source and self._inlets.given(state.plan, unit) is None:
                    return None
        script.popleft()
        fire = self._fire(state, planned.mode, planned.first, planned.last, now)
        return replace(fire, level=planned.level)

    def _slowest(self) -> int:
        """The first unit that some node has not taken in."""
        waiting = [s.cursor for s in self.nodes.values() if not s.ended and not s.plan.is_source]
        return min(waiting, default=2**62)

    def _give(self, node: NodePlan, packet: Packet, now: int) -> None:
        self._publish(packet, now)

    def _publish(self, packet: Packet, now: int) -> None:
        """An end that came late ended its stream later: what the log calls missing before it is so again."""
        while packet.validity is Validity.END and self._is_missing(packet.stream, packet.unit):
            super()._publish(self._blank(packet.stream, packet.unit, Validity.MISSING), now)
            packet = self._blank(packet.stream, packet.unit + 1, Validity.END)
        super()._publish(packet, now)

    def _settle(self, packet: Packet, now: int) -> Packet | None:
        planned = self._outcomes.get((packet.stream, packet.unit))
        if planned in (Validity.MISSING, Validity.END) and packet.validity is not planned:
            packet = self._blank(packet.stream, packet.unit, planned)
        return super()._settle(packet, now)

    def _look(self, stream: str, unit: int) -> Settled | None:
        """A unit that the log calls missing is missing at once: nobody waits for what came too late."""
        settled = super()._look(stream, unit)
        if settled is None and self._is_missing(stream, unit):
            self._publish(self._blank(stream, unit, Validity.MISSING), 0)
            settled = super()._look(stream, unit)
        return settled

    def _is_missing(self, stream: str, unit: int) -> bool:
        return self._outcomes.get((stream, unit)) is Validity.MISSING
