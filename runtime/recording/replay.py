"""Feeds a recording into a graph: what is played back, which recorded decisions are followed, what has changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import UserError, did_you_mean, listing
from ..packet import Validity
from ..plan.plan import NodePlan, Plan, StreamPlan
from ..schedule.events import Event, Firing, Settlement
from .reader import Recording, check_streams

PLAYBACK = f"{__package__}.playback:Playback"


@dataclass(frozen=True)
class Replay:
    """A graph fed by a recording.

    Attributes:
        plan: the graph, recorded nodes played back and what only they needed left out.
        played: nodes played back.
        log: the decisions to follow; None when the graph is another one than was recorded, see `why`.
        why: in words, why the recorded decisions do not fit; empty when they do.
    """

    plan: Plan
    played: tuple[str, ...]
    log: tuple[Event, ...] | None
    why: str


def make_replay(recording: Recording, plan: Plan, start: str | None = None) -> Replay:
    """Feed ``recording`` into ``plan``.

    Args:
        start: replace this node, and what is above it, by the recording; recorded sources always are.

    Raises:
        UserError: no such node, a stream that is needed was not recorded, or has another shape.
    """
    if start is not None and start not in plan.nodes:
        raise UserError(f"--from: no node '{start}' (it has: {listing(plan.nodes)}){did_you_mean(start, plan.nodes)}")
    above = _above(plan, start) if start is not None else set()
    recorded_sources = {
        n.name
        for n in plan.nodes.values()
        if n.is_source and any(f"{n.name}.{p}" in recording.units for p in n.outputs)
    }
    if start is None and not recorded_sources:
        sources = [n.name for n in plan.nodes.values() if n.is_source]
        raise UserError(
            f"{recording.path}: none of the sources {listing(sources)} was recorded "
            f"(recorded: {listing(recording.units)}), name the recorded node with --from"
        )
    replaced = above | recorded_sources
    needed = _needed(plan, replaced)
    why = f"the graph takes it from '{start}'" if start else "the graph takes it in"
    check_streams(recording, needed, why)
    _check_shapes(recording, plan, needed)
    fed = _with_playback(recording, plan, replaced, needed)
    different = difference(recording.plan, fed, replaced)
    different = different or _lost_decisions(recording)
    log = None if different else _followed(recording, fed)
    played = tuple(name for name in fed.nodes if name in replaced)
    return Replay(fed, played, log, different)


def difference(recorded: Plan, plan: Plan, replaced: Iterable[str]) -> str:
    """In words, what makes the decisions of one graph unfit for another; empty when nothing does.

    Placement, paths and parameters may differ: decisions say who fired when, not what came of it.
    """
    played = set(replaced)
    if (recorded.clock.fps, recorded.clock.unit_frames) != (plan.clock.fps, plan.clock.unit_frames):
        return f"clock: {plan.clock.fps} fps, units of {plan.clock.unit_frames} frames"
    for node in plan.nodes.values():
        if node.name in played:
            continue
        before = recorded.nodes.get(node.name)
        if before is None:
            return f"node '{node.name}' was not recorded"
        if before.type != node.type:
            return f"node '{node.name}' is {node.type}, was {before.type}"
        if _wiring(before) != _wiring(node):
            return f"node '{node.name}' has other inputs"
        if len(before.ladder) != len(node.ladder):
            return f"node '{node.name}' has {len(node.ladder)} levels, had {len(before.ladder)}"
    return ""


def _wiring(node: NodePlan) -> object:
    return [(i.port, i.stream, i.delay, i.init, i.late, i.look_ahead) for i in node.inputs], node.outputs


def _above(plan: Plan, start: str) -> set[str]:
    """A node and all it depends on within a unit: feedback does not count."""
    found, waiting = {start}, [start]
    while waiting:
        for inlet in plan.nodes[waiting.pop()].inputs:
            producer = plan.streams[inlet.stream].node
            if not inlet.delay and producer not in found:
                found.add(producer)
                waiting.append(producer)
    return found


def _needed(plan: Plan, replaced: set[str]) -> list[str]:
    """Streams of replaced nodes that others read."""
    read = {i.stream for n in plan.nodes.values() if n.name not in replaced for i in n.inputs}
    return [s.name for s in plan.streams.values() if s.node in replaced and s.name in read]


def _check_shapes(recording: Recording, plan: Plan, needed: Iterable[str]) -> None:
    for name in needed:
        now, then = plan.streams[name], recording.plan.streams[name]
        if now.kind != then.kind or _contract(now) != _contract(then):
            raise UserError(
                f"{recording.path}: stream '{name}': found {_in_words(then)} "
                f"(expected {_in_words(now)} by '{plan.name}'), replay it into the graph that was recorded"
            )


def _contract(stream: StreamPlan) -> object:
    return [(t.name, t.dtype, t.shape) for t in stream.tensors]


def _in_words(stream: StreamPlan) -> str:
    tensors = ", ".join(
        (f"{t.name} " if t.name else "")
        + ("[...]" if t.shape is None else f"[{' '.join('?' if d is None else str(d) for d in t.shape)}]")
        + f" {t.dtype or 'any dtype'}"
        for t in stream.tensors
    )
    return f"{stream.kind} {tensors}"


def _with_playback(recording: Recording, plan: Plan, replaced: set[str], needed: list[str]) -> Plan:
    played = {plan.streams[name].node for name in needed}
    nodes: dict[str, NodePlan] = {}
    for node in plan.nodes.values():
        if node.name in played:
            nodes[node.name] = _playback(recording.path, plan, node, needed)
        elif node.name not in replaced:
            nodes[node.name] = node
    streams = {
        stream.name: _with_readers(stream, nodes)
        for stream in plan.streams.values()
        if stream.name in needed or stream.node in nodes.keys() - played
    }
    places = {node.process for node in nodes.values()}
    processes = {name: process for name, process in plan.processes.items() if name in places}
    return replace(plan, nodes=nodes, streams=streams, processes=processes)


def _playback(path: Path, plan: Plan, node: NodePlan, needed: list[str]) -> NodePlan:
    streams = [s for s in plan.streams.values() if s.node == node.name and s.name in needed]
    contract = {s.port: {"kind": s.kind, "tensors": [t.name for t in s.tensors]} for s in streams}
    return replace(
        node,
        type="playback",
        target=PLAYBACK,
        params={"recording": str(path.resolve()), "node": node.name, "ports_played": contract},
        inputs=(),
        outputs=tuple(s.port for s in streams),
        optional_inputs=(),
        stateful=False,
        paced=False,
        ahead_units=1,
        depth=0,
        on_loop=False,
        cost_ns=0,
        due_ns=None,
        enforced=False,
        ladder=(),
    )


def _with_readers(stream: StreamPlan, nodes: Mapping[str, NodePlan]) -> StreamPlan:
    """The stream without readers that are gone, decided where it still is read."""
    homes = {n.process for n in nodes.values() if any(i.stream == stream.name for i in n.inputs)}
    readers = tuple(name for name in stream.readers if name in homes)
    settler = stream.settler if stream.settler in homes else stream.process
    return replace(stream, readers=readers, settler=settler, carrier=stream.carrier if readers else "reference")


# The decision log


def _lost_decisions(recording: Recording) -> str:
    """Reason why a log is not whole; empty where it is."""
    later = next((event for event in recording.log if event.incarnation), None)
    return "" if later is None else "a process died in the recorded run, and what it decided last is lost"


def _followed(recording: Recording, plan: Plan) -> tuple[Event, ...]:
    """The recorded decisions of this graph's nodes, those that were cut off in the middle left out."""
    played = {name for name, node in plan.nodes.items() if node.target == PLAYBACK}
    log = [e for e in recording.log if not isinstance(e, Firing) or (e.node in plan.nodes and e.node not in played)]
    log = [e for e in log if not isinstance(e, Settlement) or e.stream in plan.streams]
    starts: list[Event] = []
    for name in played:
        n_units = max(recording.units[f"{name}.{port}"] for port in plan.nodes[name].outputs)
        starts += [Firing(name, k, k, "step", 0, 0, 0, 0, None, "real") for k in range(n_units)]
    return tuple(consistent(plan, [*starts, *log]))


