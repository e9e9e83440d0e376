"""Graphs from Python: the same `GraphSpec` that YAML gives, the same checks, the same plan.

g = Graph("hello", latency_ms=80)
g.process("main", lanes=["loop", "play"])
pattern = g.add("pattern", "capture.pattern", seconds=8)
g.add("sync", "sync.playout", lane="play", inputs={"video": pattern["video"], "audio": pattern["audio"]})
print(g.to_yaml())

Arguments that are keys of the graph file are what their declarations say (`spec`), and checked as a file's are.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from ..errors import GraphError, did_you_mean, listing
from ..node import Node
from .catalogue import known_types, target_of
from .check import load, make_plan
from .keys import Key, keys_of, read_keys, written
from .kinds import NAME
from .marks import Item, Mark, Problems, item_of
from .overlay import expand_beside
from .plan import Plan
from .spec import ClockSpec, Edge, GraphSpec, NodeSpec, ProcessSpec
from .subgraph import close
from .writing import write_yaml

Function = TypeVar("Function", bound=Callable[..., Any])

GRAPH_KEYS = {**keys_of(ClockSpec), "latency_ms": keys_of(GraphSpec)["latency_ms"]}
NODE_KEYS = {name: key for name, key in keys_of(NodeSpec).items() if name != "type"}


def _with_keys(keys: Mapping[str, Key]) -> Callable[[Function], Function]:
    """Have help and editors show the keys that a function takes as ``**keys``."""

    def decorate(function: Function) -> Function:
        signature = inspect.signature(function)
        *own, rest = signature.parameters.values()
        shown = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=key.default) for name, key in keys.items()
        ]
        function.__dict__["__signature__"] = signature.replace(parameters=[*own, *shown, rest])
        lines = [f"            {name}: {key.help}." for name, key in keys.items()]
        function.__doc__ = "\n".join([(function.__doc__ or "").rstrip(), "", "        Keys:", *lines])
        return function

    return decorate


@dataclass(frozen=True)
class Vertex:
    """A node of a graph being built; ``vertex["video"]`` names its output for other nodes' inputs."""

    name: str

    def __getitem__(self, port: str) -> str:
        return f"{self.name}.{port}"


class Graph:
    """A graph being built, or loaded and changed."""

    @_with_keys(GRAPH_KEYS)
    def __init__(self, name: str, **keys: Any) -> None:
        """Begin an empty graph.

        Args:
            name: how views and messages call it.
            keys: of the graph and its clock, as in a graph file.

        Raises:
            GraphError: no such key, or a value out of range.
        """
        at, problems = _caller(), Problems()
        _check_keys(keys, GRAPH_KEYS, at, f"graph '{name}'", problems)
        clock = {key: value for key, value in keys.items() if key in keys_of(ClockSpec)}
        head = _item({"name": name, "clock": clock, "latency_ms": keys.get("latency_ms")}, at)
        values = read_keys(GraphSpec, head, "graph", problems, leave=("nodes",))
        problems.raise_any()
        self._spec = GraphSpec(**values, nodes={}, mark=at)

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

    @_with_keys(keys_of(ProcessSpec))
    def process(self, name: str, **keys: Any) -> None:
        """Declare a process; ``main`` with the lane ``loop`` is there without.

        Args:
            name: unique in the graph.
            keys: of the process, as in a graph file.

        Raises:
            GraphError: no such key, or a value out of range.
        """
        at, problems = _caller(), Problems()
        process = ProcessSpec.entry(_checked_name(name, at), _item(keys, at), f"process '{name}'", problems)
        problems.raise_any()
        self._spec = replace(self._spec, processes={**self._spec.processes, name: process})

    @_with_keys(NODE_KEYS)
    def add(self, name: str, type: str | type[Node] | Node | None = None, **more: Any) -> Vertex:
        """Add a node, or with ``graph=FILE`` a whole graph in its place.

        Args:
            name: unique in the graph.
            type: a name in the catalogue, ``file.py:Class``, ``module:Class``, a `Node` class, or a node whose
                parameters are taken over.
            more: keys of the node, as in a graph file, an input as ``vertex["port"]``, ``"node.port"`` or an `Edge`;
                any other name is a parameter. Parameters that are called like a key are given as ``params={...}``.

        Raises:
            GraphError: the name is taken, or a value is not what a graph file could say.
        """
        at, problems = _caller(), Problems()
        if _checked_name(name, at) in self._spec.nodes:
            raise GraphError(f"{at}: node '{name}': found twice (there are: {listing(self._spec.nodes)}), rename one")
        keys = {key: value for key, value in more.items() if key in NODE_KEYS}
        own = type.values if isinstance(type, Node) else {}
        by_name = {key: value for key, value in more.items() if key not in NODE_KEYS}
        item = _item(
            {
                **keys,
                "type": _type_name(type),
                "params": {**own, **(keys.get("params") or {}), **by_name},
                "inputs": {port: self._source(edge, at) for port, edge in (keys.get("inputs") or {}).items()},
            },
            at,
        )
        if item.get("graph") is not None:
            self._put_in(name, item, problems)
        else:
            node = NodeSpec.entry(name, item, f"node '{name}'", problems)
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

    def _source(self, edge: str | Edge, at: Mark) -> Any:
        """An edge as a file would say it, coming from inside where it names a sub-graph's output."""
        source = edge.source if isinstance(edge, Edge) else str(edge)
        name, _, port = source.rpartition(".")
        has = [end.rpartition(".")[2] for end in self._spec.exits if end.startswith(f"{name}.")]
        if has and port not in has:
            hint = did_you_mean(port, has)
            raise GraphError(f"{at}: no output '{port}' exported by '{name}' (it has: {listing(has)}){hint}")
        found = self._spec.exits.get(source, source)
        return written(Edge, replace(edge, source=found)) if isinstance(edge, Edge) else found

    def _put_in(self, name: str, item: Item, problems: Problems) -> None:
        """Add the nodes of a sub-graph, and what else it brings."""
        spec = self._spec
        around = written(GraphSpec, replace(spec, nodes={}))
        tree = item_of(around, item.mark).having("nodes", Item({name: item}, item.mark))
        graph = expand_beside(tree, Path.cwd(), problems)
        tree, lost = close(graph)
        made = GraphSpec.parse(tree, "graph", problems)
        problems.raise_any()
        self._spec = replace(
            spec,
            nodes={**spec.nodes, **made.nodes},
            processes=made.processes,
            exits={**spec.exits, **graph.exits},
            entrances={**spec.entrances, **lost},
        )


def _check_keys(given: Mapping[str, Any], known: Mapping[str, Key], at: Mark, where: str, problems: Problems) -> None:
    for name in given:
        if name not in known:
            problems.add(at, f"{where}: unknown key '{name}' (expected: {listing(known)}){did_you_mean(name, known)}")


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


def _type_name(kind: str | type[Node] | Node | None) -> str | None:
    if kind is None or isinstance(kind, str):
        return kind
    target = target_of(kind if isinstance(kind, type) else type(kind))
    return next((name for name, known in known_types().items() if known == target), target)


def _item(written: Mapping[str, Any], at: Mark) -> Item:
    return item_of({key: value for key, value in written.items() if value is not None}, at)
