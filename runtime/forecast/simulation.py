"""The event queue of a simulation, and the processes in it: a real scheduler for each of their sessions.

Everything that happens is an event: bodies end, packets arrive, messages come, clocks wake. Bodies are replaced by what
they cost. A process that is dead gets nothing and does nothing; what it had not sent or recorded is gone.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

from ..engine.faults import Fault, costs_with
from ..errors import RunError
from ..observe.records import Note, Record, Transfer, at_ns
from ..packet import Packet, Validity
from ..plan.plan import Plan, StreamPlan
from ..schedule.decide import Fire
from ..schedule.duty import Answer, Begin, Go, Message, Withdraw
from ..schedule.scheduler import Result, Scheduler, lane_of
from ..schedule.takeover import KEEP_UNITS
from ..schedule.watcher import Watcher
from .hardware import Hardware
from .incidents import Dies, Fences, Incident, Leaves, Returns, Session
from .profile import Profile
from .sampling import Draws

Kind = Literal[0, 1, 2, 3]
_ENDS: Kind = 0
_ARRIVES: Kind = 1
_SAYS: Kind = 2
_WAKES: Kind = 3

REPORT_UNITS = 2
"""How often processes send their records."""


@dataclass(eq=False)
class _Process:
    """One life of a process: its schedulers by session, its lanes that are busy, and when its clock wakes it.

    ``waiting``: by session that has not begun here, what arrived for it. ``unsent_ns``: of what it sent a reader since
    then, nothing has left it.
    """

    name: str
    incarnation: int = 0
    schedulers: dict[int, Scheduler] = field(default_factory=dict)
    waiting: dict[int, list[Callable[[int], None]]] = field(default_factory=dict)
    busy: set[str] = field(default_factory=set)
    alarm_at: int | None = None
    is_dead: bool = False
    reported_ns: int = 0
    unsent_ns: dict[str, int] = field(default_factory=dict)

    def going(self) -> list[Scheduler]:
        """Schedulers that were told to go; who was served last comes last."""
        return [scheduler for session, scheduler in self.schedulers.items() if session not in self.waiting]


class Simulation:
    """One event queue, ordered by time; at one time by kind, depth and name.

    Args:
        plan: the checked graph.
        profile: what it runs on.
        seed: equal seeds give equal runs.
        faults: calls that take longer.
        sessions: by what number, from where, for how long.
        incidents: what else happens.
        shares_lanes: bodies of all sessions take turns in a lane; else each session has lanes of its own.
        make_scheduler: makes the scheduler of a process for a session.
    """

    def __init__(
        self,
        plan: Plan,
        profile: Profile,
        seed: int,
        faults: Sequence[Fault],
        sessions: Sequence[Session],
        incidents: Sequence[Incident] = (),
        shares_lanes: bool = True,
        make_scheduler: Callable[..., Scheduler] = Scheduler,
    ) -> None:
        self.plan = plan
        self.records: list[Record] = []
        self._draws = Draws(profile, seed)
        self._hardware = Hardware(plan, profile, self._draws)
        self._faults = faults
        self._cost = costs_with(faults, self._draws.cost_ns, plan.seed)
        self._shares_lanes = shares_lanes
        self._make_scheduler = make_scheduler
        self._period_ns = plan.clock.period_ns
        self._queue: list[tuple[int, Kind, int, str, int, Callable[[int], None]]] = []
        self._n_queued = self._n_reports = self._n_messages = 0
        self._arrived: dict[tuple[str, str, int], int] = {}
        self._arrives_at: dict[str, int] = {}
        self._generation = 0
        names = [name for name in plan.processes if plan.nodes_in(name)]
        self._processes = {name: _Process(name) for name in names}
        self._mute = [(d.process, d.at_ns - d.silent_ns, d.at_ns) for d in incidents if isinstance(d, Dies)]
        self._watcher = Watcher(plan, self)
        self._is_watched = bool(incidents) or any(s.joins_ns is not None for s in sessions)
        self._orphans_at: int | None = None
        for session in sessions:
            self._plan_session(session)
        for incident in incidents:
            self._plan_incident(incident)
        if self._is_watched:
            for process in self._processes.values():
                self._plan_report(process, self._queue[0][0] if self._queue else 0)

    def run(self) -> list[Record]:
        """Everything that happened, in order of time.

        Raises:
            RunError: nothing can happen any more, although nodes have not ended.
        """
        now = 0
        while self._queue:
            now, _, _, _, _, happen = heapq.heappop(self._queue)
            happen(now)
        self._check_ended()
        for process in self._processes.values():
            if not process.is_dead:
                self._collect(process, now)
        self.records += self._watcher.advance(now)
        return sorted(self.records, key=at_ns)

    # What is done to it

    def _plan_session(self, session: Session) -> None:
        if session.joins_ns is not None:
            task = partial(self._watcher.takeover.join, session.number, session.first_unit, session.limit)
            self._push(session.joins_ns, _SAYS, 0, "", partial(self._watcher.start, task))
            return
        self._watcher.takeover.open(session.number, session.first_unit, session.limit)
        ahead = max((n.ahead_units for n in self.plan.nodes.values()), default=0)
        begins = self.plan.release_ns(session.first_unit - 1 - ahead)
        for process in self._processes.values():
            begin = Begin(session.number, session.first_unit, session.limit, 0, {}, ())
            self._begin(process, begin)
            process.waiting.clear()
            self._push(begins, _WAKES, -1, "", partial(self._dispatch, process))

    def _plan_incident(self, incident: Incident) -> None:
        match incident:
            case Dies():
                happen = partial(self._die, incident)
            case Returns():
                happen = partial(self._return, incident)
            case Leaves():
                happen = partial(self._leave, incident)
            case Fences():
                happen = partial(self._fence, incident)
        self._push(incident.at_ns, _SAYS, 1, "", happen)

    def _die(self, dies: Dies, now: int) -> None:
        process = self._processes[dies.process]
        if process.is_dead:
            return
        process.is_dead = True
        most = min(self._period_ns, max(0, now - process.reported_ns))
        for reader in self._processes:
            process.unsent_ns[reader] = now - int(most * self._draws.chance(f"unsent {process.name}->{reader}", now))
        notice = partial(self._notice, process.name)
        self._push(now + dies.noticed_ns, _SAYS, 0, "", notice)

    def _notice(self, process: str, now: int) -> None:
        self._watcher.notice(process, now)
        self._settle_orphans(now)

    def _return(self, returns: Returns, now: int) -> None:
        if self._processes[returns.process].is_dead:
            self._watcher.let_in(returns.process, now)

    def _leave(self, leaves: Leaves, now: int) -> None:
        if self._watcher.takeover.has(leaves.session):
            self._watcher.takeover.stop(leaves.session, leaves.unit)
            self._command(leaves.session, lambda scheduler, at: scheduler.stop_at(leaves.unit), now)
            self._settle_orphans(now)

    def _fence(self, fence: Fences, now: int) -> None:
        if not self._watcher.takeover.has(fence.session):
            return
        self._generation += 1
        streams, raised = list(fence.streams), (self._generation, fence.first_unit)
        self._watcher.takeover.fence(fence.session, streams, *raised)
        self._command(fence.session, lambda scheduler, at: scheduler.fence(streams, *raised, at), now)

    def _command(self, session: int, command: Callable[[Scheduler, int], None], now: int) -> None:
        """Tell every process something of a session."""

        def obey(process: _Process, at: int) -> None:
            if not process.is_dead and session in process.schedulers:
                command(process.schedulers[session], at)
                self._dispatch(process, at)

        for process in self._processes.values():
            self._push(self._way_to(process.name, now), _SAYS, 2, process.name, partial(obey, process))

    # The watcher's messages

    def revive(self, process: str, now: int) -> None:
        """See `watcher.Post`."""
        life = self._processes[process] = _Process(process, reported_ns=now)
        self._plan_report(life, now)

    def tell(self, process: str, messages: Sequence[Message], number: int, now: int) -> None:
        """See `watcher.Post`."""
        read = partial(self._read, self._processes[process], messages, number)
        self._push(self._way_to(process, now), _SAYS, 2, process, read)

    def _read(self, process: _Process, messages: Sequence[Message], number: int, now: int) -> None:
        if process.is_dead:
            return
        answers = [self._answer(process, message, now) for message in messages]
        self._dispatch(process, now)

        def arrive(at: int) -> None:
            self._watcher.answer(process.name, number, answers, at)
            self._settle_orphans(at)

        self._push(now + self._delay_ns(process.name), _SAYS, 3, process.name, arrive)

    def _answer(self, process: _Process, message: Message, now: int) -> Answer:
        if isinstance(message, Begin):
            self._begin(process, message)
            return {}
        if isinstance(message, Go):
            for arrive in process.waiting.pop(message.session, ()):
                arrive(now)
            return {}
        if isinstance(message, Withdraw):
            process.schedulers.pop(message.session, None)
            process.waiting.pop(message.session, None)
            return {}
        scheduler = process.schedulers.get(message.session)
        return {} if scheduler is None else scheduler.answer(message, now)

    def _begin(self, process: _Process, begin: Begin) -> None:
        process.incarnation = begin.incarnation
        process.waiting.setdefault(begin.session, [])
        process.schedulers[begin.session] = self._make_scheduler(
            self.plan, process.name, limit=begin.limit, session=begin.session, first_unit=begin.first_unit,
            incarnation=begin.incarnation, lives=begin.lives, fences=begin.fences,
            keep_ns=KEEP_UNITS * self._period_ns if self._is_watched else 0,
        )  # fmt: skip

    def _way_to(self, process: str, now: int) -> int:
        """Instant at which a message is there: none overtakes another."""
        at = max(self._arrives_at.get(process, now), now + self._delay_ns(process))
        self._arrives_at[process] = at
        return at

    def _delay_ns(self, process: str) -> int:
        self._n_messages += 1
        return self._draws.message_ns(process, self._n_messages)

    # Records

    def _plan_report(self, process: _Process, now: int) -> None:
        every = REPORT_UNITS * self._period_ns
        self._n_reports += 1
        self._push((now // every + 1) * every, _WAKES, 1, process.name, partial(self._report, process))

    def _report(self, process: _Process, now: int) -> None:
        self._n_reports -= 1
        if process.is_dead:
            return
        if not any(name == process.name and since <= now <= until for name, since, until in self._mute):
            self._collect(process, now)
        if len(self._queue) > self._n_reports:  # else nothing but reports can happen any more
            self._plan_report(process, now)

    def _collect(self, process: _Process, now: int) -> None:
        process.reported_ns = now
        for scheduler in process.schedulers.values():
            events = scheduler.take_events()
            self.records += events
            self._watcher.record(events)

    def _settle_orphans(self, now: int) -> None:
        """Settle what the watcher settles by time; gives the instant at which it does so next."""
        self.records += self._watcher.advance(now)
        at = self._watcher.takeover.next_ns
        if at is not None and at != self._orphans_at:
            self._push(at, _WAKES, 0, "", self._settle_orphans)
        self._orphans_at = at

    # What happens

    def _dispatch(self, process: _Process, now: int) -> None:
        """Hand out what can run, send what is to be sent, set the clock."""
        if process.is_dead:
            return
        wakeups = []
        for scheduler in process.going():
            scheduler.advance(now)
            idle = [lane for lane in scheduler.lanes if self._lane(lane, scheduler) not in process.busy]
            for fire in scheduler.choose_all(idle, now):
                self._start(process, scheduler, fire, now)
            for packet in scheduler.take_outgoing():
                self._send(process, packet, now)
            for packet in scheduler.take_handed():
                self._hand(process, packet, now)
            if (at := scheduler.wakeup(now)) is not None:
                wakeups.append(at)
        wakeup = min(wakeups, default=None)
        if wakeup is not None:
            wakeup += self._draws.late_ns(process.name, (wakeup - 1) // self._period_ns)
        if wakeup is not None and wakeup != process.alarm_at:
            self._push(wakeup, _WAKES, 0, process.name, partial(self._wake, process))
        process.alarm_at = wakeup

    def _wake(self, process: _Process, now: int) -> None:
        if process.alarm_at == now:  # else it was set to another time since
            process.alarm_at = None
            self._dispatch(process, now)

    def _lane(self, lane: str, scheduler: Scheduler) -> str:
        return lane if self._shares_lanes else f"{lane} {scheduler.session}"

    def _start(self, process: _Process, scheduler: Scheduler, fire: Fire, now: int) -> None:
        node = self.plan.nodes[fire.node]
        process.busy.add(self._lane(lane_of(node), scheduler))
        for fault in self._faults:
            if fault.node == node.name and fault.strikes(fire, self.plan.seed):
                text = f"node '{node.name}', unit {fire.first}: {fault.what}"
                self.records.append(Note(now, node.process, "injected", text))
        ends = self._hardware.end_ns(node, self._cost(node, fire), now)
        self._push(ends, _ENDS, node.depth, fire.node, partial(self._finish, process, scheduler, fire))

    def _finish(self, process: _Process, scheduler: Scheduler, fire: Fire, now: int) -> None:
        if process.is_dead:
            return
        process.busy.discard(self._lane(lane_of(self.plan.nodes[fire.node]), scheduler))
        # Who was served goes last: where sessions share a lane, none of them waits for all the others for ever.
        process.schedulers[scheduler.session] = process.schedulers.pop(scheduler.session)
        scheduler.finish(fire, self._result(fire), now)
        self._dispatch(process, now)

    def _send(self, sender: _Process, packet: Packet, now: int) -> None:
        stream = self.plan.streams[packet.stream]
        for reader in stream.readers:
            self._carry(sender, stream, reader, packet, now, self._arrive)

    def _hand(self, sender: _Process, packet: Packet, now: int) -> None:
        stream = self.plan.streams[packet.stream]
        for reader in stream.readers:
            if reader != sender.name:
                self._carry(sender, stream, reader, packet, now, self._adopt)

    def _carry(
        self,
        sender: _Process,
        stream: StreamPlan,
        reader: str,
        packet: Packet,
        now: int,
        arrive: Callable[[_Process, _Process, Packet, int, int], None],
    ) -> None:
        """Packets of a stream do not overtake one another."""
        way = (stream.name, f"{sender.name}->{reader}", packet.session)
        took = self._draws.transfer_ns(stream, reader, packet.unit, packet.session)
        at = self._arrived[way] = max(self._arrived.get(way, now), now + took)
        target = self._processes[reader]

        def come(then: int) -> None:
            is_lost = sender.is_dead and now >= sender.unsent_ns[reader]
            if is_lost or target.is_dead or packet.session not in target.schedulers:
                return
            take_in = partial(arrive, sender, target, packet, now)
            if packet.session in target.waiting:
                target.waiting[packet.session].append(take_in)
            else:
                take_in(then)
                self._dispatch(target, then)

        self._push(at, _ARRIVES, 0, f"{stream.name}->{reader}", come)

    def _arrive(self, sender: _Process, reader: _Process, packet: Packet, sent_ns: int, now: int) -> None:
        stream = self.plan.streams[packet.stream]
        if packet.is_payload:
            self.records.append(
                Transfer(stream.name, packet.unit, sender.name, reader.name, sent_ns, now, stream.max_bytes or 0,
                         stream.carrier, packet.session, packet.incarnation)
            )  # fmt: skip
        reader.schedulers[packet.session].arrive(packet, now)

    def _adopt(self, sender: _Process, reader: _Process, packet: Packet, sent_ns: int, now: int) -> None:
        reader.schedulers[packet.session].adopt(packet, sender.name, sender.incarnation, now)

    def _push(self, at: int, kind: Kind, depth: int, name: str, happen: Callable[[int], None]) -> None:
        self._n_queued += 1
        heapq.heappush(self._queue, (at, kind, depth, name, self._n_queued, happen))

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

    def _check_ended(self) -> None:
        stuck = [
            f"node '{name}': {scheduler.waiting_for(name)}"
            for process in self._processes.values()
            if not process.is_dead
            for scheduler in process.schedulers.values()
            for name, state in scheduler.nodes.items()
            if not state.ended
        ]
        if stuck:
            raise RunError(f"simulation: nothing can happen any more ({'; '.join(stuck)}), look at the graph's delays")
