"""Records of a run -> a profile of its graph: what bodies cost, how long packets travelled, how late the clock was.

Costs are from the moment a body was handed to its lane to its end, so that what the engine itself takes is in them.
What happened in one unit stays in one row.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from ..errors import RunError
from ..observe.records import Record, Transfer
from ..packet import Validity
from ..plan.plan import NodePlan, Plan
from ..schedule.events import Firing, Settlement
from ..units import MS
from .body_shares import Share
from .profile import CLOCK, Delay, Lateness, Machine, NodeCost, Profile

SKIPPED = 3
"""First units of a run, which meet cold caches: not measured."""

MAX_ROWS = 1000
GROWTH = 0.15
"""Share of its cost by which a node must have grown over the run before that counts as history, not chance."""

Column = dict[int, float]
"""Milliseconds by unit."""


def measured(
    plan: Plan, records: Iterable[Record], source: str, *, cores: int | None = None,
    shares: Mapping[str, Share] | None = None,
) -> Profile:  # fmt: skip
    """The profile of a graph by what a run of it recorded.

    Args:
        source: where and when it was measured, for every figure.
        cores: of the machine.
        shares: what each node does with its time, as far as that was measured.

    Raises:
        RunError: the run was too short, or a node never answered.
    """
    log = list(records)
    firings: dict[str, list[Firing]] = defaultdict(list)
    for record in log:
        if isinstance(record, Firing) and record.verdict != "end" and record.last >= SKIPPED:
            firings[record.node].append(record)
    nodes, columns = {}, {}
    for name, node in plan.nodes.items():
        nodes[name], columns[name] = _node(node, firings[name], source, (shares or {}).get(name))
    transfers = {}
    for key, column in _transfers(log).items():
        transfers[key], columns[key] = Delay(_median(column), source, _p95(column)), column
    clock = _lateness(plan, log, firings)
    if clock:
        columns[CLOCK] = clock
    late = Lateness(_median(clock), source, _p95(clock)) if clock else Lateness(0.0, source)
    names, rows = _rows(columns)
    machine = Machine(tuple(plan.processes), cores, source)
    # What was not seen is not said: costs grow as far as they did here, until somebody writes a larger number.
    history = max((f.last for own in firings.values() for f in own), default=0)
    return Profile(
        plan.name, source, nodes, transfers, late, {"this": machine}, names, rows, plan.name, history, where=plan.name
    )


def _node(node: NodePlan, firings: Sequence[Firing], source: str, share: Share | None) -> tuple[NodeCost, Column]:
    steps = [f for f in firings if f.mode == "step"]
    if not steps:
        raise RunError(
            f"profile: node '{node.name}' never answered a unit after the first {SKIPPED} "
            "(expected some), run more units, or on a machine that keeps up"
        )
    levels = _levels(node, steps)
    relative = [level / levels[0] for level in levels] if levels and levels[0] else []
    raw = {f.last: _ms(f) / (relative[f.level] if f.level < len(relative) else 1.0) for f in steps}
    growth = _growth(raw)
    column = {unit: max(0.0, ms - growth * unit) for unit, ms in raw.items()}
    cost = _median(column)
    absorbed = [_ms(f) / (f.last - f.first + 1) for f in firings if f.mode == "absorb"]
    return NodeCost(
        cost_ms=cost,
        source=source,
        p95_ms=_p95(column),
        per_unit_ms=growth,
        hold_ms=0.0 if share is None else share.hold * cost,
        cpu_ms=None if share is None else share.cpu * cost,
        threads=1.0 if share is None else share.threads,
        level_ms=tuple(cost * r for r in relative),
        absorb_ms=statistics.median(absorbed) if absorbed else None,
    ), column


def _levels(node: NodePlan, steps: Sequence[Firing]) -> list[float]:
    """Typical cost by ladder entry, as far as entries were seen; those between take the next better one's."""
    seen: dict[int, list[float]] = defaultdict(list)
    for firing in steps:
        seen[firing.level].append(_ms(firing))
    if not node.ladder or len(seen) < 2:
        return []
    levels: list[float] = []
    for level in range(max(seen) + 1):
        levels.append(statistics.median(seen[level]) if seen[level] else levels[-1] if levels else _first(seen))
    return levels


def _first(seen: Mapping[int, list[float]]) -> float:
    return statistics.median(seen[min(level for level, values in seen.items() if values)])


def _growth(column: Column) -> float:
    """Milliseconds per unit of history: how much the floor of the costs rose from the first third to the last.

    The floor, because stalls only ever add; 0 where the middle third lies not between, or the rise may be chance.
    """
    units = sorted(column)
    third = len(units) // 3
    if third < 10:
        return 0.0
    early, middle, late = (_floor([column[u] for u in units[i * third : (i + 1) * third]]) for i in range(3))
    if not early < middle < late or late - early < GROWTH * early:
        return 0.0
    return (late - early) / (2 * third)


def _floor(values: Sequence[float]) -> float:
    return statistics.quantiles(values, n=10)[0]


def _transfers(log: Sequence[Record]) -> dict[str, Column]:
    columns: dict[str, Column] = defaultdict(dict)
    for record in log:
        if isinstance(record, Transfer) and record.unit >= SKIPPED:
            columns[f"{record.stream}->{record.reader}"][record.unit] = (record.arrived_ns - record.sent_ns) / MS
    return columns


def _lateness(plan: Plan, log: Sequence[Record], firings: Mapping[str, Sequence[Firing]]) -> Column:
    """Delay after release of a source's first unit, among those whose bodies were done or not yet begun."""
    column: Column = {}
    sources = {n.name: n for n in plan.nodes.values() if n.is_source}
    ready = {name: {f.last: f.finished_ns for f in firings[name]} for name in sources}
    for name, node in sources.items():
        if not node.ahead_units:
            for firing in firings[name]:
                _note(column, firing.last, firing.started_ns - plan.release_ns(firing.last))
    for record in log:
        if isinstance(record, Transfer):
            left_ns = record.sent_ns
        elif isinstance(record, Settlement) and record.validity in (Validity.REAL, Validity.EMPTY):
            if plan.streams[record.stream].settler != plan.streams[record.stream].process:
                continue  # settled when it had arrived
            left_ns = record.at_ns
        else:
            continue
        maker, release = plan.streams[record.stream].node, plan.release_ns(record.unit)
        if maker in ready and ready[maker].get(record.unit, release) < release:
            _note(column, record.unit, left_ns - release)
    return column


def _note(column: Column, unit: int, late_ns: int) -> None:
    column[unit] = min(column.get(unit, 1e9), max(0.0, late_ns / MS))


def _rows(columns: Mapping[str, Column]) -> tuple[tuple[str, ...], tuple[tuple[float, ...], ...]]:
    """Columns side by side, for units in which most have a value; the typical one stands in for the others."""
    names = tuple(columns)
    usual = {name: _median(column) for name, column in columns.items()}
    units = sorted({unit for column in columns.values() for unit in column})
    whole = [u for u in units if 2 * sum(u in column for column in columns.values()) > len(names)][-MAX_ROWS:]
    return names, tuple(
        tuple(round(columns[name].get(unit, usual[name]), 4) for name in names) for unit in whole
    )  # fmt: skip


def _ms(firing: Firing) -> float:
    return (firing.finished_ns - firing.started_ns) / MS


def _median(column: Column) -> float:
    return statistics.median(column.values())


def _p95(column: Column) -> float:
    ordered = sorted(column.values())
    return max(_median(column), ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))])
