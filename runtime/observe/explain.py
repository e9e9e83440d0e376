"""Path of a unit's time, and the culprit of its miss: read from a trace, put into words.

A path goes backwards from the presentation: what came last, who made it, what that waited for, until release. Its
parts add up to the time from there to the presentation.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from ..errors import UserError
from ..packet import Validity
from ..plan.plan import NodePlan
from ..schedule.events import Firing
from .blame import Culprit, blame
from .history import History
from .lateness import may_start_ns
from .outcome import Outcome, awaited_unit

Part = Literal["clock", "release", "queue", "compute", "travel", "due"]

NOTICED_NS = 50_000
"""Waits shorter than this are not worth a line."""

MAX_STEPS = 200
"""Causes followed backwards: far beyond any window."""


@dataclass(frozen=True)
class Step:
    """One part of a unit's path, nanoseconds after the origin. ``usual_ns``: what it takes on other units."""

    part: Part
    node: str
    unit: int
    from_ns: int
    to_ns: int
    usual_ns: float
    text: str

    @property
    def ns(self) -> int:
        """Length of the step."""
        return self.to_ns - self.from_ns

    @property
    def excess_ns(self) -> float:
        """Time beyond what is usual."""
        return self.ns - self.usual_ns


@dataclass(frozen=True)
class Explanation:
    """One unit: what became of it, its path, and the culprits of what it missed.

    Attributes:
        outcome: None when it was never presented.
        usual_ns: the model latency of the other units; None when none was real.
    """

    unit: int
    outcome: Outcome | None
    usual_ns: float | None
    steps: tuple[Step, ...]
    culprits: tuple[Culprit, ...]


def explain(history: History, unit: int) -> Explanation:
    """Everything there is to say of a unit.

    Raises:
        UserError: the trace has no such unit.
    """
    first, last = history.first_unit, history.n_units - 1
    if not first <= unit <= last:
        raise UserError(f"--unit: found {unit} (the trace has units {first} to {last}), choose one of them")
    culprits = [blame(history, lost) for lost in history.lacking(unit)]
    one_each = {(c.kind, c.node, c.unit): c for c in reversed(culprits)}
    return Explanation(
        unit,
        history.outcomes.get(unit),
        history.usual_latency_ns,
        path(history, unit),
        tuple(reversed(one_each.values())),
    )


def worst(history: History, n: int) -> list[int]:
    """Units with the largest model latency, the largest first; those whose answer never came have none."""
    known = [(o.model_latency_ns, o.unit) for o in history.outcomes.values() if o.model_latency_ns is not None]
    return [unit for _, unit in sorted(known, key=lambda pair: (-pair[0], pair[1]))[:n]]


# The path


def path(history: History, unit: int) -> tuple[Step, ...]:
    """Steps that the presentation of a unit waited for, from release on; empty when it was not presented."""
    presented = [(f, n) for n in history.presenters if (f := history.firings[n.name].get(unit)) is not None]
    if not presented:
        return ()
    firing, node = max(presented, key=lambda pair: pair[0].ready_ns)
    release = history.plan.release_ns(unit)
    steps: list[Step] = []
    if node.paced:
        steps += _waits(history, node, unit, firing) or [_due(history, node, unit, firing, firing.started_ns)]
    else:
        steps += _of_firing(history, node, unit, firing)
    at: tuple[NodePlan, int] | None = (node, unit)
    for _ in range(MAX_STEPS):
        if at is None or (steps and steps[-1].from_ns <= release):
            break
        at = _before(history, *at, steps)
    cut, limit = [], steps[0].to_ns
    for step in steps:
        if step.to_ns < release or (step.to_ns == release and step.part not in ("due", "queue")):
            continue
        cut.append(_clipped(step, release, limit))
        limit = cut[-1].from_ns
    return _joined(cut[::-1], release)


