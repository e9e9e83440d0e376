"""Nodes without bodies: the ports and the packets of a real graph, and nothing that computes.

An empty graph is a graph with every node replaced by one of these: what it costs is what the runtime costs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ...nodes.capture import CaptureFile
from ...runtime.node import Node, NodeContext, Outputs, Param, Unit
from ...runtime.packet import Array
from ...runtime.plan.catalogue import known_types, resolve
from ...runtime.plan.graph import Graph
from ...runtime.plan.spec import GraphSpec
from ...runtime.ports import DTYPE_BYTES, Input, Output

IN_PLACE = ("video", "audio")
"""Kinds that real nodes write into the outgoing slot; the others are copied into it from where the model left them."""

WORD = "moment"

Settings = dict[str, Any]
"""Keys and values as ``--set`` takes them."""


class Empty(Node):
    """Stands in for a node of another type: same ports, same sizes, and nothing computed.

    Media are emitted in place, pictures unwritten; an output that is called like an input passes it on; everything else
    is the same array for every unit, read-only, as big as the port allows.
    """

    like: str = Param(help="the node type that it stands for")
    options: dict[str, Any] = Param({}, help="that type's parameters")
    width: int = Param(336, min=1, help="pixels of every picture")
    height: int = Param(192, min=1, help="pixels of every picture")

    @classmethod
    def ports(cls, params: Mapping[str, Any]) -> tuple[Mapping[str, Input], Mapping[str, Output]]:
        """The ports of the type, with pictures of the size asked for."""
        if "like" not in params:
            return cls.inputs, cls.outputs
        kind = resolve(known_types()[params["like"]])
        inputs, outputs = kind.ports(params.get("options", {}))
        shape = f"F {params.get('height', 192)} {params.get('width', 336)} 3"
        return (
            {name: replace(port, shape=shape) if port.kind == "video" else port for name, port in inputs.items()},
            {name: replace(port, shape=shape) if port.kind == "video" else port for name, port in outputs.items()},
        )

    def open(self, ctx: NodeContext) -> None:
        """Make what is emitted again and again."""
        self._empty = ctx.empty
        outputs = self.ports(self.values)[1]
        self._passed = sorted(outputs.keys() & ctx.connected_inputs)
        own = {name: port for name, port in outputs.items() if name not in self._passed}
        self._made: dict[str, Any] = {}
        self._in_place: dict[str, tuple[tuple[int, ...], str]] = {}
        for name, port in own.items():
            if port.kind == "text":
                self._made[name] = WORD
                continue
            arrays = {tensor: _zeros(port, tensor, shape) for tensor, shape in ctx.output_shapes[name].items()}
            if port.kind in IN_PLACE:
                (array,) = arrays.values()
                self._in_place[name] = (array.shape, array.dtype.name)
            else:
                self._made[name] = arrays if port.tensors is not None else next(iter(arrays.values()))

    def new_state(self) -> object:
        """Nothing; it is stateful as what it stands for is."""
        return self

    def step(self, state: object, unit: Unit, **inputs: Any) -> Outputs:
        """A packet of full size on every output."""
        made = dict(self._made)
        for name, (shape, dtype) in self._in_place.items():
            made[name] = array = self._empty(name, shape, dtype)
            if array.dtype.kind == "f":
                array[:] = 0  # what lies there by chance may be NaN, and a guard would lose the unit
        for name in self._passed:
            made[name] = inputs[name]
        return made

    def gap(self, state: object, units: Sequence[Unit]) -> list[Outputs] | None:
        """A lost unit gives what a step gives where it must: a log has no holes."""
        logs = {name: self._made[name] for name, port in self.ports(self.values)[1].items() if port.is_log}
        return [logs for _ in units] if logs else None


class EmptySource(Empty):
    """Stands in for a source that reads ahead."""

    ahead_units = CaptureFile.ahead_units


class EmptyPlayout(Empty):
    """Stands in for a node that fires at the deadline."""

    paced = True


def emptied(spec: GraphSpec, width: int, height: int) -> Settings:
    """Graph without bodies: the same nodes, edges, placement and times."""
    settings: Settings = {}
    for name, node in spec.nodes.items():
        kind = resolve(known_types()[node.type])
        stand_in = EmptyPlayout if kind.paced else EmptySource if kind.ahead_units else Empty
        settings[f"{name}.type"] = f"{stand_in.__module__}:{stand_in.__qualname__}"
        settings[f"{name}.params"] = {
            "like": node.type, "options": _plain(node.params), "width": width, "height": height
        }  # fmt: skip
        if node.ladder:
            settings[f"{name}.ladder"] = [{"options": dict(level)} for level in node.ladder]
    return settings


def empty_graph(graph: str, width: int = 336, height: int = 192, settings: Settings | None = None) -> Graph:
    """A graph by path or shipped name, emptied; ``settings`` on top, as ``--set``.

    Raises:
        GraphError: no such graph, or one that cannot be read.
    """
    return Graph.load(graph, {**emptied(Graph.load(graph).spec, width, height), **(settings or {})})


def _plain(params: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in params.items() if isinstance(value, str | int | float | bool)}


def _zeros(port: Output, tensor: str, shape: tuple[int, ...] | None) -> Array:
    spec = port.specs[tensor]
    assert shape is not None and spec.dtype in DTYPE_BYTES, (port, tensor, shape)
    array = np.zeros(shape, "uint16" if spec.dtype == "bfloat16" else spec.dtype)
    array.flags.writeable = False
    return array
