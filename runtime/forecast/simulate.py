"""A run without bodies: the real scheduler of every process, on hardware that a profile describes.

One event queue holds everything that happens: bodies end, packets arrive, clocks wake. Each process has its own
`Scheduler`, as in a run; between two of them packets travel for as long as the profile says. Bodies are replaced by
what they cost. What a run would have recorded is recorded, so that summary, timeline and explanation read it alike.

A body ends when its own time is over and the interpreter of its process, its device and a core of its machine have
done their share of it, each serving first what came first. Equal seeds give equal runs.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from ..engine.faults import Fault, check_faults, costs_with
from ..errors import RunError, UserError
from ..observe.history import History
from ..observe.lateness import LATE_NS, is_late
from ..observe.records import Note, Record, Transfer, at_ns
from ..observe.statistics import Statistics
from ..packet import Packet, Validity
from ..plan.plan import NodePlan, Plan, StreamPlan
from ..schedule.decide import Fire
from ..schedule.events import Firing
from ..schedule.scheduler import Result, Scheduler, lane_of
from .profile import Profile
from .sampling import Draws


@dataclass(frozen=True)
class Simulated:
    """What a simulated run was like: its records in order of time, and its summary as ``--json`` prints it."""

    records: list[Record]
    summary: dict[str, Any]
    statistics: Statistics

    @property
    def holds(self) -> bool:
        """Whether every unit was there in time, and every due was kept, as far as the graph can keep it."""
        return not self.first_late and not self.summary["misses"]

    @cached_property
    def first_late(self) -> Firing | None:
        """The first body that finished after its due, or presentation that its lane held up: not the clock alone."""
        nodes, history = self.statistics.plan.nodes, None
        for record in self.records:
            if not isinstance(record, Firing):
                continue
            if record.verdict == "late":
                return record
            if nodes[record.node].paced and is_late(nodes[record.node], record):
                history = history or History(self.statistics.plan, self.records)
                if history.kept_ns(nodes[record.node], record) > LATE_NS:
                    return record
        return None


def simulate(
    plan: Plan, profile: Profile, units: int, seed: int = 0, faults: Sequence[Fault] = (), first_unit: int = 0
) -> Simulated:
    """Run so many units of a graph by its profile.

    Args:
        first_unit: the unit that they begin with.
        faults: calls that take longer than the profile says; recorded as in a run.

    Raises:
        UserError: the profile lacks a node of the graph, or a fault is of a kind that takes a body.
        RunError: the graph came to a stop.
    """
    profile.check(plan)
    _check_faults(plan, faults)
    records = _Simulation(plan, profile, units, seed, faults, first_unit).run()
    statistics = Statistics(plan)
    statistics.add(records)
    return Simulated(records, statistics.summary(), statistics)


def _check_faults(plan: Plan, faults: Sequence[Fault]) -> None:
    check_faults(faults, plan, in_processes=True)
    for fault in faults:
        if fault.kind not in ("stall", "slow"):
            raise UserError(
                f"--inject '{fault}': found {fault.kind} in a simulation, which has no bodies "
                "(expected stall or slow), inject it into a run"
            )


Kind = Literal[0, 1, 2]
_ENDS: Kind = 0
_ARRIVES: Kind = 1
_WAKES: Kind = 2


@dataclass
class _Process:
    """One process: its scheduler, its lanes that are idle, and when its clock wakes it."""

    name: str
    scheduler: Scheduler
    idle: set[str]
    alarm_at: int | None = None


@dataclass
class _Server:
    """Something that several bodies need, ``n`` of them at a time."""

    n: int = 1
    free_at: list[int] = field(default_factory=list)

    def done_at(self, now: int, work_ns: int) -> int:
        """When work that comes now will be done."""
        if not self.free_at:
            self.free_at = [0] * self.n
        done = max(now, self.free_at[0]) + work_ns
        heapq.heapreplace(self.free_at, done)
        return done


class _Simulation:
    """One event queue, ordered by time; at one time by kind, depth and name."""

    def __init__(
        self, plan: Plan, profile: Profile, units: int, seed: int, faults: Sequence[Fault], first_unit: int
    ) -> None:
        self.plan = plan
        self.profile = profile
        self.draws = Draws(profile, seed)
        self.records: list[Transfer | Note] = []
        self._faults = faults
        self._cost = costs_with(faults, self.draws.cost_ns)
        self._queue: list[tuple[int, Kind, int, str, int, Any]] = []
        self._n_queued = 0
        self._period_ns = plan.clock.period_ns
        self._arrived: dict[tuple[str, str], int] = {}
        self._servers: dict[str, _Server] = {}
        self._first_unit = first_unit
        names = [name for name in plan.processes if plan.nodes_in(name)]
        self._processes = {name: self._process(name, first_unit + units) for name in names}

    def run(self) -> list[Record]:
        """Everything that happened, in order of time.

        Raises:
            RunError: nothing can happen any more, although nodes have not ended.
        """
        ahead = max((n.ahead_units for n in self.plan.nodes.values()), default=0)
        now = self.plan.release_ns(self._first_unit - 1 - ahead)
        for process in self._processes.values():
            self._dispatch(process, now)
        while self._queue:
            now, kind, _, _, _, happening = heapq.heappop(self._queue)
            if kind == _ENDS:
                process, fire = happening
                process.idle.add(lane_of(self.plan.nodes[fire.node]))
                process.scheduler.finish(fire, self._result(fire), now)
            elif kind == _ARRIVES:
                process, packet, sent_ns = happening
                self._arrive(process, packet, sent_ns, now)
            else:
                process = happening
                if process.alarm_at != now:
                    continue  # it was set to another time since
                process.alarm_at = None
            self._dispatch(process, now)
        self._check_ended()
        return self._history()

    def _process(self, name: str, limit: int) -> _Process:
        scheduler = Scheduler(self.plan, name, limit=limit, first_unit=self._first_unit)
        return _Process(name, scheduler, set(scheduler.lanes))

    # What happens

    def _dispatch(self, process: _Process, now: int) -> None:
        """Hand out what can run, send what is to be sent, set the clock."""
        scheduler = process.scheduler
        scheduler.advance(now)
        for fire in scheduler.choose_all(sorted(process.idle), now):
            node = self.plan.nodes[fire.node]
            process.idle.remove(lane_of(node))
            self._push(self._end_ns(node, fire, now), _ENDS, node.depth, fire.node, (process, fire))
        for packet in scheduler.take_outgoing():
            self._send(packet, now)
        wakeup = scheduler.wakeup(now)
        if wakeup is not None:
            unit = (wakeup - 1) // self._period_ns
            wakeup += self.draws.late_ns(process.name, unit)
        if wakeup is not None and wakeup != process.alarm_at:
            self._push(wakeup, _WAKES, 0, process.name, process)
        process.alarm_at = wakeup

    def _end_ns(self, node: NodePlan, fire: Fire, now: int) -> int:
        """When a body that starts now will be done."""
        cost = self._cost(node, fire)
        for fault in self._faults:
            if fault.node == node.name and fault.strikes(fire):
                text = f"node '{node.name}', unit {fire.first}: {fault.kind}"
                self.records.append(Note(now, node.process, "injected", text))
        ends = [now + cost]
        if hold := self.draws.hold_ns(node, cost):
            ends.append(self._server(f"interpreter {node.process}").done_at(now, hold))
        if node.name in self.profile.columns:
            return max(ends)  # measured beside the others: what it waited for a core or a device is in its cost
        machine = self.profile.machine_of(node.process)
        if node.device != "cpu":
            ends.append(self._server(f"{machine} {node.device}").done_at(now, cost))
        known = self.profile.machines.get(machine)
        if known is not None and known.cores is not None:
            cores = self._server(f"cores {machine}", known.cores)
            threads = min(known.cores, self.plan.processes[node.process].threads)
            ends += [cores.done_at(now, cost) for _ in range(threads)]
        return max(ends)

    def _server(self, name: str, n: int = 1) -> _Server:
        return self._servers.setdefault(name, _Server(n))

    def _send(self, packet: Packet, now: int) -> None:
        stream = self.plan.streams[packet.stream]
        for reader in stream.readers:
            # Packets of a stream do not overtake one another.
            before = self._arrived.get((stream.name, reader), now)
            at = max(before, now + self.draws.transfer_ns(stream, reader, packet.unit))
            self._arrived[stream.name, reader] = at
            self._push(at, _ARRIVES, 0, f"{stream.name}->{reader}", (self._processes[reader], packet, now))

    def _arrive(self, process: _Process, packet: Packet, sent_ns: int, now: int) -> None:
        stream: StreamPlan = self.plan.streams[packet.stream]
        if packet.is_payload:
            size = stream.max_bytes or 0
            times = (sent_ns, now)
            self.records.append(
                Transfer(
                    stream.name,
                    packet.unit,
                    stream.process,
                    process.name,
                    *times,
                    size,
                    stream.carrier,
                    packet.session,
                    packet.incarnation,
                )
            )
        process.scheduler.arrive(packet, now)

    def _push(self, at: int, kind: Kind, depth: int, name: str, happening: Any) -> None:
        self._n_queued += 1
        heapq.heappush(self._queue, (at, kind, depth, name, self._n_queued, happening))

    def _result(self, fire: Fire) -> Result:
        """One real packet per port that may answer."""
        clock, packets = self.plan.clock, {}
        for port in self.plan.nodes[fire.node].outputs:
            stream = self.plan.streams[f"{fire.node}.{port}"]
            if fire.mode == "step" or (stream.is_log and fire.mode == "absorb"):
                for unit in fire.units:
                    times = (clock.pts_ns(unit), clock.duration_ns(unit))
                    packets[port, unit] = Packet(stream.name, unit, 0, *times, Validity.REAL)
        return Result(packets)

    # What is left of it

    def _check_ended(self) -> None:
        stuck = [
            f"node '{name}': {process.scheduler.waiting_for(name)}"
            for process in self._processes.values()
            for name, state in process.scheduler.nodes.items()
            if not state.ended
        ]
        if stuck:
            raise RunError(f"simulation: nothing can happen any more ({'; '.join(stuck)}), look at the graph's delays")

    def _history(self) -> list[Record]:
        events: list[Record] = [e for p in self._processes.values() for e in p.scheduler.take_events()]
        return sorted([*events, *self.records], key=at_ns)
