"""Whoever reads a run says the same of it: summary, explain, timeline, spans, top and metrics."""

from __future__ import annotations

from collections import Counter
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from observe_toys import any_run, expected, in_batches, recorded
from schedule_toys import Join, Sink, Source

from wangraph import Graph
from wangraph.runtime.observe import history, spans, statistics
from wangraph.runtime.observe.explain import explain
from wangraph.runtime.observe.history import History
from wangraph.runtime.observe.metrics import families
from wangraph.runtime.observe.records import Record, make_header
from wangraph.runtime.observe.run_view import RunView
from wangraph.runtime.observe.spans import SpanSender
from wangraph.runtime.observe.statistics import Statistics
from wangraph.runtime.observe.status import snapshot
from wangraph.runtime.packet import Validity
from wangraph.runtime.plan.plan import Plan
from wangraph.tools.timeline import facts
from wangraph.tools.timeline.columns import view_of
from wangraph.tools.timeline.facts import Run, misses

memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")

Said = dict[str, Any]


class Engine:
    """A run that has nothing to say beyond its records."""

    usage: ClassVar[dict[str, dict[str, float | int]]] = {}
    statuses: ClassVar[list[Any]] = []

    def watch(self, for_ms: int) -> None:
        """Nothing to watch."""


def by_summary(plan: Plan, records: list[Record]) -> Said:
    made = Statistics(plan)
    made.add(records)
    summary = made.summary()
    return {
        "units": summary["units"], "real": summary["real"], "missed": summary["misses"],
        "concealed": summary["concealed"], "late": summary["late"], "p50": summary["model_latency_ms"].get("p50"),
        "p95": summary["model_latency_ms"].get("p95"), "max": summary["model_latency_ms"].get("max"),
        "skew": summary["av_skew_ms"].get("max", 0.0), "newest missed": made.newest_missed and made.newest_missed.unit,
        "attained": summary["deadline_attainment"], "underruns": summary["underruns"],
        "first": summary["time_to_first_unit_ms"],
    }  # fmt: skip


def by_explain(plan: Plan, records: list[Record]) -> Said:
    known = History(plan, records)
    statuses = Counter(explain(known, unit).outcome.status for unit in known.outcomes)
    latencies = sorted(o.model_latency_ns / 1e6 for o in known.outcomes.values() if o.is_real)
    usual = known.usual_latency_ns
    return {
        "units": len(known.outcomes), "real": statuses["real"], "missed": len(known.missed),
        "concealed": statuses["concealed"], "p50": None if usual is None else round(usual / 1e6, 3),
        "max": round(latencies[-1], 3) if latencies else None, "newest missed": max(known.missed, default=None),
        "skew": max((o.skew_ns for o in known.outcomes.values() if o.skew_ns), default=0) / 1e6,
        "units missed": known.missed,
    }  # fmt: skip


def by_timeline(plan: Plan, records: list[Record]) -> Said:
    run = Run(make_header(plan, "virtual", "serial"), plan)
    run.add(records)
    run.sort()
    view = view_of(run)
    told, curves = view.facts, {curve.name: curve.values for curve in view.curves}
    return {
        "units": told["real"] + told["misses"] + told["concealed"], "real": told["real"], "missed": len(view.misses),
        "concealed": told["concealed"], "late": told["late"], "p50": told["p50_ms"], "p95": told["p95_ms"],
        "max": told["max_ms"], "skew": max((v for v in curves.get("A/V skew", []) if v), default=0) / 1000,
        "newest missed": max((unit for unit, _ in view.misses), default=None),
        "units missed": list(misses(run)), "why": [why for _, why in view.misses],
    }  # fmt: skip


def by_spans(plan: Plan, records: list[Record]) -> Said:
    exporter = memory.InMemorySpanExporter()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spans, "_counted", lambda *_: exporter)
        sender = SpanSender("http://127.0.0.1:9/v1/traces", plan, "one")
        sender.take(records, 10**18)
        sender.close()
    found = [dict(s.attributes) | {"why": s.status.description} for s in exporter.get_finished_spans()
             if s.name == f"{plan.name} unit" and "wangraph.status" in s.attributes]  # fmt: skip
    found.sort(key=lambda unit: unit["wangraph.unit"])
    statuses = Counter(unit["wangraph.status"] for unit in found)
    missed = [unit for unit in found if unit["wangraph.status"] == "missed"]
    real = [unit["wangraph.model_latency_ms"] for unit in found if unit["wangraph.status"] == "real"]
    return {
        "units": len(found), "real": statuses["real"], "missed": statuses["missed"], "concealed": statuses["concealed"],
        "max": round(max(real), 3) if real else None, "units missed": [unit["wangraph.unit"] for unit in missed],
        "why": [unit["why"] for unit in missed],
        "newest missed": max((unit["wangraph.unit"] for unit in missed), default=None),
    }  # fmt: skip


