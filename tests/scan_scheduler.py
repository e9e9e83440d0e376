"""The scheduler that looks at everything after every event: what the counting one must decide like.

It keeps no count, no queue and no alarm: whoever can go on is found by trying every node of a lane, what time settles
by trying every window, the next instant by asking all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from wangraph.runtime.packet import Packet, Validity
from wangraph.runtime.plan.plan import NodePlan
from wangraph.runtime.schedule.decide import Fire
from wangraph.runtime.schedule.inlets import is_lost
from wangraph.runtime.schedule.node_state import NodeState
from wangraph.runtime.schedule.scheduler import Scheduler, lane_of
from wangraph.runtime.schedule.streams import Streams


class ScanScheduler(Scheduler):
    """See the module."""

    def _make_streams(self, tap: Callable[[Packet], None] | None, **numbers) -> Streams:
        return ScanStreams(
            self.plan, self.process, log=self._log, on_settled=lambda packet, now: None, tap=tap, **numbers
        )

    def advance(self, now: int) -> None:
        self._streams.advance(now)

    def choose(self, lane: str, now: int) -> Fire | None:
        states = [s for s in self.nodes.values() if lane_of(s.plan) == lane]
        seen = -1
        while seen != self._log.n_decided:
            seen = self._log.n_decided
            for state in sorted(states, key=self._urgency):
                if state.running is not None or state.ended:
                    continue
                fire = self._next(state, now)
                if fire is not None and fire.mode != "skip":
                    state.running = fire
                    return fire
                if fire is not None:
                    self._skip(state, fire, now)
                if seen != self._log.n_decided:
                    break
        return None

    def choose_all(self, idle: Iterable[str], now: int) -> list[Fire]:
        waiting, chosen, seen = list(idle), [], -1
        while seen != self._log.n_decided:
            seen = self._log.n_decided
            for lane in list(waiting):
                if (fire := self.choose(lane, now)) is not None:
                    waiting.remove(lane)
                    chosen.append(fire)
        return chosen

    def wakeup(self, now: int) -> int | None:
        times = self._streams.all_times()
        for state in self.nodes.values():
            if state.running is not None or state.ended:
                continue
            if state.plan.is_source:
                times.append(self.plan.release_ns(state.cursor - state.plan.ahead_units))
            elif state.plan.paced and not self._inlets.open_inlets(state.plan, state.cursor):
                times.append(self._due(state.plan, state.cursor))
        return min([at for at in times if at > now] + [now + 1] * self._streams.is_overdue(now), default=None)

    @property
    def done(self) -> bool:
        if self._streams.held or not all(state.ended for state in self.nodes.values()):
            return False
        return all(w.ended_at is not None for w in self.windows.values() if w.plan.node not in self.nodes)

    def _wake(self, state: NodeState, now: int) -> None:
        """Nobody waits to be woken."""

    def _next(self, state: NodeState, now: int) -> Fire | None:
        node, unit = state.plan, state.cursor
        if node.is_source:
            return self._next_of_source(state, now)
        if self._have_all_ended(node, unit):
            self._end(state, unit, now)
            return None
        given = self._inlets.given(node, unit)
        if given is None:
            return None
        if node.paced:
            due = self._due(node, unit)
            return None if due is not None and now < due else self._fire(state, "step", unit, unit, now, given)
        if self._is_behind(node, unit, now):
            return self._catch_up(state, now)
        if is_lost(node, given):
            return self._fire(state, "gap" if node.stateful else "skip", unit, unit, now)
        return self._fire(state, "step", unit, unit, now, given)

    def _have_all_ended(self, node: NodePlan, unit: int) -> bool:
        direct = [i for i in node.inputs if not i.delay] or list(node.inputs)
        found = [self._streams.outcome(i.stream, unit - i.delay) for i in direct]
        return all(settled is not None and settled.packet.validity is Validity.END for settled in found)

    def _is_over_at(self, state: NodeState, unit: int) -> bool:
        return self._have_all_ended(state.plan, unit)


@dataclass
class HeldPacket:
    release_ns: int
    packet: Packet


class ScanStreams(Streams):
    """Tries every window and every held packet."""

    def __init__(self, *args, **kwargs) -> None:
        self.held: list[HeldPacket] = []
        super().__init__(*args, **kwargs)

    def advance(self, now: int) -> None:
        due = [held for held in self.held if held.release_ns <= now]
        self.held = [held for held in self.held if held.release_ns > now]
        for held in due:
            self.publish(held.packet, now)
        for window in self.windows.values():
            self._settle_late(window, now)

    def is_overdue(self, now: int) -> bool:
        """Whether a window could have been settled, had it been known that its stream goes on."""
        return any(
            (at := self._time_out(w)) is not None
            and at <= now
            and not ((end := self.ends.of(w.plan.node)) is not None and end <= w.head)
            for w in self.windows.values()
        )

    def all_times(self) -> list[int]:
        outs = [self._time_out(window) for window in self.windows.values()]
        return [*(held.release_ns for held in self.held), *(at for at in outs if at is not None)]

    def _hold(self, packet: Packet, release: int) -> None:
        self.held.append(HeldPacket(release, packet))
