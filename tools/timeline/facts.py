"""A trace in memory, and what it says of each unit: misses, model latency, skew, lateness.

Everything here is computed from records, never from the run's own summary, so that a cut trace tells the same story
as far as it goes, and a run that goes on can be told record by record. Times are nanoseconds after the origin,
durations are nanoseconds.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

from ...runtime.errors import GraphError, UserError, listing
from ...runtime.observe.lateness import is_late, past_due_ns
from ...runtime.observe.records import Footer, Header, Note, Record, Transfer, read_trace
from ...runtime.packet import Validity
from ...runtime.plan.plan import InputPlan, NodePlan, Plan, from_plain
from ...runtime.schedule.events import Fenced, Firing, Settlement

AHEAD_UNITS = 1000
"""No body goes through a unit that is released so much later."""

NOT_REAL = (Validity.MISSING, Validity.REPEATED, Validity.CONCEALED)


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
        self._begun = False

    def add(self, records: Iterable[Record]) -> None:
        """Take these in, of planned nodes; firings of one node in the order in which they started."""
        for record in records:
            self.records.append(record)
            match record:
                case Firing():
                    self._fired(record)
                case Settlement():
                    self.settled.setdefault(record.stream, {})[record.unit] = record
                case Transfer():
                    self.transfers.append(record)
                    self.arrived.setdefault((record.stream, record.reader), {})[record.unit] = record.arrived_ns
                case Fenced():
                    self.fences.append(record)
                case Note():
                    self.notes.append(record)
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

    def sort(self) -> None:
        """Bring each node's firings into the order in which they started."""
        for firings in self.firings.values():
            firings.sort(key=lambda f: (f.started_ns, f.first))

    @cached_property
    def answers(self) -> list[tuple[NodePlan, InputPlan]]:
        """Where the answer of a unit arrives: undelayed inlets of the paced nodes, of the sinks when none is paced."""
        nodes = self.plan.nodes.values()
        ends = [n for n in nodes if n.paced] or [n for n in nodes if n.is_sink]
        return [(n, i) for n in ends for i in n.inputs if i.delay == 0]

    @property
    def sent(self) -> list[Transfer]:
        """Transfers of the run's units; the word that a stream has ended is no unit."""
        return [t for t in self.transfers if t.unit < self.n_units]

    def units(self, since: int = 0) -> range:
        """The units that the trace tells of, from ``since`` on."""
        return range(max(since, self.first_unit), self.n_units)

    def release_ns(self, unit: int) -> int:
        """When ``unit`` is complete."""
        return self.plan.release_ns(unit)

    def deadline_ns(self, unit: int) -> int:
        """When the answer to ``unit`` begins to play."""
        return self.release_ns(unit) + self.plan.latency_ns

    def source(self, inlet: InputPlan) -> str:
        """The node that makes what an inlet takes."""
        return self.plan.streams[inlet.stream].node

    def arrival_ns(self, inlet: InputPlan, unit: int) -> int | None:
        """When the payload of ``unit`` was there: settled real, else when its late body finished; None if never."""
        outcome = self.settled.get(inlet.stream, {}).get(unit)
        if outcome is not None and outcome.validity in (Validity.REAL, Validity.EMPTY):
            return outcome.at_ns
        body = self.bodies[self.source(inlet)].get(unit)
        return body.finished_ns if body is not None and body.mode == "step" and body.last == unit else None


def read_run(path: Path) -> Run:
    """Load a trace.

    Raises:
        UserError: not a trace, empty, or its header has no usable plan.
    """
    records = read_trace(path)
    header = next(records, None)
    if not isinstance(header, Header):
        raise UserError(
            f"{path}: found an empty file (expected a trace), make one with: wangraph run GRAPH --trace FILE"
        )
    try:
        run = Run(header, from_plain(header.plan))
    except GraphError as error:
        raise UserError(f"{path}:1: {error}") from error
    run.add(_checked(path, run, records))
    run.sort()
    return run


