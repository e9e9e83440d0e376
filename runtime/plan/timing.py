"""Dues of the nodes, computed backwards from the paced nodes; and whether the budgets can be kept.

Times are nanoseconds after release(k). A paced node fires at ``latency``. Everything before it:

    due(n) = min over consumers c of  due(c) - cost(c) + (delay - look_ahead) * T - transfer - give-up margin

relaxed until nothing changes, which on feedback loops means: until the loop's delays pay for its costs. Only the
ancestors of paced nodes are *enforced*; elsewhere, dues of sinks are counted and cost nobody a unit.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import networkx as nx

from ..units import MS, UnitClock

TRANSFER_NS = 1 * MS
"""What a hop between two processes is taken to cost."""

GIVE_UP_NS = 3 * MS
"""How long before its latest start a node gives up an input for which something may stand in. It still has to be woken
by the clock, which a busy machine does up to some milliseconds late: given up at the latest start itself, the node
would begin too late and answer nothing after all."""

MAX_LOOPS = 200
"""Loops looked at one by one; graphs have a handful."""


@dataclass(frozen=True)
class TimedNode:
    """Node as timing needs it. ``ahead``: a source that may run before release."""

    name: str
    cost_ns: int = 0
    paced: bool = False
    ahead: bool = False
    lane: str = "main/loop"


@dataclass(frozen=True)
class TimedEdge:
    """Edge as timing needs it. ``crosses``: between two processes, which takes ``transfer_ns``.
    ``is_forgiving``: something may stand in for a unit that is lost on it; ``give_up_ns``: how long before that the
    reader no longer waits."""

    producer: str
    consumer: str
    delay: int = 0
    look_ahead: int = 0
    crosses: bool = False
    transfer_ns: int = TRANSFER_NS
    is_forgiving: bool = False
    give_up_ns: int = 0

    @property
    def hop_ns(self) -> int:
        """Time of a packet on its way; 0 inside a process."""
        return self.transfer_ns if self.crosses else 0


@dataclass(frozen=True)
class Loop:
    """A feedback loop without a paced node: the time its nodes take, and what its delays give them.

    ``give_up_ns`` of that is needed to give up what is late, see `GIVE_UP_NS`.
    """

    nodes: tuple[str, ...]
    cost_ns: int
    budget_ns: int
    give_up_ns: int = 0

    @property
    def ratio(self) -> float:
        """Above 1 it cannot keep up."""
        return self.cost_ns / self.budget_ns if self.budget_ns else float("inf")

    @property
    def left_ns(self) -> int:
        """Time that its delays give beyond what it needs."""
        return self.budget_ns - self.cost_ns - self.give_up_ns

    @property
    def is_feasible(self) -> bool:
        """True if its delays pay for it."""
        return self.left_ns >= 0


class Reason(str):
    """A sentence, and the nodes that it is about."""

    nodes: tuple[str, ...]

    def __new__(cls, text: str, nodes: Sequence[str]) -> Reason:
        """The sentence, with its nodes."""
        made = super().__new__(cls, text)
        made.nodes = tuple(nodes)
        return made


@dataclass(frozen=True)
class Timing:
    """Instants that follow from the budgets.

    Attributes:
        due_ns: by node; None where no paced node or sink follows.
        enforced: paced nodes and their ancestors.
        loops: feedback loops without a paced node, the tightest first.
        loads: share of T that each lane (``process/lane``) is busy.
        infeasible: why the budgets cannot be kept, one sentence each.
        warnings: dues that are only counted, and cannot be kept.
        earliest_ns: when each node can start at best, by the budgets before it; a paced node at its due.
    """

    due_ns: Mapping[str, int | None]
    enforced: frozenset[str]
    loops: tuple[Loop, ...] = ()
    loads: Mapping[str, float] = field(default_factory=dict)
    infeasible: tuple[Reason, ...] = ()
    warnings: tuple[Reason, ...] = ()
    earliest_ns: Mapping[str, int] = field(default_factory=dict)


def compute_timing(nodes: Sequence[TimedNode], edges: Sequence[TimedEdge], clock: UnitClock, latency_ns: int) -> Timing:
    """Dues, loops, loads and verdicts of a graph without undelayed cycles."""
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(node.name for node in nodes)
    graph.add_edges_from((edge.producer, edge.consumer) for edge in edges)
    paced = {node.name for node in nodes if node.paced}
    enforced = frozenset(paced.union(*(nx.ancestors(graph, name) for name in paced)))
    after = set().union(*(nx.descendants(graph, name) for name in paced)) - enforced
    counted = set(graph) - enforced - after
    edges = [
        replace(edge, give_up_ns=GIVE_UP_NS)
        if edge.is_forgiving and edge.consumer in enforced and edge.consumer not in paced
        else edge
        for edge in edges
    ]

    loops = _loops(graph, nodes, edges, clock, paced)
    loads, overloads = _loads(nodes, clock)
    broken = [Reason(_loop_text(loop), loop.nodes) for loop in loops if not loop.is_feasible]
    work = _Dues(nodes, edges, clock, latency_ns)
    if not broken:
        work.relax(enforced, seeds=paced)
        work.relax(counted, seeds={name for name in counted if graph.out_degree(name) == 0})
    paths = [] if broken else work.late_paths(enforced) + work.late_paced(paced)
    return Timing(
        due_ns={name: work.due.get(name) for name in graph},
        enforced=enforced,
        loops=loops,
        loads=loads,
        infeasible=(*broken, *overloads, *paths),
        warnings=() if broken else tuple(work.late_paths(counted)),
        earliest_ns=_earliest(nodes, edges, clock, latency_ns),
    )


class _Dues:
    """Dues so far, and for each node the edge that made its due what it is."""

    def __init__(
        self, nodes: Sequence[TimedNode], edges: Sequence[TimedEdge], clock: UnitClock, latency_ns: int
    ) -> None:
        self.nodes = {node.name: node for node in nodes}
        self.edges = edges
        self._fed = {edge.consumer for edge in edges if not edge.delay}
        self.clock = clock
        self.latency_ns = latency_ns
        self.due: dict[str, int] = {}
        self.tightest: dict[str, TimedEdge] = {}

    def latest_start(self, name: str) -> int:
        node = self.nodes[name]
        return self.due[name] - (0 if node.paced else node.cost_ns)

    def bound(self, edge: TimedEdge) -> int:
        """Latest instant for the producer, for the sake of this consumer."""
        shift = self.clock.pts_ns(edge.delay) - self.clock.pts_ns(edge.look_ahead)
        return self.latest_start(edge.consumer) + shift - edge.hop_ns - edge.give_up_ns

    def relax(self, inside: Iterable[str], seeds: Iterable[str]) -> None:
        """Dues of the nodes ``inside``, from the seeds backwards, until nothing changes."""
        fixed = set(seeds)
        open_nodes = set(inside) - fixed
        self.due |= dict.fromkeys(fixed, self.latency_ns)
        edges = [
            e for e in self.edges if e.producer in open_nodes and (e.consumer in open_nodes or e.consumer in fixed)
        ]
        # One round more than there are nodes always suffices once every loop pays for itself.
        for _ in range(len(open_nodes) + 1):
            changed = False
            for edge in edges:
                if edge.consumer in self.due and self.bound(edge) < self.due.get(edge.producer, 1 << 62):
                    self.due[edge.producer] = self.bound(edge)
                    self.tightest[edge.producer] = edge
                    changed = True
            if not changed:
                return

    def late_paths(self, inside: Iterable[str]) -> list[Reason]:
        """Sentences on sources that would have to start before release, the worst first; at most one an end."""
        worst: dict[str, tuple[int, Reason]] = {}
        for name in inside:
            node = self.nodes[name]
            if name not in self.due or node.paced or self._has_undelayed_input(name):
                continue
            start = self.due[name] if node.ahead else self.latest_start(name)
            if start >= 0:
                continue
            path = self._path(name)
            if path[-1] not in worst or start < worst[path[-1]][0]:
                worst[path[-1]] = (start, Reason(self._path_text(path, self.latency_ns - start), path))
        return [text for _, text in sorted(worst.values())]

    def late_paced(self, paced: Iterable[str]) -> list[Reason]:
        """Sentences on feedback from paced nodes that comes too late for those that need it."""
        found = []
        for edge in self.edges:
            if edge.producer in paced and edge.consumer in self.due and edge.consumer not in paced:
                room = self.bound(edge)
                if room < self.latency_ns:
                    text = (
                        f"infeasible: because '{edge.consumer}' needs what '{edge.producer}' does "
                        f"{_ms(self.latency_ns)} ms after release no later than {_ms(room)} ms, "
                        f"over a delay of {edge.delay}; raise the delay or lower latency_ms"
                    )
                    found.append(Reason(text, [edge.consumer]))
        return found

    def _has_undelayed_input(self, name: str) -> bool:
        return name in self._fed

    def _path(self, name: str) -> list[str]:
        path = [name]
        while path[-1] in self.tightest and self.tightest[path[-1]].consumer not in path:
            path.append(self.tightest[path[-1]].consumer)
        return path

    def _path_text(self, path: list[str], total_ns: int) -> str:
        steps = [f"{name} {_ms(self.nodes[name].cost_ns)}" for name in path if self.nodes[name].cost_ns]
        hops = sum(self.tightest[name].crosses for name in path[:-1])
        ahead = sum(self.tightest[name].look_ahead for name in path[:-1])
        extra = [f"{hops} between processes"] if hops else []
        extra += [f"{_ms(self.clock.pts_ns(ahead))} of look-ahead"] if ahead else []
        margin_ns = sum(self.tightest[name].give_up_ns for name in path[:-1])
        extra += [f"{_ms(margin_ns)} to give up what is late"] if margin_ns else []
        return (
            f"infeasible: because {' -> '.join(path)} takes {_ms(total_ns)} ms after release "
            f"({', '.join([*steps, *extra]) or 'no budgets'}; expected latency_ms {_ms(self.latency_ns)} or less), "
            "raise latency_ms or lower the budgets"
        )


def _earliest(
    nodes: Sequence[TimedNode], edges: Sequence[TimedEdge], clock: UnitClock, latency_ns: int
) -> dict[str, int]:
    """Earliest starts along edges without delay; what is fed back is taken to be there."""
    by_name = {node.name: node for node in nodes}
    flow: nx.DiGraph[str] = nx.DiGraph()
    flow.add_nodes_from(by_name)
    flow.add_edges_from((edge.producer, edge.consumer) for edge in edges if not edge.delay)
    led_to: dict[str, list[TimedEdge]] = {}
    for edge in edges:
        if not edge.delay:
            led_to.setdefault(edge.consumer, []).append(edge)
    start: dict[str, int] = {}
    for name in nx.topological_sort(flow):
        ready = [
            start[e.producer] + by_name[e.producer].cost_ns + clock.pts_ns(e.look_ahead) + e.hop_ns
            for e in led_to.get(name, ())
        ]
        start[name] = latency_ns if by_name[name].paced else max(ready, default=0)
    return start


def _loops(
    graph: nx.DiGraph[str], nodes: Sequence[TimedNode], edges: Sequence[TimedEdge], clock: UnitClock, paced: set[str]
) -> tuple[Loop, ...]:
    cost = {node.name: node.cost_ns for node in nodes}
    free = graph.subgraph(set(graph) - paced)
    # Between two nodes the edge that leaves least time is the one that counts.
    slack: dict[tuple[str, str], tuple[int, int, int]] = {}
    for edge in edges:
        time = clock.pts_ns(edge.delay)
        use = clock.pts_ns(edge.look_ahead) + edge.hop_ns
        pair = (edge.producer, edge.consumer)
        left = time - use - edge.give_up_ns
        if pair not in slack or left < slack[pair][0] - slack[pair][1] - slack[pair][2]:
            slack[pair] = (time, use, edge.give_up_ns)
    loops = []
    for ring in itertools.islice(nx.simple_cycles(free), MAX_LOOPS):
        first = min(range(len(ring)), key=lambda i: list(cost).index(ring[i]))
        names = (*ring[first:], *ring[:first])
        hops = [slack[pair] for pair in zip(names, (*names[1:], names[0]), strict=True)]
        used = sum(cost[name] for name in names) + sum(use for _, use, _ in hops)
        loops.append(Loop(names, used, sum(time for time, _, _ in hops), sum(give_up for _, _, give_up in hops)))
    return tuple(sorted(loops, key=lambda loop: -loop.ratio))


def _loop_text(loop: Loop) -> str:
    ring = " -> ".join([*loop.nodes, loop.nodes[0]])
    margin = f"and {_ms(loop.give_up_ns)} to give up what is late " if loop.ratio <= 1 else ""
    return (
        f"infeasible: because the loop {ring} takes {_ms(loop.cost_ns)} ms {margin}"
        f"(expected {_ms(loop.budget_ns)} or less, its delays), lower the budgets or raise a delay"
    )


def _loads(nodes: Sequence[TimedNode], clock: UnitClock) -> tuple[dict[str, float], list[Reason]]:
    period = clock.period_ns
    loads: dict[str, float] = {}
    texts: list[Reason] = []
    for lane in dict.fromkeys(node.lane for node in nodes):
        inside = [node for node in nodes if node.lane == lane]
        total = sum(node.cost_ns for node in inside)
        loads[lane] = total / period
        if total > period:
            parts = ", ".join(f"{node.name} {_ms(node.cost_ns)}" for node in inside if node.cost_ns)
            text = (
                f"infeasible: because lane {lane} is busy {_ms(total)} ms of every unit ({parts}; "
                f"expected {_ms(period)} or less), move a node to another lane or process"
            )
            texts.append(Reason(text, [node.name for node in inside]))
    return loads, texts


def _ms(ns: int) -> str:
    return f"{ns / MS:.6g}"
