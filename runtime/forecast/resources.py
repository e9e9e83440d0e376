"""Figures that follow from a profile before anything runs: loads, loops, the critical path, slack, and room to grow.

Sums over typical costs. They can prove that a graph is *infeasible* (a loop, a resource or a path takes longer than
it may), never that it holds: that takes the scheduler itself, simulated.

    lane         runs one body at a time                            sum of costs          of T
    interpreter  one per process; what holds it shuts others out    sum of hold_ms        of T
    device       one body at a time                                 sum of costs          of T
    machine      has so many cores                                  sum of cpu_ms         of T x cores
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ..plan.plan import NodePlan, Plan
from ..plan.timing import Loop, TimedEdge, TimedNode, compute_timing
from ..units import MS
from .profile import NodeCost, Profile

Resource = Literal["lane", "interpreter", "device", "machine"]


@dataclass(frozen=True)
class Load:
    """Share of each unit in which a resource is busy. ``parts``: milliseconds by node."""

    kind: Resource
    name: str
    busy_ms: float
    of_ms: float
    parts: Mapping[str, float]

    @property
    def ratio(self) -> float:
        """Above 1 it cannot keep up."""
        return self.busy_ms / self.of_ms

    @property
    def reason(self) -> str:
        """Words for why it is too much."""
        parts = ", ".join(f"{name} {ms:.6g}" for name, ms in self.parts.items() if ms)
        return (
            f"infeasible: because {self.kind} {self.name} is busy {self.busy_ms:.6g} ms of every unit "
            f"({parts}; expected {self.of_ms:.6g} or less), {_REMEDY[self.kind]}"
        )


_REMEDY: dict[Resource, str] = {
    "lane": "move a node to another lane or process",
    "interpreter": "move a node to another process",
    "device": "move a node to another device",
    "machine": "move a process to another machine",
}


@dataclass(frozen=True)
class Step:
    """A part of a path: a node that computes, or a stream on its way. Milliseconds after release."""

    what: str
    from_ms: float
    to_ms: float


@dataclass(frozen=True)
class Path:
    """The longest way to where an answer is presented, and when everything for it is there."""

    end: str
    latency_ms: float
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class NodeForecast:
    """One node by its typical cost; milliseconds after release.

    Attributes:
        earliest_ms: when it can start at best.
        due_ms: when it must have finished; None without a due.
        slack_ms: time between the two that it does not need.
        max_cost_ms: cost it may grow to before the sums forbid it, everything else as it is; None: no bound.
        limited_by: what forbids more.
    """

    cost_ms: float
    earliest_ms: float
    due_ms: float | None
    slack_ms: float | None
    max_cost_ms: float | None
    limited_by: str


@dataclass(frozen=True)
class Forecast:
    """Sums of a profile, with every node at the best entry of its ladder.

    Attributes:
        infeasible: what cannot be, even with every node at its cheapest entry; one sentence for each reason.
        strained: what could not be at the best entries, where cheaper ones help.
    """

    nodes: Mapping[str, NodeForecast]
    loads: tuple[Load, ...]
    loops: tuple[Loop, ...]
    paths: tuple[Path, ...]
    infeasible: tuple[str, ...]
    strained: tuple[str, ...] = ()


def budgets(plan: Plan) -> Profile:
    """The graph's own budgets as a profile; nodes without one cost nothing."""
    nodes = {name: NodeCost(node.cost_ns / MS, "budget_ms") for name, node in plan.nodes.items()}
    return Profile("budgets", "budget_ms", nodes, graph=plan.name, where="the budgets of the graph")


def forecast(plan: Plan, profile: Profile, history: int = 0) -> Forecast:
    """Sums of a graph by a profile, each node's cost taken after ``history`` units.

    Raises:
        UserError: the profile lacks a node.
    """
    profile.check(plan)
    best = _forecast(plan, profile, {name: _cost_ms(profile, name, history) for name in plan.nodes})
    lowest = {name: _cost_ms(profile, name, history, len(node.ladder) - 1) for name, node in plan.nodes.items()}
    impossible = _forecast(plan, profile, lowest).infeasible if best.infeasible else ()
    return replace(best, infeasible=impossible, strained=() if impossible else best.infeasible)