def by_top(plan: Plan, records: list[Record]) -> Said:
    made = Statistics(plan)
    made.add(records)
    now = snapshot(made, Engine())
    return {
        "units": now["unit"], "real": now["real"], "missed": now["misses"], "concealed": now["concealed"],
        "late": now["late"], "p50": now["model_latency_ms"].get("p50"), "p95": now["model_latency_ms"].get("p95"),
        "max": now["model_latency_ms"].get("max"), "skew": now["av_skew_ms"], "attained": now["deadline_attainment"],
        "underruns": now["underruns"], "first": now["time_to_first_unit_ms"],
    }  # fmt: skip


def by_metrics(plan: Plan, records: list[Record]) -> Said:
    made = Statistics(plan)
    made.add(records)
    values = {(s.name.removesuffix("_total"), s.labels.get("quantile")): s.value
              for family in families(snapshot(made, Engine())) for s in family.samples}  # fmt: skip

    def ms(name: str, quantile: str | None = None) -> float | None:
        seconds = values.get((f"wangraph_{name}_seconds", quantile))
        return None if seconds is None else round(seconds * 1000, 3)

    return {
        "units": values["wangraph_units", None], "real": values["wangraph_real", None],
        "missed": values["wangraph_misses", None], "concealed": values["wangraph_concealed", None],
        "late": values["wangraph_late", None], "underruns": values["wangraph_underruns", None],
        "p50": ms("model_latency", "0.5"), "p95": ms("model_latency", "0.95"), "max": ms("model_latency", "1"),
        "skew": ms("av_skew"), "attained": values.get(("wangraph_deadline_attainment", None)),
        "first": ms("time_to_first_unit"),
    }  # fmt: skip


READERS = (by_summary, by_explain, by_timeline, by_spans, by_top, by_metrics)


def assert_all_agree(plan: Plan, records: list[Record]) -> Said:
    """What is said of a run by all of its readers together; of every matter by whoever speaks of it."""
    told: Said = {}
    for reader in READERS:
        for matter, value in reader(plan, records).items():
            assert told.setdefault(matter, value) == pytest.approx(value), (reader.__name__, matter)
    slow = Counter(unit.status for unit in expected(plan, records).values())
    assert (told["real"], told["missed"], told["concealed"]) == (slow["real"], slow["missed"], slow["concealed"])
    assert told["units"] == slow.total()
    return told


def made_up() -> tuple[Plan, list[Record]]:
    """A run in which a node makes up unit 5, and loses unit 7."""
    graph = Graph("plc", latency_ms=200)
    source = graph.add("source", Source)["out"]
    plc = graph.add("plc", Join, inputs={"a": source}, budget_ms=5)["out"]
    graph.add("end", Sink, inputs={"a": plc})
    plan = graph.plan()
    return plan, recorded(plan, 10, faults={("plc", 5): Validity.CONCEALED, ("plc", 7): Validity.MISSING})


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32))
def test_all_readers_of_any_run_say_the_same(seed):
    plan, records = any_run(seed)
    assert_all_agree(plan, in_batches(plan, records, seed))


def test_what_a_node_made_up_is_concealed_to_all_readers_and_missed_to_none():
    told = assert_all_agree(*made_up())
    assert (told["units"], told["real"], told["missed"], told["concealed"]) == (10, 8, 1, 1)
    assert (told["units missed"], told["why"]) == ([7], ["end got no a from plc.out"])


class OfItsOwn(RunView):
    """Planted: a reader for which what was made up is missed."""

    def _add_lost(self, node, inlet, settled):
        super()._add_lost(
            node, inlet, type(settled)(settled.stream, settled.unit, int(Validity.MISSING), settled.at_ns, 0)
        )


@pytest.mark.parametrize("room", [statistics, history, facts, spans], ids=lambda room: room.__name__.split(".")[-1])
def test_the_law_catches_a_reader_that_has_a_rule_of_its_own(monkeypatch, room):
    def outcomes(plan, records):
        view = OfItsOwn(plan)
        return [*view.add(records), *view.open()]

    plan, records = made_up()
    monkeypatch.setattr(room, *(("outcomes_of", outcomes) if room is history else ("RunView", OfItsOwn)))
    with pytest.raises(AssertionError):
        assert_all_agree(plan, records)
