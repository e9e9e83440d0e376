"""Nodes that make and take payloads on the device that the graph puts them on."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from wangraph import Edge, Graph, Input, Node, Output, Param
from wangraph.runtime.device.fake import FakeArray
from wangraph.runtime.device.find import device_named

SHAPE = ("4 8 8", "float32")

WITHOUT_GPU = {"duplex_gpu": ["device=fake"]}
"""What is set of shipped graphs on a machine without a GPU."""


class Make(Node):
    """A picture of its unit's number, on the device."""

    out = Output("latent", *SHAPE, device="node")
    fill: bool = Param(False)

    def open(self, ctx):
        self.device = device_named(ctx.device) if ctx.device != "cpu" else None

    def step(self, unit):
        made = np.full((4, 8, 8), unit.index, np.float32)
        return {"out": made if self.device is None or self.fill else self.device.upload(made)}


class Add(Node):
    """One more, on the device."""

    number = Input("latent", *SHAPE, device="node")
    out = Output("latent", *SHAPE, device="node")

    def open(self, ctx):
        self.device = device_named(ctx.device) if ctx.device != "cpu" else None

    def step(self, unit, number):
        if self.device is None:
            return {"out": number + 1}
        assert isinstance(number, FakeArray) and number.device is self.device
        return {"out": self.device.upload(self.device.to_host(number) + 1)}


class Keep(Node):
    """Writes down what came, on the host."""

    number = Input("latent", *SHAPE, late="empty")
    path: str = Param(path="output")

    def open(self, ctx):
        self.file = Path(self.path).open("w")

    def step(self, unit, number):
        value = "-" if number is None else float(number[0, 0, 0])
        same = number is None or (type(number) is np.ndarray and bool((number == value).all()))
        self.file.write(f"{unit.index} {value if same else 'torn'}\n")

    def close(self):
        self.file.close()


class Play(Keep):
    """The same, at the deadline."""

    paced = True
    number = Input("latent", *SHAPE, late="empty")


def chain(path, processes=("main", "far"), device="fake:0", far="fake:0", **edge):
    """Make and add on devices, then a playout on the host."""
    graph = Graph("chain", latency_ms=400, fps=25, unit_frames=2)
    for name in dict.fromkeys(processes):
        graph.process(name, lanes=["loop", "play"])
    graph.add("make", Make, process=processes[0], device=device)
    add = graph.add("add", Add, process=processes[1], device=far, inputs={"number": Edge("make.out", **edge)})
    again = graph.add("again", Add, process=processes[1], device=far, inputs={"number": add["out"]})
    graph.add(
        "play", Play, process=processes[1], lane="play", inputs={"number": again["out"]}, params={"path": str(path)}
    )
    return graph
