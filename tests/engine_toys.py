"""Small nodes for tests of the engine: loaded by path in every process of a run."""

from __future__ import annotations

import hashlib
import os
import signal
from pathlib import Path

import numpy as np

from wangraph import END, Edge, Graph, Input, Node, Output, Param

PICTURE = ("F H W 3", "uint8")


class Numbers(Node):
    """Random pictures that follow from the unit alone."""

    video = Output("video", *PICTURE)
    number = Output("tokens", "1", "int64")
    units: int = Param(0, min=0)
    side: int = Param(16, min=1)

    @classmethod
    def ports(cls, params):
        side = params["side"]
        return {}, {**cls.outputs, "video": Output("video", f"F {side} {side} 3", "uint8")}

    def step(self, unit):
        if self.units and unit.index >= self.units:
            return END
        picture = unit.rng().integers(0, 255, (4, self.side, self.side, 3), dtype=np.uint8)
        return {"video": picture, "number": np.array([unit.index])}


class Blend(Node):
    """Mixes with what comes back: any lost or doubled unit changes all that follows."""

    video = Input("video", *PICTURE, late="hold")
    back = Input("video", *PICTURE, late="empty", optional=True)
    mixed = Output("video", *PICTURE)

    def new_state(self):
        return {"sum": 0}

    def step(self, state, unit, video, back):
        if video is None:  # the first units of a starved machine: nothing that could be held has come yet
            video = np.zeros((4, 16, 16, 3), np.uint8)
        state["sum"] = (state["sum"] * 31 + int(video.sum()) + unit.index) % 251
        mixed = video ^ np.uint8(state["sum"])
        return {"mixed": mixed if back is None else mixed ^ back}

    def gap(self, state, units):
        state["sum"] = (state["sum"] + len(units)) % 251


class Heavy(Blend):
    """The same with a picture written in place."""

    def open(self, ctx):
        self.empty = ctx.empty

    def step(self, state, unit, video, back):
        result = super().step(state, unit, video, back)["mixed"]
        slot = self.empty("mixed", result.shape, "uint8")
        slot[...] = result
        return {"mixed": slot}


class Play(Node):
    """Presents at the deadline."""

    paced = True
    video = Input("video", *PICTURE, late="empty")
    shown = Output("video", *PICTURE)

    def step(self, unit, video):
        return {"shown": video}


class Digest(Node):
    """Writes a line per unit: its number and what it saw."""

    video = Input("video", *PICTURE, late="wait")
    path: str = Param(path="output")

    def open(self, ctx):
        self.file = Path(self.path).open("w")

    def new_state(self):
        return []

    def step(self, state, unit, video):
        self._line(
            unit.index, "empty" if video is None else hashlib.blake2b(video.tobytes(), digest_size=8).hexdigest()
        )

    def gap(self, state, units):
        for unit in units:
            self._line(unit.index, "lost")

    def close(self):
        self.file.close()

    def _line(self, unit, text):
        self.file.write(f"{unit} {text}\n")


class Raises(Blend):
    """Fails at a unit."""

    at: int = Param(3)

    def step(self, state, unit, video, back):
        if unit.index == self.at:
            raise ValueError("the lens fell off")
        return super().step(state, unit, video, back)


class WrongShape(Blend):
    """Returns half a unit at a unit."""

    def step(self, state, unit, video, back):
        mixed = super().step(state, unit, video, back)["mixed"]
        return {"mixed": mixed[:2] if unit.index == 3 else mixed}


class Vanishes(Blend):
    """Takes its process along."""

    code: int = Param(7)

    def step(self, state, unit, video, back):
        if unit.index == 3:
            os._exit(self.code)
        return super().step(state, unit, video, back)


class Forks(Blend):
    """Leaves a process of its own behind, which would live for ever."""

    pid: str = Param("")

    def step(self, state, unit, video, back):
        if unit.index == 3:
            if (child := os.fork()) == 0:
                while True:
                    signal.pause()
            Path(self.pid).write_text(str(child))
        return super().step(state, unit, video, back)


class CannotOpen(Blend):
    """Fails when it is opened."""

    def open(self, ctx):
        raise OSError("no lens")


class Hangs(Blend):
    """Waits for the test to let it go on, in unit 3."""

    gate: str = Param("")

    def step(self, state, unit, video, back):
        if unit.index == 3:
            with open(self.gate, "rb") as gate:
                gate.read(1)
        return super().step(state, unit, video, back)


class Echo(Node):
    """Says everything again, with a mark that may be changed while it runs; some words are requests."""

    text = Input("text", late="empty")
    out = Output("text")
    mark: str = Param("!", live=True, choices=("!", "?", "..."))
    quiet: bool = Param(False)

    def open(self, ctx):
        self.ctx = ctx
        ctx.on_close(lambda: ctx.report("closed", "callback"))

    def step(self, unit, text):
        if text == "enough":
            self.ctx.stop("the visitor has had enough")
        if text == "interrupt":
            self.ctx.fence([f"{self.ctx.name}.out"])
        return {"out": None if text is None else text + self.mark}


class Recite(Node):
    """Presents text at the deadline."""

    paced = True
    text = Input("text", late="empty")
    shown = Output("text")

    def step(self, unit, text):
        return {"shown": text}


class Device(Node):
    """A live source: it knows when units are, and refuses virtual time."""

    is_live = True
    at = Output("tokens", "1", "int64")

    def start(self, timebase):
        self.timebase = timebase

    def step(self, unit):
        begins = self.timebase.origin_ns + self.timebase.clock.pts_ns(unit.index)
        return {"at": np.array([self.timebase.unit_at(begins)])}


def looped(
    out: Path, mix: type[Node] = Heavy, *, far: bool = True, latency_ms: float = 150, side: int = 16, **params: object
) -> Graph:
    """numbers -> near -> mix -> play -> digest, mix fed back to near; mix in a process of its own when ``far``."""
    graph = Graph("looped", latency_ms=latency_ms)
    graph.process("main", lanes=["loop", "io"])
    if far:
        graph.process("far")
    place = {"process": "far"} if far else {"process": "main", "lane": "loop"}
    numbers = graph.add("numbers", Numbers, lane="io", side=side)
    back = Edge("mix.mixed", delay=1, init="zeros")
    near = graph.add("near", Blend, inputs={"video": numbers["video"], "back": back}, budget_ms=5)
    graph.add("mix", mix, inputs={"video": near["mixed"]}, budget_ms=5, **place, **params)
    play = graph.add("play", Play, inputs={"video": "mix.mixed"})
    graph.add("digest", Digest, inputs={"video": play["shown"]}, lane="io", path=str(out))
    return graph