def consistent(plan: Plan, log: Iterable[Event]) -> list[Event]:
    """A log that was cut, without calls whose inputs were cut off: processes tell what they did at different times."""
    events = list(log)
    calls: dict[str, list[int]] = {name: [] for name in plan.nodes}
    settled: dict[str, float] = dict.fromkeys(plan.streams, -1)
    ends: dict[str, int] = {}
    for event in events:
        if isinstance(event, Firing):
            calls[event.node].append(event.last)
        elif isinstance(event, Settlement) and event.validity == Validity.END:
            ends[event.stream] = event.unit
        elif isinstance(event, Settlement):
            settled[event.stream] = max(settled[event.stream], event.unit)
    reach: dict[str, float] = {name: max(made, default=-1) for name, made in calls.items()}
    changed = True
    while changed:
        changed = False
        for node in plan.nodes.values():
            for inlet in node.inputs:
                producer = reach[plan.streams[inlet.stream].node]
                is_over = inlet.stream in ends and producer >= ends[inlet.stream] - 1
                there = float("inf") if is_over else min(producer, settled[inlet.stream])
                limit = there + inlet.delay - inlet.look_ahead
                if limit < reach[node.name]:
                    reach[node.name] = max((end for end in calls[node.name] if end <= limit), default=-1)
                    changed = True
    return [e for e in events if not isinstance(e, Firing) or e.last <= reach[e.node]]
