"""Faults on purpose: what ``--inject 'NODE: KIND at=UNIT'`` says, and a body that suffers it.

    stall=300ms   the call takes so much longer
    slow=2.5      the call takes so many times as long
    drop          the node computes, its outputs are lost
    raise         the node raises
    kill          the node's process is killed (SIGKILL)

``at=12`` is one unit, ``at=12..20`` a range, ``at=12..`` everything from there on. Under the virtual clock stall and
slow are virtual cost, never a sleep. A replay injects nothing: what faults did is in the decision log.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, get_args

import msgspec

from ..errors import NodeError, UserError, did_you_mean, listing
from ..node import Node
from ..observe.records import Unfinished
from ..packet import Packet, Validity
from ..plan.plan import NodePlan, Plan
from ..schedule.decide import Fire
from ..schedule.scheduler import Result
from ..units import NS
from .body import Body
from .guards import Notice

Kind = Literal["stall", "slow", "drop", "raise", "kill"]
KINDS: tuple[Kind, ...] = get_args(Kind)

SYNTAX = "NODE: stall=300ms at=UNIT"

_UNITS = re.compile(r"(\d+)(?:(\.\.)(\d+)?)?$")
_TIME = re.compile(r"(\d+(?:\.\d+)?)(us|ms|s)$")
_FACTOR = re.compile(r"(\d+(?:\.\d+)?)x?$")
_TIME_NS = {"us": 1_000, "ms": 1_000_000, "s": NS}


class Fault(msgspec.Struct, frozen=True):
    """One fault of one node, in units ``first..last`` (None: to the end).

    Attributes:
        stall_ns: how much longer, of kind ``stall``.
        factor: how many times as long, of kind ``slow``.
    """

    node: str
    kind: Kind
    first: int
    last: int | None
    stall_ns: int = 0
    factor: float = 1.0

    def strikes(self, fire: Fire | Unfinished) -> bool:
        """True if the fault falls into this call."""
        return fire.last >= self.first and (self.last is None or fire.first <= self.last)

    def extra_ns(self, cost_ns: int) -> int:
        """Time by which a call takes longer that would have taken ``cost_ns``."""
        return self.stall_ns + round(cost_ns * max(0.0, self.factor - 1))

    def __str__(self) -> str:
        amount = {"stall": f"={self.stall_ns / 1e6:g}ms", "slow": f"={self.factor:g}"}.get(self.kind, "")
        last = "" if self.last == self.first else ".." if self.last is None else f"..{self.last}"
        return f"{self.node}: {self.kind}{amount} at={self.first}{last}"


def parse_fault(text: str) -> Fault:
    """A fault as it is written.

    Raises:
        UserError: it is not written like one.
    """
    where = f"--inject '{text}'"
    node, colon, rest = text.partition(":")
    words = dict(_assigned(word) for word in rest.split())
    if not colon or not node.strip() or not words:
        raise UserError(f"{where}: found no node and fault (expected '{SYNTAX}'; kinds: {listing(KINDS)})")
    at = words.pop("at", None)
    units = _UNITS.match(at) if at is not None else None
    if units is None:
        found = "no at=UNIT" if at is None else f"at={at}"
        raise UserError(f"{where}: found {found} (expected at=12, at=12..20 or at=12..)")
    if len(words) != 1:
        raise UserError(f"{where}: found {listing(words)} (expected one of: {listing(KINDS)})")
    ((kind, amount),) = words.items()
    first = int(units[1])
    last = first if units[2] is None else None if units[3] is None else int(units[3])
    if last is not None and last < first:
        raise UserError(f"{where}: found at={at} (expected the first unit before the last)")
    return _fault(where, node.strip(), kind, amount, first, last)


def _fault(where: str, node: str, kind: str, amount: str | None, first: int, last: int | None) -> Fault:
    if kind == "stall":
        stall = _TIME.match(amount or "")
        if stall is None:
            raise UserError(f"{where}: found stall={amount or ''} (expected a time, for example stall=300ms)")
        return Fault(node, "stall", first, last, stall_ns=round(float(stall[1]) * _TIME_NS[stall[2]]))
    if kind == "slow":
        factor = _FACTOR.match(amount or "")
        if factor is None or float(factor[1]) < 1:
            raise UserError(
                f"{where}: found slow={amount or ''} (expected a factor of 1 or more, for example slow=2.5)"
            )
        return Fault(node, "slow", first, last, factor=float(factor[1]))
    for plain in KINDS:
        if plain == kind:
            if amount is not None:
                raise UserError(f"{where}: found {kind}={amount} (expected {kind} alone)")
            return Fault(node, plain, first, last)
    raise UserError(f"{where}: found '{kind}' (expected one of: {listing(KINDS)}){did_you_mean(kind, KINDS)}")


def _assigned(word: str) -> tuple[str, str | None]:
    key, sign, value = word.partition("=")
    return key, value if sign else None


def check_faults(faults: Iterable[Fault], plan: Plan, *, in_processes: bool) -> None:
    """Look whether these faults can happen in this graph.

    Raises:
        UserError: no such node, or nothing there that could be killed.
    """
    for fault in faults:
        if fault.node not in plan.nodes:
            raise UserError(
                f"--inject '{fault}': no node '{fault.node}' (it has: {listing(plan.nodes)})"
                f"{did_you_mean(fault.node, plan.nodes)}"
            )
        if fault.kind == "kill" and not in_processes:
            raise UserError(
                f"--inject '{fault}': found a run inside this process (expected processes of its own), "
                "run it on the system clock without --serial"
            )


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
        self._notice = notice
        self._pause = pause

    def run(self, fire: Fire) -> Result:
        """Call the body, and do to it what its faults say.

        Raises:
            NodeError: as `Body.run`, and where ``raise`` strikes.
        """
        striking = [fault for fault in self._faults if fault.strikes(fire)]
        if not striking:
            return super().run(fire)
        units = f"unit {fire.first}" + (f"..{fire.last}" if fire.last > fire.first else "")
        self._notice("injected", f"node '{self.plan.name}', {units}: {', '.join(map(_what, striking))}")
        kinds = {fault.kind for fault in striking}
        if "kill" in kinds:
            os.kill(os.getpid(), signal.SIGKILL)
        if "raise" in kinds:
            raise NodeError(f"node '{self.plan.name}', {units}: raised because --inject said so")
        began = time.monotonic_ns()
        result = super().run(fire)
        if self._pause is not None:
            spent = time.monotonic_ns() - began
            if extra := sum(fault.extra_ns(spent) for fault in striking):
                self._pause(extra / NS)
        return self._emptied(fire) if "drop" in kinds and not result.ended else result

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


def _what(fault: Fault) -> str:
    return str(fault).split(": ", 1)[1].rsplit(" ", 1)[0]


def make_body(
    node: Node,
    plan: NodePlan,
    graph: Plan,
    faults: Iterable[Fault],
    notice: Notice,
    pause: Callable[[float], None] | None = time.sleep,
) -> Body:
    """The body of a node: a plain one unless a fault names it."""
    own = [fault for fault in faults if fault.node == plan.name]
    return FaultyBody(node, plan, graph, own, notice, pause) if own else Body(node, plan, graph, notice)


def costs_with(faults: Sequence[Fault], cost: Callable[[NodePlan, Fire], int]) -> Callable[[NodePlan, Fire], int]:
    """Virtual costs with what faults add to them."""

    def longer(node: NodePlan, fire: Fire) -> int:
        plain = cost(node, fire)
        return plain + sum(f.extra_ns(plain) for f in faults if f.node == node.name and f.strikes(fire))

    return longer if faults else cost
