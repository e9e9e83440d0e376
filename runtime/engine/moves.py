"""Payloads that a node wants elsewhere than they are: copied before it is called, once each, and counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from ..device.find import moved
from ..payload import home_of
from ..plan.devices import ANY, HOST
from ..plan.plan import NodePlan, Plan


class Moves:
    """The inputs of a node whose payloads may have to be copied.

    Args:
        node: the node.
        graph: the plan that it is part of.
    """

    def __init__(self, node: NodePlan, graph: Plan) -> None:
        # what is made on the host and wanted there, which is nearly everything, is not looked at
        self._to = {
            given.port: given.device
            for given in node.inputs
            if given.device != ANY and (given.device, graph.streams[given.stream].device) != (HOST, HOST)
        }
        self._counts: Counter[str] = Counter()

    def __contains__(self, port: str) -> bool:
        return port in self._to

    def value(self, port: str, value: Any) -> Any:
        """The value of a port where its node wants it."""
        if isinstance(value, Mapping):
            return {name: self._moved(port, payload) for name, payload in value.items()}
        return value if home_of(value) is None else self._moved(port, value)

    @property
    def reports(self) -> list[str]:
        """Copies that were made, in words."""
        return [f"'{port}': {n} payloads to {self._to[port]}" for port, n in sorted(self._counts.items())]

    def _moved(self, port: str, payload: Any) -> Any:
        found = moved(payload, self._to[port])
        if found is not payload:
            self._counts[port] += 1
        return found
