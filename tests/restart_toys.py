"""Nodes for tests of processes that die and come back: loaded by path in every process of a run."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np

from wangraph import Graph, Input, Node, Output, Param

NUMBER = ("1", "int64")


class Count(Node):
    """The number of every unit, and a picture of it, which travels by shared memory."""

    number = Output("tokens", *NUMBER)
    picture = Output("video", "F 64 64 3", "uint8")
    trouble: str = Param("")
    at: int = Param(0)

    def step(self, unit):
        if unit.index == self.at:
            strike(self.trouble)
        return {"number": np.array([unit.index]), "picture": np.full((4, 64, 64, 3), unit.index % 251, np.uint8)}


class Work(Node):
    """What comes in, times a factor; in one unit something happens to it."""

    number = Input("tokens", *NUMBER, late="gap")
    picture = Input("video", "F 64 64 3", "uint8", late="gap")
    out = Output("tokens", *NUMBER)
    shown = Output("video", "F 64 64 3", "uint8")
    trouble: str = Param("")
    at: int = Param(0)
    factor: int = Param(1, live=True)

    def open(self, ctx):
        if self.trouble == "never open again":
            if Path("opened").exists():
                raise OSError("no lens")
            Path("opened").touch()

    def new_state(self):
        return {"n": 0, "was_skipped": False}

    def step(self, state, unit, number, picture):
        state["n"] += 1
        if unit.index == self.at or state["was_skipped"]:
            strike(self.trouble)
        return {"out": number * self.factor, "shown": picture}

    def gap(self, state, units):
        # on a busy machine it may be told of the unit instead of called for it: it dies in the next one then
        state.update(n=0, was_skipped=self.at in [unit.index for unit in units])


class Play(Node):
    """Presents at the deadline, and writes down what came; ends the run when the numbers have come back for a while."""

    paced = True
    number = Input("tokens", *NUMBER, late="empty")
    path: str = Param(path="output")
    enough: int = Param(6)
    after: int = Param(0)
    played = Output("tokens", *NUMBER)

    def open(self, ctx):
        self.ctx = ctx
        self.file = Path(self.path).open("w")

    def new_state(self):
        return {"lost": 0, "back": 0}

    def step(self, state, unit, number):
        self.file.write(f"{unit.index} {'-' if number is None else int(number[0])}\n")
        if number is None:
            state["lost"] += unit.index >= self.after
        else:
            state["back"] += state["lost"] > 0
        if self.enough and state["back"] == self.enough:
            self.ctx.stop("the numbers are back")
        return {"played": number}

    def gap(self, state, units):
        pass

    def close(self):
        self.file.close()


class Keep(Node):
    """Writes down what came, in a process of its own."""

    number = Input("tokens", *NUMBER, late="empty")
    picture = Input("video", "F 64 64 3", "uint8", late="empty")
    path: str = Param(path="output")

    def open(self, ctx):
        self.file = Path(self.path).open("w")

    def step(self, unit, number, picture):
        value = "-" if number is None else int(number[0])
        same = number is None or picture is None or int(picture[0, 0, 0, 0]) == unit.index % 251
        self.file.write(f"{unit.index} {value if same else 'torn'}\n")

    def close(self):
        self.file.close()


def strike(trouble: str) -> None:
    """Let something happen to the process."""
    if trouble == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if trouble == "exit":
        os._exit(0)
    if trouble == "raises":
        raise ValueError("the lens fell off")
    if trouble == "hangs":
        time.sleep(3600)
    if trouble == "never open again":
        os._exit(1)


def mortal(
    folder: Path,
    trouble: str = "killed",
    at: int = 8,
    *,
    who: str = "work",
    enough: int = 6,
    stall_s: float = 30.0,
    **far: object,
):
    """A graph of four processes: near -> far -> main and keeper; what happens to far is up to its ``on_crash``."""
    graph = Graph("mortal", latency_ms=200, fps=50)
    graph.process("near", **(far if who == "count" else {}))
    graph.process("far", **(far if who == "work" else {}))
    graph.process("main", lanes=["loop", "play"])
    graph.process("keeper")
    fault = {"trouble": trouble, "at": at}
    count = graph.add("count", Count, process="near", params=fault if who == "count" else {})
    work = graph.add(
        "work", Work, process="far", inputs={"number": count["number"], "picture": count["picture"]},
        params=fault if who == "work" else {}, stall_s=stall_s,
    )  # fmt: skip
    graph.add(
        "play", Play, lane="play", inputs={"number": work["out"]},
        params={"path": str(folder / "play"), "enough": enough, "after": at},
    )  # fmt: skip
    graph.add(
        "keep", Keep, process="keeper", inputs={"number": work["out"], "picture": work["shown"]},
        params={"path": str(folder / "keep")},
    )  # fmt: skip
    return graph