def _before(history: History, node: NodePlan, unit: int, steps: list[Step]) -> tuple[NodePlan, int] | None:
    """Add what the input that came last took; who made it, to go on from there."""
    last = history.last_seen(node, unit)
    if last is None:
        return None
    inlet, seen_ns = last
    stream, taken = history.plan.streams[inlet.stream], awaited_unit(inlet, unit)
    producer = history.plan.nodes[stream.node]
    firing = history.firings[producer.name].get(taken)
    settled = history.settled.get((stream.name, taken))
    if settled is not None and settled.validity == Validity.MISSING:
        text = f"{node.name}: {stream.name} of unit {taken} is given up"
        steps.append(Step("queue", node.name, taken, seen_ns, seen_ns, 0.0, text))
        if firing is None:
            return None
        if firing.mode != "gap" and firing.mode != "skip":
            steps += [s for s in _of_firing(history, producer, taken, firing, seen_ns) if s.ns > 0]
        return None if producer.is_source else (producer, taken)
    if firing is None:
        return None
    transfer = history.transfers.get((stream.name, node.process, taken))
    if transfer is not None:
        usual = history.usual_transfer_ns[stream.name, node.process]
        sent = min(transfer.sent_ns, seen_ns)
        text = f"{stream.name}: {transfer.sender} to {transfer.reader}"
        steps.append(Step("travel", producer.name, taken, sent, seen_ns, usual, text))
    elif producer.process != node.process:  # nothing in it: its way is not recorded
        text = f"{stream.name}: {producer.process} to {node.process}, empty"
        steps.append(Step("travel", producer.name, taken, min(firing.finished_ns, seen_ns), seen_ns, 0.0, text))
    elif seen_ns > firing.finished_ns:
        release = history.plan.release_ns(taken)
        text = f"{stream.name}: made ahead, handed over at release"
        steps.append(Step("clock", producer.name, taken, min(release, seen_ns), seen_ns, 0.0, text))
        return None
    steps += _of_firing(history, producer, taken, firing)
    return None if producer.is_source else (producer, taken)


def _of_firing(history: History, node: NodePlan, unit: int, firing: Firing, until_ns: int | None = None) -> list[Step]:
    """The body, and what it waited for, as far as ``until_ns``; the later one first."""
    until = firing.finished_ns if until_ns is None else min(until_ns, firing.finished_ns)
    usual = history.usual_cost_ns[node.name]
    units = f"unit {firing.last}" if firing.first == firing.last else f"units {firing.first} to {firing.last}"
    what = "computes" if firing.mode == "step" else f"{firing.mode}s {units}"
    times = (min(firing.started_ns, until), until)
    steps = [Step("compute", node.name, unit, *times, usual, f"{node.name}: {what}")]
    waits = _waits(history, node, unit, firing)
    return steps + [replace(s, from_ns=min(s.from_ns, until), to_ns=min(s.to_ns, until)) for s in waits]


def _waits(history: History, node: NodePlan, unit: int, firing: Firing) -> list[Step]:
    """Waits of a body when all was there, the later first: its lane or the clock; a paced one its due before."""
    may_ns, steps = may_start_ns(node, firing), []
    if firing.started_ns - may_ns > NOTICED_NS:
        part: Part = "queue"
        other = history.in_front_of(node, firing)
        if other is not None:
            text = f"{node.name}: its lane is busy with {other.node} of unit {other.last}"
        elif node.is_source or may_ns > firing.ready_ns:
            part, text = "clock", f"{node.name}: started after its {'release' if node.is_source else 'due'}"
        else:
            text = f"{node.name}: waits to be started"
        steps.append(Step(part, node.name, unit, may_ns, firing.started_ns, history.usual_wait_ns[node.name], text))
    if may_ns > firing.ready_ns:
        steps.append(_due(history, node, unit, firing, may_ns if steps else firing.started_ns))
    return steps


def _due(history: History, node: NodePlan, unit: int, firing: Firing, until_ns: int) -> Step:
    times = (firing.ready_ns, max(firing.ready_ns, until_ns))
    return Step("due", node.name, unit, *times, history.usual_due_ns[node.name], f"{node.name}: waits for its due")


def _joined(steps: list[Step], release: int) -> tuple[Step, ...]:
    """The steps with the waits between them, from release on."""
    joined: list[Step] = []
    at = release
    for step in steps:
        if step.from_ns > at and step.part == "queue":
            step = replace(step, from_ns=at)
        elif step.from_ns > at:
            text = f"{step.node}: waits to be started"
            joined.append(Step("queue", step.node, step.unit, at, step.from_ns, 0.0, text))
        joined.append(step)
        at = step.to_ns
    return tuple(joined)


def _clipped(step: Step, release: int, limit: int) -> Step:
    """Cut a step to the part that this unit waited for: not before its release, and not after the next step began."""
    to_ns = min(step.to_ns, limit)
    from_ns = min(max(step.from_ns, release), to_ns)
    if (from_ns, to_ns) == (step.from_ns, step.to_ns):
        return step
    return replace(step, from_ns=from_ns, to_ns=to_ns, usual_ns=min(step.usual_ns, to_ns - from_ns))
