"""Traces of a run: lines spoilt, lost, doubled and cut, read as explain and timeline do."""

from __future__ import annotations

import gzip
import random
from pathlib import Path

from ...runtime.errors import UserError
from ...runtime.observe.explain import explain
from ...runtime.observe.history import read_history
from ..timeline.columns import view_of
from ..timeline.facts import misses, read_run
from ..timeline.html import page_of
from ..timeline.perfetto import chrome_trace
from ..timeline.story import story
from .damage import spoilt_bytes, spoilt_lines
from .example import leave_files
from .reader import Reader

UNIT = 3
_PACKED = b"\x1f\x8b"


class Traces(Reader):
    """See the module."""

    declared = (UserError,)

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._lines = leave_files(folder)[0].read_bytes().splitlines()

    def case(self, chance: random.Random) -> bytes:
        """Lines of JSON; one in four packed, and spoilt as such."""
        if chance.random() < 0.25:
            return spoilt_bytes(gzip.compress(b"\n".join(self._lines), mtime=0), chance)
        return spoilt_lines(self._lines, chance)

    def read(self, case: bytes) -> None:
        """Explain the missed units and another one, draw the page, and write it for Perfetto."""
        path = self.folder / ("spoilt.trace.gz" if case.startswith(_PACKED) else "spoilt.trace")
        path.write_bytes(case)
        history = read_history(path)
        for unit in [*history.missed, UNIT][:3]:
            explain(history, unit)
        run = read_run(path)
        page_of(view_of(run, name="spoilt", blamed=story(run, misses(run))))
        chrome_trace(run)
