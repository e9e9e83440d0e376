"""Rules for a dead process's streams, and for its return, for whoever watches the processes.

**Death.** The dead decided some streams (`duty`), and its last decisions may have reached some of its readers and not
others. Settled is settled: whoever took an outcome in has acted on it. So

1. every survivor is told, and from then on takes in nothing of that life, whatever still arrives: otherwise what it
   answers next would not stay true. It answers what it knows of the dead's streams, and hands over what it keeps.
2. What any of them knows, all get. Several know different prefixes of the same decisions, so this cannot conflict.
   What the dead decided and no survivor knows was seen by nobody, and is open again; unless it is recorded: then it
   stays so, for nothing settles twice, and is missing for all survivors alike, for nobody has its payload.
3. Of each stream, one of its readers decides the open units from there on: the one for which the stream began first,
   for it alone lacks none of them. Nobody makes them, so they settle as missing by time, and the stream ends where
   what it is made of is known to end. Its other readers get the outcomes from it.
4. What no survivor reads needs no decider among them. The watcher itself records its units as missing, by time: a
   playout that is dead has missed its units, and the record has to say so.

The same holds for the death of one that had taken over, and for deaths while all of this is under way: each is dealt
with after the one before, by the same rules, from what those who live then know.

**Return.** The newcomer has a life of its own number and begins at a first unit in the future: no packet of that unit
or a later one has been sent yet, so that it can miss none. (1) It opens its inbox, and keeps what comes.
(2) Who decides in its place is told to stop at the first unit; who reads it, that its units are made again from there.
(3) When all have answered before that unit's time, it goes; else a later one is chosen, as much later as agreeing took.
Where none is left before the session's end, it withdraws, and all is as before. It makes nothing of before, and its
delayed inlets find their initial packets there: what it was is gone.

**A session that joins** does so by the same steps, in all processes that live; the streams of those that do not are
passed on from its first unit.

**What is taken for granted.** Who reads a stream keeps its outcomes for a while after it needs them itself: what nobody
keeps, nobody can hand over. A verdict is final: the process is killed before its streams are passed on.

No threads, clocks or sockets: `Takeover` says as a generator whom to send what (`duty.Message`); its driver sends back
the answers of those who live to give them.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..errors import RunError
from ..packet import Packet, Validity
from ..plan.plan import Plan
from .duty import Answer, Begin, Died, Go, Known, Message, Order, Report, Withdraw
from .events import Event, Settlement
from .ledger import WATCHER, Ledger
from .window import FOREVER, Settled, Span

MARGIN_UNITS = 1
"""So many units later than it must be, a first unit is chosen: the processes have to agree on it before."""

KEEP_UNITS = 16
"""For how long outcomes are kept for those who lack them, where processes may die."""

Messages = dict[str, list[Message]]
"""By process."""


@dataclass(frozen=True)
class Answers:
    """Answers of processes, each to its messages in their order, and when the last answer came."""

    now: int
    by_process: Mapping[str, Sequence[Answer]]


Protocol = Generator[Messages, Answers, None]


class Takeover:
    """Deciders of streams in every session, as processes die and come back.

    Attributes:
        processes: those that have nodes.
        lives: which life of a process it is, or was.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.processes = tuple(name for name in plan.processes if plan.nodes_in(name))
        self.lives = dict.fromkeys(self.processes, 0)
        self._dead: set[str] = set()
        self._ledgers: dict[int, Ledger] = {}
        reads = {p: {i.stream for n in plan.nodes_in(p) for i in n.inputs} for p in self.processes}
        self._readers = {name: tuple(p for p in self.processes if name in reads[p]) for name in plan.streams}
        self._records: list[Settlement] = []
        self._reach_units = reach_units(plan)

    @property
    def living(self) -> list[str]:
        """Processes that were not declared dead."""
        return [name for name in self.processes if name not in self._dead]

    # What happens

    def open(self, session: int, first_unit: int, limit: int | None) -> None:
        """A session that all processes begin with: nothing has to be agreed on."""
        ledger = self._ledgers[session] = Ledger(self.plan, session, first_unit, limit)
        ledger.is_agreed = True

    def has(self, session: int) -> bool:
        """True if a session has begun, or is about to."""
        return session in self._ledgers

    def record(self, events: Iterable[Event]) -> None:
        """Take in what processes recorded."""
        for event in events:
            ledger = self._ledgers.get(event.session)
            if ledger is not None and isinstance(event, Settlement):
                ledger.tallies[event.stream].add(event.unit, event.validity)

    def fence(self, session: int, streams: Sequence[str], generation: int, first_unit: int) -> None:
        """A fence was raised: who begins later has to know of it."""
        self._ledgers[session].fences.append((list(streams), generation, first_unit))

    def stop(self, session: int, unit: int) -> None:
        """The sources of a session end at ``unit``, or where they are."""
        ledger = self._ledgers[session]
        ledger.limit = unit if ledger.limit is None else min(ledger.limit, unit)

    def declare_dead(self, process: str) -> None:
        """The verdict: from now on nobody waits for its answers, and none of them counts. `pass_on` must follow."""
        self._dead.add(process)

    # Protocols

    def pass_on(self, process: str) -> Protocol:
        """Pass on what a dead process decided.

        Raises:
            RunError: some survivors know an outcome that others lack, or that is not recorded, and nobody keeps it.
        """
        questions: Messages = {survivor: [] for survivor in self.living}
        for ledger in self._ledgers.values():
            ledger.made_from[process] = FOREVER
            concerned = [name for name in self.plan.streams if ledger.concerns(name, process)]
            for survivor, mine in questions.items():
                streams = tuple(name for name in concerned if survivor in self._readers[name])
                mine.append(Died(ledger.number, process, self.lives[process], streams))
        # everybody is asked before anything is passed on: a successor that decided at once could contradict what
        # another knows
        answers = yield questions
        orders: Messages = {}
        for place, ledger in enumerate(self._ledgers.values()):
            known = {p: answer[place] for p, answer in answers.by_process.items() if p not in self._dead}
            for name in self.plan.streams:
                if ledger.concerns(name, process):
                    here = {p: streams[name] for p, streams in known.items() if name in streams}
                    self._pass_on(ledger, name, process, here, orders)
        yield orders

    def admit(self, process: str, now: int) -> Protocol:
        """Let a process that came back take part in every session that goes on long enough."""
        # alive before it begins: the lives that its session begins with count the dead ones one further
        self._dead.discard(process)
        self.lives[process] += 1
        for ledger in list(self._ledgers.values()):
            before, sent_at, took_ns, has_begun = dict(ledger.spans), now, 0, False
            while process not in self._dead:
                first = max(ledger.first_unit, self._first_after(now + took_ns))
                if ledger.limit is not None and first >= ledger.limit:
                    if has_begun:
                        ledger.spans = before
                        yield self._change(ledger, process, FOREVER, [Withdraw(ledger.number)])
                    break  # over before it could do anything: who decides in its place ends its streams, too
                has_begun = True
                yield {process: [self._begin(ledger, process, first)]}
                ledger.spans = dict(before)  # an earlier try was for an earlier unit
                self._give_back(ledger, process, first)
                answers = yield self._change(ledger, process, first, [])
                now, sent_at, took_ns = answers.now, answers.now, answers.now - sent_at
                if self._is_future(first, now):
                    yield {process: [*self._orders_of_newcomer(ledger, process, first, answers), Go(ledger.number)]}
                    break

    def join(self, session: int, first_unit: int, limit: int | None, now: int) -> Protocol:
        """Begin a session, at ``first_unit`` or as soon after it as all can."""
        sent_at, took_ns = now, 0
        while True:
            first_unit = max(first_unit, self._first_after(now + took_ns))
            if limit is not None and first_unit >= limit:
                if self._ledgers.pop(session, None) is not None:
                    yield {p: [Withdraw(session)] for p in self.living}
                return
            ledger = self._ledgers[session] = Ledger(self.plan, session, first_unit, limit)
            begins: Messages = {p: [self._begin(ledger, p, first_unit)] for p in self.living}
            for process in self._dead:
                ledger.made_from[process] = FOREVER
            for process in sorted(self._dead):
                for name in self.plan.streams:
                    if ledger.concerns(name, process):
                        nothing = {p: Known(first_unit, first_unit, {}) for p in self._readers[name] if p in begins}
                        self._pass_on(ledger, name, process, nothing, begins)
            answers = yield begins
            now, sent_at, took_ns = answers.now, answers.now, answers.now - sent_at
            if self._is_future(first_unit, now):
                ledger.is_agreed = True
                yield {p: [Go(session)] for p in self.living if p in begins}
                return

    # What the watcher decides

    def advance(self, now: int) -> None:
        """Record as missing what nobody alive reads, and time settles."""
        for ledger in self._ledgers.values():
            for stream, unit, validity, at in ledger.orphans(now):
                self._records.append(ledger.settlement(stream, unit, validity, at, self._life_of(stream)))

    @property
    def next_ns(self) -> int | None:
        """Instant at which time alone will give `advance` something to do."""
        times = [at for ledger in self._ledgers.values() if (at := ledger.next_ns) is not None]
        return min(times, default=None)

    def drain(self) -> list[Settlement]:
        """Outcomes that were settled, or found to be settled, here since the last call: for the trace."""
        drained, self._records = self._records, []
        return drained

    # Passing on

    def _pass_on(self, ledger: Ledger, name: str, process: str, known: Mapping[str, Known], orders: Messages) -> None:
        """Give what a dead process decided of a stream to a survivor that reads it, and what one knows to all."""
        spans = ledger.spans_of(name, process)
        common = _in_common(ledger, name, spans, known)
        if known:
            common |= self._only_recorded(ledger, name, spans, known)
        for unit, settled in common.items():
            if not ledger.tallies[name].has(unit):
                packet = settled.packet
                life = packet.incarnation
                record = ledger.settlement(name, unit, packet.validity, settled.at_ns, life, packet.n_bytes)
                self._records.append(record)
        successor = min(known, key=lambda p: (known[p].first_unit, self.processes.index(p)), default=WATCHER)
        ledger.pass_on(name, process, successor, known[successor].first_unit if successor else ledger.first_unit)
        for survivor, knows in known.items():
            lacking = (s for unit, s in common.items() if unit >= knows.first_unit and not knows.has(unit))
            orders.setdefault(survivor, []).append(_order(ledger, name, survivor, tuple(lacking)))

    def _only_recorded(
        self, ledger: Ledger, name: str, spans: Sequence[Span], known: Mapping[str, Known]
    ) -> dict[int, Settled]:
        """Outcomes of these units that are recorded and that no survivor has: their packets died on the way."""
        tally, found = ledger.tallies[name], {}
        for unit in range(min(knows.head for knows in known.values()), tally.top):
            if tally.has(unit) and _in(unit, spans) and not any(knows.has(unit) for knows in known.values()):
                is_end = tally.ended_at is not None and unit >= tally.ended_at
                found[unit] = Settled(self._blank(ledger, name, unit, Validity.END if is_end else Validity.MISSING), 0)
        return found

    def _blank(self, ledger: Ledger, name: str, unit: int, validity: Validity) -> Packet:
        clock, life = self.plan.clock, self._life_of(name)
        times = (clock.pts_ns(unit), clock.duration_ns(unit))
        return Packet(name, unit, 0, *times, validity, session=ledger.number, incarnation=life)

    def _life_of(self, stream: str) -> int:
        """The life that should have made what is missing now: of a dead process, the next one."""
        process = self.plan.streams[stream].process
        return self.lives[process] + (process in self._dead)

    # Coming back

    def _begin(self, ledger: Ledger, process: str, first_unit: int) -> Begin:
        lives = {p: life + (p in self._dead) for p, life in self.lives.items()}
        fences = tuple(ledger.fences)
        return Begin(ledger.number, first_unit, ledger.limit, self.lives[process], lives, fences)

    def _give_back(self, ledger: Ledger, process: str, first: int) -> None:
        """Let a newcomer decide from its first unit on what the plan says, and what it reads and nobody decides."""
        for name, stream in self.plan.streams.items():
            if stream.settler == process:
                ledger.give_back(name, process, first)
            elif process in self._readers[name]:
                ledger.claim(name, process, first)

    def _change(self, ledger: Ledger, process: str, made_from: int, own: list[Message]) -> Messages:
        """Tell everybody what they decide, and from where on a process makes its streams; ask what has ended."""
        ledger.made_from[process] = made_from
        read = tuple(name for name, readers in self._readers.items() if process in readers)
        messages: Messages = {p: [Report(ledger.number, read)] for p in self.living if p != process}
        for name, stream in self.plan.streams.items():
            if process in (stream.process, stream.settler, *self._readers[name]):
                for other in self._readers[name]:
                    if other in messages:
                        messages[other].append(_order(ledger, name, other))
        return {**messages, process: own} if own else messages

    def _orders_of_newcomer(self, ledger: Ledger, process: str, first: int, answers: Answers) -> list[Order]:
        """Streams that nobody makes, or not yet, where a newcomer begins; and what had ended before it came."""
        reports = [answer[0] for p, answer in answers.by_process.items() if p not in self._dead]
        orders = []
        for name, readers in self._readers.items():
            if process in readers:
                ends = [end for report in reports if name in report and (end := report[name].end) is not None]
                if ends or ledger.made_from[self.plan.streams[name].process] > first:
                    orders.append(_order(ledger, name, process, tuple(ends[:1])))
        return orders

    def _first_after(self, now: int) -> int:
        """The first unit of which nothing can have been sent by now, and a margin."""
        return self.plan.clock.unit_at(now) + 1 + self._reach_units + MARGIN_UNITS

    def _is_future(self, first: int, now: int) -> bool:
        return self.plan.clock.pts_ns(first - self._reach_units) > now


