"""Faults on purpose: the words of ``--inject 'NODE: KIND at=UNITS p=SHARE'``, and which units they strike.

`HELP` says what each kind does. What harms bodies and outputs does so under the virtual clock
too, where stall and slow are virtual cost, never a sleep. A replay injects nothing: what faults did is in the decision
log.

Not here: a clock that steps (units follow the monotonic clock, which nobody can set), and a queue that is full or a
peer that is slow: that is a reader which is stopped or stalled.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, get_args

import msgspec

from ..errors import UserError, did_you_mean, listing
from ..observe.records import Unfinished
from ..plan.plan import NodePlan, Plan
from ..schedule.decide import Fire
from ..units import NS

Kind = Literal[
    "stall", "slow", "hang", "raise",
    "drop", "nan", "garbage", "corrupt", "repeat",
    "duplicate", "reorder",
    "kill", "exit0", "stop", "freeze-gil", "cpu-hog", "disk-full",
]  # fmt: skip
KINDS: tuple[Kind, ...] = get_args(Kind)

HELP = """\
A fault is NODE: KIND at=UNITS, where UNITS is 40, 40..60 or 40.. and KIND is
  stall=300ms      the call takes so much longer
  slow=2.5         the call takes so many times as long
  hang             the call never returns
  raise            the node raises
  drop             the node computes, its outputs are lost
  nan              its floating-point outputs become NaN
  garbage          its outputs become random values of the same shape
  corrupt          bytes of its outputs are overwritten, about one of 256
  repeat           it gives once more what it gave for the unit before
  duplicate        what it sends to other processes arrives twice
  reorder          what it sends to other processes arrives after the next unit
  kill             its process is killed (SIGKILL)
  exit0            its process ends, with exit code 0
  stop, stop=2s    its process is frozen (SIGSTOP), for ever or for so long
  freeze-gil=2s    the interpreter of its process is held for so long, in C
  cpu-hog=2s       every core is kept busy for so long
  disk-full        files of its process cannot grow, from then on
