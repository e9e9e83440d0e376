"""Kinds of fault that the faults bench does: what strikes whom, and what is promised of it."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ...runtime.errors import UserError, did_you_mean, listing


@dataclass(frozen=True)
class Inject:
    """A fault of ``--inject``, without its unit."""

    node: str
    fault: str


@dataclass(frozen=True)
class Deed:
    """A misbehaviour of the node in the middle, see `fault_nodes`."""

    name: str


@dataclass(frozen=True)
class Signal:
    """Signals from outside to a process, or to the ``supervisor``; after so long, SIGCONT."""

    process: str
    numbers: tuple[signal.Signals, ...]
    resume_s: float = 0.0


@dataclass(frozen=True)
class FullDisk:
    """A disk without room for what the supervisor writes: its trace, or its recording."""

    file: Literal["run.trace", "run.mcap"]


Strike = Inject | Deed | Signal | FullDisk


@dataclass(frozen=True)
class Kind:
    """A kind of fault.

    Attributes:
        exits: exit codes of the command that are promised.
        culprit: what is to be named, processes and nodes or a file; empty where nothing has to be.
        graph: ``three`` processes in a row, or the shipped ``duplex``.
        may_lose: units at its end that the file may lack: those in flight when its writer or the supervisor dies.
        node: keys of the node in the middle, of graph ``three``.
        process: keys of the process in the middle, or of the performer.
    """

    name: str
    strike: Strike
    exits: tuple[int, ...] = (0,)
    culprit: tuple[str, ...] = ()
    graph: Literal["three", "duplex"] = "three"
    may_lose: int = 0
    node: Mapping[str, Any] = field(default_factory=dict)
    process: Mapping[str, Any] = field(default_factory=dict)


MIDDLE, SOURCE, MAIN = ("middle",), ("source",), ("main", "sync", "file")
PERFORMER = ("performer", "perform")
IN_FLIGHT = 2
"""Units that a death may cost the file: a fragment of 320 ms."""

PAUSE_S = 3.0
"""How long a process stays stopped: longer than the supervisor lets one be silent."""

PATIENT = {"stall_s": 2.0}
"""Of a node that hangs for good: its run ends after so long."""


def _injected() -> list[Kind]:
    def middle(fault: str, **more: Any) -> Kind:
        return Kind(fault, Inject("middle", fault), **more)

    named = {"exits": (1,), "culprit": MIDDLE}
    return [
        middle("stall=1s", culprit=MIDDLE),
        middle("hang", node=PATIENT, **named),
        middle("raise", **named),
        middle("drop"),
        middle("nan", culprit=MIDDLE),
        middle("garbage"),
        middle("corrupt"),
        middle("repeat"),
        middle("duplicate"),
        middle("reorder"),
        middle("kill", **named),
        middle("exit0", **named),
        middle("stop=3s", culprit=MIDDLE),
        middle("stop", node=PATIENT, **named),
        middle("freeze-gil=3s", culprit=MIDDLE),
        middle("freeze-gil=600s", node=PATIENT, **named),
        middle("cpu-hog=1s"),
        Kind("disk-full-mp4", Inject("sync", "disk-full"), exits=(1,), culprit=("file",), may_lose=1000),
    ]


def _survived() -> list[Kind]:
    """Deaths without which the run goes on."""
    again: dict[str, Any] = {"on_crash": "restart"}

    def middle(fault: str, how: str, process: Mapping[str, Any], **more: Any) -> Kind:
        strike = Inject("middle", fault)
        return Kind(f"{fault}-{how}", strike, (0,), MIDDLE, process=process, **more)

    return [
        *(middle(fault, "restarted", again) for fault in ("kill", "exit0", "raise", "stop")),
        middle("hang", "restarted", again, node=PATIENT),
        middle("kill", "standby", {**again, "standby": True}),
        middle("kill", "bypassed", {"on_crash": "bypass"}),
    ]


def _signalled() -> list[Kind]:
    kinds = []
    for process, culprit in (("source", SOURCE), ("middle", MIDDLE), ("main", MAIN)):
        may_lose = IN_FLIGHT if process == "main" else 0
        for number in (signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM):
            name = f"{number.name}-{process}"
            kinds.append(Kind(name, Signal(process, (number,)), (1,), culprit, may_lose=may_lose))
        kinds.append(Kind(f"SIGSTOP-{process}", Signal(process, (signal.SIGSTOP,), PAUSE_S), (0,), culprit))
    ends = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    kinds += [Kind(f"{end.name}-supervisor", Signal("supervisor", (end,)), (128 + end,)) for end in ends]
    twice = Signal("supervisor", (signal.SIGINT, signal.SIGINT))
    return [
        *kinds,
        Kind("SIGINT-twice-supervisor", twice, (130,), may_lose=IN_FLIGHT),
        Kind("SIGKILL-supervisor", Signal("supervisor", (signal.SIGKILL,)), (-signal.SIGKILL,), may_lose=IN_FLIGHT),
        Kind("SIGSTOP-supervisor", Signal("supervisor", (signal.SIGSTOP,), PAUSE_S)),
    ]


def _misbehaving() -> list[Kind]:
    def node(deed: str, exits: tuple[int, ...] = (1,), culprit: tuple[str, ...] = MIDDLE, **more: Any) -> Kind:
        return Kind(f"node-{deed}", Deed(deed), exits, culprit, **more)

    return [
        node("sys-exit"),
        node("exit-3"),
        node("segfault"),
        node("abort"),
        node("spin", node=PATIENT),
        node("interrupt"),
        node("unreadable"),
        node("no-memory"),
        node("wrong-shape"),
        node("close-raises"),
        node("close-hangs", exits=(0, 1)),
        node("fork", exits=(0,), culprit=()),
        node("threads", exits=(0,), culprit=()),
    ]


def _duplex() -> list[Kind]:
    performer = Signal("performer", (signal.SIGKILL,))
    spare = {"standby": True}
    return [
        Kind("duplex-stall=1s", Inject("perform", "stall=1s"), (0,), PERFORMER, "duplex"),
        Kind("duplex-freeze-gil=3s", Inject("perform", "freeze-gil=3s"), (0,), PERFORMER, "duplex"),
        Kind("duplex-exit0", Inject("perform", "exit0"), (0,), PERFORMER, "duplex"),
        Kind("duplex-SIGKILL-performer", performer, (0,), PERFORMER, "duplex"),
        Kind("duplex-SIGKILL-performer-standby", performer, (0,), PERFORMER, "duplex", process=spare),
        Kind("duplex-SIGKILL-main", Signal("main", (signal.SIGKILL,)), (1,), ("main",), "duplex", IN_FLIGHT),
        Kind("duplex-SIGSTOP-performer", Signal("performer", (signal.SIGSTOP,), PAUSE_S), (0,), PERFORMER, "duplex"),
        Kind("duplex-SIGINT-supervisor", Signal("supervisor", (signal.SIGINT,)), (130,), (), "duplex"),
    ]


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in [
        *_injected(),
        *_survived(),
        *_signalled(),
        Kind("disk-full-trace", FullDisk("run.trace"), (1,), ("run.trace",)),
        Kind("disk-full-recording", FullDisk("run.mcap"), (1,), ("run.mcap",)),
        *_misbehaving(),
        *_duplex(),
    ]
}


def chosen(only: str | None) -> list[Kind]:
    """Kinds by their names, with commas between them; all where none are given.

    Raises:
        UserError: no such kind.
    """
    if only is None:
        return list(KINDS.values())
    names = [name.strip() for name in only.split(",")]
    for name in names:
        if name not in KINDS:
            raise UserError(f"--only: no kind '{name}' (it has: {listing(KINDS)}){did_you_mean(name, KINDS)}")
    return [KINDS[name] for name in names]