def _forecast(plan: Plan, profile: Profile, costs: Mapping[str, float]) -> Forecast:
    nodes = [
        TimedNode(n.name, round(costs[n.name] * MS), n.paced, n.ahead_units > 0, f"{n.process}/{n.lane}")
        for n in plan.nodes.values()
    ]
    edges = _edges(plan, profile)
    timing = compute_timing(nodes, edges, plan.clock, plan.latency_ns)
    loads = _loads(plan, profile, costs)
    # Lanes are among the loads, in the same words: named once.
    others = [text for text in timing.infeasible if not text.startswith("infeasible: because lane ")]
    late_ns = round(profile.clock.late_ms * MS)
    start, before = _starts(plan, nodes, edges, late_ns)
    paths = () if not all(x.is_feasible for x in timing.loops) else _paths(plan, nodes, edges, start, before, late_ns)
    return Forecast(
        nodes={n.name: _node(n, start[n.name] / MS, timing.due_ns[n.name], timing.loops, loads) for n in nodes},
        loads=loads,
        loops=timing.loops,
        paths=paths,
        infeasible=(*others, *(load.reason for load in loads if load.ratio > 1)),
    )


def _cost_ms(profile: Profile, name: str, history: int, level: int = 0) -> float:
    cost, cap = profile.nodes[name], profile.history_units
    return cost.cost_ms * cost.at_level(max(level, 0)) + cost.per_unit_ms * (
        history if cap is None else min(history, cap)
    )


def _edges(plan: Plan, profile: Profile) -> list[TimedEdge]:
    edges = []
    for node in plan.nodes.values():
        for inlet in node.inputs:
            stream = plan.streams[inlet.stream]
            edges.append(
                TimedEdge(
                    stream.node,
                    node.name,
                    inlet.delay,
                    inlet.look_ahead,
                    crosses=stream.process != node.process,
                    transfer_ns=round(profile.transfer_ms(stream, node.process) * MS),
                    is_forgiving=inlet.late in ("hold", "empty"),
                )
            )
    return edges


# Loads


def _loads(plan: Plan, profile: Profile, costs: Mapping[str, float]) -> tuple[Load, ...]:
    period = plan.clock.period_ns / MS
    found: dict[tuple[Resource, str], dict[str, float]] = {}
    for node in plan.nodes.values():
        cost, machine = costs[node.name], profile.machine_of(node.process)
        found.setdefault(("lane", f"{node.process}/{node.lane}"), {})[node.name] = cost
        if hold := profile.nodes[node.name].hold_ms:
            found.setdefault(("interpreter", f"of {node.process}"), {})[node.name] = hold
        if node.device != "cpu":
            found.setdefault(("device", f"{node.device} of {machine}"), {})[node.name] = cost
        if _cores(profile, machine) is not None:
            known = profile.nodes[node.name]
            share = known.load_ms / known.cost_ms if known.cost_ms else 1.0
            found.setdefault(("machine", machine), {})[node.name] = cost * share
    order: tuple[Resource, ...] = ("lane", "interpreter", "device", "machine")
    return tuple(
        Load(kind, name, sum(parts.values()), period * (_cores(profile, name) or 1 if kind == "machine" else 1), parts)
        for kind, name in sorted(found, key=lambda key: order.index(key[0]))
        for parts in [found[kind, name]]
    )


def _cores(profile: Profile, machine: str) -> int | None:
    known = profile.machines.get(machine)
    return None if known is None else known.cores


# Paths

Before = Mapping[str, TimedEdge]


def _starts(
    plan: Plan, nodes: Sequence[TimedNode], edges: Sequence[TimedEdge], late_ns: int
) -> tuple[dict[str, int], dict[str, TimedEdge]]:
    """Earliest starts with what is fed back, and the edge that each node waits for longest.

    Relaxed once per node: enough unless a loop takes longer than its delays, and then nothing settles anyway.
    """
    cost = {node.name: node.cost_ns for node in nodes}
    start = {node.name: _first(plan, plan.nodes[node.name], node.cost_ns, late_ns) for node in nodes}
    before: dict[str, TimedEdge] = {}
    for _ in range(len(nodes) + 1):
        changed = False
        for edge in edges:
            ready = _ready(plan, edge, start[edge.producer] + cost[edge.producer])
            if ready > start[edge.consumer]:
                start[edge.consumer], before[edge.consumer], changed = ready, edge, True
        if not changed:
            break
    return start, before


