"""A chain inside a graph: processes, each of which sends on what it takes. A program as those in `peers`."""

from __future__ import annotations

import json
import sys

from ...runtime.engine.options import Options
from ...runtime.engine.run import Run
from ...runtime.node import Outputs, Unit
from ...runtime.packet import Array
from ...runtime.plan.graph import Graph
from ...runtime.plan.plan import Plan
from ...runtime.ports import Input
from .graph_hop import WARM_UP, Clocked, Maker, Reader, Sender, hops_in


class Relay(Maker):
    """Sends on what it takes."""

    payload = Input("any", "N", "uint8")

    def step(self, unit: Unit, payload: Array) -> Outputs:
        """The same payload."""
        return self.made(payload)


def plan(n_bytes: int, rate_hz: float, n_processes: int, *, in_place: bool) -> Plan:
    """A process for each node."""
    graph = Graph("chain", fps=rate_hz, unit_frames=1, latency_ms=1000)
    graph.process("sender")
    clocked = graph.add("clocked", Clocked, process="sender")
    before = graph.add(
        "sender", Sender, process="sender", n_bytes=n_bytes, in_place=in_place, inputs={"number": clocked["number"]}
    )["out"]
    for place in range(1, n_processes - 1):
        name = f"relay{place}"
        graph.process(name)
        before = graph.add(name, Relay, process=name, n_bytes=n_bytes, in_place=in_place, inputs={"payload": before})[
            "out"
        ]
    graph.process("reader")
    graph.add("reader", Reader, process="reader", inputs={"payload": before})
    return graph.plan()


def main() -> None:
    """Measure."""
    n_bytes, hops, rate_hz, n_processes, how = sys.argv[1:]
    chain = plan(int(n_bytes), float(rate_hz), int(n_processes), in_place=how == "in-place")
    result = Run(chain, Options(units=int(hops) + WARM_UP)).start().wait()
    found = hops_in(result.log, int(hops), lambda reader: reader.started_ns)
    print(json.dumps({"us": found.us, "sent": found.sent, "cpu_us": None}))


if __name__ == "__main__":
    main()
