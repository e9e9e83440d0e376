"""Cost of recording every step: on the way of a unit, and after it.

On the way: the scheduler of the duplex graph without bodies, driven through virtual time by turns as it is and
without making records. After it: the records of these units encoded, decoded, counted and written to a trace, as
processes and the supervisor do. Times are processor time of the one thread that does it.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import msgspec

from ...runtime.engine.body import Body
from ...runtime.engine.control import Batch
from ...runtime.engine.drivers import run_virtual
from ...runtime.observe.records import TraceWriter
from ...runtime.observe.statistics import Statistics
from ...runtime.packet import Packet, Validity
from ...runtime.plan.plan import Plan
from ...runtime.schedule.decide import Fire
from ...runtime.schedule.events import Event
from ...runtime.schedule.log import DecisionLog
from ...runtime.schedule.scheduler import Result, Scheduler
from .empty import empty_graph
from .report import OnRound, Report, Round, Table, ignored, report

AIM = "2 us or less per call of a body, and 0.5 % or less of a core"
ROUNDS = 5
SECONDS = 240.0

GRAPH = "duplex"
TURN_UNITS = 50
"""Units of one turn: short, so that the quickest of many turns met nothing else that ran on this machine."""


class NoLog(DecisionLog):
    """Makes no records."""

    def fired(self, fire: Fire, now: int, verdict: str, due: int | None) -> None:
        """Count it."""
        self.n_decided += 1

    def settled(self, packet: Packet, now: int) -> None:
        """Count it."""
        self.n_decided += 1


class Answers:
    """Runs no body: every call gives one real packet without payload on every output."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.n_calls = 0

    def begin(self, body: Body, lane: str, fire: Fire) -> object:
        """Begin a call; keep what it would return."""
        self.n_calls += 1
        clock, unit = self._plan.clock, fire.last
        times = (clock.pts_ns(unit), clock.duration_ns(unit))
        ports = self._plan.nodes[fire.node].outputs
        return Result({(p, unit): Packet(f"{fire.node}.{p}", unit, 0, *times, Validity.REAL) for p in ports})

    def post(self, lane: str, call: Callable[[], None]) -> None:
        """No body is there to call."""

    def end(self, begun: object) -> Result:
        """End the call; give what `begin` kept."""
        assert isinstance(begun, Result)
        return begun

    def close(self) -> None:
        """Nothing to free."""


def run(rounds: int = ROUNDS, seconds: float = SECONDS, on_round: OnRound = ignored) -> Report:
    """Drive ``seconds`` of media with records and without.

    Returns:
        Per round: ``on_us`` and ``off_us`` of a call, ``adds_us`` between them, ``records_per_unit``, ``after_us`` of
        a unit's records once they are made, ``bytes_per_unit`` of a trace, and ``cpu_share`` of a core for all of it.
    """
    plan = empty_graph(GRAPH).plan()
    units = plan.clock.units_for(seconds)
    parameters = {"graph": GRAPH, "units": units, "unit_ms": float(plan.clock.period * 1000)}
    return report("tracing", AIM, parameters, rounds, lambda: measure(plan, units), rank, on_round)


def measure(plan: Plan, units: int) -> Round:
    """One round: by turns with records and without; the quickest turn of each counts."""
    on, off = [], []
    calls, events = 1, cast(list[Event], [])
    for _ in range(max(1, units // TURN_UNITS)):
        ns, calls, events = drive(plan, Scheduler(plan, limit=TURN_UNITS))
        on.append(ns)
        off.append(drive(plan, Scheduler(plan, limit=TURN_UNITS, log=NoLog()))[0])
    adds_us = (min(on) - min(off)) / calls / 1000
    (plain_ns, n_plain), (packed_ns, n_packed) = (
        min(after(plan, events, TURN_UNITS, name) for _ in on) for name in ("bench.trace", "bench.trace.gz")
    )
    after_us, packed_us = plain_ns / TURN_UNITS / 1000, packed_ns / TURN_UNITS / 1000
    return {
        "on_us": round(min(on) / calls / 1000, 3),
        "off_us": round(min(off) / calls / 1000, 3),
        "adds_us": round(adds_us, 3),
        "records_per_unit": round(len(events) / TURN_UNITS, 1),
        "after_us": round(after_us, 1),
        "bytes_per_unit": round(n_plain / TURN_UNITS),
        "compressed_after_us": round(packed_us, 1),
        "compressed_bytes_per_unit": round(n_packed / TURN_UNITS),
        "cpu_share": round((adds_us * calls / TURN_UNITS + after_us) / (plan.clock.period_ns / 1000), 5),
    }


def drive(plan: Plan, scheduler: Scheduler) -> tuple[int, int, list[Event]]:
    """Processor nanoseconds, calls, and what was decided."""
    answers, events = Answers(plan), cast(list[Event], [])
    bodies = cast(Mapping[str, Body], dict.fromkeys(plan.nodes))
    began = time.thread_time_ns()
    run_virtual(plan, bodies, scheduler, answers, tick=lambda now: events.extend(scheduler.take_events()))
    return time.thread_time_ns() - began, answers.n_calls, events


def after(plan: Plan, events: list[Event], units: int, name: str) -> tuple[int, int]:
    """Processor nanoseconds of what follows for these records, and the bytes of their trace of that name."""
    encoder, decoder = msgspec.json.Encoder(), msgspec.json.Decoder(Batch)
    statistics, per_batch = Statistics(plan), max(1, len(events) // units)
    with tempfile.TemporaryDirectory(prefix="wangraph-") as folder:
        writer = TraceWriter(Path(folder) / name)
        began = time.thread_time_ns()
        for first in range(0, len(events), per_batch):
            sent = encoder.encode(Batch(list(events[first : first + per_batch]), 0.0, 0.0))
            records = list(decoder.decode(sent).records)
            statistics.add(records)
            writer.write(list(records))
        spent = time.thread_time_ns() - began
        writer.close()
        return spent, writer.path.stat().st_size


def rank(measured: Round) -> Any:
    """The best round met the least else on this machine; a difference would be smallest where noise makes it so."""
    return measured["on_us"] + measured["off_us"]


def table(report: Report) -> Table:
    """A row per round."""
    rows = [
        (r["round"], r["load_1m"], f"{r['on_us']:.1f}", f"{r['off_us']:.1f}", f"{r['adds_us']:.2f}",
         f"{r['records_per_unit']:g}", f"{r['after_us']:.0f}", f"{r['cpu_share']:.2%}", r["bytes_per_unit"],
         r["compressed_bytes_per_unit"], f"{r['compressed_after_us']:.0f}")
        for r in report["rounds"]
    ]  # fmt: skip
    columns = (
        "us per call",
        "without",
        "records add",
        "per unit",
        "us after it",
        "of a core",
        "trace bytes",
        "as .gz",
        "us",
    )
    return Table(("round", "load", *columns), rows)
