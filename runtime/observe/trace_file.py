"""A trace file as its readers want it: the plan that ran, and records that fit it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from ..errors import GraphError, UserError, listing
from ..packet import Validity
from ..plan.plan import Plan, from_plain
from ..schedule.events import Firing, Settlement
from .records import Header, Record, Transfer, Unfinished, at_ns, read_trace

AHEAD_UNITS = 1000
"""No body goes through a unit that is released so much later."""

OUTCOMES = {int(validity) for validity in Validity}

FARTHEST_NS = 10**18
"""From the origin, thirty years: differences of such times are whole numbers of 64 bits, which a damaged one is not."""


def open_trace(path: Path) -> tuple[Header, Plan, Iterator[Record]]:
    """The header, the plan in it, and the records after it, each checked when its turn comes.

    Raises:
        UserError: not a trace, empty, of another version, its header has no usable plan, or its records are of another
            run or damaged.
    """
    records = read_trace(path)
    header = next(records, None)
    if not isinstance(header, Header):
        raise UserError(
            f"{path}: found an empty file (expected a trace), make one with: wangraph run GRAPH --trace FILE"
        )
    try:
        plan = from_plain(header.plan)
    except GraphError as error:
        raise UserError(f"{path}:1: {error}") from error
    return header, plan, _checked(path, plan, records)


def _checked(path: Path, plan: Plan, records: Iterable[Record]) -> Iterator[Record]:
    for record in records:
        if isinstance(record, Firing | Unfinished) and record.node not in plan.nodes:
            nodes = listing(plan.nodes)
            raise UserError(f"{path}: found a firing of '{record.node}' (the plan has: {nodes}), record it again")
        if isinstance(record, Firing | Unfinished):
            check_call(path, plan, record)
        if isinstance(record, Settlement):
            check_outcome(path, record)
        if far := next((ns for ns in _times(record) if abs(ns) > FARTHEST_NS), None):
            found = f"a time of {far} ns (expected {FARTHEST_NS} at most)"
            raise UserError(f"{path}: found {found}: the file is damaged, record it again")
        if isinstance(record, Header):
            raise UserError(f"{path}: found a second header (expected one run), split the file")
        yield record


def _times(record: Record) -> tuple[int, ...]:
    if isinstance(record, Firing):
        return record.ready_ns, record.started_ns, record.finished_ns, record.due_ns or 0
    if isinstance(record, Unfinished):
        return record.ready_ns, record.started_ns, record.at_ns, record.due_ns or 0
    return (record.sent_ns, record.arrived_ns) if isinstance(record, Transfer) else (at_ns(record),)


def check_outcome(path: Path, settlement: Settlement) -> None:
    """Pass if an outcome is one.

    Raises:
        UserError: it is not.
    """
    if settlement.validity not in OUTCOMES:
        found = f"outcome {settlement.validity} of '{settlement.stream}', unit {settlement.unit}"
        known = f"expected one of {min(OUTCOMES)} to {max(OUTCOMES)}"
        raise UserError(f"{path}: found {found} ({known}): the file is damaged, record it again")


def check_call(path: Path, plan: Plan, call: Firing | Unfinished) -> None:
    """Pass if a call is of a level that its node has, and of units of its time: a damaged number must not make a page
    of a million empty units.

    Raises:
        UserError: it is not.
    """
    until_ns = call.finished_ns if isinstance(call, Firing) else call.at_ns
    soonest_ns = plan.release_ns(call.last - AHEAD_UNITS)
    if not 0 <= call.first <= call.last or soonest_ns > until_ns:
        found = f"units {call.first} to {call.last} of '{call.node}' at {until_ns / 1e9:.3f} s"
        raise UserError(f"{path}: found {found} (expected units of that time): the file is damaged, record it again")
    levels = max(1, len(plan.nodes[call.node].ladder))
    if not 0 <= call.level < levels:
        found = f"level {call.level} of '{call.node}' (expected one of {levels}, from 0)"
        raise UserError(f"{path}: found {found}: the file is damaged, record it again")
