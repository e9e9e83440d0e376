"""A trace of a run's last seconds, for runs that last for days: what is older does not stay on the disk.

While the run goes on there are two files in turn: when the newer one holds the whole window, it becomes the older one,
and the older one goes. Each begins with the header and can be read on its own, also when the run is killed. At the end
they become one, cut to the window.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path

import msgspec

from ..errors import RunError
from ..units import NS
from .line_file import SUFFIX, LineWriter, read_lines
from .records import Header, Record, TraceWriter, at_ns

_AT_ONCE = 1000  # lines


class TraceWindow:
    """Writes as a `TraceWriter` does; `older_path` is where the older file lies meanwhile.

    Args:
        seconds: how much is kept at least; on the disk there is twice as much at most.
    """

    def __init__(self, path: Path, seconds: float) -> None:
        self.path = path
        self.older_path = older_path(path)
        self._window_ns = round(seconds * NS)
        self._writer = TraceWriter(path)
        self._header: Header | None = None
        self._began_ns: int | None = None
        self._newest_ns = -(2**62)
        self._has_older = False

    def write(self, records: list[Record]) -> None:
        """Append these records; the first one of all is the header."""
        timed = [record for record in records if not isinstance(record, Header)]
        if len(timed) < len(records) and isinstance(records[0], Header):
            self._header = records[0]
        if timed:
            newest = max(map(at_ns, timed))
            if self._began_ns is None:
                self._began_ns = newest
            elif newest >= self._began_ns + self._window_ns:
                self._turn_over()
                self._began_ns = newest
            self._newest_ns = max(self._newest_ns, newest)
        self._writer.write(records)

    def close(self) -> None:
        """Join both files.

        Raises:
            RunError: there is no room to; both files stay, and can be read.
        """
        self._writer.close()
        if not self._has_older:
            return
        joined = _beside(self.path, "joined")
        try:
            self._join(joined)
            os.replace(joined, self.path)
            self.older_path.unlink()
        except OSError as error:
            joined.unlink(missing_ok=True)
            raise RunError(
                f"--trace-window: {self.path}: {error.strerror} (expected room for both files in one), "
                f"{self.older_path} has what came before"
            ) from error

    def _turn_over(self) -> None:
        assert self._header is not None, "a trace begins with its header"
        self._writer.close()
        os.replace(self.path, self.older_path)
        self._has_older = True
        self._writer = TraceWriter(self.path)
        self._writer.write([self._header])

    def _join(self, path: Path) -> None:
        decoder = msgspec.json.Decoder(Record)
        since_ns = self._newest_ns - self._window_ns
        older, newer = read_lines(self.older_path), read_lines(self.path)
        joined = LineWriter(path)
        try:
            joined.write(next(older))
            next(newer)
            recent = (line for line in older if at_ns(decoder.decode(line)) >= since_ns)
            for lines in _batched(chain(recent, newer)):
                joined.write(lines)
        finally:
            joined.close()


def _batched(lines: Iterator[bytes]) -> Iterator[bytes]:
    while some := b"".join(islice(lines, _AT_ONCE)):
        yield some


def older_path(path: Path) -> Path:
    """``run.trace`` -> ``run.older.trace``, and ``run.trace.gz`` -> ``run.older.trace.gz``."""
    return _beside(path, "older")


def _beside(path: Path, word: str) -> Path:
    plain = path.with_suffix("") if path.suffix == SUFFIX else path
    return path.with_name(f"{plain.stem}.{word}{plain.suffix}{path.name[len(plain.name) :]}")
