"""The calls that go on in a run, and signs of life, where also the supervisor sees them: a few bytes of shared memory.

A process that hangs in a library, or is killed, can say nothing any more. What its lanes were computing stands here,
written before a body is called and taken back after it, without a lock or a message; and when it last lived.
"""

from __future__ import annotations

import mmap
import os
import struct
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import get_args

from ..errors import RunError
from ..observe.records import Unfinished
from ..plan.plan import Mode, NodePlan, Plan
from ..schedule.decide import Fire
from ..schedule.scheduler import lane_of
from ..units import NS

_MODES: tuple[Mode, ...] = get_args(Mode)
_SIGN = struct.Struct("<q")
_NODE = struct.Struct("<q")
_CALL = struct.Struct("<6q")
_NUMBER_OF_MODE = {mode: number for number, mode in enumerate(_MODES)}
_NONE = _NODE.pack(0)
_SLOT = _NODE.size + _CALL.size

_LEAVING = -1
"""In the place of a sign of life: the process comes to its end in order."""


@dataclass(frozen=True)
class BoardRoom:
    """Shared memory that the calls of a plan need."""

    n_bytes: int
    process: str = "calls"


def room_for(plan: Plan) -> BoardRoom:
    """A slot for every lane, and two signs for every process: one of a life, one of the next."""
    return BoardRoom(max(1, len(_lanes(plan))) * _SLOT + 2 * len(plan.processes) * _SIGN.size)


class CallBoard:
    """Calls by lane, and signs of life. Each slot has one writer, the thread of its lane; each sign the main thread of
    its process.

    A slot holds the node's number, counted from 1, and the call; number 0: none goes on. The number is written last and
    taken back first, so that a call is never read together with another one's node.

    Args:
        plan: whose lanes.
        path: the file that all processes of the run map.
    """

    def __init__(self, plan: Plan, path: str) -> None:
        self._plan = plan
        self._nodes = list(plan.nodes)
        self._name = {name: _NODE.pack(number) for number, name in enumerate(self._nodes, start=1)}
        self._place = {lane: place * _SLOT for place, lane in enumerate(_lanes(plan))}
        signs = len(self._place) * _SLOT
        self._signs = {name: signs + 2 * place * _SIGN.size for place, name in enumerate(plan.processes)}
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            self._bytes = mmap.mmap(fd, room_for(plan).n_bytes)
        finally:
            os.close(fd)

    def begin(self, lane: str, fire: Fire) -> None:
        """A body is about to be called."""
        place = self._place[lane]
        _CALL.pack_into(
            self._bytes, place + _NODE.size, _NUMBER_OF_MODE[fire.mode], fire.level, fire.first, fire.last,
            fire.ready_ns, fire.started_ns,
        )  # fmt: skip
        self._bytes[place : place + _NODE.size] = self._name[fire.node]

    def end(self, lane: str) -> None:
        """It is done."""
        place = self._place[lane]
        self._bytes[place : place + _NODE.size] = _NONE

    def live(self, process: str, life: int) -> None:
        """The main thread of a process runs."""
        _SIGN.pack_into(self._bytes, self._sign(process, life), time.monotonic_ns())

    def leave(self, process: str, life: int) -> None:
        """A process begins to end in order; it gives no sign of life any more."""
        _SIGN.pack_into(self._bytes, self._sign(process, life), _LEAVING)

    def lived_at(self, process: str, life: int) -> float:
        """Time at which a life of a process was last seen to run, by the monotonic clock; 0: never, or it leaves."""
        (sign,) = _SIGN.unpack_from(self._bytes, self._sign(process, life))
        return float(max(0, sign) / NS)

    def leaves(self, process: str, life: int) -> bool:
        """True if it ends in order, or has."""
        (sign,) = _SIGN.unpack_from(self._bytes, self._sign(process, life))
        return bool(sign == _LEAVING)

    def of(self, process: str, now: int) -> list[Unfinished]:
        """The calls that go on in a process, the oldest first."""
        lanes = dict.fromkeys(lane_of(node) for node in self._plan.nodes_in(process))
        found = []
        for lane in lanes:
            (number,) = _NODE.unpack_from(self._bytes, self._place[lane])
            if 0 < number <= len(self._nodes):
                mode, *rest = _CALL.unpack_from(self._bytes, self._place[lane] + _NODE.size)
                node = self._plan.nodes[self._nodes[number - 1]]
                found.append(_unfinished(self._plan, node, _MODES[mode], *rest, now=now))
        return sorted(found, key=lambda call: call.started_ns)

    def close(self) -> None:
        """Unmap it."""
        self._bytes.close()

    def _sign(self, process: str, life: int) -> int:
        # a life and its standby are there at the same time, never three
        return self._signs[process] + life % 2 * _SIGN.size


def unfinished(plan: Plan, fires: Iterable[Fire], now: int) -> list[Unfinished]:
    """Records of calls that go on, the oldest first."""
    found = [
        _unfinished(plan, plan.nodes[f.node], f.mode, f.level, f.first, f.last, f.ready_ns, f.started_ns, now=now)
        for f in fires
    ]
    return sorted(found, key=lambda call: call.started_ns)


def stuck_error(call: Unfinished, stall_ns: int) -> RunError:
    """Message of a run that ends because a body does not come back."""
    return RunError(
        f"{call.text} (expected {stall_ns / NS:g} s at most), the run was ended; "
        "if the body needs longer, give its node a larger stall_s"
    )


def _unfinished(
    plan: Plan,
    node: NodePlan,
    mode: Mode,
    level: int,
    first: int,
    last: int,
    ready_ns: int,
    started_ns: int,
    *,
    now: int,
) -> Unfinished:
    due = None if node.due_ns is None else plan.release_ns(last) + node.due_ns
    return Unfinished(node.name, first, last, mode, level, ready_ns, started_ns, now, due)


def _lanes(plan: Plan) -> list[str]:
    return list(dict.fromkeys(lane_of(node) for node in plan.nodes.values()))