def _checked(path: Path, run: Run, records: Iterable[Record]) -> Iterable[Record]:
    """The same records, all of them of this run."""
    for record in records:
        if isinstance(record, Firing) and record.node not in run.plan.nodes:
            nodes = listing(run.plan.nodes)
            raise UserError(f"{path}: found a firing of '{record.node}' (the plan has: {nodes}), record it again")
        if isinstance(record, Firing):
            _check_unit(path, run.plan, record)
        if isinstance(record, Header):
            raise UserError(f"{path}: found a second header (expected one run), split the file")
        yield record


def _check_unit(path: Path, plan: Plan, firing: Firing) -> None:
    """A damaged number must not make a page of a million empty units."""
    soonest_ns = plan.release_ns(firing.last - AHEAD_UNITS)
    if not 0 <= firing.first <= firing.last or soonest_ns > firing.finished_ns:
        found = f"units {firing.first} to {firing.last} of '{firing.node}' at {firing.finished_ns / 1e9:.3f} s"
        raise UserError(f"{path}: found {found} (expected units of that time): the file is damaged, record it again")


def misses(run: Run, since: int = 0) -> dict[int, str]:
    """Units that were not real when they were presented, each with the reason, in order of unit, from ``since`` on."""
    found: dict[int, list[str]] = {}
    for node, inlet in run.answers:
        settled, bodies = run.settled.get(inlet.stream, {}), run.bodies[node.name]
        for unit in run.units(since):
            outcome, body = settled.get(unit), bodies.get(unit)
            if outcome is not None and outcome.validity in NOT_REAL:
                found.setdefault(unit, []).append(f"{inlet.stream} {Validity(outcome.validity).name.lower()}")
            if body is not None and body.mode in ("gap", "skip"):
                found.setdefault(unit, []).append(f"{node.name} did not run ({body.mode})")
    return {unit: ", ".join(dict.fromkeys(found[unit])) for unit in sorted(found)}


def model_latency_ns(run: Run, since: int = 0) -> list[int | None]:
    """Per unit of ``run.units(since)``: release -> the last part of the answer was there (also when too late); None
    if it never came."""
    return [_latency(run, unit) for unit in run.units(since)]


def _latency(run: Run, unit: int) -> int | None:
    times = [run.arrival_ns(inlet, unit) for _, inlet in run.answers]
    known = [t for t in times if t is not None]
    return max(known) - run.release_ns(unit) if known and len(known) == len(times) else None


def skew_ns(run: Run, since: int = 0) -> list[int | None]:
    """Per unit of ``run.units(since)``: how much older the picture shown was than the sound played; empty without both.

    A picture grows older by a unit each time it is repeated; beside silence there is nothing to be out of step with.
    """
    played = [f"{n.name}.{port}" for n in run.plan.nodes.values() if n.paced for port in n.outputs]
    kinds = {stream: run.plan.streams[stream].kind for stream in played if stream in run.plan.streams}
    video = next((run.settled[s] for s in kinds if kinds[s] == "video" and s in run.settled), None)
    audio = next((run.settled[s] for s in kinds if kinds[s] == "audio" and s in run.settled), None)
    if video is None or audio is None:
        return []
    skews: list[int | None] = []
    behind = _repeated_before(video, max(since, run.first_unit))
    for unit in run.units(since):
        picture, sound = video.get(unit), audio.get(unit)
        if picture is None or sound is None:
            skews.append(None)
            continue
        behind = behind + 1 if picture.validity in (Validity.REPEATED, Validity.CONCEALED) else 0
        silent = sound.validity in (Validity.CONCEALED, Validity.EMPTY, Validity.MISSING)
        skews.append(0 if silent else behind * run.plan.clock.period_ns)
    return skews


def _repeated_before(video: dict[int, Settlement], unit: int) -> int:
    """How often the picture had been repeated by then."""
    times = 0
    while (before := video.get(unit - 1 - times)) and before.validity in (Validity.REPEATED, Validity.CONCEALED):
        times += 1
    return times


def lateness_ns(run: Run, since: int = 0) -> list[int | None]:
    """Per unit of ``run.units(since)``: `Run.lateness`, None without dues."""
    return [run.lateness.get(unit) for unit in run.units(since)]
