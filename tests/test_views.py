"""The live view and the summary show what the statistics say."""

from __future__ import annotations

from rich.console import Console

from wangraph import Graph
from wangraph.runtime.engine.options import Options
from wangraph.runtime.engine.run import Run
from wangraph.runtime.observe.records import Note
from wangraph.runtime.packet import Validity
from wangraph.runtime.schedule.events import Firing, Settlement
from wangraph.runtime.units import MS
from wangraph.tools.shared import live, summary
from wangraph.tools.shared.figures import percent


def made_run() -> Run:
    graph = Graph("hello", latency_ms=80)
    pattern = graph.add("pattern", "capture.pattern", seconds=1)
    sync = graph.add("sync", "sync.playout", inputs={"video": pattern["video"], "audio": pattern["audio"]})
    graph.add("end", "sink.null", inputs={"value": sync["video"]})
    return Run(graph.plan(), Options(units=3, clock="virtual"))


def drawn(renderable) -> str:
    console = Console(width=140, record=True, file=open("/dev/null", "w"))
    console.print(renderable)
    return console.export_text()


def test_the_live_view_names_unit_rate_latency_misses_and_every_node():
    run = made_run()
    view = live.LiveView(run)
    assert run.collector.watcher is view
    release, later = 160 * MS, 400 * MS
    run.statistics.add([
        Firing("pattern", 0, 0, "step", 0, release, release, release + 60 * MS, release + 80 * MS, "real"),
        Firing("sync", 0, 0, "step", 0, release + 61 * MS, release + 80 * MS, release + 81 * MS, release + 80 * MS, "real"),
        Settlement("pattern.video", 1, Validity.MISSING, 0, 0),
        Firing("sync", 1, 1, "step", 0, later, later, later + MS, later, "real"),
        Note(0, "main", "stall", "node 'pattern': computing unit 2 since 700 ms; 330 ms over its due"),
    ])  # fmt: skip
    view.poll(run.statistics, {"main": {"pid": 1, "cpu_s": 0.5, "rss_mb": 90.0, "restarts": 0}})
    text = drawn(view._live.get_renderable())
    assert "hello  unit 2  25.0 fps  model latency 61 ms of 80  1 of the last 2 units real  misses 1" in text
    assert "main 0.5 s CPU 90 MB" in text
    assert "node 'pattern': computing unit 2" in text
    bars = next(line for line in text.splitlines() if line.strip().startswith("pattern"))
    assert bars.count("█") == 18  # 60 of 80 ms


def test_the_summary_tells_rates_nodes_and_files(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = made_run()
    run.start().wait()
    summary.print_summary(run)
    text = capsys.readouterr().out
    assert "hello: 3 units, 25.00 fps, 0 misses, 0 late, 0 concealed" in text
    assert "model latency" in text
    assert any(line.split()[:2] == ["sync", "main/loop"] for line in text.splitlines())
    assert text.splitlines()[1] == "  virtual clock: 3 of 3 nodes have no budget and cost 0"
    assert run.summary["unbudgeted"] == ["pattern", "sync", "end"]


def test_percentiles_are_printed_with_how_many_units_they_are_of(capsys):
    run = made_run()
    run.start().wait()
    summary.print_summary(run)
    lines = capsys.readouterr().out.splitlines()
    assert "  deadline attainment 100 %, time to first unit 240 ms" in lines
    assert "  model latency  p50 0.0  p95 0.0  p99 0.0  max 0.0  ms  of 3 real" in lines
    missed = {"real": 12, "misses": 38, "underruns": 2, "concealed": 1, "units": 51, "deadline_attainment": 0.2399}
    run.summary.update(missed)
    summary.print_summary(run)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("hello: 51 units, 25.00 fps, 38 misses in 2 underruns, 0 late, 1 concealed, ")
    assert "  deadline attainment 23.9 %, time to first unit 240 ms" in lines
    assert "  model latency  p50 0.0  p95 0.0  p99 0.0  max 0.0  ms  of 12 real, 38 missed, 1 concealed" in lines


def test_a_run_without_a_real_unit_has_no_percentiles(capsys):
    run = made_run()
    run.start().wait()
    run.summary.update(
        {"real": 0, "misses": 3, "underruns": 1, "deadline_attainment": 0.0, "time_to_first_unit_ms": None}
    )
    run.summary.update({key: {} for key in ("latency_ms", "model_latency_ms", "slack_ms")})
    summary.print_summary(run)
    lines = capsys.readouterr().out.splitlines()
    assert ", 3 misses in 1 underrun, " in lines[0]
    assert "  deadline attainment 0 %" in lines
    assert "  model latency  none of 3 units was real" in lines


def test_a_share_is_rounded_down():
    assert [percent(share) for share in (1.0, 0.99999, 0.5, 0.0)] == ["100 %", "99.9 %", "50 %", "0 %"]


def test_a_summary_on_the_machines_clock_or_of_declared_costs_says_nothing_of_budgets(capsys):
    run = made_run()
    run.start().wait()
    run.summary["clock"] = "system"
    summary.print_summary(run)
    assert "budget" not in capsys.readouterr().out
    run.summary.update({"clock": "virtual", "unbudgeted": ["sync"]})
    summary.print_summary(run)
    assert "  virtual clock: 1 of 3 nodes has no budget and costs 0" in capsys.readouterr().out.splitlines()
    run.summary["unbudgeted"] = []
    summary.print_summary(run)
    assert "budget" not in capsys.readouterr().out
