"""Figures of a run, computed from its records alone: the live view, the summary and ``--json`` read them.

Units are read by `RunView` and added up by `Totals`; the rest is per node and per edge. What is kept does not grow with
the run.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from typing import Any

from ..plan.plan import Plan
from ..schedule.events import Firing, Settlement
from ..units import MS
from .distribution import RECENT, Distribution
from .lateness import is_late
from .outcome import Outcome
from .records import Note, Record, Transfer, Unfinished
from .run_view import OPEN_S, RunView
from .totals import Totals

RECENT_RECORDS = 4000
"""Records kept as they are: several seconds of them."""

FIRST_NOTES, LAST_NOTES = 200, 800
"""Notes kept: those from where the trouble began, and the newest."""


class Statistics:
    """Takes records as they come; `summary` may be asked at any time.

    Attributes:
        recent: the newest records, as they came.
        fired: units that a node took in, by node; ``late``: calls after their due, ``modes``: units by how it went
            through them, ``levels``: steps by level, ``busy_total_ns``: time in its body.
        busy, wait, slack: of a node's steps (``busy``: of all its calls).
        transfers: by stream, the way to another process.
        unfinished: by node, the call that it is stuck in.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.n_records = 0
        self.recent: deque[Record] = deque(maxlen=RECENT_RECORDS)
        self.fired: Counter[str] = Counter()
        self.late: Counter[str] = Counter()
        self.levels: dict[str, Counter[int]] = defaultdict(Counter)
        self.modes: dict[str, Counter[str]] = defaultdict(Counter)
        self.busy_total_ns: Counter[str] = Counter()
        self.busy = {name: Distribution() for name in plan.nodes}
        self.wait = {name: Distribution() for name in plan.nodes}
        self.slack = {name: Distribution() for name in plan.nodes}
        self.transfers: dict[str, Distribution] = defaultdict(Distribution)
        self.unfinished: dict[str, Unfinished] = {}
        self._bytes: Counter[str] = Counter()
        self._view = RunView(plan)
        self._closed = Totals(plan.clock.period_ns, plan.clock.unit_frames)
        self._newest_closed: deque[Outcome] = deque(maxlen=RECENT)
        self._newest_missed: Outcome | None = None
        self._first_notes: list[Note] = []
        self._last_notes: deque[Note] = deque(maxlen=LAST_NOTES)
        self._n_notes = 0

    def add(self, records: Sequence[Record]) -> None:
        """Take these records in."""
        self.recent.extend(records)
        self.n_records += len(records)
        for record in records:
            if isinstance(record, Firing):
                self._add_firing(record)
            elif isinstance(record, Unfinished):
                self.unfinished[record.node] = record
            elif isinstance(record, Settlement):
                self._bytes[record.stream] += record.n_bytes
            elif isinstance(record, Transfer):
                self.transfers[record.stream].add(record.arrived_ns - record.sent_ns)
            elif isinstance(record, Note):
                self._add_note(record)
        for outcome in self._view.add(records):
            self._closed.add(outcome)
            self._newest_closed.append(outcome)
            if outcome.is_missed:
                self._newest_missed = outcome

    # Units

    @property
    def units_presented(self) -> int:
        """Units so far, real or not."""
        return self._view.n_presented

    @property
    def misses(self) -> int:
        """Units that were not there when they were presented."""
        return self._view.n_missed

    @property
    def newest_missed(self) -> Outcome | None:
        """The newest of them."""
        return next((o for o in reversed(self._view.open()) if o.is_missed), self._newest_missed)

    def totals(self) -> Totals:
        """All units so far added up, as they stand."""
        return self._closed.having(self._view.open())

    def newest_outcomes(self) -> list[Outcome]:
        """The last units presented, at least `distribution.RECENT` of them where there were as many."""
        return [*self._newest_closed, *self._view.open()]

    @property
    def notes(self) -> list[Note]:
        """Notes of the run: all of them, or the first and the last with a word on how many are left out."""
        left_out = self._n_notes - len(self._first_notes) - len(self._last_notes)
        if not left_out:
            return [*self._first_notes, *self._last_notes]
        text = f"{left_out} notes are left out here, a trace has them all"
        gap = Note(self._first_notes[-1].at_ns, "supervisor", "warning", text)
        return [*self._first_notes, gap, *self._last_notes]

    def summary(self) -> dict[str, Any]:
        """Everything ``--json`` holds that follows from records. Percentiles of units are of the real ones.

        Quantiles are exact up to `distribution.EXACT` values, and within 1 % beyond.
        """
        totals = self.totals()
        return {
            "graph": self.plan.name,
            "units": totals.units,
            **totals.counts(),
            **totals.figures(),
            "late": sum(self.late.values()),
            "unbudgeted": self.plan.unbudgeted,
            "nodes": {name: self._node(name) for name in self.plan.nodes},
            "edges": self._edges(),
            "unfinished": [
                {
                    "node": call.node,
                    "unit": call.first,
                    "since_ms": round(call.started_ns / MS, 1),
                    "for_ms": round((call.at_ns - call.started_ns) / MS, 1),
                }
                for call in self.unfinished.values()
            ],
            "notes": [
                {"at_ms": round(n.at_ns / MS, 1), "kind": n.kind, "text": n.text}
                for n in [*self.notes, *self._overtaken()]
            ],
        }

    # Nodes and edges

    def _add_firing(self, firing: Firing) -> None:
        node = self.plan.nodes[firing.node]
        self.unfinished.pop(firing.node, None)
        if firing.verdict == "end":
            return
        units = firing.last - firing.first + 1
        self.modes[firing.node][firing.mode] += units
        if is_late(node, firing):
            self.late[firing.node] += units
        if firing.mode == "skip":
            return
        self.fired[firing.node] += units if firing.mode != "gap" else 0
        busy_ns = firing.finished_ns - firing.started_ns
        self.busy[firing.node].add(busy_ns)
        self.busy_total_ns[firing.node] += busy_ns
        if firing.mode == "step":
            self.wait[firing.node].add(max(0, firing.started_ns - firing.ready_ns))
            if node.ladder:
                self.levels[firing.node][firing.level] += 1
            if firing.due_ns is not None and not node.paced:
                self.slack[firing.node].add(firing.due_ns - firing.finished_ns)

    def _node(self, name: str) -> dict[str, Any]:
        node = self.plan.nodes[name]
        result: dict[str, Any] = {
            "process": node.process,
            "lane": node.lane,
            "fired": self.fired[name],
            "late": self.late[name],
            "busy_ms": self.busy[name].quantiles(with_max=False),
            "wait_ms": self.wait[name].quantiles(with_max=False),
            "levels": {str(level): n for level, n in sorted(self.levels[name].items())},
        }
        if self.slack[name]:
            result["slack_ms"] = self.slack[name].quantiles(low=True)
        for mode in ("absorb", "gap", "skip"):
            if self.modes[name][mode]:
                result[mode] = self.modes[name][mode]
        return result

    def _edges(self) -> dict[str, dict[str, Any]]:
        edges: dict[str, dict[str, Any]] = {}
        for node in self.plan.nodes.values():
            for inlet in node.inputs:
                stream = self.plan.streams[inlet.stream]
                away = node.process != stream.process
                edge: dict[str, Any] = {
                    "carrier": stream.carrier if away else "reference",
                    "bytes": self._bytes[inlet.stream],
                }
                if away and self.transfers[inlet.stream]:
                    edge["transfer_ms"] = self.transfers[inlet.stream].quantiles(with_max=False)
                edges[f"{inlet.stream}->{node.name}.{inlet.port}"] = edge
        return edges

    # Notes

    def _add_note(self, note: Note) -> None:
        self._n_notes += 1
        if len(self._first_notes) < FIRST_NOTES:
            self._first_notes.append(note)
        else:
            self._last_notes.append(note)

    def _overtaken(self) -> list[Note]:
        """Records that the figures of units do not count any more."""
        if not self._view.n_overtaken:
            return []
        text = f"{self._view.n_overtaken} records came more than {OPEN_S} s after their units, which do not show them"
        return [Note(0, "supervisor", "warning", text)]
