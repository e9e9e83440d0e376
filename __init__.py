"""wangraph: clock-driven dataflow graphs for real-time, full-duplex multimodal models.

from wangraph import Graph, Node, Input, Output, Param, run
"""

from __future__ import annotations

from importlib import import_module
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
    from .runtime.api import load, run
    from .runtime.engine.run import RunResult
    from .runtime.node_runner import NodeRunner
    from .runtime.plan.graph import Edge, Graph

__all__ = [
    "END",
    "Edge",
    "Emission",
    "Graph",
    "Input",
    "Node",
    "NodeContext",
    "NodeRunner",
    "Output",
    "Packet",
    "Param",
    "RunResult",
    "Unit",
    "Validity",
    "WangraphError",
    "__version__",
    "load",
    "node",
    "run",
]

set_catalogue(CATALOGUE, graphs=Path(__file__).parent / "graphs")

_WHEN_ASKED = {
    "Edge": ".runtime.plan.graph",
    "Graph": ".runtime.plan.graph",
    "NodeRunner": ".runtime.node_runner",
    "RunResult": ".runtime.engine.run",
    "load": ".runtime.api",
    "run": ".runtime.api",
}


def __getattr__(name: str) -> Any:
    """What builds and runs graphs is imported when it is asked for: processes that run nodes need not wait for it."""
    if name in _WHEN_ASKED:
        return getattr(import_module(_WHEN_ASKED[name], __name__), name)
    raise AttributeError(f"module 'wangraph' has no attribute '{name}'")
