"""The page's data: columns of small integers instead of objects, so that an hour still fits into one file.

Times are microseconds after the origin. Columns named ``*_delta`` hold differences to the entry before; the page adds
them up again (``page/data.js`` is the other half of this module). A bar costs about 25 bytes of JSON.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from ...runtime.observe.lateness import is_late
from ...runtime.observe.outcome import presenters
from ...runtime.observe.records import Transfer
from ...runtime.packet import Validity
from ...runtime.plan.plan import NodePlan, StreamPlan
from ...runtime.schedule.events import Firing, Settlement
from .facts import Run, lateness_ns, misses, model_latency_ns, skew_ns
from .story import Blamed

MODES = ("step", "absorb", "gap", "skip")
LEVEL_SHIFT, LATE_SHIFT = 3, 2
UNSETTLED = -1
"""In the place of a validity: nothing settled, though a body ran."""


class Bars(msgspec.Struct):
    """All firings of a node. ``flags`` = level << 3 | late << 2 | mode; ``spans`` and ``dues`` hold exceptions
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
    """A node. ``inputs`` are (port, index of the producing row, delay, stream, look-ahead); ``presents``: answers are
    presented there."""

    name: str
    type: str
    process: str
    lane: str
    paced: bool
    presents: bool
    due: int | None
    levels: list[str]
    inputs: list[tuple[str, int, int, str, int]]
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


class Settled(msgspec.Struct):
    """The outcomes of one stream that do not follow from its firings and transfers.

    What follows: a unit settles as real when its body has finished, or, in another process, when its packet arrived.
    The others are units, times after their release, and validities (`UNSETTLED`: none).
    """

    stream: str
    settler: str
    unit_delta: list[int]
    after: list[int]
    validity: list[int]


class Curve(msgspec.Struct):
    """One value per unit, from unit ``first``; None where there is none."""

    name: str
    help: str
    limit: int | None
    first: int
    values: list[int | None]


class View(msgspec.Struct):
    """Everything the page shows of one run, or what is new of one that goes on. ``misses`` and curves are complete
    from unit ``since`` on."""

    name: str
    graph: str
    facts: dict[str, Any]
    period: float
    latency: int
    since: int
    first: int
    units: int
    rows: list[Row]
    sends: list[Sends]
    settled: list[Settled]
    curves: list[Curve]
    misses: list[tuple[int, str]]
    blamed: list[Blamed]
    notes: list[tuple[int, str, str, str]]
    fences: list[tuple[int, int, int, list[str]]]


def view_of(
    run: Run, *, name: str = "", blamed: Sequence[Blamed] = (), fresh: Run | None = None, since: int = 0
) -> View:
    """Pack a run for the page.

    Args:
        name: what the page calls it beside another one.
        blamed: who made units miss.
        fresh: of a run that goes on: its newest records alone. Bars, packets and notes are told of these.
        since: misses and curves are told from this unit on.
    """
    news = run if fresh is None else fresh
    ordered = by_place(run.plan.nodes.values())
    index = {node.name: i for i, node in enumerate(ordered)}
    presenting = {node.name for node in presenters(run.plan)}
    rows = [
        Row(
            name=node.name,
            type=node.type,
            process=node.process,
            lane=node.lane,
            paced=node.paced,
            presents=node.name in presenting,
            due=None if node.due_ns is None else _us(node.due_ns),
            levels=[level_name(entry) for entry in node.ladder],
            inputs=[(i.port, index[run.source(i)], i.delay, i.stream, i.look_ahead) for i in node.inputs],
            bars=_bars(run, node, [f for f in news.firings[node.name] if f.verdict != "end"]),
        )
        for node in ordered
    ]
    return View(
        name=name,
        graph=run.plan.name,
        facts=facts_of(run),
        period=float(run.plan.clock.period * 1_000_000),
        latency=_us(run.plan.latency_ns),
        since=since,
        first=run.first_unit,
        units=run.n_units,
        rows=rows,
        sends=_sends(run, index, [t for t in news.transfers if t.unit < run.n_units]),
        settled=[_settled(run, news, stream) for stream in run.plan.streams.values()],
        curves=_curves(run, since),
        misses=list(misses(run, since).items()),
        blamed=list(blamed),
        notes=[(_us(n.at_ns), n.process, n.kind, n.text) for n in sorted(news.notes, key=lambda n: n.at_ns)],
        fences=[(_us(f.at_ns), f.first_unit, f.generation, f.streams) for f in news.fences],
    )


def _curves(run: Run, since: int) -> list[Curve]:
    first, limit = run.units(since).start, _us(run.plan.latency_ns)
    latency, lateness, skew = (of(run, since) for of in (model_latency_ns, lateness_ns, skew_ns))
    return [
        Curve("model latency", "release to the last part of the answer", limit, first, _all_us(latency)),
        Curve("lateness", "worst node: finished (a late presentation: began) minus due", 0, first, _all_us(lateness)),
        *([Curve("A/V skew", "picture shown older than sound played", None, first, _all_us(skew))] if skew else []),
    ]


