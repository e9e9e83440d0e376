"""The live view and the summary show what the statistics say."""

from __future__ import annotations

from rich.console import Console

from wangraph import Graph
from wangraph.runtime.engine.options import Options
from wangraph.runtime.engine.run import Run
from wangraph.runtime.observe.records import Note
from wangraph.runtime.schedule.events import Firing, Settlement
from wangraph.runtime.units import MS
from wangraph.tools.shared import live, summary


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
    release = 160 * MS
    run.statistics.add([
        Firing("pattern", 0, 0, "step", 0, release, release, release + 60 * MS, release + 80 * MS, "real"),
        Firing("sync", 0, 0, "step", 0, release + 61 * MS, release + 80 * MS, release + 81 * MS, release + 80 * MS, "real"),
        Settlement("pattern.video", 1, 2, 0, 0),
        Note(0, "main", "stall", "node 'pattern': computing unit 2 since 700 ms; 330 ms over its due"),
    ])  # fmt: skip
    view.look(run.statistics, {"main": {"pid": 1, "cpu_s": 0.5, "rss_mb": 90.0, "restarts": 0}})
    text = drawn(view._live.get_renderable())
    assert "hello  unit 1  25.0 fps  model latency 61 ms of 80  misses 1" in text
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


def test_a_summary_on_the_machines_clock_or_of_declared_costs_says_nothing_of_budgets(capsys):
    run = made_run()
    run.start().wait()
    run.summary["clock"] = "system"
    summary.print_summary(run)
    assert "budget" not in capsys.readouterr().out
    run.summary |= {"clock": "virtual", "unbudgeted": ["sync"]}
    summary.print_summary(run)
    assert "  virtual clock: 1 of 3 nodes has no budget and costs 0" in capsys.readouterr().out.splitlines()
    run.summary["unbudgeted"] = []
    summary.print_summary(run)
    assert "budget" not in capsys.readouterr().out
