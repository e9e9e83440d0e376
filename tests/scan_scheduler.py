"""The scheduler that looks at everything after every event: what the counting one must decide like.

It keeps no count, no queue and no alarm: whoever can go on is found by trying every node of a lane, what time settles
by trying every window, the next instant by asking all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from msgspec.structs import replace

from wangraph.runtime.packet import Packet, Validity
from wangraph.runtime.schedule.decide import Fire
from wangraph.runtime.schedule.node_state import NodeState
from wangraph.runtime.schedule.rules import Rules
from wangraph.runtime.schedule.scheduler import Scheduler, lane_of
from wangraph.runtime.schedule.streams import Streams


class ScanScheduler(Scheduler):
    """See the module."""

    def _make_streams(self, tap: Callable[[Packet], None] | None, **numbers) -> Streams:
        return ScanStreams(
            self.plan,
            self.process,
            log=self._log,
            on_settled=lambda packet, now: None,
            tap=tap,
            session=self.session,
            first_unit=self.first_unit,
            incarnation=self.incarnation,
            **numbers,
        )

    def _make_rules(self) -> Rules:
        return ScanRules(self.plan, self._inlets, self.windows, self._streams.ends, self.session)

    def advance(self, now: int) -> None:
        self._streams.advance(now)

    def choose(self, lane: str, now: int) -> Fire | None:
        states = [s for s in self.nodes.values() if lane_of(s.plan) == lane]
        seen = -1
        while seen != self._log.n_decided:
            seen = self._log.n_decided
            for state in sorted(states, key=self._rules.urgency):
                if state.running is not None or state.ended:
                    continue
                if self._rules.is_over(state, state.cursor):
                    self._end(state, state.cursor, now)
                    break
                fire = self._rules.next(state, now)
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
                times.append(self._rules.due(state.plan, state.cursor))
        return min([at for at in times if at > now] + [now + 1] * self._streams.is_overdue(now), default=None)

    @property
    def done(self) -> bool:
        if self._streams.held or not all(state.ended for state in self.nodes.values()):
            return False
        return all(w.ended_at is not None for w in self.windows.values() if w.plan.node not in self.nodes)

    def _wake(self, state: NodeState, now: int) -> None:
        """Nobody waits to be woken."""


class ScanRules(Rules):
    """Asks the windows what has ended, every time."""

    def is_over(self, state: NodeState, unit: int) -> bool:
        if state.plan.is_source:
            return super().is_over(state, unit)
        direct = [i for i in state.plan.inputs if not i.delay] or list(state.plan.inputs)
        found = [self._windows[i.stream].get(unit - i.delay) for i in direct]
        return all(settled is not None and settled.packet.validity is Validity.END for settled in found)


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
            self.publish(replace(held.packet, produced_ns=now), now)
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