def reach_units(plan: Plan) -> int:
    """Number of units before its release that a packet may be sent at most.

    What sources make ahead waits for its release, but their end does not. A node that takes in the past alone runs
    ahead by its smallest delay, and lets those after it do so, too.
    """
    ahead: dict[str, float] = {n.name: 0 if n.is_source else float("inf") for n in plan.nodes.values()}
    for _ in plan.nodes:
        for node in plan.nodes.values():
            reached = [ahead[plan.streams[i.stream].node] + i.delay - i.look_ahead for i in node.inputs]
            ahead[node.name] = min([ahead[node.name], *(max(0, units) for units in reached)])
    known = [int(units) for units in ahead.values() if units != float("inf")]
    return max(known + [n.ahead_units for n in plan.nodes.values()])


def _order(ledger: Ledger, stream: str, process: str, outcomes: tuple[Settled, ...] = ()) -> Order:
    unmade_until = ledger.made_from[ledger.plan.streams[stream].process]
    return Order(ledger.number, stream, ledger.spans_of(stream, process), unmade_until, outcomes)


def _in_common(ledger: Ledger, stream: str, spans: Sequence[Span], known: Mapping[str, Known]) -> dict[int, Settled]:
    """Outcomes of these units that any survivor knows and keeps, in order; the end at its unit."""
    common: dict[int, Settled] = {}
    for knows in known.values():
        end = () if knows.end is None else ((knows.end.packet.unit, knows.end),)
        common.update((unit, settled) for unit, settled in (*knows.kept.items(), *end) if _in(unit, spans))
    heads = [knows.head for knows in known.values()]
    for unit in range(min([ledger.tallies[stream].head, *heads]), max(heads, default=0)):
        if unit in common or not _in(unit, spans):
            continue
        have = [p for p, knows in known.items() if knows.has(unit)]
        lack = [p for p, knows in known.items() if unit >= knows.first_unit and p not in have]
        if have and (lack or not ledger.tallies[stream].has(unit)):
            raise RunError(
                f"stream '{stream}', unit {unit}: found that {', '.join(have)} took it in and keep it no more "
                f"(expected it kept for {', '.join(lack) or 'the record'}), start the run again"
            )
    return dict(sorted(common.items()))


def _in(unit: int, spans: Iterable[Span]) -> bool:
    return any(first <= unit < until for first, until in spans)
