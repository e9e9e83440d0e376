"""Times drawn from a profile: what a call costs, how long a packet travels, how late the clock is.

One random stream per thing and unit, none shared: a draw depends on the seed, on what it is for and on the unit, so
that adding a node changes nobody else's. Rows of a profile are drawn together, because stalls strike together, and
in runs of `BLOCK` units, because they last.
"""

from __future__ import annotations

from hashlib import blake2b
from math import exp, log
from statistics import NormalDist

from ..plan.plan import NodePlan, StreamPlan
from ..schedule.decide import Fire
from ..units import MS
from .profile import CLOCK, DEFAULT_TRANSFER_MS, LONGEST_MS, Profile

BLOCK = 8
"""Rows that stay in a row."""

MESSAGE_MS = 20
"""How long a control message takes at most."""

_NORMAL = NormalDist()
_P95 = _NORMAL.inv_cdf(0.95)


class Draws:
    """Nanoseconds, by profile, seed and unit."""

    def __init__(self, profile: Profile, seed: int) -> None:
        self._profile = profile
        self._seed = seed
        self._column = {name: i for i, name in enumerate(profile.columns)}
        self._typical = profile.typical if profile.rows else {}

    def cost_ns(self, node: NodePlan, fire: Fire) -> int:
        """Cost of a call: a step by its level and history, an absorb by its units; a gap costs nothing."""
        cost = self._profile.nodes[node.name]
        if fire.mode == "gap":
            return 0
        unit = fire.last
        ms = self._value(node.name, unit, cost.cost_ms, cost.p95_ms, session=fire.session)
        if fire.mode == "absorb":
            per_unit = ms if cost.absorb_ms is None else cost.absorb_ms
            ms = per_unit * len(fire.units)
        else:
            ms *= cost.at_level(fire.level)
        cap = self._profile.history_units
        ms += cost.per_unit_ms * (unit if cap is None else min(unit, cap))
        return _ns(ms)

    def hold_ns(self, node: NodePlan, cost_ns: int) -> int:
        """Part of a call of that cost that holds the interpreter."""
        cost = self._profile.nodes[node.name]
        return int(cost_ns * min(1.0, cost.hold_ms / cost.cost_ms)) if cost.cost_ms else 0

    def transfer_ns(self, stream: StreamPlan, reader: str, unit: int, session: int = 0) -> int:
        """Time of a packet on its way to a process."""
        key = self._profile.transfer_key(stream, reader)
        if key is None:
            return int(DEFAULT_TRANSFER_MS * MS)
        delay = self._profile.transfers[key]
        # Streams that share an entry travel each for themselves, unless they were measured.
        what = key if key in self._column else f"{stream.name}->{reader}"
        return _ns(self._value(key, unit, delay.ms, delay.p95_ms, what, session))

    def late_ns(self, process: str, unit: int) -> int:
        """Delay with which a process wakes."""
        clock = self._profile.clock
        if not clock.late_ms and CLOCK not in self._column:
            return 0
        return _ns(self._value(CLOCK, unit, clock.late_ms, clock.p95_ms, f"{CLOCK}/{process}"))

    def message_ns(self, process: str, number: int) -> int:
        """Time of a message between the supervisor and a process: less than `MESSAGE_MS`."""
        return int(self._uniform(f"message/{process}", number) * MESSAGE_MS * MS)

    def chance(self, what: str, at_ns: int) -> float:
        """A number in (0, 1) for something that happens once at an instant."""
        return self._uniform(what, at_ns)

    def _value(self, key: str, unit: int, typical: float, p95: float | None, what: str = "", session: int = 0) -> float:
        """The row's value, scaled to what is typical now; without rows a log-normal one, or the typical value."""
        column = self._column.get(key)
        if column is not None:
            measured = self._row(max(unit, 0), session)[column]
            usual = self._typical[key]
            return measured * typical / usual if usual else measured
        if p95 is None or p95 <= typical or typical <= 0:
            return typical
        return typical * exp(
            _NORMAL.inv_cdf(self._uniform(_of(session, what or key), unit)) * log(p95 / typical) / _P95
        )

    def _row(self, unit: int, session: int) -> tuple[float, ...]:
        block, place = divmod(unit, BLOCK)
        rows = self._profile.rows
        start = int(self._uniform(_of(session, "rows"), block) * len(rows))
        return rows[(start + place) % len(rows)]

    def _uniform(self, what: str, unit: int) -> float:
        """A number in (0, 1) that follows from the seed, the name and the unit alone."""
        digest = blake2b(f"{self._seed}/{what}/{unit}".encode(), digest_size=8).digest()
        return ((int.from_bytes(digest) >> 11) + 0.5) / 2**53


def _ns(ms: float) -> int:
    return int(min(max(0.0, ms), LONGEST_MS) * MS)


def _of(session: int, what: str) -> str:
    """The name of something in a session: what a session draws is changed by no other one."""
    return f"{what}#{session}" if session else what
