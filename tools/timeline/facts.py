"""A trace in memory, and what it says of each unit: misses, model latency, skew, lateness.

Everything here is computed from records, never from the run's own summary, so that a cut trace tells the same story
as far as it goes. Times are nanoseconds after the origin, durations are nanoseconds.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

from ...runtime.engine.records import Footer, Header, Note, Transfer, read_trace
from ...runtime.errors import UserError, listing
from ...runtime.packet import Validity
from ...runtime.schedule.events import Fenced, Firing, Settlement
from ...runtime.units import UnitClock

NOT_REAL = (Validity.MISSING, Validity.REPEATED, Validity.CONCEALED)


@dataclass(frozen=True)
class Inlet:
    """One wired input: unit k takes unit ``k - delay`` of ``stream``, which ``source`` makes."""

    port: str
    stream: str
    source: str
    delay: int


@dataclass(frozen=True)
class NodeInfo:
    """What the views need of a planned node. ``due_ns`` counts from release; None without a due."""

    name: str
    type: str
    process: str
    lane: str
    inlets: tuple[Inlet, ...]
    outputs: tuple[str, ...]
    paced: bool
    due_ns: int | None
    ladder: tuple[dict[str, Any], ...]


@dataclass
class Run:
    """A trace, sorted by what the records are about.

    Attributes:
        firings: by node, in the order in which they started; every planned node is a key.
        settled: by stream, then by unit.
    """

    header: Header
    clock: UnitClock
    latency_ns: int
    nodes: dict[str, NodeInfo]
    kinds: dict[str, str]
    firings: dict[str, list[Firing]]
    settled: dict[str, dict[int, Settlement]]
    transfers: list[Transfer] = field(default_factory=list)
    fences: list[Fenced] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    is_whole: bool = False

    @cached_property
    def answers(self) -> list[tuple[NodeInfo, Inlet]]:
        """Where the answer of a unit arrives: undelayed inlets of the paced nodes, of the sinks when none is paced."""
        ends = [n for n in self.nodes.values() if n.paced] or [n for n in self.nodes.values() if not n.outputs]
        return [(n, i) for n in ends for i in n.inlets if i.delay == 0]

    @cached_property
    def finished(self) -> dict[str, dict[int, int]]:
        """By node, then by unit: when the body that answered it had finished."""
        return {
            name: {f.last: f.finished_ns for f in firings if f.mode == "step" and f.verdict != "end"}
            for name, firings in self.firings.items()
        }

    @cached_property
    def n_units(self) -> int:
        """Units that were released and did not turn out to be past the end."""
        bodies = [f.last for fs in self.firings.values() for f in fs if f.verdict != "end"]
        return max(bodies, default=-1) + 1

    @cached_property
    def sent(self) -> list[Transfer]:
        """Transfers of the run's units; the word that a stream has ended is no unit."""
        return [t for t in self.transfers if t.unit < self.n_units]

    def deadline_ns(self, unit: int) -> int:
        """When the answer to ``unit`` begins to play."""
        return self.clock.release_ns(unit) + self.latency_ns

    def arrival_ns(self, inlet: Inlet, unit: int) -> int | None:
        """When the payload of ``unit`` was there: settled real, else when its late body finished; None if never."""
        outcome = self.settled.get(inlet.stream, {}).get(unit)
        if outcome is not None and outcome.validity in (Validity.REAL, Validity.EMPTY):
            return outcome.at_ns
        return self.finished.get(inlet.source, {}).get(unit)


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
    run = _from_header(path, header)
    for record in records:
        match record:
            case Firing():
                if record.node not in run.firings:
                    raise UserError(
                        f"{path}: found a firing of '{record.node}' (the plan has: {listing(run.nodes)}), "
                        "record it again"
                    )
                run.firings[record.node].append(record)
            case Settlement():
                run.settled.setdefault(record.stream, {})[record.unit] = record
            case Transfer():
                run.transfers.append(record)
            case Fenced():
                run.fences.append(record)
            case Note():
                run.notes.append(record)
            case Footer():
                run.summary, run.is_whole = record.summary, True
            case _:
                raise UserError(f"{path}: found a second header (expected one run), split the file")
    for firings in run.firings.values():
        firings.sort(key=lambda f: (f.started_ns, f.first))
    return run


