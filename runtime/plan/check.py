"""From a graph as written to a checked `Plan`: everything that can be known before a weight is loaded.

Nothing here imports torch. Mistakes are gathered and raised together, one a line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..units import MS, NS
from .bind import Bound, bind, check_outside, check_restarts, check_written
from .devices import find_device
from .exports import Exports, check_exports
from .marks import Mark, Problems
from .overlay import build_tree, find_graph, parse_sets
from .plan import NodePlan, Plan, StreamPlan
from .shapes import Shapes, resolve_shapes
from .spec import GraphSpec
from .streams import (
    by_stream,
    check_cpus,
    check_settling,
    place,
    plan_input,
    plan_processes,
    plan_stream,
    shared_lanes,
)
from .subgraph import close, real_ends
from .timing import TimedEdge, TimedNode, Timing, compute_timing
from .wiring import (
    BoundEdge,
    check_backlogs,
    check_cycles,
    check_fed,
    check_loops_heal,
    check_wait,
    connect,
    depths,
    find_backlog,
    flow_order,
    on_loops,
)


@dataclass(frozen=True)
class Checked:
    """A plan, the timing it was made from, and the ports of the graph to the outside."""

    plan: Plan
    timing: Timing
    exports: Exports


def load(reference: str | Path, sets: Mapping[str, Any] | None = None) -> GraphSpec:
    """A graph file, by path or shipped name, extended, set and filled in.

    Args:
        sets: as ``--set``: parameter names or dotted paths; strings are read as YAML.

    Raises:
        GraphError: everything that is wrong with it as text, one mistake a line.
    """
    path, problems = find_graph(reference), Problems()
    graph = build_tree(path, parse_sets(sets or {}), problems)
    tree, lost = close(graph)
    spec = GraphSpec.parse(
        tree,
        "graph",
        problems,
        path=str(path.absolute()),
        folder=path.parent.absolute(),
        mark=tree.mark,
        exits=graph.exits,
        entrances=lost,
    )
    problems.raise_any()
    return replace(spec, name=spec.name or path.stem, exports=real_ends(spec.exports, graph, lost))


def make_plan(spec: GraphSpec, seed: int = 0) -> Plan:
    """The checked plan of a graph.

    Raises:
        GraphError: everything that is wrong with it, one mistake a line.
    """
    return check(spec, seed).plan


def check(spec: GraphSpec, seed: int = 0) -> Checked:
    """The checked plan of a graph with its timing; see `make_plan`."""
    problems = Problems()
    bound = bind(spec, problems)
    places = place(spec, problems)
    devices = {node.name: find_device(node, problems) for node in spec.nodes.values()}
    edges = connect(spec, bound, problems)
    exports = check_exports(spec, bound, problems)
    check_cycles(list(bound), edges, problems)
    if not problems.lines:
        check_fed(bound, edges, problems)
        check_loops_heal(edges, [name for name, node in bound.items() if node.cls.paced], problems)
    problems.raise_any()

    order = flow_order(list(bound), edges)
    shapes = resolve_shapes(spec.clock, bound, order, edges, problems)
    timing = _timing(spec, bound, edges, places)
    check_wait(edges, timing.enforced, problems)
    check_backlogs(edges, timing.enforced, problems)
    for reason in timing.infeasible:
        problems.add(_largest_budget(spec, reason.nodes), reason)
    nodes = _plan_nodes(bound, order, edges, places, devices, timing)
    check_settling(edges, nodes, problems)
    warnings = [*(f"{spec.mark}: {text}" for text in timing.warnings), *shared_lanes(spec, nodes)]
    streams = _plan_streams(spec, bound, nodes, edges, shapes, problems, warnings)
    check_outside(bound, problems)
    check_written(bound, problems)
    check_restarts(spec, bound, places, problems)
    check_cpus(spec, problems)
    problems.raise_any()
    plan = Plan(
        name=spec.name,
        clock=spec.clock,
        latency_ns=_latency_ns(spec),
        nodes=nodes,
        streams=streams,
        processes=plan_processes(spec, places),
        seed=seed,
        path=spec.path,
        warnings=tuple(warnings),
    )
    return Checked(plan, timing, exports)


def output_shapes(plan: Plan, node: str) -> dict[str, dict[str, tuple[int, ...] | None]]:
    """Per output port and tensor, the resolved shape per unit; None where it is not known."""
    return {port: plan.streams[f"{node}.{port}"].shapes for port in plan.nodes[node].outputs}


def _largest_budget(spec: GraphSpec, names: Sequence[str]) -> Mark:
    """Mark of the largest budget of these nodes: where most can be gained."""
    nodes = [spec.nodes[name] for name in names]
    largest = max(nodes, key=lambda node: node.budget_ms or 0.0)
    return largest.at("budget_ms") if largest.budget_ms else spec.mark


def _latency_ns(spec: GraphSpec) -> int:
    return round(spec.latency_ms * MS)


def _timing(
    spec: GraphSpec, bound: Mapping[str, Bound], edges: Sequence[BoundEdge], places: Mapping[str, tuple[str, str]]
) -> Timing:
    nodes = [
        TimedNode(
            name=node.name,
            cost_ns=node.cost_ns,
            paced=node.cls.paced,
            ahead=node.cls.ahead_units > 0,
            lane="/".join(places[node.name]),
        )
        for node in bound.values()
    ]
    timed = [
        TimedEdge(
            producer=edge.producer,
            consumer=edge.consumer,
            delay=edge.delay,
            look_ahead=edge.input.look_ahead,
            crosses=places[edge.producer][0] != places[edge.consumer][0],
            is_forgiving=edge.is_forgiving,
        )
        for edge in edges
    ]
    return compute_timing(nodes, timed, spec.clock, _latency_ns(spec))


def _plan_nodes(
    bound: Mapping[str, Bound],
    order: Sequence[str],
    edges: Sequence[BoundEdge],
    places: Mapping[str, tuple[str, str]],
    devices: Mapping[str, str],
    timing: Timing,
) -> dict[str, NodePlan]:
    depth, loops = depths(order, edges), on_loops(list(bound), edges, [name for name in order if bound[name].cls.paced])
    nodes: dict[str, NodePlan] = {}
    by_consumer: dict[str, list[BoundEdge]] = {}
    for edge in edges:
        by_consumer.setdefault(edge.consumer, []).append(edge)
    for name in order:
        node = bound[name]
        inputs = {edge.input_name: plan_input(edge, devices[name]) for edge in by_consumer.get(name, ())}
        nodes[name] = NodePlan(
            name=name,
            type=node.spec.type,
            target=node.target,
            params=node.params,
            process=places[name][0],
            lane=places[name][1],
            inputs=tuple(inputs[port] for port in node.inputs if port in inputs),
            outputs=tuple(node.outputs),
            optional_inputs=tuple(port for port in node.inputs if port not in inputs),
            device=devices[name],
            stateful=node.cls.is_stateful(),
            paced=node.cls.paced,
            ahead_units=node.cls.ahead_units,
            depth=depth[name],
            on_loop=name in loops,
            # A paced node fires at its due, not a cost before it; its budget counts in its lane's load.
            cost_ns=0 if node.cls.paced else node.cost_ns,
            due_ns=timing.due_ns[name],
            enforced=name in timing.enforced,
            ladder=node.spec.ladder,
            backlog=find_backlog([edge for edge in edges if edge.consumer == name], timing.enforced),
            stall_ns=round(node.spec.stall_s * NS),
            secrets=node.secrets,
        )
    return nodes


def _plan_streams(
    spec: GraphSpec,
    bound: Mapping[str, Bound],
    nodes: Mapping[str, NodePlan],
    edges: Sequence[BoundEdge],
    shapes: Shapes,
    problems: Problems,
    warnings: list[str],
) -> dict[str, StreamPlan]:
    readers = by_stream(edges)
    streams = {}
    for name in nodes:
        for port in bound[name].outputs:
            stream = plan_stream(
                bound[name],
                port,
                nodes,
                readers.get(f"{name}.{port}", []),
                shapes,
                spec.clock,
                _latency_ns(spec),
                spec,
                problems,
                warnings,
            )
            streams[stream.name] = stream
    return streams