def by_place(nodes: Iterable[NodePlan]) -> list[NodePlan]:
    """Nodes in the plan's order, those of one process and one lane together."""
    places: dict[str, dict[str, list[NodePlan]]] = {}
    for node in nodes:
        places.setdefault(node.process, {}).setdefault(node.lane, []).append(node)
    return [node for lanes in places.values() for members in lanes.values() for node in members]


def level_name(entry: dict[str, Any]) -> str:
    """``{"steps": 4}`` -> ``steps 4``."""
    return ", ".join(f"{key} {value}" for key, value in entry.items())


def facts_of(run: Run) -> dict[str, Any]:
    """The header's numbers; percentiles in milliseconds of the model latency of units that were real."""
    totals = run.totals()
    latency = totals.model_latency.quantiles()
    machine = {k: v for k, v in run.header.machine.items() if isinstance(v, str | int | float)}
    return {
        "fps": float(run.plan.fps),
        "real": totals.real,
        "misses": totals.missed,
        "concealed": totals.concealed,
        "late": run.n_late,
        "p50_ms": latency.get("p50"),
        "p95_ms": latency.get("p95"),
        "max_ms": latency.get("max"),
        "clock": run.header.clock,
        "engine": run.header.engine,
        "started": run.header.started,
        "version": run.header.wangraph,
        "machine": machine,
        "weights": _weights(run.summary.get("weights")),
        "is_whole": run.is_whole,
    }


def _weights(news: object) -> str | None:
    """Words of the nodes on their weights (``model: tiny, trained ...``), each thing once, after its parts."""
    if not isinstance(news, dict):
        return None if news is None else str(news)
    parts: dict[str, list[str]] = {}
    for text in dict.fromkeys(str(text) for text in news.values()):
        part, _, what = text.partition(": ")
        parts.setdefault(what, []).append(part)
    lines = (f"{', '.join(names)}: {what}" if what else ", ".join(names) for what, names in parts.items())
    return "; ".join(lines) or None


def _bars(run: Run, node: NodePlan, firings: list[Firing]) -> Bars:
    dues: list[tuple[int, int | None]] = []
    for i, firing in enumerate(firings):
        planned = None if node.due_ns is None else run.release_ns(firing.last) + node.due_ns
        if firing.due_ns != planned:
            dues.append((i, None if firing.due_ns is None else _us(firing.due_ns)))
    return Bars(
        unit_delta=_deltas(f.first for f in firings),
        start_delta=_deltas(_us(f.started_ns) for f in firings),
        waited=[_us(f.started_ns) - _us(f.ready_ns) for f in firings],
        busy=[max(0, _us(f.finished_ns) - _us(f.started_ns)) for f in firings],
        flags=[_flags(node, f) for f in firings],
        spans=[(i, f.last - f.first + 1) for i, f in enumerate(firings) if f.last != f.first],
        dues=dues,
    )


def _flags(node: NodePlan, firing: Firing) -> int:
    late = is_late(node, firing)
    return max(firing.level, 0) << LEVEL_SHIFT | late << LATE_SHIFT | MODES.index(firing.mode)


def _sends(run: Run, index: dict[str, int], transfers: Iterable[Transfer]) -> list[Sends]:
    edges: dict[tuple[str, str], list[Transfer]] = {}
    for transfer in transfers:
        edges.setdefault((transfer.stream, transfer.reader), []).append(transfer)
    found = []
    for (stream, reader), sent in edges.items():
        if stream not in run.plan.streams:
            continue
        sent.sort(key=lambda t: t.sent_ns)
        found.append(
            Sends(
                row=index[run.plan.streams[stream].node],
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


def _settled(run: Run, news: Run, stream: StreamPlan) -> Settled:
    """Outcomes that cannot be told from firings and transfers."""
    outcomes, bodies = news.settled.get(stream.name, {}), run.bodies[stream.node]
    arrived = run.arrived.get((stream.name, stream.settler), {})
    found = []
    for unit, outcome in outcomes.items():
        body = bodies.get(unit)
        implied = None if body is None else arrived.get(unit, max(body.finished_ns, body.ready_ns))
        if unit < run.n_units and not _follows(outcome, implied):
            found.append((unit, _us(outcome.at_ns - run.release_ns(unit)), outcome.validity))
    if news is run:
        found += [(unit, 0, UNSETTLED) for unit in bodies if unit not in outcomes]
    units, after, validity = zip(*sorted(found), strict=True) if found else ((), (), ())
    return Settled(stream.name, stream.settler, _deltas(units), list(after), list(validity))


def _follows(outcome: Settlement, implied_ns: int | None) -> bool:
    is_there = outcome.validity in (Validity.REAL, Validity.EMPTY)
    return is_there and implied_ns is not None and abs(outcome.at_ns - implied_ns) < 1000


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
