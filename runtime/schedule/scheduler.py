"""The scheduler of one process (or of all, when everything runs in one): events in, decisions out.

    events                                        decisions
    advance(now)        time has passed           choose(lane, now), choose_all(lanes, now) -> Fire
    arrive(packet, now) from another process      take_outgoing()   -> packets to send
    finish(fire, result, now)  a body is done     wakeup(now)       -> when to call advance next
    fence(...), update(...), stop_at(unit)        take_events()     -> the decision log

No threads, clocks or sockets: the caller brings time as an argument, in nanoseconds after the origin, and may call
from several threads under one lock. Real time, virtual time and simulation are this one class under other drivers;
`replay.ReplayScheduler` takes its decisions from a log instead.

An event changes little, and only that is seen to. A packet that settles counts down `NodeState.pending` of its
readers; whose count is 0 goes into the queue of its lane, at once or when its alarm rings; `choose` serves that queue.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from ..packet import Packet, Validity
from ..plan.plan import InputPlan, NodePlan, Plan
from .decide import Fire, LevelChooser
from .duty import Answer, Died, Order, Report
from .events import Event, Updated
from .inlets import Inlets
from .log import DecisionLog
from .node_state import NodeState, ReadyQueue
from .rules import AT_ONCE, Rules
from .streams import NO_LIVES, Streams
from .timers import Timers, earlier
from .window import FOREVER, StreamWindow


@dataclass(frozen=True, slots=True)
class Result:
    """Packets that a body gave, by (port, unit). ``ended``: a source had nothing more."""

    packets: Mapping[tuple[str, int], Packet] = field(default_factory=dict)
    ended: bool = False


class Scheduler:
    """See the module.

    Args:
        plan: the checked graph.
        process: whose nodes to run; None: all nodes of the plan are here and every stream settles here.
        initial: what delayed inlets get before the first unit, by (stream, init).
        limit: sources end at this unit.
        tap: called with every packet that settles here, in order.
        log: what keeps the decisions.
        session: the one conversation that it runs; another one has a scheduler of its own.
        first_unit: where it begins. What lies before belongs to an earlier life of the process, or to nobody.
        incarnation: which life of the process it is.
        lives: which life of other processes it is, of those that are not in their first.
        fences: those raised before it began, as (streams, generation, first unit).
        keep_ns: for how long outcomes are kept that nobody here needs any more, for those who lack them after a death.
    """

    def __init__(
        self,
        plan: Plan,
        process: str | None = None,
        *,
        initial: Mapping[tuple[str, str], Packet] | None = None,
        limit: int | None = None,
        tap: Callable[[Packet], None] | None = None,
        log: DecisionLog | None = None,
        session: int = 0,
        first_unit: int = 0,
        incarnation: int = 0,
        lives: Mapping[str, int] = NO_LIVES,
        fences: Iterable[tuple[Sequence[str], int, int]] = (),
        keep_ns: int = 0,
    ) -> None:
        self.plan = plan
        self.process = process
        self.session = session
        self.first_unit = first_unit
        self.incarnation = incarnation
        self._log = log or DecisionLog(session, incarnation)
        mine = [n for n in plan.nodes.values() if process is None or n.process == process]
        self.nodes = {n.name: _state(n, first_unit) for n in mine}
        self._readers: dict[str, list[tuple[NodeState, InputPlan]]] = {}
        for state in self.nodes.values():
            for inlet in state.plan.inputs:
                self._readers.setdefault(inlet.stream, []).append((state, inlet))
        self._streams = self._make_streams(tap, limit=limit, lives=lives, keep_ns=keep_ns)
        self.windows = self._streams.windows
        self._read = {node.name: self._read_by(node) for node in mine}
        begins_ns = plan.clock.pts_ns(first_unit)
        self._inlets = Inlets(
            self.windows, self._streams.outcome, self._streams.blank, initial or {}, first_unit, begins_ns
        )
        self._rules = self._make_rules()
        self._queues = {state.lane: ReadyQueue() for state in self.nodes.values()}
        self._alarms: Timers[NodeState] = Timers()
        self._n_live = len(self.nodes)
        for fence in fences:
            self._streams.fence(*fence)
        for state in self.nodes.values():
            state.pending = self._inlets.n_open(state.plan, state.cursor)
            self._wake(state, AT_ONCE)

    def _make_streams(
        self, tap: Callable[[Packet], None] | None, *, limit: int | None, lives: Mapping[str, int], keep_ns: int
    ) -> Streams:
        return Streams(
            self.plan, self.process, log=self._log, on_settled=self._count_down, tap=tap, limit=limit,
            session=self.session, first_unit=self.first_unit, incarnation=self.incarnation, lives=lives,
            keep_ns=keep_ns,
        )  # fmt: skip

    def _read_by(self, node: NodePlan) -> list[tuple[StreamWindow, list[tuple[NodeState, InputPlan]]]]:
        """The streams that a node reads, each once, with all who read them here."""
        streams = dict.fromkeys(inlet.stream for inlet in node.inputs)
        return [(self.windows[stream], self._readers[stream]) for stream in streams]

    def _make_rules(self) -> Rules:
        return Rules(self.plan, self._inlets, self.windows, self._streams.ends, self.session)

    # Events

    def advance(self, now: int) -> None:
        """Time has passed: settle what it settles, and queue the nodes that waited for it."""
        self._streams.advance(now)
        for state in self._alarms.due(now):
            self._wake(state, now)

    def arrive(self, packet: Packet, now: int) -> None:
        """A packet came from another process."""
        self._streams.arrive(packet, now)

    def finish(self, fire: Fire, result: Result, now: int) -> None:
        """A body is done with ``fire``; its outputs settle, or are discarded when a fence has overtaken them."""
        state = self.nodes[fire.node]
        state.running = None
        node = state.plan
        # an absorb answers nothing: its cost would tell the ladder that a level is cheaper than it is
        if fire.mode == "step":
            state.chooser.observe(fire.level, now - fire.started_ns)
        if result.ended:
            self._end(state, fire.first, now)
            self._log.fired(fire, now, "end", self._rules.due(node, fire.last))
            return
        self._move(state, fire.last + 1)
        for unit in fire.units:
            for port, stream in zip(node.outputs, state.outlets, strict=True):
                # every unit of the call gets an outcome on every port: its readers would wait for it until they are
                # late
                packet = result.packets.get((port, unit))
                if packet is None:
                    validity = Validity.EMPTY if fire.mode == "step" else Validity.MISSING
                    packet = self._streams.blank(stream, unit, validity)
                # the generation of when it began: with today's, an answer begun before an interruption would be played
                # after it
                generation = fire.generations.get(stream, 0)
                self._streams.give(
                    node,
                    replace(packet, generation=generation, produced_ns=now,
                            session=self.session, incarnation=self.incarnation),
                    now,
                )  # fmt: skip
        due = self._rules.due(node, fire.last)
        self._log.fired(fire, now, "late" if due is not None and now > due and not node.paced else "real", due)
        self._forget(node)
        self._wake(state, now)

    def fence(self, streams: list[str], generation: int, first_unit: int, now: int) -> None:
        """From ``first_unit`` on, drop packets of these streams that are older than ``generation``."""
        self._streams.fence(streams, generation, first_unit)
        self._log.fenced(streams, generation, first_unit, now)

    def update(self, node: str, values: Mapping[str, Any], first_unit: int, now: int) -> None:
        """Change parameters of a node from ``first_unit`` on, or from the first unit that it has not begun."""
        state = self.nodes[node]
        # a unit under way was begun with the old values: a replay would give it the new ones
        begun = state.cursor if state.running is None else state.running.last + 1
        self._change(Updated(node, max(begun, first_unit), dict(values), now, self.session, self.incarnation))

    def stop_at(self, unit: int) -> None:
        """End every source at ``unit`` (or where it already is, if that is later)."""
        self._streams.ends.lower(unit)
        for state in self.nodes.values():
            if state.plan.is_source:
                self._wake(state, AT_ONCE)

    # After a death (`takeover`)

    def answer(self, message: Died | Report | Order, now: int) -> Answer:
        """Do what whoever watches the processes says, and answer what it asks."""
        if isinstance(message, Order):
            self._streams.obey(message, now)
            return {}
        if isinstance(message, Died):
            self._streams.cut_off(message.process, message.incarnation)
        return self._streams.known(name for name in message.streams if name in self.windows)

    def adopt(self, packet: Packet, sender: str, incarnation: int, now: int) -> None:
        """A process hands over an outcome that it decided in the place of a dead one."""
        self._streams.adopt(packet, sender, incarnation, now)

    def take_handed(self) -> list[Packet]:
        """Outcomes to hand to the other readers of streams whose process is dead, each once."""
        return self._streams.drain_handed()

    # Decisions

    def choose(self, lane: str, now: int) -> Fire | None:
        """The most urgent body that may run in this lane now; None when there is none."""
        queue = self._queues.get(lane)
        if queue is None:
            return None
        while queue.ordered:
            state = queue.pop()
            # asked first: `next` knows no limit, and a source would make a unit that nobody takes
            if self._rules.is_over(state, state.cursor):
                self._end(state, state.cursor, now)
            elif (fire := self._rules.next(state, now)) is None:
                # it has left the queue: without an alarm nothing would wake it again
                self._alarms.set(state, self._rules.opens(state))
            elif fire.mode == "skip":
                self._skip(state, fire, now)
            else:
                state.running = fire
                return fire
        return None

    def choose_all(self, idle: Iterable[str], now: int) -> list[Fire]:
        """Calls for these idle lanes, at most one body each, until nothing more follows from what was decided."""
        # a skip or an end settles units that let nodes of other lanes go on: after one round they would stand until the
        # next event, and in virtual time there might be none
        waiting, chosen, seen = list(idle), [], -1
        while seen != self._log.n_decided:
            seen = self._log.n_decided
            for lane in list(waiting):
                queue = self._queues.get(lane)
                if queue is None or not queue.ordered:
                    continue
                if (fire := self.choose(lane, now)) is not None:
                    waiting.remove(lane)
                    chosen.append(fire)
        return chosen

    def wakeup(self, now: int) -> int | None:
        """Instant at which time alone gives `advance` or `choose` something to do; both were called for ``now``."""
        # later than now in any case: a driver that wakes at once, and finds nothing new to do, would spin
        at = earlier(self._streams.next_ns, self._alarms.next_ns)
        return None if at is None else max(now + 1, at)

    @property
    def done(self) -> bool:
        """True if every node here has ended, nothing made ahead waits for its release, and nobody sends any more.

        A process that left earlier would not take what others still send it, over feedback.
        """
        return not (self._n_live or self._streams.n_held or self._streams.n_arriving)

    @property
    def lanes(self) -> list[str]:
        """Lanes that have nodes, as `lane_of` names them."""
        return list(self._queues)

    def take_outgoing(self) -> list[Packet]:
        """Packets to send to the stream's readers, each once."""
        return self._streams.drain()

    def take_events(self) -> list[Event]:
        """Decisions since the last call: the decision log, in order."""
        return self._log.drain()

    def backlog(self, node: str) -> int:
        """Number of units that have settled for a node and that it has not begun; 0 of a source."""
        state = self.nodes[node]
        return max(0, self._rules.waiting(state)) if state.plan.inputs else 0

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

    # What an event changes

    def _move(self, state: NodeState, unit: int) -> None:
        """Set the cursor. Every way of the cursor leads through here: else `pending` would be of another unit."""
        state.cursor = unit
        state.pending = self._inlets.n_open(state.plan, unit)

    def _count_down(self, packet: Packet, now: int) -> None:
        """A packet has settled: one less to wait for, for those whose unit takes it in."""
        # an end settles all units from its own on: counted as one packet it would leave readers waiting for ever
        if packet.validity is Validity.END:
            self._count_anew(packet.stream, now)
            return
        for state, inlet in self._readers.get(packet.stream, ()):
            # what settles ahead of the cursor is counted when the cursor gets there: here as well it would be counted
            # twice
            if 0 <= packet.unit - state.cursor + inlet.delay <= inlet.look_ahead:
                state.pending -= 1
                if not state.pending:
                    self._wake(state, now)

    def _count_anew(self, stream: str, now: int) -> None:
        """A stream has ended: that settles any number of units at once."""
        for state, _ in self._readers.get(stream, ()):
            state.ends_at = self._inlets.ends_at(state.plan)
            state.pending = self._inlets.n_open(state.plan, state.cursor)
            self._wake(state, now)

    def _wake(self, state: NodeState, now: int) -> None:
        """Queue a node that can go on now; set its alarm when it only waits for time."""
        # twice in a queue a node would run twice at a time, on one state
        if state.running is not None or state.ended or state.is_queued:
            return
        at = self._rules.opens(state)
        if at is not None and at <= now:
            self._queues[state.lane].add(state, self._rules.urgency(state))
        else:
            self._alarms.set(state, at)

    # One node

    def _skip(self, state: NodeState, fire: Fire, now: int) -> None:
        """A stateless node is not run for units that are lost or too late: its outputs are missing."""
        self._move(state, fire.last + 1)
        for unit in fire.units:
            for stream in state.outlets:
                self._streams.give(state.plan, self._streams.blank(stream, unit, Validity.MISSING), now)
        self._log.fired(fire, now, "late", self._rules.due(state.plan, fire.last))
        self._forget(state.plan)
        self._wake(state, now)

    def _end(self, state: NodeState, unit: int, now: int) -> None:
        # before its ends settle: over a loop they can wake this very node, and it would be counted out twice
        state.ended = True
        self._alarms.set(state, None)
        self._n_live -= 1
        # an end leaves no record here, but `choose_all` must see that something was decided
        self._log.n_decided += 1
        state.cursor = unit
        self._streams.end(state.plan.name, state.outlets, unit, now)
        for stream in {i.stream for i in state.plan.inputs}:
            if all(reader.ended for reader, _ in self._readers[stream]):
                self._streams.forget_all(stream)  # nobody would forget what still comes
        self._forget(state.plan)

    def _change(self, change: Updated) -> None:
        self.nodes[change.node].updates.append((change.first_unit, change.values))
        self._log.add(change)

    def _forget(self, node: NodePlan) -> None:
        for window, readers in self._read[node.name]:
            # up to the slowest reader here: it would look for what was freed, and wait for ever
            needed = FOREVER
            for state, inlet in readers:
                if not state.ended and state.cursor - inlet.delay < needed:
                    needed = state.cursor - inlet.delay
            window.forget(window.head if needed == FOREVER else needed)


def lane_of(node: NodePlan) -> str:
    """A lane's name among all processes: ``process/lane``."""
    return f"{node.process}/{node.lane}"


def _state(node: NodePlan, first_unit: int) -> NodeState:
    outlets = tuple(f"{node.name}.{port}" for port in node.outputs)
    return NodeState(node, lane_of(node), outlets, LevelChooser(len(node.ladder)), first_unit)
