"""The graph as written: `GraphSpec`. The keys of the graph file are declared here, each once; see `keys`.

Nothing is compared with node classes here; `check` does that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, get_args

from ..ports import GUARDS, LATES, Guard, Late
from ..units import UnitClock
from .keys import Key, Section, key, many, one
from .kinds import (
    At,
    ValueKind,
    amount,
    choice,
    flag,
    levels,
    named,
    names,
    number,
    port,
    processors,
    rate,
    text,
    whole,
)
from .marks import Item, Mark, Problems
from .plan import OnCrash

Memory = Literal["auto", "shared", "inline", "device"]

INITS = ("empty", "zeros")
"""What may come before unit 0 of a delayed edge, besides a file."""

BACKLOG = 1000
"""Units that wait for a slow reader when it does not say how many: some minutes."""

MAIN = "main"
"""The process that is there without being declared."""

NOWHERE = Mark("graph")


@dataclass(frozen=True)
class ParamSpec:
    """A parameter's value as written; ``folder`` is where its file lies, None when it was given from outside;
    ``is_secret``: something in it comes from the environment."""

    value: Any
    mark: Mark = NOWHERE
    folder: Path | None = None
    is_secret: bool = False


@dataclass(frozen=True)
class End:
    """A port that a graph exports."""

    node: str
    port: str
    mark: Mark = NOWHERE

    @classmethod
    def of(cls, name: str, mark: Mark) -> Self:
        """The end that is called ``node.port``."""
        node, _, port = name.rpartition(".")
        return cls(node, port, mark)

    def __str__(self) -> str:
        return f"{self.node}.{self.port}"


@dataclass(frozen=True)
class Entrance:
    """An input of a sub-graph that nothing was given to."""

    node: str
    port: str
    mark: Mark


def values() -> ValueKind:
    """Values of any kind by name."""

    def parse(item: Item, at: At) -> dict[str, ParamSpec]:
        found = named(item, at, None)
        return {
            name: ParamSpec(value.plain(), value.mark, value.folder, value.has_secrets) for name, value in found.items()
        }

    def write(params: Mapping[str, ParamSpec]) -> dict[str, Any]:
        return {name: param.value for name, param in params.items()}

    return ValueKind("values by name", parse, {"type": "object"}, write)


def ends(*, several: bool) -> ValueKind:
    """Ports of the graph's nodes by the names that they are exported under."""
    kind = port()

    def parse(item: Item, at: At) -> dict[str, tuple[End, ...]]:
        return {name: tuple(parse_entry(name, child, at)) for name, child in named(item, at).items()}

    def parse_entry(name: str, item: Item, at: At) -> Iterator[End]:
        for single in item.value if several and item.is_list else [item]:
            value = kind.parse(single, replace(at, owner=at.where, key=name))
            if isinstance(value, str):
                yield End.of(value, single.mark)

    def write(values: Mapping[str, tuple[End, ...]]) -> dict[str, Any]:
        return {name: str(ends[0]) if len(ends) == 1 else [*map(str, ends)] for name, ends in values.items()}

    entry = {"type": ["string", "array"]} if several else kind.schema
    expected = "by name, NODE.PORT" + (" or a list of them" if several else "")
    return ValueKind(expected, parse, {"type": "object", "additionalProperties": entry}, write)


