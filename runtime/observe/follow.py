"""The newest records of a run that goes on, for those who follow it: ``wangraph timeline --live``."""

from __future__ import annotations

from itertools import islice

import msgspec

from .records import Header, Record
from .statistics import Statistics


class Newest(msgspec.Struct, frozen=True):
    """Answer to a follower.

    Attributes:
        header: as the run's trace would begin.
        n_records: how many the run has made so far: what to ask for next.
        n_skipped: how many of those asked for are not kept any more.
        records: the others, in order.
        has_ended: nothing more will come.
    """

    header: Header
    n_records: int
    n_skipped: int
    records: list[Record]
    has_ended: bool


def newest(statistics: Statistics, header: Header, since: int, *, has_ended: bool = False) -> Newest:
    """Records from number ``since`` on, as far as they are kept."""
    recent = statistics.recent
    oldest = statistics.n_records - len(recent)
    records = list(islice(recent, max(0, since - oldest), None))
    return Newest(header, statistics.n_records, max(0, oldest - since), records, has_ended)
