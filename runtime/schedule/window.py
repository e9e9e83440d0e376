"""One stream as its consumers see it: a window of units, each settled exactly once."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from ..packet import Packet, Validity
from ..plan.plan import StreamPlan

FOREVER = 2**62
"""A unit after all others."""


PAYLOAD_SHARE = 4
"""Payloads are kept for this part of the time for which outcomes are: readers lag by milliseconds, records by units."""


class Span(NamedTuple):
    """Units ``first`` to ``until``, the latter not among them."""

    first: int
    until: int


@dataclass(slots=True)
class Settled:
    """The one outcome of a unit, and when it was decided."""

    packet: Packet
    at_ns: int


class StreamWindow:
    """Settled units of one stream, from the oldest still needed to the newest known.

    Args:
        plan: the stream.
        holds: a reader shows the last real unit where one is missing.
        first_unit: where the stream begins here.
        incarnation: see the attribute.
        keep_ns: for how long before the newest settlement outcomes are kept that no reader needs any more.

    Attributes:
        head: the first unit that has not settled. Every unit below it has, or lies before the first unit of all: it
            is late, and needs no memory to be known as late. Units beyond it may have settled ahead of their turn.
        ended_at: the unit of the end; from it on every unit is the end, whatever had settled beyond it. The head may
            still be below: an end overtakes units that are under way.
        generation: of the newest fence; what is made from now on carries it.
        incarnation: the oldest life of the process that makes the stream of which anything is still accepted.
        spans: the units that this process decides.
        unmade_until: below this unit nobody makes the stream.
        alarm_ns: when the unit at the head settles as missing (kept by `Streams`); None: not by time.
        late: packets that came after their unit had settled.
    """

    def __init__(
        self, plan: StreamPlan, holds: bool, first_unit: int = 0, incarnation: int = 0, keep_ns: int = 0
    ) -> None:
        self.plan = plan
        self.first_unit = first_unit
        self.head = first_unit
        self.incarnation = incarnation
        self.generation = 0
        # (generation, first unit), the generations rising. An older fence stays beside a newer one that begins later:
        # it alone covers the units in between.
        self._fences: list[tuple[int, int]] = []
        self.ended_at: int | None = None
        self.late = 0
        self.spans: tuple[Span, ...] = ()
        self.unmade_until = first_unit
        self.alarm_ns: int | None = None
        self._units: dict[int, Settled] = {}
        self._end: Settled | None = None
        self._keep_ns = keep_ns
        self._newest_ns = 0
        self._holds = holds
        self._held: Packet | None = None
        self._held_unit = self._needed_from = first_unit
        # what nobody else reads, nobody else can lack
        self._keeps_payloads = len(plan.readers) > 1
        self._copied: deque[int] = deque()

    def __len__(self) -> int:
        return len(self._units)

    def get(self, unit: int) -> Settled | None:
        """The outcome of a unit; None while it is open."""
        if self._end is not None and self.ended_at is not None and unit >= self.ended_at:
            return self._end
        return self._units.get(unit)

    def settle(self, packet: Packet, now: int) -> bool:
        """Decide a unit's outcome; False (and counted) when it was decided before: late packets change nothing."""
        # with two outcomes of one unit, thinker and decoder would remember different pasts from here on
        if packet.unit < self.head or packet.unit in self._units or self._is_over(packet.unit):
            self.late += 1
            return False
        if packet.validity is Validity.END:
            self.ended_at = packet.unit
            self._end = Settled(packet, now)
        else:
            self._units[packet.unit] = Settled(packet, now)
        self._newest_ns = now
        while self.head in self._units:
            self.head += 1
        return True

    def decides(self, unit: int) -> bool:
        """True if a unit is decided here."""
        # Every packet comes through here several times: a generator would cost two calls more each time.
        for first, until in self.spans:  # noqa: SIM110
            if first <= unit < until:
                return True
        return False

    @property
    def kept(self) -> Mapping[int, Settled]:
        """Outcomes that are still here, by unit; the end is none of them."""
        return self._units

    @property
    def end(self) -> Settled | None:
        """The end, once it is known."""
        return self._end

    def is_stale(self, packet: Packet) -> bool:
        """True if a fence has overtaken this packet; an end is none of the content that fences drop."""
        # an end that a fence dropped would leave every reader waiting: the run would never be over
        if not self._fences or packet.validity is Validity.END:
            return False
        return any(packet.generation < generation and packet.unit >= first for generation, first in self._fences)

    def raise_fence(self, generation: int, first_unit: int) -> None:
        """Drop older generations from ``first_unit`` on. What has settled stays: an outcome is decided once.

        What an earlier fence drops from an earlier unit on stays dropped; a fence is forgotten where a later one covers
        all that can still come.
        """
        self.generation = max(self.generation, generation)
        fences = [*(fence for fence in self._fences if fence[1] < first_unit), (generation, first_unit)]
        # a run of days raises fences without end, and every packet is held against all that are kept
        covering = max((i for i, (_, first) in enumerate(fences) if first <= self.head), default=0)
        self._fences = fences[covering:]

    def last_real_before(self, unit: int) -> Packet | None:
        """Packet that ``late: hold`` shows: the newest real packet older than ``unit``."""
        # below what is needed, outcomes are kept without their payloads
        first = self._needed_from
        older = [u for u, s in self._units.items() if first <= u < unit and s.packet.validity is Validity.REAL]
        return self._units[max(older)].packet if older else self._held

    def forget(self, below: int) -> None:
        """Free units that no consumer will ask for again.

        What settled lately stays for those who lack it, should its decider die: measured from the newest settlement
        and not from now, for after a death nothing settles, and what has to be handed over must not run out meanwhile.
        """
        if not self._keep_ns:
            for unit in [u for u in self._units if u < below]:
                self._hold(self._units.pop(unit).packet)
            return
        # every unit once: gone through again at each call, what is kept would cost more than what is new
        for unit in range(self._needed_from, below):
            if (settled := self._units.get(unit)) is not None:
                self._hold(settled.packet)
                self._units[unit] = self._lightened(settled)
        self._needed_from = max(self._needed_from, below)
        until_ns = self._newest_ns - self._keep_ns
        while (oldest := next(iter(self._units), below)) < below and self._units[oldest].at_ns <= until_ns:
            del self._units[oldest]

    def _hold(self, packet: Packet) -> None:
        """Keep a unit that is shown where others are missing: after a long loss there would be none left to show."""
        if self._holds and packet.validity is Validity.REAL and packet.unit >= self._held_unit:
            self._held, self._held_unit = packet, packet.unit

    def _lightened(self, settled: Settled) -> Settled:
        """The same without the shared memory that its payload lies in, which whoever made it needs for what follows."""
        packet, tensors = settled.packet, settled.packet.tensors
        if not tensors:
            return settled
        if not self._keeps_payloads:
            return Settled(packet.without_payload(), settled.at_ns)
        self._copied.append(packet.unit)
        until_ns = self._newest_ns - self._keep_ns // PAYLOAD_SHARE
        while self._copied[0] != packet.unit:
            old = self._units.get(self._copied[0])
            if old is not None and old.at_ns > until_ns:
                break
            unit = self._copied.popleft()
            if old is not None:
                self._units[unit] = Settled(old.packet.without_payload(), old.at_ns)
        return Settled(packet.keep(), settled.at_ns)

    def _is_over(self, unit: int) -> bool:
        return self.ended_at is not None and unit >= self.ended_at