@dataclass(frozen=True)
class Edge(Section):
    """An edge as written at the input port that it leads to.

    A feedback edge, or one that travels in a given way, has more to say than the port that it comes from.
    """

    noun: ClassVar[str] = "input"
    short: ClassVar[str] = "from"

    source: str = key(port(), required=True, name="from", help="the output port that it comes from")
    delay: int = key(whole(0, 10_000), 0, help="units that it is late on purpose: unit k takes unit k - delay")
    init: str | None = key(
        text(sample="empty"), None, help="what comes before unit 0 of a delayed edge: empty, zeros or a file"
    )
    memory: Memory = key(
        choice(*get_args(Memory)),
        "auto",
        help="how its packets travel between processes: in shared memory, in memory of their device, or inline, copied "
        "through a local socket",
    )
    late: Late | None = key(
        choice(*LATES),
        None,
        unset="as the port says; a delayed edge has no gaps: empty after init: empty, else hold",
        help="what stands in for a unit that is not there in time",
    )
    guard: Guard | None = key(
        choice(*GUARDS),
        None,
        unset="as the port says: count, but conceal into a playout, a file or a loudspeaker",
        help="what is done about NaN and infinite numbers: nothing, they are told, the unit is lost, or the run ends",
    )
    backlog: int | None = key(
        amount({"all": None, "newest": 1}, 1_000_000),
        BACKLOG,
        unset=f"{BACKLOG}; of a log all",
        help="off the paced path, how many units may wait for a slow reader; of more the oldest are lost to it",
    )
    mark: Mark = field(default=NOWHERE, repr=False)
    folder: Path | None = field(default=None, repr=False)

    @classmethod
    def entry(cls, name: str, item: Item, where: str, problems: Problems) -> Self:
        """Read one input's edge: a delay and what comes before it belong together."""
        start, before = item.get("init"), len(problems.lines)
        edge = cls.parse(item, where, problems, mark=item.mark, folder=(start or item).folder)
        if len(problems.lines) > before:
            return edge
        if edge.delay and edge.init is None:
            problems.add(
                item.mark,
                f"{where}: found delay {edge.delay} without init (expected empty, zeros or a file), add init: empty",
            )
        if edge.init is not None and not edge.delay:
            problems.add(
                item.mark, f"{where}: found init '{edge.init}' without delay (expected delay: 1 or more), remove it"
            )
        return edge


@dataclass(frozen=True)
class NodeSpec(Section):
    """A node as written. ``marks`` holds the places of its keys, ``folder`` where a ``.py`` type is sought."""

    noun: ClassVar[str] = "node"

    name: str
    type: str = key(
        text(sample="NAME"),
        required=True,
        remedy="list them with: wangraph nodes",
        on_subgraph="own",
        help="its class: a name in the catalogue, file.py:Class beside the graph, or package.module:Class",
    )
    graph: ClassVar[Key] = Key(
        text(sample="FILE"), on_subgraph="own", help="a graph file, instead of a type: its nodes take the node's place"
    )
    params: Mapping[str, ParamSpec] = key(values(), {}, on_subgraph="own", help="values of its parameters")
    inputs: Mapping[str, Edge] = key(many(Edge), {}, on_subgraph="own", help="by input port, the edge that leads to it")
    process: str | None = key(text(), None, unset=MAIN, on_subgraph="all", help="the process that it runs in")
    lane: str | None = key(
        text(), None, unset="loop, or the first", on_subgraph="all", help="the lane of its process that it runs in"
    )
    device: str = key(
        text("cpu, cuda, cuda:0 or fake", r"cpu|(cuda|fake)(:\d+)?"), "cpu", on_subgraph="all", help="where it computes"
    )
    budget_ms: float | None = key(
        number(600_000, is_zero_allowed=True), None, unset="not known", help="how long it may take for one unit"
    )
    ladder: tuple[dict[str, Any], ...] = key(
        levels(), (), help="levels of effort from the best to the cheapest; one is chosen for each unit"
    )
    stall_s: float = key(
        number(86_400, is_zero_allowed=False),
        30.0,
        remedy="for example 30",
        help="a call that takes so many seconds is stuck: it ends the run, which names node and unit",
    )
    mark: Mark = NOWHERE
    marks: Mapping[str, Mark] = field(default_factory=dict)
    folder: Path | None = None

    @classmethod
    def entry(cls, name: str, item: Item, where: str, problems: Problems) -> Self:
        """Read one node, with the places of its keys."""
        kind = item.get("type")
        return cls.parse(
            item,
            where,
            problems,
            name=name,
            mark=item.key_mark or item.mark,
            marks={key: child.mark for key, child in item.children().items()},
            folder=kind.folder if kind is not None else None,
        )

    def at(self, key: str) -> Mark:
        """Mark of ``key`` of this node, or of the node itself."""
        return self.marks.get(key, self.mark)


