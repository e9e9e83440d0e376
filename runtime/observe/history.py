"""A trace in memory, asked by (node, unit): who did what when, what came from where, and what is usual."""

from __future__ import annotations

import statistics
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

from ..errors import UserError
from ..packet import Validity
from ..plan.plan import InputPlan, NodePlan, Plan
from ..schedule.events import Firing, Settlement
from .downtime import Downtimes
from .lateness import may_start_ns
from .outcome import MissingInput, Outcome, awaited_unit, presented_unit, presenters, real_latencies_ns
from .records import Note, Record, Transfer, Unfinished, at_ns
from .run_view import outcomes_of
from .trace_file import open_trace


class History:
    """Records of a run, by node and unit. Times are nanoseconds after the origin.

    Attributes:
        outcomes: of every unit that was presented, in order.
        presenters: where answers are presented.
    """

    def __init__(self, plan: Plan, records: Sequence[Record]) -> None:
        self.plan = plan
        self.outcomes: dict[int, Outcome] = {o.unit: o for o in outcomes_of(plan, records)}
        self.presenters = presenters(plan)
        self.firings: dict[str, dict[int, Firing]] = {name: {} for name in plan.nodes}
        self.settled: dict[tuple[str, int], Settlement] = {}
        self.transfers: dict[tuple[str, str, int], Transfer] = {}
        self.notes: list[Note] = []
        self.downtimes = Downtimes(plan)
        self._unfinished: dict[tuple[str, int], Unfinished] = {}
        self._lanes: dict[tuple[str, str], list[Firing]] = defaultdict(list)
        self._last_ns: dict[str, int] = defaultdict(int)
        for record in records:
            self._add(record)
        until_ns = max(map(at_ns, records), default=0)
        for call in self._unfinished.values():
            self._add_call(call.as_firing(self.downtimes.end_of(call, until_ns)))
        for firings in self._lanes.values():
            firings.sort(key=lambda f: f.started_ns)

    def _add(self, record: Record) -> None:
        if isinstance(record, Firing):
            node = self.plan.nodes[record.node]
            self._last_ns[node.process] = max(self._last_ns[node.process], record.finished_ns)
            self._unfinished.pop((record.node, record.first), None)
            if record.verdict != "end":
                self._add_call(record)
        elif isinstance(record, Unfinished):
            self._unfinished[record.node, record.first] = record
        elif isinstance(record, Settlement):
            self.settled[record.stream, record.unit] = record
        elif isinstance(record, Transfer):
            self.transfers[record.stream, record.reader, record.unit] = record
        elif isinstance(record, Note):
            self.notes.append(record)
            self.downtimes.add(record)

    def _add_call(self, firing: Firing) -> None:
        node = self.plan.nodes[firing.node]
        for unit in range(firing.first, firing.last + 1):
            self.firings[firing.node][unit] = firing
        if firing.mode != "skip":
            self._lanes[node.process, node.lane].append(firing)

    # Units

    @property
    def unfinished(self) -> list[Unfinished]:
        """Calls that had not ended when the records do, the oldest first."""
        return sorted(self._unfinished.values(), key=lambda call: call.started_ns)

    @cached_property
    def n_units(self) -> int:
        """Units that anything was done for."""
        return max((max(firings, default=-1) for firings in self.firings.values()), default=-1) + 1

    @cached_property
    def first_unit(self) -> int:
        """The first unit that was presented: not 0 in what a flight recorder kept."""
        return min((min(f) for n in self.presenters if (f := self.firings[n.name])), default=0)

    @cached_property
    def missed(self) -> list[int]:
        """Units that were not there when they were presented."""
        return [unit for unit, outcome in self.outcomes.items() if outcome.is_missed]

    @cached_property
    def presented_late(self) -> dict[int, int]:
        """Units that were presented late, and how long after their due."""
        return {unit: outcome.late_ns for unit, outcome in self.outcomes.items() if outcome.late_ns}

    @cached_property
    def failure(self) -> Note | None:
        """Failure that ended the run before its time."""
        return next((note for note in self.notes if note.kind == "failed"), None)

    @cached_property
    def unpresented(self) -> list[int]:
        """Units that were begun, of which something never came."""
        units = range(self.first_unit, self.n_units)
        return [unit for unit in units if unit not in self.outcomes and self.lacking(unit)]

    def lacking(self, unit: int) -> list[MissingInput]:
        """Inputs that were missing when a unit was presented; of one never presented, those that did not come."""
        if unit in self.outcomes:
            return list(self.outcomes[unit].missing)
        inlets = [(n, i) for n in self.presenters if unit not in self.firings[n.name] for i in n.inputs]
        return [
            MissingInput(node.name, inlet.port, inlet.stream, taken)
            for node, inlet in inlets
            for taken in range(presented_unit(inlet, unit), awaited_unit(inlet, unit) + 1)
            if taken >= 0 and self._is_lacking(inlet.stream, taken)
        ]

    def _is_lacking(self, stream: str, unit: int) -> bool:
        settled = self.settled.get((stream, unit))
        return settled is None or settled.validity == Validity.MISSING

    # What happened to a stream's unit

    def seen_ns(self, inlet: InputPlan, node: NodePlan, unit: int) -> int | None:
        """Instant at which the node's process knew the outcome of what its unit takes from an inlet; None: never."""
        taken = awaited_unit(inlet, unit)
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
        """Firing that ran in the node's lane then."""
        lane = self._lanes[node.process, node.lane]
        place = bisect_right(lane, at_ns, key=lambda f: f.started_ns) - 1
        return lane[place] if place >= 0 and lane[place].finished_ns > at_ns else None

    def in_front_of(self, node: NodePlan, firing: Firing) -> Firing | None:
        """Firing that kept the lane busy longest while a body could have started; None when nothing did."""
        times = self._in_front_of(node, firing)
        return max(times, key=lambda pair: pair[0])[1] if times else None

    def kept_ns(self, node: NodePlan, firing: Firing) -> int:
        """Time for which the lane was busy while a body could have started."""
        return sum(ns for ns, _ in self._in_front_of(node, firing))

    def _in_front_of(self, node: NodePlan, firing: Firing) -> list[tuple[int, Firing]]:
        """Firings of the lane meanwhile, each with how long; the last first."""
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
        """Instant at which a process last recorded that a body was done."""
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
    def usual_latency_ns(self) -> float | None:
        """Median model latency of the units that were real; None when none was."""
        known = real_latencies_ns(self.outcomes.values())
        return statistics.median(known) if known else None

    def _medians(self, value: Callable[[Firing], int]) -> dict[str, float]:
        found = {}
        for name, firings in self.firings.items():
            values = [value(f) for f in firings.values() if f.mode == "step" and f.verdict != "unfinished"]
            found[name] = statistics.median(values) if values else 0.0
        return found


def read_history(path: Path) -> History:
    """Load a trace. What a killed run left is read as far as it goes.

    Raises:
        UserError: as `open_trace`, or there is nothing in it to explain.
    """
    _, plan, records = open_trace(path)
    history = History(plan, list(records))
    if not history.n_units:
        raise UserError(
            f"{path}: found no unit (expected some: the run ended before its first one, or the file was cut), "
            "record it again"
        )
    return history
