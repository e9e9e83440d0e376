"""The one reader of a run: records in, one `Outcome` out for every unit that was presented.

Records of several processes arrive out of order, by up to about a second: a unit may look real until the process that
gave up one of its inputs sends its records. So a unit stays *open*, and may still change, until its presenters are
`OPEN_S` further on. Then it is closed, and what comes for it later changes nothing (but is counted). Whoever reads the
same records in the same order, live or from a trace, gets the same outcomes.

What is kept depends on the graph and on `OPEN_S`, not on how long the run has lasted.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ..packet import Validity
from ..plan.plan import InputPlan, NodePlan, Plan
from ..schedule.events import Firing, Settlement
from ..units import NS
from .lateness import is_late, past_due_ns
from .outcome import MissingInput, Outcome, Status, UnitKey, presenters
from .records import Record, Transfer

OPEN_S = 2
"""How long after its presentation a unit may change: twice what records of one process are behind those of another."""

SPREAD = 256
"""Units that one presenter may be behind another: those older are closed without it."""

AHEAD = 1024
"""Units not yet presented of which anything is kept: beyond, a sink that fell so far behind finds only what it did."""

_MADE_UP = frozenset({Validity.REPEATED, Validity.CONCEALED})
_SILENT = frozenset({Validity.CONCEALED, Validity.EMPTY, Validity.MISSING})


@dataclass(slots=True)
class _Unit:
    """Knowledge of one unit. It counts as presented once a presenter's firing is here.

    ``given_up`` and ``came`` are times by stream: when it was settled as missing, when its payload was there.
    """

    firings: dict[str, Firing] = field(default_factory=dict)
    missing: list[MissingInput] = field(default_factory=list)
    given_up: dict[str, int] = field(default_factory=dict)
    came: dict[str, int] = field(default_factory=dict)
    concealed: list[str] = field(default_factory=list)
    picture: int | None = None
    sound: int | None = None
    is_missed: bool = False


class RunView:
    """See the module.

    The picture is older than the sound by a unit each time it is repeated; beside silence there is nothing to be out of
    step with. Both are the first of their kind that a presenter gives out.

    Attributes:
        n_presented, n_missed: units so far, closed or open.
        n_overtaken: records of closed units that would have changed them.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.n_presented = self.n_missed = self.n_overtaken = 0
        self._presenters = {node.name: node for node in presenters(plan)}
        self._fed: dict[str, list[tuple[NodePlan, InputPlan]]] = {}
        for node in self._presenters.values():
            for inlet in node.inputs:
                self._fed.setdefault(inlet.stream, []).append((node, inlet))
        inlets = [(node.name, inlet.port) for node in self._presenters.values() for inlet in node.inputs]
        self._place = {inlet: i for i, inlet in enumerate(inlets)}
        self._made: dict[str, list[str]] = {}
        for stream in self._fed:
            self._made.setdefault(plan.streams[stream].node, []).append(stream)
        self._played = {f"{n.name}.{port}" for n in self._presenters.values() for port in n.outputs}
        self._concerned = {*self._fed, *self._played}
        self._picture, self._sound = (self._first_played(kind) for kind in ("video", "audio"))
        self._horizon = math.ceil(OPEN_S * NS / plan.clock.period_ns)
        self._newest = dict.fromkeys(self._presenters, -1)
        self._units: dict[int, _Unit] = {}
        self._closed_up_to = -1
        self._times_repeated = 0

    def add(self, records: Iterable[Record]) -> list[Outcome]:
        """Take in records of planned nodes; the units that were closed by them, in their order."""
        closed: list[Outcome] = []
        for record in records:
            if isinstance(record, Settlement):
                if record.stream in self._concerned:
                    self._add_settlement(record)
            elif isinstance(record, Firing):
                if record.node in self._presenters:
                    closed += self._add_presentation(record)
                elif record.verdict == "late" and record.mode == "step":
                    for stream in self._made.get(record.node, ()):
                        self._add_arrival(stream, record.last, record.finished_ns)
            elif isinstance(record, Transfer) and record.stream in self._fed:
                self._add_arrival(record.stream, record.unit, record.arrived_ns, record.reader)
        return closed

    @property
    def first_open(self) -> int:
        """The first unit that may still change; beyond every unit where no node presents any."""
        return self._closed_up_to + 1 if self._presenters else 2**62

    def open(self) -> list[Outcome]:
        """The presented units that may still change, as they stand, in their order."""
        found, repeated = [], self._times_repeated
        for unit in sorted(self._units):
            entry = self._units[unit]
            repeated = _repeated(repeated, entry)
            if entry.firings:
                found.append(self._outcome(unit, entry, repeated))
        return found

    # Records

    def _add_presentation(self, firing: Firing) -> list[Outcome]:
        if firing.verdict == "end":
            return []
        for unit in range(firing.first, firing.last + 1):
            if unit <= self._closed_up_to:
                self.n_overtaken += 1
                continue
            entry = self._units.setdefault(unit, _Unit())
            self.n_presented += not entry.firings
            entry.firings[firing.node] = firing
            self._count(unit, entry)
        self._newest[firing.node] = max(self._newest[firing.node], firing.last)
        return list(self._close())

    def _add_settlement(self, settled: Settlement) -> None:
        validity = settled.validity
        if validity == Validity.END:
            return
        if settled.stream in self._fed and validity not in (Validity.REAL, Validity.EMPTY):
            for node, inlet in self._fed[settled.stream]:
                self._add_lost(node, inlet, settled)
        if settled.stream in self._played and (entry := self._entry(settled.unit)) is not None:
            if validity in _MADE_UP:
                entry.concealed.append(settled.stream)
            if settled.stream == self._picture:
                entry.picture = validity
            elif settled.stream == self._sound:
                entry.sound = validity

    def _add_lost(self, node: NodePlan, inlet: InputPlan, settled: Settlement) -> None:
        """An inlet of a presenter got something made up, or nothing."""
        unit = settled.unit + inlet.delay
        entry = self._entry(unit)
        if entry is None:
            self.n_overtaken += unit <= self._closed_up_to
        elif settled.validity != Validity.MISSING:
            entry.concealed.append(settled.stream)
        else:
            entry.missing.append(MissingInput(node.name, inlet.port, settled.stream, settled.unit))
            entry.given_up[settled.stream] = settled.at_ns
            self._count(unit, entry)

    def _add_arrival(self, stream: str, unit: int, at_ns: int, reader: str | None = None) -> None:
        """A payload was made, or has arrived in process ``reader``; a later time replaces an earlier one."""
        for node, inlet in self._fed[stream]:
            if reader in (None, node.process) and (entry := self._entry(unit + inlet.delay)) is not None:
                entry.came[stream] = max(at_ns, entry.came.get(stream, at_ns))

    def _entry(self, unit: int) -> _Unit | None:
        """Entry for facts of a unit; None when it is closed, or too far ahead of its presentation."""
        entry = self._units.get(unit)
        if entry is None and unit > self._closed_up_to and len(self._units) < AHEAD:
            entry = self._units[unit] = _Unit()
        return entry

    def _count(self, unit: int, entry: _Unit) -> None:
        """Count a unit as missed as soon as that is known: nothing that comes later takes it back."""
        if entry.is_missed or not entry.firings:
            return
        if entry.missing or any(firing.mode != "step" for firing in entry.firings.values()):
            entry.is_missed = True
            self.n_missed += 1

    # Outcomes

    def _close(self) -> Iterator[Outcome]:
        """The units that all presenters have left behind for long enough, or one of them for much too long."""
        newest = self._newest.values()
        limit = max(min(newest) - self._horizon, max(newest) - SPREAD)
        if limit <= self._closed_up_to:
            return
        self._closed_up_to = limit
        for unit in sorted(unit for unit in self._units if unit <= limit):
            entry = self._units.pop(unit)
            self._times_repeated = _repeated(self._times_repeated, entry)
            if entry.firings:
                yield self._outcome(unit, entry, self._times_repeated)

    def _outcome(self, unit: int, entry: _Unit, times_repeated: int) -> Outcome:
        release = self.plan.release_ns(unit)
        presented = self._presented_ns(entry)
        ready = self._whole_ns(entry)
        status: Status = "missed" if entry.is_missed else "concealed" if entry.concealed else "real"
        pairs = [(node, entry.firings[name]) for name, node in self._presenters.items() if name in entry.firings]
        return Outcome(
            key=UnitKey(unit),
            presenters=tuple(node.name for node, _ in pairs),
            status=status,
            missing=tuple(sorted(entry.missing, key=lambda lost: self._place[lost.node, lost.port])),
            concealed=tuple(sorted({*entry.concealed})),
            not_run=tuple((node.name, f.mode) for node, f in pairs if f.mode != "step"),
            presented_ns=presented,
            latency_ns=None if presented is None else presented - release,
            model_latency_ns=None if ready is None else ready - release,
            slack_ns=None if ready is None else release + self.plan.latency_ns - ready,
            late_ns=max((past_due_ns(node, f) for node, f in pairs if is_late(node, f)), default=0),
            skew_ns=self._skew_ns(entry, times_repeated),
        )

    def _presented_ns(self, entry: _Unit) -> int | None:
        """Instant at which the last presenter presented it."""
        steps = [(self._presenters[name], f) for name, f in entry.firings.items() if f.mode == "step"]
        return max((f.started_ns if node.paced else f.finished_ns for node, f in steps), default=None)

    def _whole_ns(self, entry: _Unit) -> int | None:
        """Instant at which the whole answer was there: what was given up counts from when it came; None: never.

        What was there before it was given up did not get through (a fence dropped it, its packet was lost).
        """
        times = [
            f.finished_ns if f.mode == "step" and not self._presenters[name].paced else f.ready_ns
            for name, f in entry.firings.items()
        ]
        for stream, given_up_ns in entry.given_up.items():
            came = entry.came.get(stream)
            if came is None or came <= given_up_ns:
                return None
            times.append(came)
        if entry.is_missed and not entry.given_up:
            return None
        return max(times)

    def _skew_ns(self, entry: _Unit, times_repeated: int) -> int | None:
        if entry.picture is None or entry.sound is None:
            return None
        return 0 if entry.sound in _SILENT else times_repeated * self.plan.clock.period_ns

    def _first_played(self, kind: str) -> str | None:
        streams = (self.plan.streams[s] for n in self._presenters.values() for p in n.outputs
                   if (s := f"{n.name}.{p}") in self.plan.streams)  # fmt: skip
        return next((stream.name for stream in streams if stream.kind == kind), None)


def outcomes_of(plan: Plan, records: Iterable[Record]) -> list[Outcome]:
    """The outcomes of a run that is over."""
    view = RunView(plan)
    return [*view.add(records), *view.open()]


def _repeated(times: int, entry: _Unit) -> int:
    """Number of times in a row that the picture has been repeated by this unit."""
    if entry.picture is None:
        return times
    return times + 1 if entry.picture in _MADE_UP else 0
