"""Edges between ports, and what follows from how they run: order, depth, loops, cycles without delay."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import networkx as nx

from ..errors import did_you_mean, listing
from ..ports import Guard, Input, Late, Output
from .bind import Bound, find_init
from .marks import Mark, Problems
from .spec import BACKLOG, INITS, Edge, GraphSpec


@dataclass(frozen=True)
class BoundEdge:
    """An edge as written, and the ports at both its ends; ``init`` with its file found."""

    spec: Edge
    producer: str
    output_name: str
    consumer: str
    input_name: str
    output: Output
    input: Input
    init: str | None

    @property
    def ends(self) -> tuple[str, str]:
        """Producer and consumer."""
        return self.producer, self.consumer

    @property
    def stream(self) -> str:
        """``node.port`` of the output."""
        return f"{self.producer}.{self.output_name}"

    @property
    def delay(self) -> int:
        """Units that it is late on purpose."""
        return self.spec.delay

    @property
    def late(self) -> Late:
        """Word for what stands in for a unit that is late.

        On a delayed edge what came before unit 0 has shown what may stand in: nothing, or a value, that is the last one
        then. Were it a gap, one lost unit would go around a loop for ever.
        """
        if self.spec.late is None and self.input.late == "gap" and self.delay:
            return "empty" if self.init == "empty" else "hold"
        return self.spec.late or self.input.late

    @property
    def guard(self) -> Guard:
        """Word for what is done about numbers that are not finite."""
        return self.spec.guard or self.input.guard

    @property
    def is_forgiving(self) -> bool:
        """True if its reader answers a unit that is lost on it."""
        return self.late in ("hold", "empty")

    @property
    def mark(self) -> Mark:
        """Mark of where it was written."""
        return self.spec.mark


def connect(spec: GraphSpec, bound: Mapping[str, Bound], problems: Problems) -> list[BoundEdge]:
    """Every edge of the graph whose ends exist; the others are noted as mistakes."""
    edges = []
    for node in bound.values():
        where = f"node '{node.name}'"
        for port, given in node.spec.inputs.items():
            if port not in node.inputs:
                problems.add(
                    given.mark,
                    f"{where}: no input '{port}' (it has: {listing(node.inputs)}){did_you_mean(port, node.inputs)}",
                )
            elif (edge := _edge(spec, bound, node, port, given, problems)) is not None:
                edges.append(edge)
        for port, wanted in node.inputs.items():
            if port not in node.spec.inputs and not wanted.optional:
                _note_unconnected(spec, node, port, problems)
    return edges


def _note_unconnected(spec: GraphSpec, node: Bound, port: str, problems: Problems) -> None:
    entrance = spec.entrances.get(f"{node.name}.{port}")
    if entrance is None:
        mark, where, name, why = node.spec.mark, node.name, port, ""
    else:
        mark, where, name = entrance.mark, entrance.node, entrance.port
        why = f": '{node.name}' needs it"
    problems.add(
        mark,
        f"node '{where}': input '{name}' is not connected (expected inputs: {{{name}: NODE.PORT}}{why}), connect it",
    )


def _edge(
    spec: GraphSpec, bound: Mapping[str, Bound], node: Bound, port: str, given: Edge, problems: Problems
) -> BoundEdge | None:
    where = f"node '{node.name}': input '{port}'"
    producer, _, output = given.source.rpartition(".")
    if not producer:
        return None  # noted when it was read
    if producer not in spec.nodes:
        problems.add(
            given.mark,
            f"{where}: no node '{producer}' (available: {listing(spec.nodes)}){did_you_mean(producer, spec.nodes)}",
        )
        return None
    if producer not in bound:
        return None  # its own mistakes come first
    outputs = bound[producer].outputs
    if output not in outputs:
        problems.add(
            given.mark,
            f"{where}: no output '{output}' on '{producer}' (it has: {listing(outputs)})"
            f"{did_you_mean(output, outputs)}",
        )
        return None
    init = _init(given, where, spec.folder, problems)
    return BoundEdge(given, producer, output, node.name, port, outputs[output], node.inputs[port], init)


def _init(given: Edge, where: str, folder: Path, problems: Problems) -> str | None:
    found = find_init(given, folder)
    if found is not None and found not in INITS and not os.path.isfile(found):
        problems.add(
            given.mark,
            f"{where}: init: found '{given.init}' (expected empty, zeros or a file){did_you_mean(found, INITS)}",
        )
    return found


def check_wait(edges: Sequence[BoundEdge], enforced: frozenset[str], problems: Problems) -> None:
    """Note input ports that would wait for ever on a path that must be in time."""
    for edge in edges:
        if edge.late == "wait" and edge.consumer in enforced and not edge.output.is_log:
            problems.add(
                edge.mark,
                f"node '{edge.consumer}': input '{edge.input_name}': found late: wait ahead of a paced node "
                "(expected gap, hold or empty; wait only on logs and off the paced path), choose one",
            )


def check_backlogs(edges: Sequence[BoundEdge], enforced: frozenset[str], problems: Problems) -> None:
    """Note backlogs where nothing waits, or nothing may be lost."""
    for edge in edges:
        if edge.spec.backlog == BACKLOG:
            continue
        found = f"node '{edge.consumer}': input '{edge.input_name}': found backlog: "
        word = {None: "all", 1: "newest"}.get(edge.spec.backlog, str(edge.spec.backlog))
        if edge.consumer in enforced:
            text = "on the paced path (expected a reader off it: here nothing waits, it is given up), remove it"
            problems.add(edge.mark, f"{found}{word} {text}")
        elif edge.output.is_log and edge.spec.backlog is not None:
            problems.add(edge.mark, f"{found}{word} for a log (expected all: nothing of a log is lost), remove it")


def find_backlog(into: Sequence[BoundEdge], enforced: frozenset[str]) -> int | None:
    """Number of units that may wait for the reader of these edges; None: all."""
    if any(edge.output.is_log or edge.consumer in enforced for edge in into):
        return None
    return min((edge.spec.backlog for edge in into if edge.spec.backlog is not None), default=None)


def check_cycles(nodes: Sequence[str], edges: Sequence[BoundEdge], problems: Problems) -> None:
    """Note each knot of nodes that wait for one another within one unit, as ``a.x -> b.y -> a.x``."""
    graph = _undelayed(nodes, edges)
    for knot in nx.strongly_connected_components(graph):
        inside = graph.subgraph(knot)
        if len(knot) == 1 and not inside.number_of_edges():
            continue
        ring = [pair[:2] for pair in nx.find_cycle(inside, min(knot, key=list(nodes).index))]
        first = {(e.producer, e.consumer): e for e in reversed(edges) if not e.delay}
        steps = [first[pair[0], pair[1]] for pair in ring]
        text = " -> ".join(edge.stream for edge in [*steps, steps[0]])
        problems.add(
            steps[-1].mark,
            f"found a cycle without delay: {text} (expected a delay on one of its edges), "
            f"write {steps[-1].input_name}: {{from: {steps[-1].stream}, delay: 1, init: empty}}",
        )


def check_loops_heal(edges: Sequence[BoundEdge], paced: Collection[str], problems: Problems) -> None:
    """Note loops that one lost unit would silence for ever: where nothing may stand in for it on any of their edges,
    each node answers it with a lost unit of its own. A paced node answers every unit."""
    strict = [edge for edge in edges if not edge.is_forgiving and edge.consumer not in paced]
    graph = _whole([], strict)
    for knot in nx.strongly_connected_components(graph):
        inside = graph.subgraph(knot)
        if not inside.number_of_edges():
            continue
        ring = [pair[:2] for pair in nx.find_cycle(inside, min(knot, key=[e.producer for e in strict].index))]
        steps = [max((e for e in strict if e.ends == pair), key=lambda e: e.delay) for pair in ring]
        late = max(steps, key=lambda e: e.delay)
        steps = [*steps[steps.index(late) + 1 :], *steps[: steps.index(late) + 1]]
        word = "empty" if late.init in (None, "empty") else "hold"
        problems.add(
            late.mark,
            f"node '{late.consumer}': input '{late.input_name}': found late: {late.late} on the loop "
            f"{' -> '.join([*(e.stream for e in steps), steps[0].stream])}, which one lost unit would silence for ever "
            f"(expected hold or empty on one of its edges), write late: {word}",
        )


def check_fed(bound: Mapping[str, Bound], edges: Sequence[BoundEdge], problems: Problems) -> None:
    """Note nodes that only feed each other: nothing would tell them when a unit begins."""
    graph = _whole(list(bound), edges)
    clocked = [name for name, node in bound.items() if node.cls.paced or not graph.in_degree(name)]
    fed = {*clocked}.union(*(nx.descendants(graph, name) for name in clocked))
    alone = [name for name in bound if name not in fed]
    if alone:
        problems.add(
            bound[alone[0]].spec.at("inputs"),
            f"found no source above {listing(alone)} (expected a node without inputs, whose units the clock releases), "
            "connect one, for example: {type: capture.clock}",
        )


def flow_order(nodes: Sequence[str], edges: Sequence[BoundEdge]) -> list[str]:
    """Names in an order in which data flows (delayed edges left out), otherwise as in the file."""
    place = {name: index for index, name in enumerate(nodes)}
    return list(nx.lexicographical_topological_sort(_undelayed(nodes, edges), key=place.__getitem__))


def depths(order: Sequence[str], edges: Sequence[BoundEdge]) -> dict[str, int]:
    """Longest way from a source over edges without delay, for names in flow order."""
    depth = dict.fromkeys(order, 0)
    led_to: dict[str, list[str]] = {}
    for edge in edges:
        if not edge.delay:
            led_to.setdefault(edge.consumer, []).append(edge.producer)
    for name in order:
        depth[name] = max((depth[producer] + 1 for producer in led_to.get(name, ())), default=0)
    return depth


def on_loops(nodes: Sequence[str], edges: Sequence[BoundEdge], paced: Collection[str]) -> frozenset[str]:
    """Nodes that lie on a feedback loop, delayed edges included.

    Loops through a paced node do not count: its deadline times them, and hurrying the others would gain nothing
    (decoders, which a report of what was played closes into a loop, would be put ahead of the next unit's thinking).
    """
    graph = _whole([name for name in nodes if name not in paced], [e for e in edges if not {*e.ends} & {*paced}])
    loops = (knot for knot in nx.strongly_connected_components(graph))
    return frozenset(n for knot in loops for n in knot if len(knot) > 1 or graph.has_edge(n, n))


def _undelayed(nodes: Sequence[str], edges: Sequence[BoundEdge]) -> nx.DiGraph[str]:
    return _whole(nodes, [edge for edge in edges if not edge.delay])


def _whole(nodes: Sequence[str], edges: Sequence[BoundEdge]) -> nx.DiGraph[str]:
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(nodes)
    graph.add_edges_from((edge.producer, edge.consumer) for edge in edges)
    return graph