Add p=.1 to strike one of ten of these units, the same ones whenever the seed is the same. Under the virtual clock
stall and slow are virtual time. The trace records every fault. An underrun is a row of missed units."""
"""What users are told of them."""

TIMED: tuple[Kind, ...] = ("stall", "stop", "freeze-gil", "cpu-hog")
"""Kinds with a time; ``stop`` alone goes without as well."""

SPOILING: tuple[Kind, ...] = ("nan", "garbage", "corrupt", "repeat")
"""Kinds that change the values of outputs."""

ON_THE_WAY: tuple[Kind, ...] = ("duplicate", "reorder")
"""Kinds that strike packets between two processes."""

OF_PROCESSES: tuple[Kind, ...] = ("hang", "kill", "exit0", "stop", "freeze-gil", "cpu-hog", "disk-full")
"""Kinds that would harm whoever runs the graph where it has no processes of its own."""

SILENT: tuple[Kind, ...] = ("kill", "exit0", "stop", "freeze-gil")
"""Kinds after which a process may have no time to report the strike: its supervisor does."""

SYNTAX = "NODE: stall=300ms at=UNIT"

_UNITS = re.compile(r"(\d+)(?:(\.\.)(\d+)?)?$")
_TIME = re.compile(r"(\d+(?:\.\d+)?)(us|ms|s)$")
_FACTOR = re.compile(r"(\d+(?:\.\d+)?)x?$")
_SHARE = re.compile(r"(\d*\.?\d+)$")
_TIME_NS = {"us": 1_000, "ms": 1_000_000, "s": NS}


class Fault(msgspec.Struct, frozen=True):
    """One fault of one node, in units ``first..last`` (None: to the end).

    Attributes:
        time_ns: how long it lasts, or how much longer the call takes; of the kinds in `TIMED`.
        factor: how many times as long, of kind ``slow``.
        p: share of these units that it strikes.
    """

    node: str
    kind: Kind
    first: int
    last: int | None
    time_ns: int = 0
    factor: float = 1.0
    p: float = 1.0

    def strikes(self, call: Fire | Unfinished, seed: int) -> bool:
        """True if the fault falls into this call of a run with that seed."""
        first, last = max(call.first, self.first), call.last if self.last is None else min(call.last, self.last)
        return any(self.strikes_unit(unit, seed) for unit in range(first, last + 1))

    def strikes_unit(self, unit: int, seed: int) -> bool:
        """True if the fault falls into this unit."""
        if unit < self.first or (self.last is not None and unit > self.last):
            return False
        # by the unit and not by a draw a call: late calls take several units at once, and a second run must be
        # struck alike
        return self.p >= 1 or self.chance(seed, unit).random() < self.p

    def chance(self, seed: int, unit: int) -> random.Random:
        """Random numbers of one strike: the same in every run with that seed."""
        return random.Random(f"{seed} {self} {unit}")

    def extra_ns(self, cost_ns: int) -> int:
        """Time by which a call takes longer that would have taken ``cost_ns``."""
        stall_ns = self.time_ns if self.kind == "stall" else 0
        return stall_ns + round(cost_ns * max(0.0, self.factor - 1))

    @property
    def what(self) -> str:
        """Kind and amount, as they are written."""
        if self.kind == "slow":
            return f"slow={self.factor:g}"
        return f"{self.kind}={self.time_ns / 1e6:g}ms" if self.time_ns else self.kind

    def __str__(self) -> str:
        last = "" if self.last == self.first else ".." if self.last is None else f"..{self.last}"
        share = "" if self.p >= 1 else f" p={self.p:g}"
        return f"{self.node}: {self.what} at={self.first}{last}{share}"


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
    p = _share(where, words.pop("p")) if "p" in words else 1.0
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
    return _fault(where, node.strip(), kind, amount, first, last, p)


def _fault(where: str, node: str, word: str, amount: str | None, first: int, last: int | None, p: float) -> Fault:
    kind = next((kind for kind in KINDS if kind == word), None)
    if kind is None:
        raise UserError(f"{where}: found '{word}' (expected one of: {listing(KINDS)}){did_you_mean(word, KINDS)}")
    if kind in TIMED and not (kind == "stop" and amount is None):
        time = _TIME.match(amount or "")
        if time is None:
            raise UserError(f"{where}: found {kind}={amount or ''} (expected a time, for example {kind}=300ms)")
        return Fault(node, kind, first, last, time_ns=round(float(time[1]) * _TIME_NS[time[2]]), p=p)
    if kind == "slow":
        factor = _FACTOR.match(amount or "")
        if factor is None or float(factor[1]) < 1:
            raise UserError(
                f"{where}: found slow={amount or ''} (expected a factor of 1 or more, for example slow=2.5)"
            )
        return Fault(node, kind, first, last, factor=float(factor[1]), p=p)
    if amount is not None:
        raise UserError(f"{where}: found {kind}={amount} (expected {kind} alone)")
    return Fault(node, kind, first, last, p=p)


def _share(where: str, text: str | None) -> float:
    if (share := _SHARE.match(text or "")) is None or not 0 < float(share[1]) <= 1:
        raise UserError(f"{where}: found p={text or ''} (expected a share above 0 and up to 1, for example p=.1)")
    return float(share[1])


def _assigned(word: str) -> tuple[str, str | None]:
    key, sign, value = word.partition("=")
    return key, value if sign else None


def check_faults(faults: Iterable[Fault], plan: Plan, *, in_processes: bool) -> None:
    """Look whether these faults can happen in this graph.

    Raises:
        UserError: no such node, or nothing there that the fault could strike.
    """
    for fault in faults:
        if fault.node not in plan.nodes:
            raise UserError(
                f"--inject '{fault}': no node '{fault.node}' (it has: {listing(plan.nodes)})"
                f"{did_you_mean(fault.node, plan.nodes)}"
            )
        if fault.kind in (*OF_PROCESSES, *ON_THE_WAY) and not in_processes:
            raise UserError(
                f"--inject '{fault}': found a run inside this process (expected processes of its own), "
                "run it on the system clock without --serial"
            )
        if (found := _unstruck(fault, plan)) is not None:
            raise UserError(f"--inject '{fault}': {found}")


def _unstruck(fault: Fault, plan: Plan) -> str | None:
    """In words, why the outputs of a node are nothing that the fault could strike; None where they are."""
    node = plan.nodes[fault.node]
    streams = [plan.streams[f"{node.name}.{port}"] for port in node.outputs]
    if fault.kind in (*SPOILING, *ON_THE_WAY, "drop") and not streams:
        return f"node '{node.name}' has no outputs (expected some), name a node before it"
    if fault.kind == "nan" and not any(_is_float(t.dtype) for stream in streams for t in stream.tensors):
        return f"node '{node.name}' gives out no floating-point numbers (expected some), inject garbage"
    if fault.kind in ON_THE_WAY and not any(stream.readers for stream in streams):
        return f"node '{node.name}' is read in its own process alone (expected a reader in another one)"
    return None


def _is_float(dtype: str | None) -> bool:
    return dtype is None or "float" in dtype


def costs_with(
    faults: Sequence[Fault], cost: Callable[[NodePlan, Fire], int], seed: int
) -> Callable[[NodePlan, Fire], int]:
    """Virtual costs with what faults add to them."""

    def longer(node: NodePlan, fire: Fire) -> int:
        plain = cost(node, fire)
        return plain + sum(f.extra_ns(plain) for f in faults if f.node == node.name and f.strikes(fire, seed))

    return longer if faults else cost
