"""A trace in memory, asked by (node, unit): who did what when, what came from where, and what is usual."""

from __future__ import annotations

import statistics
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path

from ..errors import GraphError, UserError, listing
from ..packet import Validity
from ..plan.plan import InputPlan, NodePlan, Plan, from_plain
from ..schedule.events import Firing, Settlement
from .lateness import is_late, may_start_ns, past_due_ns
from .records import Header, Note, Record, Transfer, read_trace


class History:
    """What a run recorded. Times are nanoseconds after the origin."""

    def __init__(self, plan: Plan, records: Iterable[Record]) -> None:
        self.plan = plan
        self.firings: dict[str, dict[int, Firing]] = {name: {} for name in plan.nodes}
        self.settled: dict[tuple[str, int], Settlement] = {}
        self.transfers: dict[tuple[str, str, int], Transfer] = {}
        self.notes: list[Note] = []
        self._lanes: dict[tuple[str, str], list[Firing]] = defaultdict(list)
        self._last_ns: dict[str, int] = defaultdict(int)
        for record in records:
            self._add(record)
        for firings in self._lanes.values():
            firings.sort(key=lambda f: f.started_ns)

    def _add(self, record: Record) -> None:
        if isinstance(record, Firing):
            node = self.plan.nodes[record.node]
            self._last_ns[node.process] = max(self._last_ns[node.process], record.finished_ns)
            if record.verdict == "end":
                return
            for unit in range(record.first, record.last + 1):
                self.firings[record.node][unit] = record
            if record.mode != "skip":
                self._lanes[node.process, node.lane].append(record)
        elif isinstance(record, Settlement):
            self.settled[record.stream, record.unit] = record
        elif isinstance(record, Transfer):
            self.transfers[record.stream, record.reader, record.unit] = record
        elif isinstance(record, Note):
            self.notes.append(record)

    # Units

    @cached_property
    def presenters(self) -> list[NodePlan]:
        """Where answers are presented: paced nodes, or sinks where none is paced."""
        nodes = list(self.plan.nodes.values())
        return [n for n in nodes if n.paced] or [n for n in nodes if n.is_sink]

    @cached_property
    def n_units(self) -> int:
        """Units that anything was done for."""
        return max((max(firings, default=-1) for firings in self.firings.values()), default=-1) + 1

    @cached_property
    def first_unit(self) -> int:
        """The first unit that was presented: not 0 in what a flight recorder kept."""
        return min((min(f) for n in self.presenters if (f := self.firings[n.name])), default=0)

    @cached_property
    def misses(self) -> dict[int, list[tuple[NodePlan, InputPlan]]]:
        """Units of which something was missing when they were presented, with the inlets where it was."""
        found: dict[int, list[tuple[NodePlan, InputPlan]]] = defaultdict(list)
        for node in self.presenters:
            for inlet in node.inputs:
                for unit in range(self.n_units):
                    outcome = self.settled.get((inlet.stream, unit - inlet.delay))
                    if outcome is not None and outcome.validity == Validity.MISSING:
                        found[unit].append((node, inlet))
        return dict(sorted(found.items()))

    @cached_property
    def presented_late(self) -> dict[int, int]:
        """Units that began to play late, and how long after their due."""
        found: dict[int, int] = {}
        for node in self.presenters:
            for unit, firing in self.firings[node.name].items():
                if node.paced and is_late(node, firing):
                    found[unit] = max(found.get(unit, 0), past_due_ns(node, firing))
        return dict(sorted(found.items()))

    @cached_property
    def failure(self) -> Note | None:
        """What ended the run before its time."""
        return next((note for note in self.notes if note.kind == "failed"), None)

    @cached_property
    def unpresented(self) -> list[int]:
        """Units that were begun, of which something never came."""
        units = range(self.first_unit, self.n_units)
        return [unit for unit in units if unit not in self.misses and self.lacking(unit)]

    def lacking(self, unit: int) -> list[tuple[NodePlan, InputPlan]]:
        """Inlets where a unit was missing when it was presented; of one never presented, those that did not come."""
        if unit in self.misses:
            return self.misses[unit]
        waiting = [n for n in self.presenters if unit not in self.firings[n.name]]
        return [(n, i) for n in waiting for i in n.inputs if (i.stream, self.taken(i, unit)) not in self.settled]

    def latency_ns(self, unit: int) -> int | None:
        """From release until everything for the answer was there (as far as it came in time)."""
        times = [
            f.ready_ns if n.paced else f.finished_ns for n in self.presenters if (f := self.firings[n.name].get(unit))
        ]
        return max(times) - self.plan.release_ns(unit) if times else None

    # What happened to a stream's unit

    def taken(self, inlet: InputPlan, unit: int) -> int:
        """The last unit of the stream that a node takes for its unit."""
        return unit - inlet.delay + inlet.look_ahead

    def seen_ns(self, inlet: InputPlan, node: NodePlan, unit: int) -> int | None:
        """When the node's process knew the outcome of what its unit takes from an inlet; None if it never did."""
        taken = self.taken(inlet, unit)
        arrived = self.transfers.get((inlet.stream, node.process, taken))
        settled = self.settled.get((inlet.stream, taken))
        if settled is not None and self.plan.streams[inlet.stream].settler == node.process:
            return settled.at_ns
        if arrived is not None:
            return arrived.arrived_ns
        return None if settled is None else settled.at_ns

    def last_seen(self, node: NodePlan, unit: int) -> tuple[InputPlan, int] | None:
        """The inlet that a unit waited for longest, and until when."""
        seen = [(at, i) for i in node.inputs if (at := self.seen_ns(i, node, unit)) is not None]
        if not seen:
            return None
        at, inlet = max(seen, key=lambda pair: pair[0])
        return inlet, at

    def running_at(self, node: NodePlan, at_ns: int) -> Firing | None:
        """What the node's lane was running then."""
        lane = self._lanes[node.process, node.lane]
        place = bisect_right(lane, at_ns, key=lambda f: f.started_ns) - 1
        return lane[place] if place >= 0 and lane[place].finished_ns > at_ns else None

    def in_front_of(self, node: NodePlan, firing: Firing) -> Firing | None:
        """What kept the lane busy longest while a body could have started; None when nothing did."""
        times = self._in_front_of(node, firing)
        return max(times, key=lambda pair: pair[0])[1] if times else None

    def kept_ns(self, node: NodePlan, firing: Firing) -> int:
        """How long the lane was busy while a body could have started."""
        return sum(ns for ns, _ in self._in_front_of(node, firing))

    def _in_front_of(self, node: NodePlan, firing: Firing) -> list[tuple[int, Firing]]:
        """What the lane ran meanwhile, each with how long; the last first."""
        lane, since_ns = self._lanes[node.process, node.lane], may_start_ns(node, firing)
        found = []
        for other in reversed(lane[: bisect_right(lane, firing.started_ns, key=lambda f: f.started_ns)]):
            overlap = min(other.finished_ns, firing.started_ns) - max(other.started_ns, since_ns)
            if other is not firing and overlap > 0:
                found.append((overlap, other))
            if other.finished_ns < since_ns and other is not firing:
                break  # one at a time: those before ended earlier still
        return found

    def last_sign_ns(self, process: str) -> int:
        """When a process last recorded that a body was done."""
        return self._last_ns[process]

    # What is usual

    @cached_property
    def usual_cost_ns(self) -> dict[str, float]:
        """Median time of each node's steps."""
        return self._medians(lambda f: f.finished_ns - f.started_ns)

    @cached_property
    def usual_wait_ns(self) -> dict[str, float]:
        """Median time from when it could have started until it was."""
        return self._medians(lambda f: max(0, f.started_ns - may_start_ns(self.plan.nodes[f.node], f)))

    @cached_property
    def usual_due_ns(self) -> dict[str, float]:
        """Median time for which a paced node waits for its due."""
        return self._medians(lambda f: may_start_ns(self.plan.nodes[f.node], f) - f.ready_ns)

    @cached_property
    def usual_ready_ns(self) -> dict[str, float]:
        """Median time from release until it can start."""
        return self._medians(lambda f: may_start_ns(self.plan.nodes[f.node], f) - self.plan.release_ns(f.last))

    @cached_property
    def usual_transfer_ns(self) -> dict[tuple[str, str], float]:
        """Median time on the way, by stream and reader."""
        times: dict[tuple[str, str], list[int]] = defaultdict(list)
        for (stream, reader, _), transfer in self.transfers.items():
            times[stream, reader].append(transfer.arrived_ns - transfer.sent_ns)
        return {key: statistics.median(values) for key, values in times.items()}

    @cached_property
    def usual_latency_ns(self) -> float:
        """Median of `latency_ns`."""
        known = [t for unit in range(self.n_units) if (t := self.latency_ns(unit)) is not None]
        return statistics.median(known) if known else 0.0

    def _medians(self, value: Callable[[Firing], int]) -> dict[str, float]:
        found = {}
        for name, firings in self.firings.items():
            values = [value(f) for f in firings.values() if f.mode == "step"]
            found[name] = statistics.median(values) if values else 0.0
        return found


def read_history(path: Path) -> History:
    """Load a trace. What a killed run left is read as far as it goes.

    Raises:
        UserError: not a trace, empty, of another version, or with nothing in it to explain.
    """
    records = read_trace(path)
    header = next(records, None)
    if not isinstance(header, Header):
        raise UserError(
            f"{path}: found an empty file (expected a trace), make one with: wangraph run GRAPH --trace FILE"
        )
    try:
        plan = from_plain(header.plan)
    except GraphError as error:
        raise UserError(f"{path}:1: {error}") from error
    kept = []
    for record in records:
        if isinstance(record, Firing) and record.node not in plan.nodes:
            raise UserError(
                f"{path}: found a firing of '{record.node}' (the plan has: {listing(plan.nodes)}), record it again"
            )
        kept.append(record)
    history = History(plan, kept)
    if not history.n_units:
        raise UserError(
            f"{path}: found no unit (expected some: the run ended before its first one, or the file was cut), "
            "record it again"
        )
    return history
