"""A body that suffers faults, around the node's own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ..device.find import moved
from ..errors import NodeError
from ..node import Node, Unit
from ..packet import Packet, Validity
from ..payload import HOST, Payload, kept, on_host
from ..plan.plan import NodePlan, Plan
from ..schedule.decide import Fire
from ..schedule.scheduler import Result
from ..units import NS
from .body import Body
from .faults import ON_THE_WAY, SPOILING, Fault
from .guards import Notice
from .harm import do_harm, spoilt


class FaultyBody(Body):
    """A body that suffers faults.

    Args:
        pause: waits for so many seconds; None where time is virtual.
        notice: takes a note of every fault that strikes.
    """

    def __init__(
        self,
        node: Node,
        plan: NodePlan,
        graph: Plan,
        faults: Sequence[Fault],
        notice: Notice,
        pause: Callable[[float], None] | None = time.sleep,
    ) -> None:
        super().__init__(node, plan, graph, notice)
        self._faults = faults
        self._spoiling = [fault for fault in faults if fault.kind in SPOILING]
        self._before: dict[str, dict[str, Payload]] = {}
        self._notice = notice
        self._pause = pause

    def run(self, fire: Fire) -> Result:
        """Call the body, and do to it what its faults say.

        Raises:
            NodeError: as `Body.run`, and where ``raise`` strikes.
        """
        striking = [fault for fault in self._faults if fault.strikes(fire, self.graph.seed)]
        if not striking:
            return super().run(fire)
        units = f"unit {fire.first}" + (f"..{fire.last}" if fire.last > fire.first else "")
        # before it strikes: afterwards there may be nobody left to tell it
        self._notice("injected", f"node '{self.plan.name}', {units}: {', '.join(f.what for f in striking)}")
        kinds = {fault.kind for fault in striking}
        for fault in striking:
            do_harm(fault)
        if "raise" in kinds:
            raise NodeError(f"node '{self.plan.name}', {units}: raised because --inject said so")
        began = time.monotonic_ns()
        result = super().run(fire)
        if self._pause is not None:
            spent = time.monotonic_ns() - began
            if extra := sum(fault.extra_ns(spent) for fault in striking):
                self._pause(extra / NS)
        return self._emptied(fire) if "drop" in kinds and not result.ended else result

    def _tensors(self, where: str, port: str, unit: Unit, value: Any) -> dict[str, Payload]:
        """Outputs of the node, spoilt before its guards see them: to its readers they are the node's own."""
        given = super()._tensors(where, port, unit, value)
        if not self._spoiling:
            return given
        tensors = given
        for fault in self._spoiling:
            if fault.strikes_unit(unit.index, self.graph.seed):
                tensors = self._spoilt(port, unit, fault, tensors)
        # copied: an array kept from one unit to the next would hold the slot of shared memory that it lies in
        self._before[port] = {name: kept(payload) for name, payload in given.items()}
        return tensors

    def _spoilt(self, port: str, unit: Unit, fault: Fault, tensors: dict[str, Payload]) -> dict[str, Payload]:
        if fault.kind == "repeat":
            return self._before.get(port, tensors)
        stream = self.graph.streams[f"{self.plan.name}.{port}"]
        dtypes = {tensor.name: tensor.dtype for tensor in stream.tensors}
        chance = fault.chance(self.graph.seed, unit.index)
        return {
            name: moved(HOST.freeze(spoilt(fault.kind, on_host(payload), dtypes.get(name), chance)), stream.device)
            for name, payload in tensors.items()
        }

    def _emptied(self, fire: Fire) -> Result:
        clock = self.graph.clock
        lost = {
            (port, unit): Packet(
                f"{self.plan.name}.{port}", unit, 0, clock.pts_ns(unit), clock.duration_ns(unit), Validity.MISSING
            )
            for port in self.plan.outputs
            for unit in fire.units
        }
        return Result(lost)


def make_body(
    node: Node,
    plan: NodePlan,
    graph: Plan,
    faults: Iterable[Fault],
    notice: Notice,
    pause: Callable[[float], None] | None = time.sleep,
) -> Body:
    """The body of a node: a plain one unless a fault names it."""
    own = [fault for fault in faults if fault.node == plan.name and fault.kind not in ON_THE_WAY]
    return FaultyBody(node, plan, graph, own, notice, pause) if own else Body(node, plan, graph, notice)
