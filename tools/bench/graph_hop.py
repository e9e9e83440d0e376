"""One hop inside a graph, from process to process: from the return of a body to the call of the next one.

Read from the run's own records. Between the two lie the contract's check, the copy into shared memory where the body
did not write there, the schedulers of both processes, and the records themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ...runtime.channel.transport import LinkName
from ...runtime.engine.options import Options
from ...runtime.engine.run import Run
from ...runtime.node import Node, NodeContext, Outputs, Param, Unit
from ...runtime.packet import Array
from ...runtime.plan.graph import Graph
from ...runtime.plan.plan import Plan
from ...runtime.ports import Input, Output
from ...runtime.schedule.events import Event, Firing
from .hops import Hops

WARM_UP = 10
"""Units left out of the figures."""


class Clocked(Node):
    """A number at the beginning of every unit."""

    number = Output("any", "1", "int64")

    def step(self, unit: Unit) -> Outputs:
        """The unit's."""
        return {"number": np.array([unit.index])}


class Maker(Node):
    """Makes payloads of so many bytes, in the slot that goes out or beside it."""

    out = Output("any", "N", "uint8")
    n_bytes: int = Param(1000, min=1)
    in_place: bool = Param(False)

    @classmethod
    def ports(cls, params: Mapping[str, Any]) -> tuple[Mapping[str, Input], Mapping[str, Output]]:
        """A payload of that size."""
        return dict(cls.inputs), {"out": Output("any", f"{params.get('n_bytes', 1000)}", "uint8")}

    def open(self, ctx: NodeContext) -> None:
        """Keep the way to slots."""
        self._empty = ctx.empty

    def made(self, payload: Array) -> Outputs:
        """This payload, as it goes out."""
        if not self.in_place:
            return {"out": payload}
        slot = self._empty("out", payload.shape, "uint8")
        np.copyto(slot, payload)
        return {"out": slot}


class Sender(Maker):
    """Makes one as soon as it gets a number."""

    number = Input("any", "1", "int64")

    def open(self, ctx: NodeContext) -> None:
        """Make what is sent."""
        super().open(ctx)
        self._payload = np.arange(self.n_bytes, dtype=np.uint8)

    def step(self, unit: Unit, number: Array) -> Outputs:
        """The payload."""
        return self.made(self._payload)


class Reader(Node):
    """Gets it."""

    payload = Input("any", "N", "uint8")

    def step(self, unit: Unit, payload: Array) -> None:
        """Nothing more."""


def plan(n_bytes: int, rate_hz: float, *, in_place: bool) -> Plan:
    """Two processes, and what goes from one to the other."""
    graph = Graph("hop", fps=rate_hz, unit_frames=1, latency_ms=1000)
    graph.process("producer")
    graph.process("reader")
    clocked = graph.add("clocked", Clocked, process="producer")
    sender = graph.add(
        "sender", Sender, process="producer", n_bytes=n_bytes, in_place=in_place, inputs={"number": clocked["number"]}
    )
    graph.add("reader", Reader, process="reader", inputs={"payload": sender["out"]})
    return graph.plan()


def measure(n_bytes: int, hops: int, rate_hz: float, link: LinkName, *, in_place: bool) -> Hops:
    """Time so many hops.

    Raises:
        WangraphError: the run failed.
    """
    result = Run(plan(n_bytes, rate_hz, in_place=in_place), Options(units=hops + WARM_UP, link=link)).start().wait()
    return hops_in(result.log, hops, lambda reader: reader.started_ns)


def hops_in(log: Sequence[Event], hops: int, until: Callable[[Firing], int]) -> Hops:
    """Hops from `sender` to `reader`, from the return of the one to an instant of the other's call."""
    calls = {(e.node, e.first): e for e in log if isinstance(e, Firing) and e.mode == "step"}
    us = [
        (until(reader) - sender.finished_ns) / 1000
        for unit in range(WARM_UP, WARM_UP + hops)
        if (sender := calls.get(("sender", unit))) and (reader := calls.get(("reader", unit)))
    ]
    return Hops(us, hops, None)
