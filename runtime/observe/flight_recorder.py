"""The flight recorder: the last seconds of records, written to a trace by themselves when a unit is missed."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from ..errors import RunError, UserError
from ..output_file import claim
from ..units import NS
from .records import Header, Note, Record, TraceWriter, at_ns

AFTER_NS = NS
"""How much of what follows the miss is written too: its culprit may be computing still."""


class FlightRecorder:
    """Give it all records, in the order in which they came; see `take`.

    Args:
        seconds: how much before the miss to keep.
        header: first line of the trace.
        path: where to write.

    Raises:
        UserError: the folder cannot be written into.
    """

    def __init__(self, seconds: float, header: Header, path: Path) -> None:
        if not os.access(path.resolve().parent, os.W_OK):
            raise UserError(
                f"--flight-recorder: cannot write into {path.resolve().parent} (expected a writable folder), "
                "run in another one"
            )
        try:
            claim(path)
        except OSError as error:
            raise UserError(
                f"--flight-recorder: {path}: {error.strerror} (expected none, or a trace to replace), move it away, or "
                "give --force"
            ) from error
        self.path = path
        self.wrote = False
        self.failure: RunError | None = None
        self._keep_ns = round(seconds * NS)
        self._header = header
        self._kept: deque[Record] = deque()
        self._newest = -(2**62)
        self._missed_at: int | None = None

    def take(self, records: Sequence[Record], misses: int) -> Note | None:
        """Keep these; ``misses`` is how many units the run has missed by now.

        Returns:
            What is to be told, when the trace was written or could not be.
        """
        if self.wrote or self.failure is not None:
            return None
        for record in records:
            self._kept.append(record)
            self._newest = max(self._newest, at_ns(record))
        if self._missed_at is None and misses:
            self._missed_at = self._newest
        if self._missed_at is None:
            while self._kept and at_ns(self._kept[0]) < self._newest - self._keep_ns:
                self._kept.popleft()
        elif self._newest >= self._missed_at + AFTER_NS:
            return self.finish()
        return None

    def finish(self) -> Note | None:
        """The run is over: write, if a unit was missed and it was not written yet."""
        if self._missed_at is None or self.wrote:
            return None
        self.wrote = True
        try:
            trace = TraceWriter(self.path)
            trace.write([self._header, *self._kept])
            trace.close()
        except OSError as error:
            self.wrote = False
            self._missed_at = None
            self.failure = RunError(
                f"--flight-recorder: {self.path}: {error.strerror} (expected room for it), the miss was not written"
            )
            return Note(self._newest, "supervisor", "warning", str(self.failure))
        finally:
            self._kept.clear()
        return Note(self._newest, "supervisor", "flight", f"a unit was missed, its trace is {self.path}")
