"""Times at which processes of a run were gone, as its notes say: from a death to a return."""

from __future__ import annotations

from collections import defaultdict

from ..plan.plan import Plan
from ..units import NS
from .records import Note, Unfinished

DIED, BACK = "died", "back"
"""Kinds of notes, whose process is the one that is meant."""


class Downtimes:
    """See the module."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._by_process: dict[str, list[tuple[Note, int | None]]] = defaultdict(list)

    def add(self, note: Note) -> None:
        """Take a note in; others than of deaths and returns change nothing."""
        downtimes = self._by_process[note.process]
        if note.kind == DIED:
            downtimes.append((note, None))
        elif note.kind == BACK and downtimes:
            downtimes[-1] = (downtimes[-1][0], note.at_ns)

    def at(self, process: str, at_ns: int) -> Note | None:
        """The death for which a process did nothing at this instant; None: it was there."""
        # what it makes begins a few units after its return, in the future on which all could agree
        margin_ns = 4 * self._plan.clock.period_ns
        for death, back_ns in reversed(self._by_process[process]):
            if death.at_ns <= at_ns and (back_ns is None or at_ns < back_ns + margin_ns):
                return death
        return None

    def end_of(self, call: Unfinished, until_ns: int) -> int:
        """Instant at which a call ended that did not come to its end: with its process, or not until then."""
        deaths = (death.at_ns for death, _ in self._by_process[self._plan.nodes[call.node].process])
        return min((at for at in deaths if at >= call.started_ns), default=until_ns)


def gone(death: Note, process: str) -> str:
    """Sentence on what a process could not do."""
    why = death.text.partition(" (expected")[0]
    return f"process '{process}' was gone since {death.at_ns / NS:.3f} s ({why})"
