"""wangraph: clock-driven dataflow graphs for real-time, full-duplex multimodal models.

from wangraph import Graph, Node, Input, Output, Param, run
"""

from __future__ import annotations

from ._version import __version__
from .runtime.errors import WangraphError
from .runtime.node import END, Emission, Node, NodeContext, Param, Unit, node
from .runtime.packet import Packet, Validity
from .runtime.ports import Input, Output

__all__ = [
    "END",
    "Emission",
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
