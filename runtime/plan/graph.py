"""Graphs from Python: the same `GraphSpec` that YAML gives, the same checks, the same plan.

g = Graph("hello", latency_ms=80)
g.process("main", lanes=["loop", "play"])
pattern = g.add("pattern", "capture.pattern", seconds=8)
g.add("sync", "sync.playout", lane="play", inputs={"video": pattern["video"], "audio": pattern["audio"]})
print(g.to_yaml())
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from ..errors import GraphError, listing
from ..node import Node
from .catalogue import known_types, target_of
from .check import load, make_plan
from .marks import Item, Mark, Problems, item_of
from .plan import Plan
from .spec import NAME, GraphSpec, Memory, OnCrash, check_latency, parse_clock, parse_node, parse_process
from .writing import write_yaml


@dataclass(frozen=True)
class Edge:
    """An input that is more than ``node.port``: a feedback edge, or one that travels in a given way.

    Args:
        source: ``node.port``.
        delay: units; the reader's unit k takes unit ``k - delay``.
        init: what comes before unit 0: ``empty``, ``zeros`` or a file.
        memory: auto, shared or inline.
        late: what stands in for a late unit instead of what the port says: gap, hold, empty or wait.
    """

    source: str
    delay: int = 0
    init: str | None = None
    memory: Memory = "auto"
    late: str | None = None

    def _as_written(self) -> dict[str, Any]:
        written = {
            "from": self.source,
            "delay": self.delay,
            "init": self.init,
            "memory": self.memory,
            "late": self.late,
        }
        return {key: value for key, value in written.items() if value is not None}


@dataclass(frozen=True)
class Vertex:
    """A node of a graph being built; ``vertex["video"]`` names its output for other nodes' inputs."""

    name: str

    def __getitem__(self, port: str) -> str:
        return f"{self.name}.{port}"


class Graph:
    """A graph being built, or loaded and changed.

    Args:
        name: how views and messages call it.
        fps: pictures per second: a number, a `Fraction` or ``"30000/1001"``.
        unit_frames: pictures in one unit.
        latency_ms: from the end of a unit to the moment its answer begins to play; one unit when not given.

    Raises:
        GraphError: a value out of range.
    """

    def __init__(
        self, name: str, *, fps: float | str | Fraction = 25, unit_frames: int = 4, latency_ms: float | None = None
    ) -> None:
        problems, at = Problems(), _caller()
        clock = parse_clock(item_of({"fps": str(fps), "unit_frames": unit_frames}, at), problems)
        latency = float(clock.period * 1000) if latency_ms is None else float(latency_ms)
        check_latency(latency, at, problems)
        problems.raise_any()
        self._spec = GraphSpec(name, clock, latency, {}, {}, folder=Path.cwd(), mark=at)

    @classmethod
    def load(cls, reference: str | Path, settings: Mapping[str, Any] | None = None) -> Graph:
        """A graph from a file, by path or shipped name.

        Args:
            settings: parameters or dotted paths and their values, as ``--set`` on the command line.

        Raises:
            GraphError: everything that is wrong with the file as text.
        """
        graph = cls.__new__(cls)
        graph._spec = load(reference, settings)
        return graph

    @property
    def spec(self) -> GraphSpec:
        """The graph as written."""
        return self._spec

    def process(
        self, name: str, *, lanes: Sequence[str] = ("loop",), threads: int | None = None, on_crash: OnCrash = "stop"
    ) -> None:
        """Declare a process; ``main`` with the lane ``loop`` is there without.

        Raises:
            GraphError: a value out of range.
        """
        written = {"lanes": list(lanes), "threads": threads, "on_crash": on_crash}
        problems, at = Problems(), _caller()
        process = parse_process(_checked_name(name, at), item_of(written, at), problems)
        problems.raise_any()
        self._spec = replace(self._spec, processes={**self._spec.processes, name: process})

    def add(
        self,
        name: str,
        type: str | type[Node] | Node,
        *,
        inputs: Mapping[str, str | Edge] | None = None,
        process: str | None = None,
        lane: str | None = None,
        device: str = "cpu",
        budget_ms: float | None = None,
        ladder: Sequence[Mapping[str, Any]] = (),
        params: Mapping[str, Any] | None = None,
        **more_params: Any,
    ) -> Vertex:
        """Add a node.

        Args:
            name: unique in the graph.
            type: a name in the catalogue, ``file.py:Class``, ``module:Class``, a `Node` class, or a node whose
                parameters are taken over.
            inputs: by port: ``vertex["port"]``, ``"node.port"`` or an `Edge`.
            params: parameters, also those that are called like an argument here; others may be given by keyword.

        Raises:
            GraphError: the name is taken, or a value is not what a graph file could say.
        """
        at = _caller()
        if _checked_name(name, at) in self._spec.nodes:
            raise GraphError(f"{at}: node '{name}': found twice (there are: {listing(self._spec.nodes)}), rename one")
        own = type.values if isinstance(type, Node) else {}
        written: dict[str, Any] = {
            "type": _type_name(type),
            "params": {**own, **(params or {}), **more_params},
            "inputs": {p: e._as_written() if isinstance(e, Edge) else e for p, e in (inputs or {}).items()},
            "process": process,
            "lane": lane,
            "device": device,
            "budget_ms": budget_ms,
            "ladder": [dict(level) for level in ladder],
        }
        problems = Problems()
        node = parse_node(name, _item(written, at), problems)
        problems.raise_any()
        self._spec = replace(self._spec, nodes={**self._spec.nodes, name: node})
        return Vertex(name)

    def plan(self, seed: int = 0) -> Plan:
        """The checked plan.

        Raises:
            GraphError: everything that is wrong with the graph, one mistake a line.
        """
        return make_plan(self._spec, seed)

    def to_yaml(self) -> str:
        """The graph as a file that gives the same plan: parameters filled in, input paths absolute.

        Raises:
            GraphError: a node's class or value cannot be written to a file.
        """
        return write_yaml(self._spec)


def _caller() -> Mark:
    """The line of the user's code that called into this file."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename == __file__:
        frame = frame.f_back
    return Mark(Path(frame.f_code.co_filename).name, frame.f_lineno)


def _checked_name(name: str, at: Mark) -> str:
    if not re.match(NAME, name):
        raise GraphError(f"{at}: found the name '{name}' (expected letters, digits, - and _, a letter first)")
    return name


def _type_name(kind: str | type[Node] | Node) -> str:
    if isinstance(kind, str):
        return kind
    target = target_of(kind if isinstance(kind, type) else type(kind))
    return next((name for name, known in known_types().items() if known == target), target)


def _item(written: Mapping[str, Any], at: Mark) -> Item:
    return item_of({key: value for key, value in written.items() if value is not None}, at)
