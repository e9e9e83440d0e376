"""The graph as written: `GraphSpec`, and how an `Item` tree becomes one.

Nothing is compared with node classes here; `check` does that.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, get_args

from ..errors import GraphError
from ..ports import LATES, Late
from ..units import UnitClock
from .document import kind_name
from .marks import Item, Mark, Problems
from .reader import Reader

Memory = Literal["auto", "shared", "inline"]
MEMORIES: tuple[Memory, ...] = get_args(Memory)
OnCrash = Literal["stop"]

NOWHERE = Mark("graph")
NAME = re.compile(r"[A-Za-z_][\w-]*(/[A-Za-z_][\w-]*)*\Z")
"""Names of nodes, processes and lanes; ``outer/inner`` after sub-graphs are spliced in."""

MAX_FPS = 100_000
MAX_LATENCY_MS = 600_000
MAX_DELAY = 10_000
MAX_THREADS = 1024

TOP_KEYS = ("version", "name", "clock", "latency_ms", "processes", "nodes", "exports")
NODE_KEYS = ("type", "params", "inputs", "process", "lane", "device", "budget_ms", "ladder")
INPUT_KEYS = ("from", "delay", "init", "memory", "late")
PROCESS_KEYS = ("lanes", "threads", "on_crash")


@dataclass(frozen=True)
class ParamSpec:
    """A parameter's value as written; ``folder`` is where its file lies, None when it was given from outside."""

    value: Any
    mark: Mark = NOWHERE
    folder: Path | None = None


@dataclass(frozen=True)
class InputSpec:
    """An edge as written at its reading end; ``source`` is ``node.port``."""

    source: str
    delay: int = 0
    init: str | None = None
    memory: Memory = "auto"
    late: Late | None = None
    mark: Mark = NOWHERE
    folder: Path | None = None


@dataclass(frozen=True)
class NodeSpec:
    """A node as written. ``marks`` holds the places of its keys, ``folder`` where a ``.py`` type is sought."""

    name: str
    type: str
    params: Mapping[str, ParamSpec] = field(default_factory=dict)
    inputs: Mapping[str, InputSpec] = field(default_factory=dict)
    process: str | None = None
    lane: str | None = None
    device: str = "cpu"
    budget_ms: float | None = None
    ladder: tuple[dict[str, Any], ...] = ()
    mark: Mark = NOWHERE
    marks: Mapping[str, Mark] = field(default_factory=dict)
    folder: Path | None = None

    def at(self, key: str) -> Mark:
        """Where ``key`` of this node was written, or the node itself."""
        return self.marks.get(key, self.mark)


@dataclass(frozen=True)
class ProcessSpec:
    """A process as written; ``threads`` None: cores / processes, at least 1."""

    name: str
    lanes: tuple[str, ...] = ("loop",)
    threads: int | None = None
    on_crash: OnCrash = "stop"
    mark: Mark = NOWHERE


@dataclass(frozen=True)
class GraphSpec:
    """A graph as written, extended and filled in. ``folder`` is where relative files are sought first."""

    name: str
    clock: UnitClock = field(default_factory=UnitClock)
    latency_ms: float = 160.0
    processes: Mapping[str, ProcessSpec] = field(default_factory=dict)
    nodes: Mapping[str, NodeSpec] = field(default_factory=dict)
    path: str | None = None
    folder: Path = field(default_factory=Path.cwd)
    mark: Mark = NOWHERE


def parse_spec(tree: Item, path: Path, problems: Problems) -> GraphSpec:
    """An expanded tree -> the graph; mistakes go to ``problems``."""
    read = check_keys(tree, problems)
    version = read.integer("version", 1)
    if version != 1:
        problems.add(read.mark("version"), f"version: found {version} (expected 1), this wangraph reads version 1")
    clock = parse_clock(tree.get("clock"), problems)
    latency = read.number("latency_ms", float(clock.period * 1000))
    check_latency(latency, read.mark("latency_ms"), problems)
    nodes = tree.get("nodes")
    if nodes is None or not nodes.children():
        found = "nothing" if nodes is None else kind_name(nodes.value)
        problems.add(nodes.mark if nodes else tree.mark, f"nodes: found {found} (expected nodes), add one")
    return GraphSpec(
        name=read.text("name", path.stem),
        clock=clock,
        latency_ms=latency,
        processes={n: parse_process(n, item, problems) for n, item in read.named("processes", NAME).items()},
        nodes={n: parse_node(n, item, problems) for n, item in read.named("nodes", NAME).items()},
        path=str(path.absolute()),
        folder=path.parent.absolute(),
        mark=tree.mark,
    )


def check_keys(tree: Item, problems: Problems) -> Reader:
    """A reader of a graph's top level, having noted the keys that do not belong there; sub-graphs too pass here."""
    exports = tree.get("exports")
    if exports is not None:
        Reader(exports, "exports", ("inputs", "outputs"), problems)
    return Reader(tree, "graph", TOP_KEYS, problems, also=("extends", "params"))


def check_latency(latency_ms: float, mark: Mark, problems: Problems) -> None:
    """Note a latency that no window could be sized for."""
    if not 0 < latency_ms <= MAX_LATENCY_MS:
        problems.add(
            mark,
            f"latency_ms: found {latency_ms:g} (expected more than 0, {MAX_LATENCY_MS} at most), for example 240",
        )