def _first(plan: Plan, node: NodePlan, cost_ns: int, late_ns: int) -> int:
    """Earliest start of a node, whatever it waits for: a paced one at its due, a source as far ahead as it needs to.

    What the clock alone decides comes as late as the clock does.
    """
    if node.paced:
        return plan.latency_ns
    return -min(cost_ns, plan.clock.pts_ns(node.ahead_units)) + (late_ns if node.is_source else 0)


def _ready(plan: Plan, edge: TimedEdge, finished: int) -> int:
    return finished + edge.hop_ns - plan.clock.pts_ns(edge.delay) + plan.clock.pts_ns(edge.look_ahead)


def _paths(
    plan: Plan,
    nodes: Sequence[TimedNode],
    edges: Sequence[TimedEdge],
    start: Mapping[str, int],
    before: Before,
    late_ns: int,
) -> tuple[Path, ...]:
    """One path per end: a paced node, or a sink that gets nothing from one."""
    after = _after_paced(plan)
    ends = [n for n in plan.nodes.values() if n.paced or (n.is_sink and n.name not in after)]
    cost = {node.name: node.cost_ns for node in nodes}
    paths = []
    for end in ends:
        into = [e for e in edges if e.consumer == end.name and not e.delay]
        if not into:
            continue
        last = max(into, key=lambda e: _ready(plan, e, start[e.producer] + cost[e.producer]))
        ready = _ready(plan, last, start[last.producer] + cost[last.producer])
        steps = _steps(plan, last, cost, start, before)
        if late_ns and plan.nodes[steps[0].what].is_source:
            begins = steps[0].from_ms
            steps.insert(0, Step("clock late", begins - late_ns / MS, begins))
        if not end.paced:
            steps.append(Step(end.name, ready / MS, (ready + cost[end.name]) / MS))
        paths.append(Path(end.name, (ready if end.paced else ready + cost[end.name]) / MS, tuple(steps)))
    return tuple(paths)


def _after_paced(plan: Plan) -> set[str]:
    """Nodes that get something from a paced one within a unit; nodes stand in the order in which data flows."""
    after: set[str] = set()
    for node in sorted(plan.nodes.values(), key=lambda n: n.depth):
        producers = [plan.nodes[plan.streams[i.stream].node] for i in node.inputs if not i.delay]
        if any(p.paced or p.name in after for p in producers):
            after.add(node.name)
    return after


def _steps(
    plan: Plan, last: TimedEdge, cost: Mapping[str, int], start: Mapping[str, int], before: Before
) -> list[Step]:
    """From the beginning to the end of an edge, in order of time. Units before are told by times before release."""
    steps: list[Step] = []
    edge: TimedEdge | None = last
    shift, seen = 0, set()
    while edge is not None and edge.producer not in seen:
        name = edge.producer
        seen.add(name)
        begin = start[name] + shift
        end = begin + cost[name]
        if edge.hop_ns:
            steps.append(Step(f"{name} -> {edge.consumer}", end / MS, (end + edge.hop_ns) / MS))
        steps.append(Step(name, begin / MS, end / MS))
        edge = before.get(name)
        shift -= 0 if edge is None else plan.clock.pts_ns(edge.delay) - plan.clock.pts_ns(edge.look_ahead)
    return steps[::-1]


# Room


def _node(
    node: TimedNode, start_ms: float, due_ns: int | None, loops: Sequence[Loop], loads: Sequence[Load]
) -> NodeForecast:
    cost = node.cost_ns / MS
    due = None if due_ns is None else due_ns / MS
    slack = None if due is None or node.paced else due - start_ms - cost
    room = [] if slack is None else [(slack, "its due")]
    room += [
        (
            (loop.budget_ns - loop.cost_ns - loop.give_up_ns) / MS,
            f"the loop {' -> '.join([*loop.nodes, loop.nodes[0]])}",
        )
        for loop in loops
        if node.name in loop.nodes
    ]
    for load in loads:
        if node.name in load.parts and load.kind != "interpreter":
            share = load.parts[node.name] / cost if cost else 1.0
            if share:  # what waits all the time is not held up by cores
                room.append(((load.of_ms - load.busy_ms) / share, f"{load.kind} {load.name}"))
    left, why = min(room, default=(None, "nothing"))
    grown = None if left is None else max(0.0, cost + left)
    return NodeForecast(cost, start_ms, due, slack, grown, why)
