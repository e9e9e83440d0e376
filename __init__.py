"""wangraph: clock-driven dataflow graphs for real-time, full-duplex multimodal models.

from wangraph import Graph, Node, Input, Output, Param, run
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._version import __version__
from .nodes import CATALOGUE
from .runtime.errors import WangraphError
from .runtime.node import END, Emission, Node, NodeContext, Param, Unit, node
from .runtime.packet import Packet, Validity
from .runtime.plan.catalogue import set_catalogue
from .runtime.ports import Input, Output

if TYPE_CHECKING:
    from .runtime.plan.graph import Edge, Graph

__all__ = [
    "END",
    "Edge",
    "Emission",
    "Graph",
    "Input",
    "Node",
    "NodeContext",
    "Output",
    "Packet",
    "Param",
    "Unit",
    "Validity",
    "WangraphError",
    "__version__",
    "node",
]

set_catalogue(CATALOGUE, graphs=Path(__file__).parent / "graphs")

_BUILDER = ("Edge", "Graph")


def __getattr__(name: str) -> Any:
    """The graph builder, imported when it is asked for: processes that only run nodes need not wait for it."""
    if name in _BUILDER:
        from .runtime.plan import graph

        return getattr(graph, name)
    raise AttributeError(f"module 'wangraph' has no attribute '{name}'")
