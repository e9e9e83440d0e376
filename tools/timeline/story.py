"""Culprits of missed units, as ``wangraph explain`` names them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from ...runtime.observe.explain import explain
from ...runtime.observe.history import History
from ...runtime.observe.records import Record
from .facts import Run

MOST = 500
"""Misses that are explained; a run that misses more has its reason among the first."""


class Blamed(msgspec.Struct):
    """One culprit of a missed unit: what ``node`` did on unit ``of``, and the sentences that lead there."""

    unit: int
    kind: str
    node: str
    of: int
    text: str
    because: tuple[str, ...]


def story(run: Run, missed: Iterable[int], records: Sequence[Record] | None = None) -> list[Blamed]:
    """The culprits of these units, the first `MOST` of them, in order of unit.

    Args:
        records: where to look for them; all of the run's by default.
    """
    units = sorted(missed)[:MOST]
    if not units:
        return []
    history = History(run.plan, run.records if records is None else records)
    known = [unit for unit in units if history.first_unit <= unit < history.n_units]
    return [
        Blamed(unit, c.kind, c.node, c.unit, c.text, c.because)
        for unit in known
        for c in explain(history, unit).culprits
    ]
