"""The scheduler of one process (or of all, when everything runs in one): events in, decisions out.

    events                                        decisions
    advance(now)        time has passed           choose(lane, now), choose_all(lanes, now) -> Fire
    arrive(packet, now) from another process      take_outgoing()   -> packets to send
    finish(fire, result, now)  a body is done     wakeup(now)       -> when to call advance next
    fence(...), update(...), stop_at(unit)        take_events()     -> the decision log

No threads, clocks or sockets: the caller brings time as an argument, in nanoseconds after the origin, and may call
from several threads under one lock. Real time, virtual time and simulation are this one class under other drivers;
`replay.ReplayScheduler` takes its decisions from a log instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from ..packet import Packet, Validity
from ..plan.plan import InputPlan, Mode, NodePlan, Plan
from .decide import Fire, Given, LevelChooser
from .events import Event, Fenced, Firing, Settlement, Updated
from .inlets import Inlets, is_lost
from .window import Settled, StreamWindow


@dataclass(frozen=True, slots=True)
class Result:
    """What a body gave: packets by (port, unit). ``ended``: a source had nothing more."""

    packets: Mapping[tuple[str, int], Packet] = field(default_factory=dict)
    ended: bool = False


@dataclass(slots=True)
class NodeState:
    """Where a node stands.

    ``cursor`` is the first unit that it has not seen. Stuck, it waits for an inlet, and is not looked at again before
    one of them settles. ``updates`` are changes of its parameters that no call has made yet, as (unit, values).
    """

    plan: NodePlan
    chooser: LevelChooser
    cursor: int = 0
    running: Fire | None = None
    ended: bool = False
    is_stuck: bool = False
    updates: list[tuple[int, Mapping[str, Any]]] = field(default_factory=list)

    def take_updates(self, unit: int) -> tuple[Mapping[str, Any], ...]:
        """The changes that hold for ``unit``, in the order in which they were made; each is given once."""
        due = tuple(values for first, values in self.updates if first <= unit)
        self.updates = [(first, values) for first, values in self.updates if first > unit]
        return due

    @property
    def waits(self) -> bool:
        """Whether it could take a unit now."""
        return self.running is None and not self.ended and not self.is_stuck


class Scheduler:
    """See the module.

    Args:
        plan: the checked graph.
        process: whose nodes to run; None: all nodes of the plan are here and every stream settles here.
        initial: what delayed inlets get before unit 0, by (stream, init).
        limit: sources end at this unit.
        tap: told every packet that settles here, in order.
    """

    def __init__(
        self,
        plan: Plan,
        process: str | None = None,
        *,
        initial: Mapping[tuple[str, str], Packet] | None = None,
        limit: int | None = None,
        tap: Callable[[Packet], None] | None = None,
    ) -> None:
        self._tap = tap
        self.plan = plan
        self.process = process
        self.limit = limit
        mine = [n for n in plan.nodes.values() if process is None or n.process == process]
        self.nodes = {n.name: NodeState(n, LevelChooser(len(n.ladder))) for n in mine}
        self._outlets = {n.name: [f"{n.name}.{port}" for port in n.outputs] for n in mine}
        self._lanes: dict[str, list[NodeState]] = {}
        for state in self.nodes.values():
            self._lanes.setdefault(lane_of(state.plan), []).append(state)
        self._readers: dict[str, list[tuple[NodeState, InputPlan]]] = {}
        for state in self.nodes.values():
            for inlet in state.plan.inputs:
                self._readers.setdefault(inlet.stream, []).append((state, inlet))
        self.windows: dict[str, StreamWindow] = {
            name: StreamWindow(stream, holds=any(i.late == "hold" for _, i in self._readers.get(name, ())))
            for name, stream in plan.streams.items()
            if name in self._readers or stream.node in self.nodes
        }
        self._inlets = Inlets(self.windows, self._look, self._blank, initial or {})
        self._timed = [w for w in self.windows.values() if w.plan.settle_ns is not None and self._settles(w.plan.name)]
        for window in self._timed:
            window.times_out_ns = self._time_out(window)
        self._arriving = [window for window in self.windows.values() if window.plan.node not in self.nodes]
        self._held: list[tuple[int, Packet]] = []
        self._outgoing: list[Packet] = []
        self._events: list[Event] = []
        self._n_decided = 0
        self._ends: dict[str, int] = {}

    # Events

    def advance(self, now: int) -> None:
        """Time has passed: hand over what sources made ahead, settle as missing what is due and not there."""
        if self._held:
            due = [packet for at, packet in self._held if at <= now]
            self._held = [(at, packet) for at, packet in self._held if at > now]
            for packet in due:
                self._publish(packet, now)
        for window in self._timed:
            while (at := window.times_out_ns) is not None and at <= now and not self._is_past_end(window):
                self._publish(self._blank(window.plan.name, window.head, Validity.MISSING), now)

    def arrive(self, packet: Packet, now: int) -> None:
        """A packet came from another process."""
        self._settle(packet, now)

    def finish(self, fire: Fire, result: Result, now: int) -> None:
        """A body is done with ``fire``; its outputs settle, or are discarded when a fence has overtaken them."""
        state = self.nodes[fire.node]
        state.running = None
        node = state.plan
        if fire.mode == "step":
            state.chooser.observe(fire.level, now - fire.started_ns)
        if result.ended:
            self._end(state, fire.first, now)
            self._record(fire, now, "end", self._due(node, fire.last))
            return
        state.cursor = fire.last + 1
        for unit in fire.units:
            for port in node.outputs:
                packet = result.packets.get((port, unit))
                stream = f"{node.name}.{port}"
                if packet is None:
                    packet = self._blank(stream, unit, Validity.EMPTY if fire.mode == "step" else Validity.MISSING)
                self._give(node, replace(packet, generation=fire.generations.get(stream, 0), produced_ns=now), now)
        due = self._due(node, fire.last)
        self._record(fire, now, "late" if due is not None and now > due and not node.paced else "real", due)
        self._forget(node)

    def fence(self, streams: list[str], generation: int, first_unit: int, now: int) -> None:
        """From ``first_unit`` on, drop packets of these streams that are older than ``generation``."""
        for name in streams:
            if name in self.windows:
                self.windows[name].raise_fence(generation, first_unit)
        self._decided(Fenced(list(streams), generation, first_unit, now))

    def update(self, node: str, values: Mapping[str, Any], first_unit: int, now: int) -> None:
        """Change parameters of a node from ``first_unit`` on, or from the first unit that it has not begun."""
        state = self.nodes[node]
        begun = state.cursor if state.running is None else state.running.last + 1
        self._change(Updated(node, max(begun, first_unit), dict(values), now))

    def stop_at(self, unit: int) -> None:
        """End every source at ``unit`` (or where it already is, if that is later)."""
        self.limit = unit if self.limit is None else min(self.limit, unit)

    # Decisions

    def choose(self, lane: str, now: int) -> Fire | None:
        """The most urgent body that may run in this lane now; None when there is none."""
        able = [state for state in self._lanes.get(lane, ()) if state.waits]
        for state in sorted(able, key=self._urgency) if len(able) > 1 else able:
            while state.waits:
                fire = self._next(state, now)
                if fire is None:
                    break
                if fire.mode == "skip":
                    self._skip(state, fire, now)
                    continue
                state.running = fire
                return fire
        return None

    def choose_all(self, idle: Iterable[str], now: int) -> list[Fire]:
        """What these idle lanes run now, at most one body each, until nothing more follows from what was decided."""
        waiting, chosen, seen = list(idle), [], -1
        while seen != self._n_decided:
            seen = self._n_decided
            for lane in list(waiting):
                if (fire := self.choose(lane, now)) is not None:
                    waiting.remove(lane)
                    chosen.append(fire)
        return chosen

    def wakeup(self, now: int) -> int | None:
        """When, after ``now``, time alone will give `advance` or `choose` something to do; None: never."""
        times = [at for at, _ in self._held]
        times += [at for w in self._timed if (at := w.times_out_ns) is not None]
        for state in self.nodes.values():
            if state.waits and (state.plan.is_source or state.plan.paced):
                at = self._opens(state)
                if at is not None:
                    times.append(at)
        return min((at for at in times if at > now), default=None)

    @property
    def done(self) -> bool:
        """Whether every node here has ended, nothing made ahead waits for its release, and nobody sends any more.

        A process that left earlier would not take what others still send it, over feedback.
        """
        if self._held or not all(state.ended for state in self.nodes.values()):
            return False
        return all(window.ended_at is not None for window in self._arriving)

    @property
    def lanes(self) -> list[str]:
        """Lanes that have nodes, as `lane_of` names them."""
        return list(self._lanes)

    def take_outgoing(self) -> list[Packet]:
        """Packets to send to the stream's readers, each once."""
        taken, self._outgoing = self._outgoing, []
        return taken

    def take_events(self) -> list[Event]:
        """What was decided since the last call: the decision log, in order."""
        taken, self._events = self._events, []
        return taken

    def waiting_for(self, node: str) -> str:
        """In words: what a node waits for at its cursor."""
        state = self.nodes[node]
        if state.ended:
            return "ended"
        if state.running is not None:
            return f"computing unit {state.running.last}"
        missing = [
            f"{i.port} of unit {state.cursor - i.delay} from {i.stream}"
            for i in self._inlets.open_inlets(state.plan, state.cursor)
        ]
        return f"unit {state.cursor} waits for " + (", ".join(missing) or "its time")

    # One node

    def _next(self, state: NodeState, now: int) -> Fire | None:
        node, unit = state.plan, state.cursor
        if node.is_source:
            return self._next_of_source(state, now)
        if self._inlets.all_ended(node, unit):
            self._end(state, unit, now)
            return None
        given = self._inlets.given(node, unit)
        if given is None:
            state.is_stuck = True
            return None
        if node.paced:
            due = self._due(node, unit)
            return None if due is not None and now < due else self._fire(state, "step", unit, unit, now, given)
        if self._is_behind(node, unit, now):
            return self._catch_up(state, now)
        if is_lost(node, given):
            return self._fire(state, "gap" if node.stateful else "skip", unit, unit, now)
        return self._fire(state, "step", unit, unit, now, given)

    def _next_of_source(self, state: NodeState, now: int) -> Fire | None:
        node, unit = state.plan, state.cursor
        if self.limit is not None and unit >= self.limit:
            self._end(state, unit, now)
            return None
        opens = self._opens(state)
        if opens is not None and now < opens:
            return None
        last = unit
        while self._is_behind(node, last, now) and (self.limit is None or last < self.limit):
            last += 1
        if last > unit:
            return self._fire(state, "gap" if node.stateful else "skip", unit, last - 1, now)
        return self._fire(state, "step", unit, unit, now)

    def _catch_up(self, state: NodeState, now: int) -> Fire:
        """Several units behind: one absorb (or gap) over what is too late, so that the newest can be in time."""
        node, first = state.plan, state.cursor
        given = self._inlets.given(node, first)
        assert given is not None, (node.name, first)
        lost = is_lost(node, given)
        last = first
        while (
            self._is_behind(node, last + 1, now)
            and not self._inlets.all_ended(node, last + 1)
            and (following := self._inlets.given(node, last + 1)) is not None
            and (not node.stateful or is_lost(node, following) == lost)
        ):
            last += 1
        mode: Mode = "skip" if not node.stateful else "gap" if lost else "absorb"
        return self._fire(state, mode, first, last, now)

    def _fire(
        self,
        state: NodeState,
        mode: Mode,
        first: int,
        last: int,
        now: int,
        known: Mapping[str, Given] | None = None,
    ) -> Fire:
        """``known``: the inputs of ``first``, where they were looked up already and it is the only unit."""
        node = state.plan
        inputs: list[Mapping[str, Given]] = []
        if known is not None:
            inputs.append(self._inlets.substituted(node, known, first))
        elif not node.is_source and mode != "skip":
            for unit in range(first, last + 1):
                given = self._inlets.given(node, unit)
                assert given is not None, (node.name, unit)
                inputs.append(self._inlets.substituted(node, given, unit))
        ready = self._inlets.ready_ns(node, last)
        if ready is None:
            ready = self.plan.release_ns(last)
        due = self._due(node, last)
        level = state.chooser.pick(None if due is None else due - now) if mode == "step" else state.chooser.level
        generations = {s: self.windows[s].generation for s in self._streams(node)}
        updates = state.take_updates(last) if mode != "skip" else ()  # a skip runs no body that could make them
        return Fire(node.name, mode, first, last, tuple(inputs), level, ready, now, generations, updates)

    def _skip(self, state: NodeState, fire: Fire, now: int) -> None:
        """A stateless node is not run for units that are lost or too late: its outputs are missing."""
        state.cursor = fire.last + 1
        for unit in fire.units:
            for port in state.plan.outputs:
                self._give(state.plan, self._blank(f"{state.plan.name}.{port}", unit, Validity.MISSING), now)
        self._record(fire, now, "late", self._due(state.plan, fire.last))
        self._forget(state.plan)

    def _end(self, state: NodeState, unit: int, now: int) -> None:
        state.ended = True
        self._n_decided += 1
        state.cursor = unit
        for port in state.plan.outputs:
            self._publish(self._blank(f"{state.plan.name}.{port}", unit, Validity.END), now)
        self._forget(state.plan)

    # Time

    def _due(self, node: NodePlan, unit: int) -> int | None:
        return None if node.due_ns is None else self.plan.release_ns(unit) + node.due_ns

    def _is_behind(self, node: NodePlan, unit: int, now: int) -> bool:
        latest = node.latest_start_ns
        return latest is not None and not node.paced and now > self.plan.release_ns(unit) + latest

    def _opens(self, state: NodeState) -> int | None:
        """When time alone lets this node fire: a source at release less its lead, a paced node at its due."""
        node, unit = state.plan, state.cursor
        if node.is_source:
            return self.plan.release_ns(unit - node.ahead_units)
        if self._inlets.open_inlets(node, unit):
            return None
        return self._due(node, unit)

    def _time_out(self, window: StreamWindow) -> int | None:
        if window.plan.settle_ns is None or (window.ended_at is not None and window.head >= window.ended_at):
            return None
        return self.plan.release_ns(window.head) + window.plan.settle_ns

    def _is_past_end(self, window: StreamWindow) -> bool:
        """Whether the producer is known to end before the unit that is due: then it is not missing, it is not there."""
        end = self._known_end(window.plan.node)
        return end is not None and end <= window.head

    def _known_end(self, name: str) -> int | None:
        """The unit at which a node ends, as far as it can be known here before its end arrives."""
        if name in self._ends:
            return self._ends[name]
        node = self.plan.nodes[name]
        state = self.nodes.get(name)
        ended = [w.ended_at for p in node.outputs if (w := self.windows.get(f"{name}.{p}")) and w.ended_at is not None]
        end: int | None
        if state is not None and state.ended:
            end = state.cursor
        elif ended:
            end = ended[0]
        elif node.is_source:
            return self.limit
        else:
            ends = [self._known_end(self.plan.streams[i.stream].node) for i in node.inputs if not i.delay]
            known = [e for e in ends if e is not None]
            end = max(known) if known and len(known) == len(ends) else None
        if end is not None:
            self._ends[name] = end
        return end

    def _urgency(self, state: NodeState) -> tuple[bool, float, int, str]:
        due = self._due(state.plan, state.cursor)
        return (not state.plan.on_loop, float("inf") if due is None else due, state.plan.depth, state.plan.name)

    # Streams

    def _streams(self, node: NodePlan) -> list[str]:
        return self._outlets[node.name]

    def _look(self, stream: str, unit: int) -> Settled | None:
        return self.windows[stream].get(unit)

    def _settles(self, stream: str) -> bool:
        return self.process is None or self.plan.streams[stream].settler == self.process

    def _give(self, node: NodePlan, packet: Packet, now: int) -> None:
        """Hand a fresh output over; what a source made ahead waits for its release."""
        window = self.windows[packet.stream]
        if window.is_stale(packet):
            packet = replace(self._blank(packet.stream, packet.unit, Validity.MISSING), generation=window.generation)
        release = self.plan.release_ns(packet.unit)
        if node.is_source and now < release:
            self._held.append((release, packet))
        else:
            self._publish(packet, now)

    def _publish(self, packet: Packet, now: int) -> None:
        """Settle it here and tell the readers, or send it to the process that settles it."""
        stream = self.plan.streams[packet.stream]
        if not self._settles(packet.stream):
            self._outgoing.append(packet)
        elif (settled := self._settle(packet, now)) is not None and stream.readers and stream.process == self.process:
            self._outgoing.append(settled)

    def _settle(self, packet: Packet, now: int) -> Packet | None:
        """Decide its unit's outcome; what was settled, None when it was decided before.

        An end that comes late ends the stream at the first unit that is still open.
        """
        window = self.windows[packet.stream]
        if window.is_stale(packet):
            packet = self._blank(packet.stream, packet.unit, Validity.MISSING)
        if packet.validity is Validity.END and packet.unit < window.head and window.ended_at is None:
            packet = self._blank(packet.stream, window.head, Validity.END)
        if not window.settle(packet, now):
            return None
        window.times_out_ns = self._time_out(window)
        for state, _ in self._readers.get(packet.stream, ()):
            state.is_stuck = False
        if self._settles(packet.stream):
            if self._tap is not None:
                self._tap(packet)
            self._record_settled(packet, now)
        if not self._readers.get(packet.stream):
            window.forget(window.head)  # not beyond: what settled ahead of its turn is not to settle twice
        return packet

    def _blank(self, stream: str, unit: int, validity: Validity) -> Packet:
        clock = self.plan.clock
        return Packet(stream, unit, self.windows[stream].generation if stream in self.windows else 0,
                      clock.pts_ns(unit), clock.duration_ns(unit), validity)  # fmt: skip

    def _forget(self, node: NodePlan) -> None:
        for stream in {i.stream for i in node.inputs}:
            needed = [s.cursor - i.delay for s, i in self._readers[stream] if not s.ended]
            self.windows[stream].forget(min(needed, default=self.windows[stream].head))

    # The decision log

    def _record(self, fire: Fire, now: int, verdict: str, due: int | None) -> None:
        self._n_decided += 1
        self._events.append(
            Firing(fire.node, fire.first, fire.last, fire.mode, fire.level,
                   fire.ready_ns, fire.started_ns, now, due, verdict)
        )  # fmt: skip

    def _record_settled(self, packet: Packet, now: int) -> None:
        self._n_decided += 1
        self._events.append(Settlement(packet.stream, packet.unit, packet.validity, now, packet.n_bytes))

    def _change(self, change: Updated) -> None:
        self.nodes[change.node].updates.append((change.first_unit, change.values))
        self._decided(change)

    def _decided(self, event: Event) -> None:
        self._events.append(event)
        self._n_decided += 1


def lane_of(node: NodePlan) -> str:
    """A lane's name among all processes: ``process/lane``."""
    return f"{node.process}/{node.lane}"
