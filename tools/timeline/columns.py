"""The page's data: columns of small integers instead of objects, so that an hour still fits into one file.

Times are microseconds after the origin. Columns named ``*_delta`` hold differences to the entry before; the page adds
them up again (``page/data.js`` is the other half of this module). A bar costs about 25 bytes of JSON.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from ...runtime.engine.records import Transfer
from ...runtime.engine.statistics import quantiles
from ...runtime.schedule.events import Firing
from .facts import NodeInfo, Run, is_late, lateness_ns, misses, model_latency_ns, skew_ns

MODES = ("step", "absorb", "gap", "skip")
VERDICTS = ("real", "late", "discarded", "end")
LEVEL_SHIFT, VERDICT_SHIFT = 4, 2


class Bars(msgspec.Struct):
    """All firings of a node. ``flags`` = level << 4 | verdict << 2 | mode; ``spans`` and ``dues`` hold exceptions
    as (index, value): firings of several units, and dues other than the plan's. ``waited`` is negative for a source
    that was called ahead: its packet was held that much longer than the start."""

    unit_delta: list[int]
    start_delta: list[int]
    waited: list[int]
    busy: list[int]
    flags: list[int]
    spans: list[tuple[int, int]]
    dues: list[tuple[int, int | None]]


class Row(msgspec.Struct):
    """A node. ``inputs`` are (port, index of the producing row, delay, stream)."""

    name: str
    type: str
    process: str
    lane: str
    paced: bool
    due: int | None
    levels: list[str]
    inputs: list[tuple[str, int, int, str]]
    bars: Bars


class Sends(msgspec.Struct):
    """All transfers of one stream to one process; ``row`` is the producer's."""

    row: int
    stream: str
    sender: str
    reader: str
    carrier: str
    unit_delta: list[int]
    sent_delta: list[int]
    took: list[int]
    bytes_delta: list[int]


class Curve(msgspec.Struct):
    """One value per unit, from unit 0; None where there is none."""

    name: str
    help: str
    limit: int | None
    values: list[int | None]


class View(msgspec.Struct):
    """Everything the page shows."""

    graph: str
    facts: dict[str, Any]
    period: float
    latency: int
    units: int
    rows: list[Row]
    sends: list[Sends]
    curves: list[Curve]
    misses: list[tuple[int, str]]
    notes: list[tuple[int, str, str, str]]
    fences: list[tuple[int, int, int, list[str]]]


def view_of(run: Run) -> View:
    """Pack a run for the page."""
    ordered = by_place(run.nodes.values())
    index = {node.name: i for i, node in enumerate(ordered)}
    rows = [
        Row(
            name=node.name,
            type=node.type,
            process=node.process,
            lane=node.lane,
            paced=node.paced,
            due=None if node.due_ns is None else _us(node.due_ns),
            levels=[level_name(entry) for entry in node.ladder],
            inputs=[(i.port, index[i.source], i.delay, i.stream) for i in node.inlets if i.source in index],
            bars=_bars(run, node, [f for f in run.firings[node.name] if f.verdict != "end"]),
        )
        for node in ordered
    ]
    latency, skew = model_latency_ns(run), skew_ns(run)
    return View(
        graph=str(run.header.plan.get("name", "graph")),
        facts=facts_of(run, latency),
        period=float(run.clock.period * 1_000_000),
        latency=_us(run.latency_ns),
        units=run.n_units,
        rows=rows,
        sends=_sends(run, index),
        curves=[
            Curve("model latency", "release to the last part of the answer", _us(run.latency_ns), _all_us(latency)),
            Curve("lateness", "worst node: finished minus due", 0, _all_us(lateness_ns(run))),
            *([Curve("A/V skew", "picture shown older than sound played", None, _all_us(skew))] if skew else []),
        ],
        misses=list(misses(run).items()),
        notes=[(_us(n.at_ns), n.process, n.kind, n.text) for n in sorted(run.notes, key=lambda n: n.at_ns)],
        fences=[(_us(f.at_ns), f.first_unit, f.generation, f.streams) for f in run.fences],
    )