@dataclass(frozen=True)
class ProcessSpec(Section):
    """An operating-system process as written."""

    noun: ClassVar[str] = "process"

    name: str
    lanes: tuple[str, ...] = key(names(), ("loop",), unset="[loop]", help="its threads: each runs one node at a time")
    threads: int | None = key(
        whole(1, 1024),
        None,
        unset="as many as cpus, or cores / processes",
        help="threads that numeric libraries may use in it",
    )
    cpus: tuple[int, ...] | None = key(
        processors(), None, unset="all that the machine gives", help="the only processors that its threads run on"
    )
    priority: int | None = key(
        whole(1, 99), None, unset="the ordinary one", help="real-time priority of its threads while the clock runs"
    )
    on_crash: OnCrash = key(
        choice("end", "restart", "bypass"),
        "end",
        help="what its death does: it ends the run, the process is started again, or the run goes on without it",
    )
    restarts: int = key(
        whole(1, 10_000), 5, help="so often at most within restart_window_s; one death more ends the run"
    )
    restart_window_s: float = key(number(86_400, is_zero_allowed=False), 60.0, help="see restarts")
    restart_delay_s: float = key(
        number(3600, is_zero_allowed=True),
        0.5,
        help="before it is started for the second time within restart_window_s; each time twice as long, 30 s at most",
    )
    standby: bool = key(
        flag(),
        False,
        unset="false",
        help="keep the next life of the process open and warm beside it, so that a restart is quick",
    )
    mark: Mark = NOWHERE

    @classmethod
    def entry(cls, name: str, item: Item, where: str, problems: Problems) -> Self:
        """Read one process."""
        return cls.parse(item, where, problems, name=name, mark=item.mark)


@dataclass(frozen=True)
class ClockSpec(Section):
    """The unit clock as written."""

    noun: ClassVar[str] = "clock"

    fps: Fraction = key(rate(100_000), Fraction(25), unset="25", is_always_written=True, help="pictures per second")
    unit_frames: int = key(whole(1, 1_000_000), 4, is_always_written=True, help="pictures in one unit")

    def unit_clock(self) -> UnitClock:
        """The clock itself."""
        return UnitClock(self.fps, self.unit_frames)


@dataclass(frozen=True)
class ExportsSpec(Section):
    """The ports of a graph that a graph around it connects, or a server its user."""

    noun: ClassVar[str] = "exports"

    inputs: Mapping[str, tuple[End, ...]] = key(
        ends(several=True), {}, help="what is given to it: input ports of its nodes, or outputs of standalone ones"
    )
    outputs: Mapping[str, tuple[End, ...]] = key(
        ends(several=False), {}, help="what it gives: output ports of its nodes"
    )
    standalone: tuple[str, ...] = key(
        names(least=0), (), help="nodes that are there only when it runs on its own, such as its source and its sink"
    )


@dataclass(frozen=True)
class GraphSpec(Section):
    """A graph as written, extended and filled in.

    Attributes:
        folder: where relative files are sought first.
        exits: outputs of sub-graphs by ``node.output``: the port inside.
        entrances: by ``node.port`` of ports inside sub-graphs: the sub-graph's input that was left open.
    """

    noun: ClassVar[str] = "graph"

    name: str = key(text(), "", unset="the file's name", is_always_written=True, help="how views and messages call it")
    version: int = key(
        choice(1), 1, remedy="this wangraph reads version 1", is_always_written=True, help="of the graph file's format"
    )
    extends: ClassVar[Key] = Key(text(sample="FILE"), takes_param=False, help="a graph file that this one is laid over")
    clock: UnitClock = key(
        one(ClockSpec, ClockSpec.unit_clock),
        UnitClock(),
        unset="4 frames at 25 fps",
        is_always_written=True,
        help="how time is cut into units: unit_frames pictures at fps",
    )
    latency_ms: float = key(
        number(600_000, is_zero_allowed=False),
        0.0,
        unset="one unit",
        remedy="for example 240",
        help="from the end of a unit to the moment when its answer begins to play",
    )
    params: ClassVar[Key] = Key(
        values(), takes_param=False, help="its parameters and their defaults; --set and graphs around it give others"
    )
    processes: Mapping[str, ProcessSpec] = key(many(ProcessSpec), {}, unset=MAIN, help="the processes that it runs in")
    nodes: Mapping[str, NodeSpec] = key(
        many(NodeSpec), {}, required=True, remedy="start with: wangraph new graph NAME", help="its nodes"
    )
    exports: ExportsSpec = key(
        one(ExportsSpec),
        ExportsSpec(),
        unset="none",
        help="its ports to the outside, for graphs around it and for servers",
    )
    path: str | None = None
    folder: Path = field(default_factory=Path.cwd)
    mark: Mark = NOWHERE
    exits: Mapping[str, str] = field(default_factory=dict)
    entrances: Mapping[str, Entrance] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.latency_ms:  # not given: it follows from the clock
            object.__setattr__(self, "latency_ms", float(self.clock.period * 1000))
