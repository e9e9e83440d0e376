"""What a run was like, computed from its records alone: the live view, the summary and ``--json`` read it."""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Sequence
from typing import Any

from ..packet import Validity
from ..plan.plan import NodePlan, Plan
from ..schedule.events import Firing, Settlement
from .lateness import is_late
from .records import Note, Record, Transfer
from .skew import Skew

MS = 1e6
RECENT_RECORDS = 4000
"""Records kept as they are: several seconds of them."""


class Statistics:
    """Takes records as they come; `summary` may be asked at any time."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.units_presented = 0
        self.notes: list[Note] = []
        self.n_records = 0
        self.recent: deque[Record] = deque(maxlen=RECENT_RECORDS)
        self.fired: Counter[str] = Counter()
        self.late: Counter[str] = Counter()
        self.levels: dict[str, Counter[int]] = defaultdict(Counter)
        self.modes: dict[str, Counter[str]] = defaultdict(Counter)
        self.busy_ns: dict[str, array[int]] = defaultdict(_times)
        self.busy_total_ns: Counter[str] = Counter()
        self.wait_ns: dict[str, array[int]] = defaultdict(_times)
        self.slack_ns: dict[str, array[int]] = defaultdict(_times)
        self.missed: Counter[str] = Counter()
        self.last_missed_unit = -1
        self.latency_ns = _times()
        self.model_latency_ns = _times()
        self.deadline_slack_ns = _times()
        self.presented_ns = _times()
        self.transfer_ns: dict[str, array[int]] = defaultdict(_times)
        self._bytes: Counter[str] = Counter()
        self._missed_units: set[tuple[str, int]] = set()
        self._concealed_units: set[int] = set()
        self._skew = Skew(plan.clock.period_ns / MS)
        self._presenters = [n for n in plan.nodes.values() if n.paced] or [n for n in plan.nodes.values() if n.is_sink]
        self._fed = {i.stream: n.name for n in self._presenters for i in n.inputs}
        self._played = {f"{n.name}.{p}": p for n in self._presenters for p in n.outputs}
        self._has_both_sides = {"audio", "video"} <= set(self._played.values())

    def add(self, records: Iterable[Record]) -> None:
        """Take these records in."""
        for record in records:
            self.recent.append(record)
            self.n_records += 1
            if isinstance(record, Firing):
                self._add_firing(record)
            elif isinstance(record, Settlement):
                self._add_settlement(record)
            elif isinstance(record, Transfer):
                self.transfer_ns[record.stream].append(record.arrived_ns - record.sent_ns)
            elif isinstance(record, Note):
                self.notes.append(record)

    @property
    def misses(self) -> int:
        """Units that were not real when they were presented."""
        return sum(self.missed.values())

    @property
    def fps(self) -> float:
        """Pictures per second, over the units presented."""
        if not self.presented_ns:
            return 0.0
        span = self.presented_ns[-1] - self.presented_ns[0] + self.plan.clock.period_ns
        return self.units_presented * self.plan.clock.unit_frames / (span / 1e9)

    @property
    def skews_ms(self) -> array[float]:
        """Per presented unit: how much older the picture shown is than the sound played, from what was repeated."""
        return self._skew.ms

    def summary(self) -> dict[str, Any]:
        """Everything ``--json`` holds that follows from records."""
        sinks = [n.name for n in self.plan.nodes.values() if n.is_sink]
        return {
            "graph": self.plan.name,
            "units": self.units_presented or max((self.fired[n] for n in sinks), default=0),
            "fps": round(self.fps, 3),
            "misses": self.misses,
            "late": sum(self.late.values()),
            "concealed": len(self._concealed_units),
            "latency_ms": quantiles(self.latency_ns),
            "model_latency_ms": quantiles(self.model_latency_ns),
            "slack_ms": quantiles(self.deadline_slack_ns, low=True),
            "unbudgeted": self.plan.unbudgeted,
            "av_skew_ms": {k: v for k, v in quantiles([s * MS for s in self.skews_ms]).items() if k != "p99"},
            "nodes": {name: self._node(name) for name in self.plan.nodes},
            "edges": self._edges(),
            "notes": [{"at_ms": round(n.at_ns / MS, 1), "kind": n.kind, "text": n.text} for n in self.notes],
        }

    def _add_firing(self, firing: Firing) -> None:
        node = self.plan.nodes[firing.node]
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
        self.busy_ns[firing.node].append(busy_ns)
        self.busy_total_ns[firing.node] += busy_ns
        if firing.mode == "step":
            self.wait_ns[firing.node].append(max(0, firing.started_ns - firing.ready_ns))
            if node.ladder:
                self.levels[firing.node][firing.level] += 1
            if firing.due_ns is not None and not node.paced:
                self.slack_ns[firing.node].append(firing.due_ns - firing.finished_ns)
        if node in self._presenters and firing.mode == "step":
            self._present(node, firing)

    def _present(self, node: NodePlan, firing: Firing) -> None:
        at = firing.started_ns if node.paced else firing.finished_ns
        release = self.plan.release_ns(firing.first)
        self.latency_ns.append(at - release)
        self.model_latency_ns.append((firing.ready_ns if node.paced else firing.finished_ns) - release)
        self.deadline_slack_ns.append(release + self.plan.latency_ns - self.model_latency_ns[-1] - release)
        if node is self._presenters[0]:
            self.units_presented += 1
            self.presented_ns.append(at)

    def _add_settlement(self, settled: Settlement) -> None:
        validity = Validity(settled.validity)
        self._bytes[settled.stream] += settled.n_bytes
        if settled.stream in self._fed and validity is Validity.MISSING:
            self._add_missed(self._fed[settled.stream], settled.unit)
        if settled.stream in self._played and validity is not Validity.END:
            self._add_played(self._played[settled.stream], settled.unit, validity)

    def _add_missed(self, presenter: str, unit: int) -> None:
        """Once, however many of its inputs are missing."""
        if (presenter, unit) not in self._missed_units:
            self._missed_units.add((presenter, unit))
            self.missed[presenter] += 1
            self.last_missed_unit = max(self.last_missed_unit, unit)

    def _add_played(self, port: str, unit: int, validity: Validity) -> None:
        if validity in (Validity.REPEATED, Validity.CONCEALED):
            self._concealed_units.add(unit)
        if self._has_both_sides and port == "video":
            self._skew.show(unit, validity)
        elif self._has_both_sides and port == "audio":
            self._skew.play(unit, validity)

    def _node(self, name: str) -> dict[str, Any]:
        node = self.plan.nodes[name]
        result: dict[str, Any] = {
            "process": node.process,
            "lane": node.lane,
            "fired": self.fired[name],
            "late": self.late[name],
            "busy_ms": quantiles(self.busy_ns[name], with_max=False),
            "wait_ms": quantiles(self.wait_ns[name], with_max=False),
            "levels": {str(level): n for level, n in sorted(self.levels[name].items())},
        }
        if self.slack_ns[name]:
            result["slack_ms"] = quantiles(self.slack_ns[name], low=True)
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
                if away and self.transfer_ns[inlet.stream]:
                    edge["transfer_ms"] = quantiles(self.transfer_ns[inlet.stream], with_max=False)
                edges[f"{inlet.stream}->{node.name}.{inlet.port}"] = edge
        return edges


def _times() -> array[int]:
    """Nanoseconds, 8 bytes each: runs may last for days."""
    return array("q")


def quantiles(values_ns: Sequence[float], *, with_max: bool = True, low: bool = False) -> dict[str, float]:
    """p50, p95, p99 and max of nanoseconds, as milliseconds (``low``: p50, p5, p1 and min); empty without values."""
    if not values_ns:
        return {}
    ordered = sorted(values_ns)

    def at(q: float) -> float:
        position = q * (len(ordered) - 1)
        below = int(position)
        above = min(below + 1, len(ordered) - 1)
        return round((ordered[below] + (ordered[above] - ordered[below]) * (position - below)) / MS, 3)

    if low:
        return {"p50": at(0.5), "p5": at(0.05), "p1": at(0.01), "min": at(0.0)}
    result = {"p50": at(0.5), "p95": at(0.95), "p99": at(0.99)}
    return {**result, "max": at(1.0)} if with_max else result
