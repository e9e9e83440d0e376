"""A trace in memory, and what it says of each unit: misses, model latency, skew, lateness.

Everything here is computed from records, never from the run's own summary, so that a cut trace tells the same story
as far as it goes, and a run that goes on can be shown record by record. What became of a unit is what `RunView` says.
Times are nanoseconds after the origin, durations are nanoseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...runtime.observe.downtime import Downtimes
from ...runtime.observe.lateness import is_late, past_due_ns
from ...runtime.observe.outcome import Outcome
from ...runtime.observe.records import Footer, Header, Note, Record, Transfer, Unfinished, at_ns
from ...runtime.observe.run_view import RunView
from ...runtime.observe.totals import Totals
from ...runtime.observe.trace_file import open_trace
from ...runtime.plan.plan import InputPlan, Plan
from ...runtime.schedule.events import Fenced, Firing, Settlement


class Run:
    """A trace, sorted by what the records are about.

    Attributes:
        firings: by node, in the order in which they started; every planned node is a key.
        settled: by stream, then by unit.
        bodies: by node, then by unit: the firing that went through it.
        arrived: by stream and reading process, then by unit: when the packet was there.
        lateness: by unit, the worst ``finished - due`` of its nodes; negative when all were in time. Of paced nodes,
            which wait for their due on purpose, only what began late. A source called ahead is finished at release.
        n_units: units that were released and did not turn out to be past the end.
        first_unit: the first unit that anything was done for: not 0 in what a flight recorder kept.
        n_late: bodies that finished after their due, and presentations that began late.
        records: all of them, in the order of the trace.
    """

    def __init__(self, header: Header, plan: Plan) -> None:
        self.header, self.plan = header, plan
        self.firings: dict[str, list[Firing]] = {name: [] for name in plan.nodes}
        self.settled: dict[str, dict[int, Settlement]] = {}
        self.bodies: dict[str, dict[int, Firing]] = {name: {} for name in plan.nodes}
        self.arrived: dict[tuple[str, str], dict[int, int]] = {}
        self.lateness: dict[int, int] = {}
        self.transfers: list[Transfer] = []
        self.fences: list[Fenced] = []
        self.notes: list[Note] = []
        self.summary: dict[str, Any] = {}
        self.is_whole = False
        self.n_units = self.n_late = 0
        self.first_unit = 0
        self.records: list[Record] = []
        self._unfinished: dict[tuple[str, int], Unfinished] = {}
        self._downtimes = Downtimes(plan)
        self._begun = False
        self._view = RunView(plan)
        self._closed: dict[int, Outcome] = {}
        self._totals = Totals(plan.clock.period_ns, plan.clock.unit_frames)

    def add(self, records: Sequence[Record]) -> None:
        """Take these in, of planned nodes; firings of one node in the order in which they started."""
        self._keep(records)
        self._close(self._view.add(records))

    def shortened(self, n_records: int) -> Run:
        """The newest records alone, with the outcomes of their units: those follow from records before them, too."""
        rest = Run(self.header, self.plan)
        rest._keep(self.records[-n_records:])
        rest._unfinished, rest._downtimes = self._unfinished, self._downtimes
        rest._view, rest.is_whole, rest.summary = self._view, self.is_whole, self.summary
        rest._close([outcome for unit, outcome in self._closed.items() if unit >= rest.first_unit])
        return rest

    def _close(self, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            self._closed[outcome.unit] = outcome
            self._totals.add(outcome)

    def _keep(self, records: Sequence[Record]) -> None:
        for record in records:
            self.records.append(record)
            match record:
                case Firing():
                    self._unfinished.pop((record.node, record.first), None)
                    self._fired(record)
                case Unfinished():
                    self._unfinished[record.node, record.first] = record
                case Settlement():
                    self.settled.setdefault(record.stream, {})[record.unit] = record
                case Transfer():
                    self.transfers.append(record)
                    self.arrived.setdefault((record.stream, record.reader), {})[record.unit] = record.arrived_ns
                case Fenced():
                    self.fences.append(record)
                case Note():
                    self.notes.append(record)
                    self._downtimes.add(record)
                case Footer():
                    self.summary, self.is_whole = record.summary, True

    def _fired(self, firing: Firing) -> None:
        self.firings[firing.node].append(firing)
        if firing.verdict == "end":
            return
        self.n_units = max(self.n_units, firing.last + 1)
        self.first_unit = min(self.first_unit, firing.first) if self._begun else firing.first
        self._begun = True
        self.bodies[firing.node].update(dict.fromkeys(range(firing.first, firing.last + 1), firing))
        node = self.plan.nodes[firing.node]
        self.n_late += is_late(node, firing)
        if firing.mode == "step" and firing.due_ns is not None and (not node.paced or is_late(node, firing)):
            late = past_due_ns(node, firing) if node.paced else max(firing.finished_ns, firing.ready_ns) - firing.due_ns
            self.lateness[firing.last] = max(late, self.lateness.get(firing.last, late))

    def end(self) -> None:
        """Nothing more will come: calls that have not ended last to the end of the records."""
        until_ns = max(map(at_ns, self.records), default=0)
        for call in self._unfinished.values():
            self._fired(call.as_firing(self._downtimes.end_of(call, until_ns)))
        self._unfinished = {}
        self.sort()

    def sort(self) -> None:
        """Bring each node's firings into the order in which they started."""
        for firings in self.firings.values():
            firings.sort(key=lambda f: (f.started_ns, f.first))

    @property
    def first_open(self) -> int:
        """The first unit whose outcome may still change."""
        return self._view.first_open

    def outcomes(self, since: int = 0) -> dict[int, Outcome]:
        """Outcomes of the units presented, from ``since`` on; those from `first_open` on may still change."""
        closed = {unit: self._closed[unit] for unit in self.units(since) if unit in self._closed}
        return closed | {outcome.unit: outcome for outcome in self._view.open() if outcome.unit >= since}

    def totals(self) -> Totals:
        """All of them added up."""
        return self._totals.having(self._view.open())

    @property
    def sent(self) -> list[Transfer]:
        """Transfers of the run's units; the word that a stream has ended is no unit."""
        return [t for t in self.transfers if t.unit < self.n_units]

    def units(self, since: int = 0) -> range:
        """The units that the trace tells of, from ``since`` on."""
        return range(max(since, self.first_unit), self.n_units)

    def release_ns(self, unit: int) -> int:
        """Instant at which ``unit`` is complete."""
        return self.plan.release_ns(unit)

    def deadline_ns(self, unit: int) -> int:
        """Instant at which the answer to ``unit`` begins to play."""
        return self.release_ns(unit) + self.plan.latency_ns

    def source(self, inlet: InputPlan) -> str:
        """The node that makes what an inlet takes."""
        return self.plan.streams[inlet.stream].node


