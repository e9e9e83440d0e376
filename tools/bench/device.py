"""A payload that is on a device, from process to process: in a slot of the device's memory, or by the host.

From the return of the body that made it to the moment at which the next one has it on the device and has looked at a
byte of it. Without a GPU the stand-in is measured, whose figures say nothing about one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...runtime.device.find import device_named
from ...runtime.engine.options import Options
from ...runtime.engine.run import Run
from ...runtime.node import Node, NodeContext, Outputs, Param, Unit
from ...runtime.payload import on_host
from ...runtime.plan.graph import Graph
from ...runtime.plan.plan import Plan
from ...runtime.plan.spec import Edge, Memory
from ...runtime.ports import Input, Output
from .graph_hop import WARM_UP, Clocked, hops_in
from .hops import Hops
from .report import OnRound, Report, Round, Table, ignored, report

SIZES = {"1 KB": 1_000, "774 KB": 4 * 192 * 336 * 3, "836 KB": 836_352, "25 MB": 25_000_000}
"""774 KB is one unit of 336 x 192 pictures, 836 KB the slice of keys and values of a unit of `paper-0.5b` in bf16."""

AIM = ""
ROUNDS = 3
SECONDS = 10.0

RATE_HZ = 25.0
LATENCY_MS = 120

WAYS: dict[str, Memory] = {"device slot": "device", "by the host": "shared"}

_COLUMNS = ("p50", "p99", "p99.9", "max")


class Sender(Node):
    """Gives a payload that lies on its device."""

    number = Input("any", "1", "int64")
    out = Output("any", "N", "uint8", device="node")
    n_bytes: int = Param(1000, min=1)

    @classmethod
    def ports(cls, params: Mapping[str, Any]) -> tuple[Mapping[str, Input], Mapping[str, Output]]:
        """A payload of that size."""
        sized = Output("any", f"{params.get('n_bytes', 1000)}", "uint8", device="node")
        return dict(cls.inputs), {"out": sized}

    def open(self, ctx: NodeContext) -> None:
        """Make it."""
        self._payload = device_named(ctx.device).upload(np.arange(self.n_bytes, dtype=np.uint8))

    def step(self, unit: Unit, number: object) -> Outputs:
        """The payload."""
        return {"out": self._payload}


class Reader(Node):
    """Takes it on its device, and looks at it: what was queued before is done then."""

    payload = Input("any", "N", "uint8", device="node")

    def step(self, unit: Unit, payload: Any) -> None:
        """Look at one byte, where an array can be cut; at all of them where it cannot."""
        on_host(payload[:1] if hasattr(payload, "__getitem__") else payload)


def run(rounds: int = ROUNDS, seconds: float = SECONDS, on_round: OnRound = ignored) -> Report:
    """Time hops of every size for so many seconds, each way after the other.

    Returns:
        Per round: ``{"us": {"774 KB": {"device slot": {"p50", "p99", "p99.9", "max", "lost", "cpu_us"}, ...}}}``.

    Raises:
        WangraphError: a run failed.
    """
    hops, device = round(seconds * RATE_HZ), usual_device()
    parameters = {"device": device, "hops": hops, "rate_hz": RATE_HZ, "bytes": SIZES}
    return report("device", AIM, parameters, rounds, lambda: measure(device, hops), rank, on_round)


def usual_device() -> str:
    """The first GPU; the stand-in where there is none."""
    return "cuda:0" if Path("/dev/nvidia0").exists() else "fake:0"


def measure(device: str, hops: int, sizes: Mapping[str, int] | None = None) -> Round:
    """One round."""
    return {
        "us": {
            name: {way: hop(device, n_bytes, hops, memory).figures() for way, memory in WAYS.items()}
            for name, n_bytes in (sizes or SIZES).items()
        }
    }


def plan(device: str, n_bytes: int, memory: Memory) -> Plan:
    """Two processes, and what goes from one to the other."""
    graph = Graph("device", fps=RATE_HZ, unit_frames=1, latency_ms=LATENCY_MS)
    graph.process("producer")
    graph.process("reader")
    clocked = graph.add("clocked", Clocked, process="producer")
    graph.add(
        "sender", Sender, process="producer", device=device, n_bytes=n_bytes, inputs={"number": clocked["number"]}
    )
    edge = Edge("sender.out", memory=memory)
    graph.add("reader", Reader, process="reader", device=device, inputs={"payload": edge})
    return graph.plan()


def hop(device: str, n_bytes: int, hops: int, memory: Memory) -> Hops:
    """Time so many hops.

    Raises:
        WangraphError: the run failed.
    """
    result = Run(plan(device, n_bytes, memory), Options(units=hops + WARM_UP)).start().wait()
    return hops_in(result.log, hops, lambda reader: reader.finished_ns)


def rank(measured: Round) -> float:
    """The best round has the quickest median unit of pictures."""
    return float(measured["us"]["774 KB"]["device slot"]["p50"])


def table(report: Report) -> Table:
    """A row for each round, size and way."""
    rows = [
        (r["round"], r["load_1m"], size, way, *(f"{found[q]:.0f}" for q in _COLUMNS), found["lost"])
        for r in report["rounds"]
        for size, ways in r["us"].items()
        for way, found in ways.items()
    ]
    return Table(("round", "load", "payload", "way, us", *_COLUMNS, "lost"), rows)
