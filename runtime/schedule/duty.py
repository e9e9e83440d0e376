"""Duty to decide units of a stream, and the messages by which that passes from one process to another.

Every unit of a stream has one process that decides its outcome. In a run in which nobody dies that is the plan's
settler for all of them; a death and a return each move a border (`takeover` says where).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from ..plan.plan import Plan, StreamPlan
from .window import Settled, Span


class Known(msgspec.Struct, frozen=True):
    """Knowledge that a process has of a stream.

    It knows every unit from ``first_unit``, where the stream began for it, to ``head``, and those ``kept``, which it
    can still hand over: some below the head, some that settled ahead of their turn. ``end``: once it is known.
    """

    first_unit: int
    head: int
    kept: Mapping[int, Settled]
    end: Settled | None = None

    def has(self, unit: int) -> bool:
        """True if the unit has an outcome here."""
        is_over = self.end is not None and unit >= self.end.packet.unit
        return self.first_unit <= unit < self.head or unit in self.kept or is_over


class Begin(msgspec.Struct, frozen=True, tag=True):
    """Make a scheduler for a session, and keep what arrives for it: before `Go` it does nothing, and settles nothing.

    ``fences`` are those raised so far, as (streams, generation, first unit).
    """

    session: int
    first_unit: int
    limit: int | None
    incarnation: int
    lives: Mapping[str, int]
    fences: tuple[tuple[Sequence[str], int, int], ...]


class Go(msgspec.Struct, frozen=True, tag=True):
    """Everybody agrees on the first unit: begin."""

    session: int


class Withdraw(msgspec.Struct, frozen=True, tag=True):
    """Take no part in a session after all: it is over before all could agree on a first unit."""

    session: int


class Died(msgspec.Struct, frozen=True, tag=True):
    """A life of a process is over: take in nothing of it any more, and say what is known of these streams."""

    session: int
    process: str
    incarnation: int
    streams: tuple[str, ...]


class Report(msgspec.Struct, frozen=True, tag=True):
    """Say what is known of these streams."""

    session: int
    streams: tuple[str, ...]


class Order(msgspec.Struct, frozen=True, tag=True):
    """From now on decide these units of a stream, and no others.

    ``outcomes`` were decided elsewhere and are lacking here. Below ``unmade_until`` nobody makes the stream: its units
    settle as missing by time also where the plan would wait for them for ever.
    """

    session: int
    stream: str
    spans: tuple[Span, ...]
    unmade_until: int
    outcomes: tuple[Settled, ...] = ()


Message = Begin | Go | Withdraw | Died | Report | Order
Answer = Mapping[str, Known]
"""By stream; empty for a message that asks nothing."""


def given_up_ns(plan: Plan, stream: StreamPlan) -> int:
    """Instant, after its release, at which a unit that nobody makes settles as missing: as planned, at its deadline
    where the plan waits for ever, and never before it could have been there."""
    return max(0, plan.latency_ns if stream.settle_ns is None else stream.settle_ns)