def read_run(path: Path) -> Run:
    """Load a trace.

    Raises:
        UserError: as `open_trace`.
    """
    header, plan, records = open_trace(path)
    run = Run(header, plan)
    run.add(list(records))
    run.end()
    return run


def misses(run: Run, since: int = 0) -> dict[int, str]:
    """Units that were not there when they were presented, each with the reason, in order, from ``since`` on."""
    return {unit: outcome.reason for unit, outcome in run.outcomes(since).items() if outcome.is_missed}


def model_latency_ns(run: Run, since: int = 0) -> list[int | None]:
    """Per unit of ``run.units(since)``: `Outcome.model_latency_ns`, None of one that was not presented."""
    outcomes = run.outcomes(since)
    return [outcomes[unit].model_latency_ns if unit in outcomes else None for unit in run.units(since)]


def skew_ns(run: Run, since: int = 0) -> list[int | None]:
    """Per unit of ``run.units(since)``: `Outcome.skew_ns`; empty where no unit has both picture and sound."""
    outcomes = run.outcomes(since)
    skews = [outcomes[unit].skew_ns if unit in outcomes else None for unit in run.units(since)]
    return skews if any(skew is not None for skew in skews) else []


def lateness_ns(run: Run, since: int = 0) -> list[int | None]:
    """Per unit of ``run.units(since)``: `Run.lateness`, None without dues."""
    return [run.lateness.get(unit) for unit in run.units(since)]