def by_place(nodes: Iterable[NodeInfo]) -> list[NodeInfo]:
    """Nodes in the plan's order, those of one process and one lane together."""
    places: dict[str, dict[str, list[NodeInfo]]] = {}
    for node in nodes:
        places.setdefault(node.process, {}).setdefault(node.lane, []).append(node)
    return [node for lanes in places.values() for members in lanes.values() for node in members]


def level_name(entry: dict[str, Any]) -> str:
    """``{"steps": 4}`` -> ``steps 4``."""
    return ", ".join(f"{key} {value}" for key, value in entry.items())


def facts_of(run: Run, latency: Sequence[int | None]) -> dict[str, Any]:
    """The header's numbers; percentiles in milliseconds of the model latency of units that were presented real."""
    lost = misses(run)
    told = quantiles([v for unit, v in enumerate(latency) if v is not None and unit not in lost])
    machine = {k: v for k, v in run.header.machine.items() if isinstance(v, str | int | float)}
    return {
        "fps": float(run.clock.fps),
        "misses": len(lost),
        "late": sum(f.last - f.first + 1 for fs in run.firings.values() for f in fs if is_late(run, f)),
        "p50_ms": told.get("p50"),
        "p95_ms": told.get("p95"),
        "max_ms": told.get("max"),
        "clock": run.header.clock,
        "engine": run.header.engine,
        "started": run.header.started,
        "version": run.header.wangraph,
        "machine": machine,
        "weights": _weights(run.summary.get("weights")),
        "is_whole": run.is_whole,
    }


def _weights(told: object) -> str | None:
    """What the nodes said of their weights, each thing once."""
    if isinstance(told, dict):
        return ", ".join(dict.fromkeys(str(text) for text in told.values())) or None
    return None if told is None else str(told)


def _bars(run: Run, node: NodeInfo, firings: list[Firing]) -> Bars:
    dues: list[tuple[int, int | None]] = []
    for i, firing in enumerate(firings):
        planned = None if node.due_ns is None else run.clock.release_ns(firing.last) + node.due_ns
        if firing.due_ns != planned:
            dues.append((i, None if firing.due_ns is None else _us(firing.due_ns)))
    return Bars(
        unit_delta=_deltas(f.first for f in firings),
        start_delta=_deltas(_us(f.started_ns) for f in firings),
        waited=[_us(f.started_ns) - _us(f.ready_ns) for f in firings],
        busy=[max(0, _us(f.finished_ns) - _us(f.started_ns)) for f in firings],
        flags=[_flags(f) for f in firings],
        spans=[(i, f.last - f.first + 1) for i, f in enumerate(firings) if f.last != f.first],
        dues=dues,
    )


def _flags(firing: Firing) -> int:
    verdict = VERDICTS.index(firing.verdict) if firing.verdict in VERDICTS else 0
    return max(firing.level, 0) << LEVEL_SHIFT | verdict << VERDICT_SHIFT | MODES.index(firing.mode)


def _sends(run: Run, index: dict[str, int]) -> list[Sends]:
    edges: dict[tuple[str, str], list[Transfer]] = {}
    for transfer in run.sent:
        edges.setdefault((transfer.stream, transfer.reader), []).append(transfer)
    found = []
    for (stream, reader), sent in edges.items():
        row = index.get(run.header.plan["streams"].get(stream, {}).get("node", stream.rpartition(".")[0]))
        if row is None:
            continue
        sent.sort(key=lambda t: t.sent_ns)
        found.append(
            Sends(
                row=row,
                stream=stream,
                sender=sent[0].sender,
                reader=reader,
                carrier=sent[0].carrier,
                unit_delta=_deltas(t.unit for t in sent),
                sent_delta=_deltas(_us(t.sent_ns) for t in sent),
                took=[max(0, _us(t.arrived_ns) - _us(t.sent_ns)) for t in sent],
                bytes_delta=_deltas(t.n_bytes for t in sent),
            )
        )
    return found


def _us(ns: int) -> int:
    return round(ns / 1000)


def _all_us(values: Iterable[int | None]) -> list[int | None]:
    return [None if v is None else _us(v) for v in values]


def _deltas(values: Iterable[int]) -> list[int]:
    deltas, before = [], 0
    for value in values:
        deltas.append(value - before)
        before = value
    return deltas