def _from_header(path: Path, header: Header) -> Run:
    plan = header.plan
    try:
        clock = UnitClock(Fraction(str(plan["clock"]["fps"])), int(plan["clock"]["unit_frames"]))
        sources = {name: stream["node"] for name, stream in plan["streams"].items()}
        nodes = {name: _node(name, node, sources) for name, node in plan["nodes"].items()}
        kinds = {name: str(stream.get("kind", "any")) for name, stream in plan["streams"].items()}
        latency_ns = int(plan["latency_ns"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"{path}:1: found a plan that cannot be read, {type(error).__name__}: {error} "
            "(expected clock, streams, nodes and latency_ns), record it again"
        ) from error
    return Run(header, clock, latency_ns, nodes, kinds, {name: [] for name in nodes}, defaultdict(dict))


def _node(name: str, node: dict[str, Any], sources: dict[str, str]) -> NodeInfo:
    inlets = tuple(
        Inlet(i["port"], i["stream"], sources.get(i["stream"], i["stream"].rpartition(".")[0]), int(i.get("delay", 0)))
        for i in node.get("inputs", ())
    )
    due = node.get("due_ns")
    return NodeInfo(
        name=name,
        type=str(node.get("type", "")),
        process=str(node["process"]),
        lane=str(node["lane"]),
        inlets=inlets,
        outputs=tuple(node.get("outputs", ())),
        paced=bool(node.get("paced", False)),
        due_ns=None if due is None else int(due),
        ladder=tuple(node.get("ladder", ())),
    )


def misses(run: Run) -> dict[int, str]:
    """Units that were not real when they were presented, each with the reason, in order of unit."""
    found: dict[int, list[str]] = {}
    for node, inlet in run.answers:
        for unit, outcome in run.settled.get(inlet.stream, {}).items():
            if outcome.validity in NOT_REAL and unit < run.n_units:
                found.setdefault(unit, []).append(f"{inlet.stream} {Validity(outcome.validity).name.lower()}")
        for firing in run.firings[node.name]:
            if firing.mode in ("gap", "skip") and firing.verdict != "end":
                for unit in range(firing.first, firing.last + 1):
                    found.setdefault(unit, []).append(f"{node.name} did not run ({firing.mode})")
    return {unit: ", ".join(dict.fromkeys(found[unit])) for unit in sorted(found)}


def model_latency_ns(run: Run) -> list[int | None]:
    """Per unit: release -> the last part of the answer was there (also when too late); None if it never came."""
    return [_latency(run, unit) for unit in range(run.n_units)]


def _latency(run: Run, unit: int) -> int | None:
    times = [run.arrival_ns(inlet, unit) for _, inlet in run.answers]
    known = [t for t in times if t is not None]
    return max(known) - run.clock.release_ns(unit) if known and len(known) == len(times) else None


def skew_ns(run: Run) -> list[int | None]:
    """Per unit: how much older the picture shown was than the sound played; empty without both.

    A picture grows older by a unit each time it is repeated; beside silence there is nothing to be out of step with.
    """
    played = [f"{n.name}.{port}" for n in run.nodes.values() if n.paced for port in n.outputs]
    video = next((run.settled[s] for s in played if run.kinds.get(s) == "video" and s in run.settled), None)
    audio = next((run.settled[s] for s in played if run.kinds.get(s) == "audio" and s in run.settled), None)
    if video is None or audio is None:
        return []
    skews: list[int | None] = []
    behind = 0
    for unit in range(run.n_units):
        picture, sound = video.get(unit), audio.get(unit)
        if picture is None or sound is None:
            skews.append(None)
            continue
        behind = behind + 1 if picture.validity in (Validity.REPEATED, Validity.CONCEALED) else 0
        silent = sound.validity in (Validity.CONCEALED, Validity.EMPTY, Validity.MISSING)
        skews.append(0 if silent else behind * run.clock.period_ns)
    return skews


def lateness_ns(run: Run) -> list[int | None]:
    """Per unit: the worst ``finished - due`` of its nodes; negative when all were in time, None without dues.

    Paced nodes are left out: they wait for their due on purpose. A source called ahead is finished at release.
    """
    worst: list[int | None] = [None] * run.n_units
    for name, firings in run.firings.items():
        if run.nodes[name].paced:
            continue
        for firing in firings:
            if firing.due_ns is None or firing.mode != "step" or firing.last >= len(worst):
                continue
            late, known = max(firing.finished_ns, firing.ready_ns) - firing.due_ns, worst[firing.last]
            worst[firing.last] = late if known is None else max(known, late)
    return worst


def is_late(run: Run, firing: Firing) -> bool:
    """Whether a body finished after its due."""
    return firing.verdict == "late" and not run.nodes[firing.node].paced
