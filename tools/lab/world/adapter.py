"""A graph adapted to the world: a user of the world in the place of its own source, and nothing that writes files.

What is kept of a graph is what its answer comes from: the nodes upstream of the agent's voice, picture and words, and
the playout that times them. Sinks, and what leads to them only, are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from ....runtime.errors import GraphError, did_you_mean, listing
from ....runtime.observe.outcome import presenting
from ....runtime.packet import WHOLE
from ....runtime.plan.bind import Bound, bind
from ....runtime.plan.catalogue import target_of
from ....runtime.plan.check import make_plan, output_shapes
from ....runtime.plan.marks import Problems
from ....runtime.plan.plan import Plan
from ....runtime.plan.spec import Edge, ExportsSpec, GraphSpec, NodeSpec, ParamSpec
from .node import WorldUser, check_clock
from .signal import FRAMES, RATE, UNIT

GIVEN = {"video": "video", "audio": "audio", "text": "text"}
"""What a user gives: kind of stream -> port of `WorldUser`."""
DEFAULT_SIZE = 64
"""Side of the pictures where a graph takes any."""


@dataclass(frozen=True)
class WorldAdapter:
    """Connection of a graph to a user of the world; what is None is found out, see `adapt`.

    Attributes:
        user: the node that is replaced.
        audio, video, text: the streams ``node.port`` that are the agent's answer.
        delay: units after which the user hears the agent: 1 from a decoder, more from the playout.
    """

    user: str | None = None
    audio: str | None = None
    video: str | None = None
    text: str | None = None
    delay: int = 1


AUTOMATIC = WorldAdapter()
"""Everything is found out."""


@dataclass(frozen=True)
class AdaptedGraph:
    """A graph with a user of the world in it.

    Attributes:
        spec: the graph.
        user: the user's node.
        audio, video, text: streams of the answer; None: the graph gives none.
        size: side of the user's pictures in pixels; 0: nothing in the graph looks at them.
    """

    spec: GraphSpec
    user: str
    audio: str
    video: str | None
    text: str | None
    size: int

    @property
    def answers(self) -> tuple[str, ...]:
        """The streams of the answer that there are."""
        return tuple(stream for stream in (self.audio, self.video, self.text) if stream is not None)


def adapt(spec: GraphSpec, adapter: WorldAdapter, kind: type[WorldUser]) -> AdaptedGraph:
    """Put a user of class ``kind`` into a graph.

    The user is the graph's only source of pictures or sound (of several, the one called ``user``); the answer is what
    enters the playout, or the sinks of a graph without one. What the user types goes to every text input upstream of
    the answer that may stay unconnected and is.

    Raises:
        GraphError: the graph has no such nodes or streams, or others than the world can talk with.
    """
    where, problems = f"graph '{spec.name}'", Problems()
    spec = replace(spec, exports=ExportsSpec())  # they name nodes that are left out here
    bound = bind(spec, problems)
    problems.raise_any()
    spec = replace(spec, exports=ExportsSpec())  # they may name nodes that are left out
    check_clock(where, spec.clock.unit_frames, spec.clock.samples(RATE))
    user = _user(where, spec, bound, adapter)
    given = {"audio": adapter.audio, "video": adapter.video, "text": adapter.text}
    streams = {what: _answer(where, spec, bound, what, stream) for what, stream in given.items()}
    audio, video, text = (streams[what] for what in ("audio", "video", "text"))
    if audio is None:
        raise GraphError(
            f"{where}: found no voice of the agent (expected audio that enters the playout or a sink), "
            "name its stream: audio=NODE.PORT"
        )
    bodies = {name: node for name, node in spec.nodes.items() if bound[name].outputs}
    plan = make_plan(replace(spec, nodes=bodies))
    _check_audio(where, plan, audio)
    size = _size(where, plan, user)
    kept = _kept(spec, bound, user, [stream for stream in (audio, video, text) if stream is not None])
    rewired = {name: _rewired(where, spec.nodes[name], plan, user) for name in kept}
    for name, node in rewired.items():
        rewired[name] = _typed(node, bound[name], user)
    user_nodes = _user_nodes(spec.nodes[user], user, audio, adapter.delay, kind, size)
    is_seen = any(inlet.source == f"{user}.video" for node in rewired.values() for inlet in node.inputs.values())
    return AdaptedGraph(
        replace(spec, nodes={**user_nodes, **rewired}), user, audio, video, text, size if is_seen else 0
    )


def _user(where: str, spec: GraphSpec, bound: Mapping[str, Bound], adapter: WorldAdapter) -> str:
    if adapter.user is not None:
        if adapter.user not in spec.nodes:
            hint = did_you_mean(adapter.user, spec.nodes)
            raise GraphError(f"{where}: no node '{adapter.user}' (available: {listing(spec.nodes)}){hint}")
        return adapter.user
    sources = [
        name
        for name, node in bound.items()
        if (not node.spec.inputs or issubclass(node.cls, WorldUser))
        and any(port.kind in ("audio", "video") for port in node.outputs.values())
    ]
    if len(sources) == 1:
        return sources[0]
    if "user" in sources:
        return "user"
    raise GraphError(
        f"{where}: found {len(sources)} sources of pictures or sound ({listing(sources)}; expected one, or one called "
        "user), name the user's node: user=NODE"
    )


def _answer(where: str, spec: GraphSpec, bound: Mapping[str, Bound], what: str, given: str | None) -> str | None:
    """The stream of one kind of answer; None where there is none."""
    if given is not None:
        node, _, port = given.rpartition(".")
        outputs = bound[node].outputs if node in bound else {}
        if port not in outputs:
            known = [f"{name}.{out}" for name, b in bound.items() for out, p in b.outputs.items() if p.kind == what]
            hint = did_you_mean(given, known)
            raise GraphError(f"{where}: no stream '{given}' ({what}: {listing(known)}){hint}")
        return given
    ends = presenting({name: (node.cls.paced, not node.outputs) for name, node in bound.items()})
    found = {
        node.spec.inputs[port].source
        for node in (bound[name] for name in ends)
        for port, inlet in node.inputs.items()
        if inlet.kind == what and port in node.spec.inputs
    }
    if len(found) > 1:
        raise GraphError(
            f"{where}: found {len(found)} streams that may be the agent's {what} ({listing(found)}; expected one), "
            f"name it: {what}=NODE.PORT"
        )
    return next(iter(found), None)


def _check_audio(where: str, plan: Plan, stream: str) -> None:
    (node, _, port), found = stream.rpartition("."), plan.streams[stream]
    samples = output_shapes(plan, node)[port].get(WHOLE)
    if found.kind != "audio" or samples not in (None, (UNIT,)):
        carries = found.kind if found.kind != "audio" else f"{samples} samples a unit"
        raise GraphError(
            f"{where}: the agent's voice, stream '{stream}': found {carries} (expected audio of ({UNIT},) samples a "
            f"unit: {RATE} Hz), name another stream or decode at that rate"
        )


def _size(where: str, plan: Plan, user: str) -> int:
    """Side of the pictures that the graph takes of its user."""
    for port, shapes in output_shapes(plan, user).items():
        stream = plan.streams[f"{user}.{port}"]
        shape = shapes.get(WHOLE)
        if stream.kind != "video" or shape is None:
            continue
        if shape[0] != FRAMES or shape[1] != shape[2]:
            raise GraphError(
                f"{where}: stream '{user}.{port}': found pictures of {shape[2]}x{shape[1]} (expected square ones: the "
                f"world draws no others), set {user}.width and {user}.height to the same"
            )
        return shape[1]
    return DEFAULT_SIZE


def _kept(spec: GraphSpec, bound: Mapping[str, Bound], user: str, answers: Iterable[str]) -> list[str]:
    """Nodes upstream of the answers and of the playout that takes them, without the user; as in the file."""
    streams = set(answers)
    waiting = {stream.rpartition(".")[0] for stream in streams}
    waiting |= {
        name
        for name, node in bound.items()
        if node.cls.paced and streams & {inlet.source for inlet in node.spec.inputs.values()}
    }
    found: set[str] = {user}
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting |= {inlet.source.rpartition(".")[0] for inlet in spec.nodes[name].inputs.values()}
    return [name for name in spec.nodes if name in found - {user}]


def _rewired(where: str, node: NodeSpec, plan: Plan, user: str) -> NodeSpec:
    """The node, with what it took of the old user coming from the new one."""
    inputs = {}
    for port, inlet in node.inputs.items():
        producer, _, outlet = inlet.source.rpartition(".")
        if producer == user:
            kind = plan.streams[inlet.source].kind
            if kind not in GIVEN:
                raise GraphError(
                    f"{where}: node '{node.name}': input '{port}' takes '{inlet.source}' of kind {kind} (a user of the "
                    f"world gives: {listing(GIVEN)}), connect it to something else"
                )
            outlet = GIVEN[kind]
        inputs[port] = replace(inlet, source=f"{producer}.{outlet}")
    return replace(node, inputs=inputs)


def _typed(node: NodeSpec, bound: Bound, user: str) -> NodeSpec:
    """The node, with what the user types on its idle text inputs."""
    if bound.cls.paced:
        return node
    idle = [port for port, inlet in bound.inputs.items() if inlet.kind == "text" and inlet.optional]
    added = {port: Edge(f"{user}.text") for port in idle if port not in node.inputs}
    return replace(node, inputs={**node.inputs, **added})


def _user_nodes(
    old: NodeSpec, name: str, audio: str, delay: int, kind: type[WorldUser], size: int
) -> dict[str, NodeSpec]:
    """The user, and the clock that paces it, where the old user was."""
    clock = replace(
        old, name=f"{name}/clock", type="capture.clock", params={}, inputs={}, device="cpu", budget_ms=None, ladder=()
    )
    user_node = replace(
        clock,
        name=name,
        type=target_of(kind),
        params={"size": ParamSpec(size)},
        inputs={"tick": Edge(f"{name}/clock.tick"), "agent": Edge(audio, delay, "empty")},
        budget_ms=old.budget_ms,
    )
    return {clock.name: clock, name: user_node}
