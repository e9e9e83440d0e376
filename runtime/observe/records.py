"""Records of every step of a run, of fixed size, and the trace file that holds them.

A trace is JSON lines: one `Header`, then records in the order in which the supervisor collected them, then one
`Footer` (absent when the run was killed: everything before it is still readable). All times are nanoseconds after
the run's origin (negative before unit 0). `Firing` and `Settlement` together are the **decision log**: a replay
reads from them who fired with which units, mode and level, and how every (stream, unit) was settled.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from ..._version import __version__
from ..errors import UserError
from ..plan.plan import Carrier, Mode, Plan, redacted, to_plain
from ..schedule.events import Fenced, Firing, Settlement, Updated
from .line_file import LineWriter, read_lines
from .machine import machine

TRACE_VERSION = 3


class Header(msgspec.Struct, tag="header", frozen=True):
    """First line: the plan as plain data (see `Plan`), when and where it ran."""

    version: int
    wangraph: str
    started: str
    plan: dict[str, Any]
    machine: dict[str, Any]
    clock: str
    engine: str


class Transfer(msgspec.Struct, tag="transfer", frozen=True, gc=False, omit_defaults=True):
    """A packet that crossed processes: sent by ``sender`` at, arrived in ``reader`` at."""

    stream: str
    unit: int
    sender: str
    reader: str
    sent_ns: int
    arrived_ns: int
    n_bytes: int
    carrier: Carrier = "shared"
    session: int = 0
    incarnation: int = 0


class Unfinished(msgspec.Struct, tag="unfinished", frozen=True, omit_defaults=True):
    """A call of a body that went on at ``at_ns``: it is stuck, or its process came to an end without it. The rest as of
    a `Firing`. A later one of the same call, or its firing, replaces it."""

    node: str
    first: int
    last: int
    mode: Mode
    level: int
    ready_ns: int
    started_ns: int
    at_ns: int
    due_ns: int | None
    session: int = 0
    incarnation: int = 0

    @property
    def text(self) -> str:
        """In words, what goes on and since when."""
        units = f"unit {self.first}" + (f"..{self.last}" if self.last > self.first else "")
        for_s = (self.at_ns - self.started_ns) / 1e9
        return f"node '{self.node}', {units}: computing since {self.started_ns / 1e6:.0f} ms, for {for_s:.1f} s"

    def as_firing(self, until_ns: int) -> Firing:
        """A firing with the verdict ``unfinished``, as if it had lasted until then."""
        return Firing(
            self.node, self.first, self.last, self.mode, self.level, self.ready_ns, self.started_ns,
            max(until_ns, self.at_ns), self.due_ns, "unfinished", self.session, self.incarnation,
        )  # fmt: skip


class Note(msgspec.Struct, tag="note", frozen=True):
    """Something worth telling: a stall, a warning, a node's report."""

    at_ns: int
    process: str
    kind: str
    text: str


class NodeStatus(msgspec.Struct, frozen=True):
    """State of a node: the first unit it has not seen, what it does or waits for in words, and how many settled units
    of its inputs it has not consumed. Reported while somebody watches; no part of a trace."""

    node: str
    unit: int
    doing: str
    queued: int
    session: int = 0
    incarnation: int = 0


class Footer(msgspec.Struct, tag="footer", frozen=True):
    """Last line: the run's summary, as ``--json`` prints it."""

    summary: dict[str, Any]


Record = Header | Firing | Unfinished | Settlement | Transfer | Fenced | Updated | Note | Footer


def at_ns(record: Record) -> int:
    """Instant at which a record was made, after the origin."""
    if isinstance(record, Firing):
        return record.finished_ns
    if isinstance(record, Transfer):
        return record.arrived_ns
    if isinstance(record, Settlement | Fenced | Updated | Note | Unfinished):
        return record.at_ns
    return 0


def make_header(plan: Plan, clock: str, engine: str) -> Header:
    """The header of a run that starts now, on this machine.

    Args:
        clock: ``system``, ``virtual`` or ``recorded``.
        engine: ``parallel`` or ``serial``.
    """
    started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return Header(TRACE_VERSION, __version__, started, to_plain(redacted(plan)), machine(), clock, engine)


DAMAGED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are not what they should be: no UTF-8 and endless nesting, too."""

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Record)
_END = b"\n"


class TraceWriter:
    """Appends records to a trace file, compressed if its name ends in ``.gz``; every `write` reaches the operating
    system."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = LineWriter(path)

    def write(self, records: list[Record]) -> None:
        """Append these records."""
        self._file.write(b"".join(_encoder.encode(r) + b"\n" for r in records))

    def close(self) -> None:
        """Finish the file."""
        self._file.close()


def read_trace(path: Path) -> Iterator[Record]:
    """Records of a trace file, the header first. A cut last line is dropped: a killed run stays readable.

    Raises:
        UserError: no such file, not a trace, or of another version.
    """
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            continue
        try:
            record = _decoder.decode(line)
        except DAMAGED as error:
            is_cut = not line.endswith(_END)
            if is_cut and number > 1:
                return
            if is_cut and line.startswith(b'{"type":"header"'):
                raise UserError(
                    f"{path}: found a header that is cut (expected a whole first line): the file is not complete, "
                    "copy it or record it again"
                ) from error
            raise UserError(
                f"{path}:{number}: found {line[:40].removesuffix(_END)!r} (expected a trace record), "
                "make one with: wangraph run GRAPH --trace FILE"
            ) from error
        if number == 1 and not isinstance(record, Header):
            raise UserError(
                f"{path}: found no header (expected a trace), make one with: wangraph run GRAPH --trace FILE"
            )
        if isinstance(record, Header) and record.version != TRACE_VERSION:
            raise UserError(f"{path}: found trace version {record.version} (expected {TRACE_VERSION}), record it again")
        yield record
