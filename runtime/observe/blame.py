"""Search for the culprit of a miss: from what was missing to the one thing that took longer than it usually does.

That is a body, the lane in front of it, the way between two processes, the clock, or a process that is gone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..packet import Validity
from ..plan.plan import InputPlan, NodePlan
from ..schedule.events import Firing
from ..units import MS
from .downtime import gone
from .history import History
from .lateness import may_start_ns
from .outcome import MissingInput, awaited_unit, presented_unit

Kind = Literal["computing", "queue", "travel", "clock", "gone", "lost", "unknown"]

MAX_CAUSES = 200
"""Causes followed backwards: far beyond any window."""


@dataclass(frozen=True)
class Culprit:
    """Culprit of a missed unit. ``because``: from what was missing to the culprit, a sentence each."""

    kind: Kind
    node: str
    unit: int
    text: str
    because: tuple[str, ...]


def blame(history: History, lost: MissingInput) -> Culprit:
    """Find the culprit for which an inlet did not get its unit in time."""
    return _Blame(history).missing(lost, ())


class _Blame:
    """Follows causes backwards; what was looked at is not looked at again."""

    def __init__(self, history: History) -> None:
        self.history = history
        self._seen: set[tuple[str, int]] = set()

    def missing(self, lost: MissingInput, chain: tuple[str, ...]) -> Culprit:
        """A stream's unit settled as missing."""
        history, taken, reader = self.history, lost.unit, self.history.plan.nodes[lost.node]
        stream = history.plan.streams[lost.stream]
        node, firing = history.plan.nodes[stream.node], history.firings[stream.node].get(taken)
        settled = history.settled.get((stream.name, taken))
        chain = (*chain, f"{reader.name} got no {lost.port} of unit {taken} from {stream.name}")
        at = settled.at_ns if settled is not None else history.plan.release_ns(taken) + history.plan.latency_ns
        if not self._enter(node, taken):
            return Culprit("unknown", node.name, taken, f"{node.name} of unit {taken} waited for itself", chain)
        death = history.downtimes.at(node.process, at)
        if death is not None and (firing is None or firing.verdict == "unfinished"):
            return Culprit("gone", node.name, taken, gone(death, node.process), chain)
        if firing is None or firing.started_ns > at:
            return self._not_begun(node, taken, at, firing, chain)
        if firing.mode == "step":
            return self._late(stream.name, reader.process, firing, at, chain)
        before = self._lost_input(node, taken)
        if before is not None:
            return self.missing(before, (*chain, f"{node.name} could not do without it"))
        return self._late_start(
            node, taken, firing, (*chain, f"{node.name} did not answer unit {taken} ({firing.mode})")
        )

    def _not_begun(self, node: NodePlan, unit: int, at: int, firing: Firing | None, chain: tuple[str, ...]) -> Culprit:
        """The unit was given up before its body began."""
        history, failure = self.history, self.history.failure
        stuck = history.running_at(node, at)
        if stuck is not None and stuck.verdict == "unfinished":
            return self._busy(node, stuck, chain)
        if firing is None and failure is not None and failure.text.startswith(f"process '{node.process}' "):
            return Culprit("gone", node.name, unit, failure.text.partition(" while ")[0], chain)
        if firing is None and history.last_sign_ns(node.process) < at - 2 * history.plan.clock.period_ns:
            text = f"process {node.process} gave no sign of life after {history.last_sign_ns(node.process) / 1e9:.3f} s"
            return Culprit("gone", node.name, unit, text, chain)
        lost = self._lost_input(node, unit)
        if lost is not None:
            return self.missing(lost, chain)
        open_inlet = next((i for i in node.inputs if (t := history.seen_ns(i, node, unit)) is None or t > at), None)
        if open_inlet is not None:
            return self._arrived_late(node, open_inlet, unit, chain)
        other = history.running_at(node, at)
        if other is not None:
            return self._busy(node, other, chain)
        if firing is None and failure is not None:
            text = f"{node.name} had not answered unit {unit} when the run failed"
            return Culprit("computing", node.name, unit, text, chain)
        return self._late_start(node, unit, firing, chain) if firing else self._unknown(node, unit, chain)

    def _late(self, stream: str, reader: str, firing: Firing, at: int, chain: tuple[str, ...]) -> Culprit:
        """The body answered: too late, or what it answered did not get there."""
        node, unit = self.history.plan.nodes[firing.node], firing.last
        if firing.finished_ns <= at and (stream, reader, unit) not in self.history.transfers:
            lost = f"{node.name} answered unit {unit} in time, and its answer was lost"
            return Culprit("lost", node.name, unit, f"{lost}{self._injected(node, firing)}", chain)
        return self._slow(stream, reader, firing, chain)

    def _slow(self, stream: str, reader: str, firing: Firing, chain: tuple[str, ...]) -> Culprit:
        """An answer came late: because it travelled long, or its body took long, or began late; whatever is most."""
        history, node, unit = self.history, self.history.plan.nodes[firing.node], firing.last
        cost = firing.finished_ns - firing.started_ns - history.usual_cost_ns[node.name]
        began = self._beginning_excess(node, unit, firing)
        transfer = history.transfers.get((stream, reader, unit))
        if transfer is not None:
            usual, took = history.usual_transfer_ns[stream, reader], transfer.arrived_ns - transfer.sent_ns
            if took - usual > max(cost, began):
                text = f"{stream} of unit {unit} travelled {_of(took, usual)}"
                return Culprit("travel", node.name, unit, text, chain)
        if cost >= began:
            return self._computing(node, firing, chain)
        return self._late_start(node, unit, firing, (*chain, f"{node.name} began unit {unit} late"))

    def _late_start(self, node: NodePlan, unit: int, firing: Firing, chain: tuple[str, ...]) -> Culprit:
        """The body began late: its lane was busy, or what it takes in came late."""
        history, may_ns = self.history, may_start_ns(node, firing)
        waited = max(0, firing.started_ns - may_ns)
        queued = waited - history.usual_wait_ns[node.name]
        upstream = may_ns - history.plan.release_ns(unit) - history.usual_ready_ns[node.name]
        if queued >= upstream:
            other = history.in_front_of(node, firing)
            if other is not None:
                return self._busy(node, other, chain)
            kind: Kind = "clock" if node.is_source or may_ns > firing.ready_ns else "queue"
            text = f"{node.name} of unit {unit} was ready, and started {waited / MS:.1f} ms later"
            return Culprit(kind, node.name, unit, text, chain)
        last = history.last_seen(node, unit)
        if last is None:
            text = f"{node.name} of unit {unit} began {upstream / MS:.1f} ms later after its release than usual"
            return Culprit("clock", node.name, unit, text, chain)
        return self._arrived_late(node, last[0], unit, (*chain, f"{node.name} waited for {last[0].stream}"))

    def _arrived_late(self, reader: NodePlan, inlet: InputPlan, unit: int, chain: tuple[str, ...]) -> Culprit:
        """An input came late, though not too late to be taken."""
        history, taken = self.history, awaited_unit(inlet, unit)
        stream = history.plan.streams[inlet.stream]
        node, firing = history.plan.nodes[stream.node], history.firings[stream.node].get(taken)
        settled = history.settled.get((stream.name, taken))
        if firing is None or (settled is not None and settled.validity == Validity.MISSING):
            return self.missing(MissingInput(reader.name, inlet.port, stream.name, taken), chain)
        if not self._enter(node, taken):
            return self._unknown(node, taken, chain)
        return self._slow(stream.name, reader.process, firing, chain)

    def _busy(self, node: NodePlan, other: Firing, chain: tuple[str, ...]) -> Culprit:
        """A lane was busy: with a body that took longer than usual, or with one that itself began late."""
        blocker = self.history.plan.nodes[other.node]
        chain = (*chain, f"{node.name} could not begin: its lane was busy with {other.node} of unit {other.last}")
        cost = other.finished_ns - other.started_ns - self.history.usual_cost_ns[other.node]
        if cost >= self._beginning_excess(blocker, other.last, other) or not self._enter(blocker, other.last):
            return self._computing(blocker, other, chain)
        return self._late_start(blocker, other.last, other, chain)

    def _computing(self, node: NodePlan, firing: Firing, chain: tuple[str, ...]) -> Culprit:
        took, usual = firing.finished_ns - firing.started_ns, self.history.usual_cost_ns[node.name]
        if firing.verdict == "unfinished":
            text = f"{node.name} is stuck in unit {firing.last} since {firing.started_ns / 1e9:.3f} s"
            text += f", for {_of(took, usual)}{self._injected(node, firing)}"
            return Culprit("computing", node.name, firing.last, text, chain)
        text = f"{node.name} computed {_of(took, usual)} on unit {firing.last}{self._injected(node, firing)}"
        return Culprit("computing", node.name, firing.last, text, chain)

    def _injected(self, node: NodePlan, firing: Firing) -> str:
        """Words for what was done to this body on purpose, as its run noted it."""
        struck = (n for n in self.history.notes if n.kind == "injected" and n.text.startswith(f"node '{node.name}',"))
        texts = [n.text for n in struck if firing.started_ns <= n.at_ns <= firing.finished_ns]
        return f" (injected: {texts[0]})" if texts else ""

    def _unknown(self, node: NodePlan, unit: int, chain: tuple[str, ...]) -> Culprit:
        text = f"the trace does not say why {node.name} of unit {unit} came late"
        return Culprit("unknown", node.name, unit, text, chain)

    def _beginning_excess(self, node: NodePlan, unit: int, firing: Firing) -> float:
        """Delay with which a body began, beyond what is usual after release."""
        usual = self.history.usual_ready_ns[node.name] + self.history.usual_wait_ns[node.name]
        return firing.started_ns - self.history.plan.release_ns(unit) - usual

    def _lost_input(self, node: NodePlan, unit: int) -> MissingInput | None:
        """Input that a node did not get and could not do without."""
        for inlet in node.inputs:
            taken = presented_unit(inlet, unit)
            outcome = self.history.settled.get((inlet.stream, taken))
            if inlet.late in ("gap", "wait") and outcome is not None and outcome.validity == Validity.MISSING:
                return MissingInput(node.name, inlet.port, inlet.stream, taken)
        return None

    def _enter(self, node: NodePlan, unit: int) -> bool:
        if (node.name, unit) in self._seen or len(self._seen) >= MAX_CAUSES:
            return False
        self._seen.add((node.name, unit))
        return True


def _of(ns: float, usual_ns: float) -> str:
    return f"{ns / MS:.1f} ms (usually {usual_ns / MS:.1f})"
