"""wangraph: clock-driven dataflow graphs for real-time, full-duplex multimodal models.

from wangraph import Graph, Node, Input, Output, Param, run, start
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._version import __version__
from .nodes import CATALOGUE
from .runtime.errors import (
    CheckpointError,
    GraphError,
    MediaError,
    MissingExtra,
    NodeError,
    ProcessLost,
    RunError,
    StartError,
    UserError,
    WangraphError,
)
from .runtime.node import END, Emission, Node, NodeContext, Param, Timebase, Unit, node
from .runtime.packet import Packet, Validity
from .runtime.plan.catalogue import set_catalogue
from .runtime.ports import Input, Output
from .runtime.units import UnitClock

if TYPE_CHECKING:
    from .runtime.api import load, run, start
    from .runtime.engine.collector import RunResult
    from .runtime.engine.run import Run
    from .runtime.engine.subscription import Subscription
    from .runtime.node_runner import NodeRunner
    from .runtime.plan.graph import Graph
    from .runtime.plan.plan import Plan
    from .runtime.plan.spec import Edge

_LAZY = {
    "Edge": ".runtime.plan.spec",
    "Graph": ".runtime.plan.graph",
    "NodeRunner": ".runtime.node_runner",
    "Plan": ".runtime.plan.plan",
    "Run": ".runtime.engine.run",
    "RunResult": ".runtime.engine.collector",
    "Subscription": ".runtime.engine.subscription",
    "load": ".runtime.api",
    "run": ".runtime.api",
    "start": ".runtime.api",
}
"""What builds and runs graphs, imported when it is first used: processes that run nodes need not wait for it."""

__all__ = [
    "END",
    "CheckpointError",
    "Edge",
    "Emission",
    "Graph",
    "GraphError",
    "Input",
    "MediaError",
    "MissingExtra",
    "Node",
    "NodeContext",
    "NodeError",
    "NodeRunner",
    "Output",
    "Packet",
    "Param",
    "Plan",
    "ProcessLost",
    "Run",
    "RunError",
    "RunResult",
    "StartError",
    "Subscription",
    "Timebase",
    "Unit",
    "UnitClock",
    "UserError",
    "Validity",
    "WangraphError",
    "__version__",
    "load",
    "node",
    "run",
    "start",
]

set_catalogue(CATALOGUE, graphs=Path(__file__).parent / "graphs")


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name], __name__), name)
    raise AttributeError(f"module 'wangraph' has no attribute '{name}'")
