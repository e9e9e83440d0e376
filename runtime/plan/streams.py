"""Streams and placement: which process decides each stream's units, how long it waits, and how packets travel."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..errors import did_you_mean, listing
from ..ports import GUARDS, Guard, Output
from ..units import MS, NS, UnitClock
from .bind import Bound
from .devices import made_on, stays_on_device, wanted_on
from .marks import Problems
from .plan import Carrier, InputPlan, NodePlan, ProcessPlan, StreamPlan
from .shapes import Shapes
from .spec import MAIN, GraphSpec, ProcessSpec
from .timing import GIVE_UP_NS, TRANSFER_NS
from .wiring import BoundEdge


def place(spec: GraphSpec, problems: Problems) -> dict[str, tuple[str, str]]:
    """The (process, lane) of every node; nodes without either run in ``main``, ``loop``."""
    places = {}
    for node in spec.nodes.values():
        process = node.process or MAIN
        if process != MAIN and process not in spec.processes:
            known = {MAIN, *spec.processes}
            problems.add(
                node.at("process"),
                f"node '{node.name}': no process '{process}' (declared: {listing(known)}), "
                f"add it under processes{did_you_mean(process, known)}",
            )
        lanes = spec.processes.get(process, ProcessSpec(process)).lanes
        lane = node.lane or ("loop" if "loop" in lanes else lanes[0])
        if lane not in lanes:
            problems.add(
                node.at("lane"),
                f"node '{node.name}': no lane '{lane}' in process '{process}' (it has: {listing(lanes)}), "
                f"write processes: {{{process}: {{lanes: [{', '.join((*lanes, lane))}]}}}}{did_you_mean(lane, lanes)}",
            )
        places[node.name] = (process, lane)
    return places


def plan_processes(spec: GraphSpec, places: Mapping[str, tuple[str, str]]) -> dict[str, ProcessPlan]:
    """The processes that have nodes, in the order of the file, each with its share of the cores."""
    used = list(dict.fromkeys(process for process, _ in places.values()))
    declared = [name for name in spec.processes if name in used]
    share = max(1, len(os.sched_getaffinity(0)) // max(1, len(used)))
    result = {}
    for name in dict.fromkeys([*declared, *used]):
        given = spec.processes.get(name, ProcessSpec(name))
        threads = given.threads or (share if given.cpus is None else len(given.cpus))
        result[name] = ProcessPlan(
            name, given.lanes, threads, given.cpus, given.priority, given.on_crash, given.restarts,
            given.restart_window_s, given.restart_delay_s, given.standby,
        )  # fmt: skip
    return result


def check_cpus(spec: GraphSpec, problems: Problems) -> None:
    """Note processors that this program may not use: the kernel would refuse them when the clock runs already."""
    usable = sorted(os.sched_getaffinity(0))
    for process in spec.processes.values():
        if lacking := [cpu for cpu in process.cpus or () if cpu not in usable]:
            problems.add(
                process.mark,
                f"process '{process.name}': cpus: found {_listed(lacking)} (expected some of those that this machine "
                f"gives: {_listed(usable)}), name others, or none to run on any",
            )


def _listed(cpus: Sequence[int]) -> str:
    return ", ".join(map(str, cpus))


def shared_lanes(spec: GraphSpec, nodes: Mapping[str, NodePlan]) -> list[str]:
    """Sentences on paced nodes that something else may hold up in their lane. Sinks may not: what one takes in is there
    once the paced node is done, a unit before it fires again."""
    found = []
    for node in (n for n in nodes.values() if n.paced):
        beside = [n for n in nodes.values() if (n.process, n.lane) == (node.process, node.lane)]
        work = [f"{n.name} ({_cost(n)})" for n in beside if not (n.is_sink or n.paced)]
        if work:
            found.append(
                f"node '{node.name}': found {', '.join(work)} in its lane {node.process}/{node.lane} (expected a lane "
                f"of its own: what runs there when it is due makes it late), write {_own_lane(spec, nodes, node)}"
            )
    return found


def _cost(node: NodePlan) -> str:
    return f"{node.cost_ns / MS:g} ms" if node.cost_ns else "cost unknown"


def _own_lane(spec: GraphSpec, nodes: Mapping[str, NodePlan], node: NodePlan) -> str:
    """Advice on what to write so that a node has a lane of its own."""
    declared = spec.processes.get(node.process, ProcessSpec(node.process)).lanes
    taken = {n.lane for n in nodes.values() if n.process == node.process}
    free = next(lane for lane in ("play", node.name, f"{node.name}_out") if lane not in taken)
    if free in declared:
        return f"lane: {free}"
    return f"lane: {free} and processes: {{{node.process}: {{lanes: [{', '.join((*declared, free))}]}}}}"


def check_settling(edges: Sequence[BoundEdge], nodes: Mapping[str, NodePlan], problems: Problems) -> None:
    """Note streams that are both played and fed back, but would be decided in two places."""
    for name, readers in by_stream(edges).items():
        homes = list(dict.fromkeys(nodes[edge.consumer].process for edge in readers))
        fed_back = any(edge.delay for edge in readers)
        played = any(not edge.delay and nodes[edge.consumer].enforced for edge in readers)
        if not (fed_back and played) or len(homes) == 1:
            continue
        parts = ", ".join(f"'{e.consumer}' in {nodes[e.consumer].process}" for e in readers)
        late = next(edge for edge in readers if edge.delay)
        problems.add(
            late.mark,
            f"stream {name}: found readers in two processes: {parts} (expected one process, because what is played "
            f"and what is fed back must be the same), put {_names(readers)} into one process",
        )


def plan_stream(
    node: Bound,
    port: str,
    nodes: Mapping[str, NodePlan],
    edges: Sequence[BoundEdge],
    shapes: Shapes,
    clock: UnitClock,
    latency_ns: int,
    spec: GraphSpec,
    problems: Problems,
    warnings: list[str],
) -> StreamPlan:
    """One output port with everything that its readers, given as ``edges``, ask of it."""
    output, home = node.outputs[port], nodes[node.name].process
    homes = list(dict.fromkeys(nodes[edge.consumer].process for edge in edges))
    stream = StreamPlan(
        name=f"{node.name}.{port}",
        node=node.name,
        port=port,
        kind=output.kind,
        tensors=shapes.tensors(node.name, output),
        is_log=output.is_log,
        process=home,
        settler=homes[0] if len(homes) == 1 else home,
        settle_ns=None if output.is_log else _settle_ns(nodes, edges, clock, homes[0] if len(homes) == 1 else home),
        window=_window(edges, clock, latency_ns),
        readers=tuple(name for name in homes if name != home),
        guard=_guard(output, edges),
        device=made_on(output, nodes[node.name]),
    )
    _check_zeros(stream, edges, problems)
    carrier = _carrier(stream, edges, nodes, spec, problems, warnings)
    return replace(stream, carrier=carrier)


def _guard(output: Output, edges: Sequence[BoundEdge]) -> Guard:
    strictest: Guard = max((edge.guard for edge in edges), key=GUARDS.index, default="off")
    return "count" if output.is_log and strictest == "conceal" else strictest  # a log loses nothing


def plan_input(edge: BoundEdge, device: str) -> InputPlan:
    """One connected input port, of a node on a device."""
    return InputPlan(
        port=edge.input_name,
        stream=edge.stream,
        delay=edge.delay,
        init=edge.init,
        late=edge.late,
        look_ahead=edge.input.look_ahead,
        kind=edge.input.kind,
        is_log=edge.output.is_log,
        device=wanted_on(edge.input, device),
    )


def by_stream(edges: Sequence[BoundEdge]) -> dict[str, list[BoundEdge]]:
    """Edges by the stream they read."""
    result: dict[str, list[BoundEdge]] = {}
    for edge in edges:
        result.setdefault(edge.stream, []).append(edge)
    return result


def _settle_ns(nodes: Mapping[str, NodePlan], edges: Sequence[BoundEdge], clock: UnitClock, settler: str) -> int | None:
    """Instant at which the settler stops waiting: the earliest of the readers' latest starts; unit k serves a reader's
    unit ``k + delay``, and with look-ahead its unit ``k - look_ahead``. A reader that answers with a substitute has to
    be woken for it, and one in another process has to get a message."""
    times = []
    for edge in edges:
        reader = nodes[edge.consumer]
        if reader.latest_start_ns is not None:
            start = reader.latest_start_ns + clock.pts_ns(edge.delay) - clock.pts_ns(edge.input.look_ahead)
            start -= GIVE_UP_NS if edge.is_forgiving and not reader.paced else 0
            times.append(start - (TRANSFER_NS if reader.process != settler else 0))
    return min(times, default=None)


def _window(edges: Sequence[BoundEdge], clock: UnitClock, latency_ns: int) -> int:
    delay = max((edge.delay for edge in edges), default=0)
    ahead = max((edge.input.look_ahead for edge in edges), default=0)
    return math.ceil(latency_ns / (clock.period * NS)) + delay + ahead + 2


def _check_zeros(stream: StreamPlan, edges: Sequence[BoundEdge], problems: Problems) -> None:
    for edge in edges:
        if edge.init == "zeros" and (stream.max_bytes is None or stream.kind == "text"):
            problems.add(
                edge.mark,
                f"node '{edge.consumer}': input '{edge.input_name}': found init zeros for {stream.name}, whose shape "
                "is not known (expected empty or a file), write init: empty",
            )


def _carrier(
    stream: StreamPlan,
    edges: Sequence[BoundEdge],
    nodes: Mapping[str, NodePlan],
    spec: GraphSpec,
    problems: Problems,
    warnings: list[str],
) -> Carrier:
    crossing = [edge for edge in edges if nodes[edge.consumer].process != stream.process]
    wanted = {edge.spec.memory: edge for edge in crossing if edge.spec.memory != "auto"}
    if not crossing:
        return "reference"
    where = f"stream {stream.name}"
    if len(wanted) > 1:
        problems.add(
            crossing[0].mark, f"{where}: found memory {listing(wanted)} (expected the same for all readers), choose one"
        )
    if stays_on_device(stream, crossing, nodes, spec, problems):
        return "device"
    if "inline" in wanted:
        return "inline"
    if stream.max_bytes is not None:
        return "shared"
    if "shared" in wanted:
        problems.add(
            wanted["shared"].mark,
            f"{where}: found memory: shared for a stream whose size is not known (expected auto or inline), "
            f"or declare the shape of {stream.name}",
        )
    warnings.append(
        f"{where}: its size is not known, so it is copied over a socket to {', '.join(stream.readers)}; "
        "declare shape and dtype of the port to share memory"
    )
    return "inline"


def _names(edges: Sequence[BoundEdge]) -> str:
    names = list(dict.fromkeys(edge.consumer for edge in edges))
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]
