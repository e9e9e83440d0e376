"""The scheduler under a decision log: the same events and decisions, taken from what was recorded.

Time decides nothing here. A node fires with the units, mode and level that the log names, as soon as what it takes
in has been made again; a (stream, unit) settles as the log says, whatever the body gives this time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from msgspec.structs import replace

from ..errors import UserError
from ..packet import Packet, Validity
from ..plan.plan import NodePlan, Plan
from .decide import Fire
from .events import Event, Fenced, Firing, Settlement, Updated
from .node_state import NodeState
from .rules import Rules
from .scheduler import Scheduler
from .streams import Streams
from .window import Settled, StreamWindow

AHEAD_UNITS = 32
"""How far sources may run ahead of the slowest node: time does not hold them here, and packets are memory."""


class ReplayScheduler(Scheduler):
    """Follows what ``log`` says of one session; nodes end where they ended in it.

    A call waits for all units that it covers, not only for the one at the cursor, and a source for the slowest node:
    counts and alarms say nothing of that, so whatever settles or moves queues those whom it may concern.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        log: Iterable[Event],
        initial: Mapping[tuple[str, str], Packet] | None = None,
        tap: Callable[[Packet], None] | None = None,
        session: int = 0,
        first_unit: int = 0,
    ) -> None:
        self._firings: dict[str, deque[Firing]] = {name: deque() for name in plan.nodes}
        self._outcomes: dict[tuple[str, int], Validity] = {}
        commands: list[Fenced | Updated] = []
        for event in log:
            if event.session != session:
                continue
            if event.incarnation:
                raise UserError(
                    "log: found the log of a run in which a process died (expected one in which none did: what it "
                    "decided last is lost), run the graph anew"
                )
            if isinstance(event, Firing) and event.node in self._firings:
                self._firings[event.node].append(event)
            elif isinstance(event, Settlement):
                self._outcomes[event.stream, event.unit] = Validity(event.validity)
            elif isinstance(event, Fenced | Updated):
                commands.append(event)
        super().__init__(plan, initial=initial, tap=tap, session=session, first_unit=first_unit)
        for command in commands:
            if isinstance(command, Fenced):
                self._log.add(command)
            elif command.node in self.nodes:
                self._change(command)

    def _make_streams(
        self, tap: Callable[[Packet], None] | None, *, limit: int | None, lives: Mapping[str, int], keep_ns: int
    ) -> Streams:
        return _ReplayStreams(
            self.plan, None, log=self._log, on_settled=self._count_down, tap=tap, session=self.session,
            first_unit=self.first_unit, outcomes=self._outcomes,
        )  # fmt: skip

    def _make_rules(self) -> Rules:
        return _ReplayRules(
            self.plan, self._inlets, self.windows, self._streams.ends, self.session,
            scripts=self._firings, nodes=self.nodes,
        )  # fmt: skip

    def _count_down(self, packet: Packet, now: int) -> None:
        for state, _ in self._readers.get(packet.stream, ()):
            self._wake(state, now)

    def _move(self, state: NodeState, unit: int) -> None:
        super()._move(state, unit)
        self._wake_sources()

    def _end(self, state: NodeState, unit: int, now: int) -> None:
        super()._end(state, unit, now)
        self._wake_sources()

    def _wake_sources(self) -> None:
        for state in self.nodes.values():
            if state.plan.is_source:
                self._wake(state, 0)

    def _wake(self, state: NodeState, now: int) -> None:
        if state.running is None and not state.ended and not state.is_queued:
            self._queues[state.lane].add(state, self._rules.urgency(state))


class _ReplayRules(Rules):
    """A node does what its script says next, as soon as its inputs have been made again."""

    def __init__(self, *args: Any, scripts: Mapping[str, deque[Firing]], nodes: Mapping[str, NodeState]) -> None:
        super().__init__(*args)
        self._scripts = scripts
        self._nodes = nodes
        self._look_ahead = sum(i.look_ahead for n in self._plan.nodes.values() for i in n.inputs)

    def is_over(self, state: NodeState, unit: int) -> bool:
        """At the end of its script."""
        return not self._scripts[state.plan.name]

    def opens(self, state: NodeState) -> int | None:
        """Never: nothing waits for time."""
        return None

    def next(self, state: NodeState, now: int) -> Fire | None:
        """The call at the head of its script, once all that it covers is there."""
        script = self._scripts[state.plan.name]
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
        waiting = [s.cursor for s in self._nodes.values() if not s.ended and not s.plan.is_source]
        return min(waiting, default=2**62)


class _ReplayStreams(Streams):
    """Streams that settle as ``outcomes`` say."""

    def __init__(self, *args: Any, outcomes: Mapping[tuple[str, int], Validity], **kwargs: Any) -> None:
        self._outcomes = outcomes
        super().__init__(*args, **kwargs)

    def give(self, node: NodePlan, packet: Packet, now: int) -> None:
        """Publish at once: no release is waited for."""
        self.publish(packet, now)

    def publish(self, packet: Packet, now: int) -> None:
        """An end that came late ended its stream later: what the log calls missing before it is so again."""
        while packet.validity is Validity.END and self._is_missing(packet.stream, packet.unit):
            super().publish(self.blank(packet.stream, packet.unit, Validity.MISSING), now)
            packet = self.blank(packet.stream, packet.unit + 1, Validity.END)
        super().publish(packet, now)

    def settle(self, packet: Packet, now: int) -> Packet | None:
        """Settle as the log says, where that is another outcome."""
        planned = self._outcomes.get((packet.stream, packet.unit))
        if planned in (Validity.MISSING, Validity.END) and packet.validity is not planned:
            packet = self.blank(packet.stream, packet.unit, planned)
        return super().settle(packet, now)

    def outcome(self, stream: str, unit: int) -> Settled | None:
        """A unit that the log calls missing is missing at once: nobody waits for what came too late."""
        settled = super().outcome(stream, unit)
        if settled is None and self._is_missing(stream, unit):
            self.publish(self.blank(stream, unit, Validity.MISSING), 0)
            settled = super().outcome(stream, unit)
        return settled

    def _time_out(self, window: StreamWindow) -> int | None:
        """Never: what is missing is known."""
        return None

    def _is_missing(self, stream: str, unit: int) -> bool:
        return self._outcomes.get((stream, unit)) is Validity.MISSING
