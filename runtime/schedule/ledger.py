"""One session as whoever watches the processes keeps account of it: who decides which units, and what is recorded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from ..packet import Validity
from ..plan.plan import Plan, StreamPlan
from .duty import given_up_ns
from .events import Settlement
from .window import FOREVER, Span

WATCHER = ""
"""Who decides what no living process reads."""


@dataclass
class Tally:
    """Units of a stream that are recorded: all below ``head``, those ``ahead``, and all from its end on."""

    head: int
    ahead: set[int] = field(default_factory=set)
    ended_at: int | None = None

    def add(self, unit: int, validity: int) -> None:
        """A settlement is recorded."""
        if validity == Validity.END:
            self.ended_at = unit
            return
        self.ahead.add(unit)
        while self.head in self.ahead:
            self.ahead.discard(self.head)
            self.head += 1

    @property
    def top(self) -> int:
        """Beyond it nothing is recorded, but that it is the end."""
        ended_at = -1 if self.ended_at is None else self.ended_at
        return max(self.head, max(self.ahead, default=-1) + 1, ended_at + 1)

    def has(self, unit: int) -> bool:
        """True if a unit is recorded."""
        return unit < self.head or unit in self.ahead or (self.ended_at is not None and unit >= self.ended_at)


class Ledger:
    """The account of one session.

    Args:
        plan: the checked graph.
        number: of the session.
        first_unit: where it begins.
        limit: where its sources end.

    Attributes:
        spans: by stream, who decides which units. Invariant: they follow one another without a gap, from ``first_unit``
            to `FOREVER`; past ones stay, for what their holder recorded last may be lost with it.
        made_from: the unit from which on a process makes its streams; `FOREVER` while it is dead.
        is_agreed: everybody begins at ``first_unit``. Before, nothing may settle: it may become a later one.
        fences: those raised so far, as (streams, generation, first unit).
    """

    def __init__(self, plan: Plan, number: int, first_unit: int, limit: int | None) -> None:
        self.plan = plan
        self.number = number
        self.first_unit = first_unit
        self.limit = limit
        whole, streams = Span(first_unit, FOREVER), plan.streams.values()
        self.spans: dict[str, list[tuple[Span, str]]] = {s.name: [(whole, s.settler)] for s in streams}
        self.made_from = dict.fromkeys(plan.processes, first_unit)
        self.tallies = {s.name: Tally(first_unit) for s in streams}
        self.is_agreed = False
        self.fences: list[tuple[Sequence[str], int, int]] = []

    def spans_of(self, stream: str, process: str) -> tuple[Span, ...]:
        """The units of a stream that a process decides, or has decided."""
        return tuple(span for span, holder in self.spans[stream] if holder == process)

    def concerns(self, stream: str, process: str) -> bool:
        """True if a process makes a stream, or decides any of it."""
        return self.plan.streams[stream].process == process or bool(self.spans_of(stream, process))

    def pass_on(self, stream: str, holder: str, successor: str, from_unit: int) -> None:
        """Give a holder's units from ``from_unit`` on to a successor; those before, which it cannot know, to nobody
        alive."""
        spans: list[tuple[Span, str]] = []
        for span, who in self.spans[stream]:
            border = min(max(span.first, from_unit), span.until)
            parts = [(Span(span.first, border), WATCHER), (Span(border, span.until), successor)]
            spans += parts if who == holder else [(span, who)]
        self.spans[stream] = _joined(spans)

    def give_back(self, stream: str, process: str, first: int) -> None:
        """Give all units from ``first`` on to a process."""
        cut = [(Span(span.first, min(span.until, first)), who) for span, who in self.spans[stream]]
        self.spans[stream] = _joined([*cut, (Span(first, FOREVER), process)])

    def claim(self, stream: str, process: str, first: int) -> None:
        """Give what nobody alive decides from ``first`` on to a process: also a piece in the middle, which was a dead
        one's until the stream is made again. Left to the watcher, who only records, its reader would wait for ever."""
        spans: list[tuple[Span, str]] = []
        for span, who in self.spans[stream]:
            border = min(max(span.first, first), span.until)
            spans += [(Span(span.first, border), who), (Span(border, span.until), who if who != WATCHER else process)]
        self.spans[stream] = _joined(spans)

    # What the watcher decides

    def orphans(self, now: int) -> Iterator[tuple[str, int, Validity, int]]:
        """Units that no living process decides and that time has settled, each with its outcome and its instant. To be
        recorded one by one: the next one follows from that."""
        for stream in self.plan.streams.values() if self.is_agreed else ():
            while (orphan := self._next_orphan(stream)) is not None and orphan[1] <= now:
                unit, at = orphan
                yield stream.name, unit, Validity.END if self._is_past_end(stream, unit) else Validity.MISSING, at

    @property
    def next_ns(self) -> int | None:
        """Instant at which the next orphan settles."""
        streams = self.plan.streams.values() if self.is_agreed else ()
        orphans = (self._next_orphan(stream) for stream in streams)
        return min((orphan[1] for orphan in orphans if orphan is not None), default=None)

    def settlement(
        self, stream: str, unit: int, validity: Validity, at_ns: int, incarnation: int, n_bytes: int = 0
    ) -> Settlement:
        """The record of a unit, which is recorded now."""
        self.tallies[stream].add(unit, validity)
        return Settlement(stream, unit, validity, at_ns, n_bytes, self.number, incarnation)

    def _is_past_end(self, stream: StreamPlan, unit: int) -> bool:
        """True if a stream ends here: at the limit, unless somebody decides what follows or its end is recorded."""
        is_last = self.spans[stream.name][-1][0].first <= unit and self.tallies[stream.name].ended_at is None
        return is_last and self.limit is not None and unit >= self.limit

    def _next_orphan(self, stream: StreamPlan) -> tuple[int, int] | None:
        """The first open unit of those that the watcher decides, and when it settles."""
        tally = self.tallies[stream.name]
        for span, holder in self.spans[stream.name]:
            if holder != WATCHER:
                continue
            unit = max(span.first, tally.head)
            while unit in tally.ahead:
                unit += 1
            if unit < span.until and not tally.has(unit):
                return unit, self.plan.release_ns(unit) + given_up_ns(self.plan, stream)
        return None


def _joined(spans: Iterable[tuple[Span, str]]) -> list[tuple[Span, str]]:
    """The same, empty ones left out and neighbours of one holder made one."""
    joined: list[tuple[Span, str]] = []
    for span, holder in spans:
        if span.first >= span.until:
            continue
        before = joined.pop()[0] if joined and joined[-1][1] == holder else span
        joined.append((Span(before.first, span.until), holder))
    return joined