def parse_fps(value: Any) -> Fraction:
    """Pictures per second, exact: ``25``, ``12.5`` or ``"30000/1001"``.

    Raises:
        GraphError: not a number from 0.001 to `MAX_FPS`.
    """
    try:
        if not isinstance(value, (int, float, str, Fraction)) or isinstance(value, bool):
            raise ValueError(value)
        fps = Fraction(str(value))
    except (ValueError, ZeroDivisionError):
        fps = Fraction(0)
    if not Fraction(1, 1000) <= fps <= MAX_FPS:
        raise GraphError(
            f"clock.fps: found {value!r} (expected a number more than 0, {MAX_FPS} at most, or a ratio as 30000/1001)"
        )
    return fps


def parse_clock(item: Item | None, problems: Problems) -> UnitClock:
    """``{fps, unit_frames}`` -> the unit clock; mistakes go to ``problems``."""
    if item is None:
        return UnitClock()
    read = Reader(item, "clock", ("fps", "unit_frames"), problems)
    try:
        fps = item.get("fps")
        return UnitClock(Fraction(25) if fps is None else parse_fps(fps.plain()), read.integer("unit_frames", 4))
    except GraphError as error:
        problems.add(read.mark("fps") if "fps" in str(error) else read.mark("unit_frames"), str(error))
        return UnitClock()


def parse_process(name: str, item: Item, problems: Problems) -> ProcessSpec:
    """One process -> what is written of it; mistakes go to ``problems``."""
    read = Reader(item, f"process '{name}'", PROCESS_KEYS, problems)
    lanes = read.strings("lanes", ("loop",))
    for lane in lanes:
        if not NAME.match(lane) or lanes.count(lane) > 1:
            problems.add(read.mark("lanes"), f"process '{name}': found lane '{lane}' (expected names, each once)")
    threads = read.integer("threads", None)
    if threads is not None and not 1 <= threads <= MAX_THREADS:
        text = f"process '{name}': threads: found {threads} (expected 1 to {MAX_THREADS})"
        problems.add(read.mark("threads"), text)
    on_crash: OnCrash = read.choice("on_crash", get_args(OnCrash), "stop")
    return ProcessSpec(name, tuple(lanes) or ("loop",), threads, on_crash, item.mark)


def parse_node(name: str, item: Item, problems: Problems) -> NodeSpec:
    """One node -> what is written of it; mistakes go to ``problems``."""
    where = f"node '{name}'"
    read = Reader(item, where, NODE_KEYS, problems)
    if item.is_mapping and item.get("type") is None:
        problems.add(item.mark, f"{where}: found no type (expected type: NAME), list them with: wangraph nodes")
    budget = read.number("budget_ms", None)
    if budget is not None and budget < 0:
        problems.add(read.mark("budget_ms"), f"{where}: budget_ms: found {budget:g} (expected 0 or more)")
    kind = item.get("type")
    params, edges = read.named("params", None), read.named("inputs", None)
    return NodeSpec(
        name=name,
        type=read.text("type", ""),
        params={key: ParamSpec(value.plain(), value.mark, value.folder) for key, value in params.items()},
        inputs={port: _input(f"{where}: input '{port}'", edge, problems) for port, edge in edges.items()},
        process=read.text("process", None),
        lane=read.text("lane", None),
        device=read.text("device", "cpu"),
        budget_ms=budget,
        ladder=_ladder(item.get("ladder"), where, problems),
        mark=item.key_mark or item.mark,
        marks={key: child.mark for key, child in item.children().items()},
        folder=kind.folder if kind is not None else None,
    )


def _input(where: str, item: Item, problems: Problems) -> InputSpec:
    if item.is_mapping:
        read = Reader(item, where, INPUT_KEYS, problems)
        source, delay = read.text("from", ""), read.integer("delay", 0)
        init, memory = read.text("init", None), read.choice("memory", MEMORIES, "auto")
        late = read.choice("late", LATES, None)
        start = item.get("init")
        folder = start.folder if start is not None else item.folder
    else:
        source, delay, init, memory, late, folder = item.value, 0, None, "auto", None, item.folder
    if not isinstance(source, str) or "." not in source.strip("."):
        problems.add(
            item.mark,
            f"{where}: found {kind_name(source or None)} (expected NODE.PORT, or from: NODE.PORT with a delay)",
        )
        source = ""
    if delay < 0:
        problems.add(item.mark, f"{where}: delay: found {delay} (expected 0 or more), a unit cannot come early")
    if delay > MAX_DELAY:
        problems.add(item.mark, f"{where}: delay: found {delay} (expected {MAX_DELAY} or less), all of it is kept")
    if delay > 0 and init is None:
        problems.add(
            item.mark,
            f"{where}: found delay {delay} without init (expected empty, zeros or a file), add init: empty",
        )
    if delay == 0 and init is not None:
        problems.add(item.mark, f"{where}: found init '{init}' without delay (expected delay: 1 or more), remove it")
    return InputSpec(source, max(delay, 0), init, memory, late, item.mark, folder)


def _ladder(item: Item | None, where: str, problems: Problems) -> tuple[dict[str, Any], ...]:
    if item is None or item.value is None:
        return ()
    levels = item.plain()
    if not isinstance(levels, list) or not all(isinstance(level, dict) and level for level in levels):
        problems.add(item.mark, f"{where}: ladder: found {kind_name(levels)} (expected a list as [{{steps: 4}}, ...])")
        return ()
    if len({frozenset(level) for level in levels}) > 1:
        problems.add(item.mark, f"{where}: ladder: found levels with different keys (expected the same in each)")
    return tuple(levels)
