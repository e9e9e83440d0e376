"""A run as others see it: found by its file, told on request, by name where it stands, and to Prometheus."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import engine_toys as toys
import msgspec
import pytest
import timing_toys as timing
from click.testing import CliRunner
from rich.console import Console

from wangraph import run
from wangraph.runtime.engine.faults import parse_fault
from wangraph.runtime.engine.options import Options
from wangraph.runtime.engine.run import Run
from wangraph.runtime.errors import RunError, UserError
from wangraph.runtime.forecast.simulate import simulate
from wangraph.runtime.observe import run_file as runfile
from wangraph.runtime.observe.last_miss import LastMiss
from wangraph.runtime.observe.metrics import families
from wangraph.runtime.observe.run_file import RunFile, born, find_run, free_name, publish, running
from wangraph.runtime.observe.statistics import Statistics
from wangraph.runtime.observe.status import StatusClient
from wangraph.runtime.schedule.events import Firing
from wangraph.tools.verbs.top import command, view


@pytest.fixture(autouse=True)
def own_runs(tmp_path, monkeypatch):
    """Run files of this test alone."""
    folder = tmp_path / "runtime"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    return folder / "wangraph"


def looped(out, mix=toys.Heavy, **params):
    return toys.looped(out, mix, latency_ms=600, **params)


def this_process(name="hello-1", graph="hello", **more):
    return RunFile(name, graph, os.getpid(), born(os.getpid()), "ipc://@nobody", "now", **more)


class Beside:
    """Does something in a thread once a run presents its unit ``at_unit``."""

    def __init__(self, at_unit, act):
        self.at_unit, self.act, self.pool, self.future = at_unit, act, ThreadPoolExecutor(1), None

    def poll(self, statistics, usage):
        if self.future is None and statistics.units_presented >= self.at_unit:
            self.future = self.pool.submit(self.act)


def watched(graph, act, at_unit=3, **options):
    """What ``act`` gives, called beside a run, which ends when it is done."""
    endless = Run(graph.plan(), Options(**options))

    def then_stop():
        try:
            return act()
        finally:
            endless.stop()

    beside = endless.collector.watcher = Beside(at_unit, then_stop)
    endless.start().wait()
    return beside.future.result()


def ask_once():
    (found,) = running()
    client = StatusClient(found)
    try:
        return client.snapshot()
    finally:
        client.close()


# Attached


def test_a_run_is_found_by_its_file_and_says_where_every_node_stands(tmp_path, own_runs):
    now = watched(looped(tmp_path / "out"), ask_once)
    assert (now["graph"], now["pid"]) == ("looped", os.getpid())
    assert now["unit"] >= 3 and now["expected_fps"] == 25.0
    assert set(now["nodes"]) == {"numbers", "near", "mix", "play", "digest"}
    assert set(now["processes"]) == {"main", "far"}
    for node in now["nodes"].values():
        assert node["unit"] >= 3 and node["fired"] >= 3 and node["doing"]
    assert {"p50", "p95"} <= set(now["nodes"]["mix"]["busy_ms"])
    assert now["nodes"]["near"]["send_ms"] and not now["nodes"]["digest"]["send_ms"]
    assert list(own_runs.iterdir()) == []


def test_a_node_that_hangs_is_named_with_what_it_does_and_what_others_wait_for(tmp_path):
    gate = tmp_path / "gate"
    os.mkfifo(gate)

    def poll():
        while not (now := ask_once())["nodes"]["mix"]["doing"].startswith("computing unit 3 since "):
            pass
        with gate.open("wb"):
            return now

    now = watched(looped(tmp_path / "out", toys.Hangs, gate=str(gate)), poll, at_unit=1)
    assert now["nodes"]["mix"]["unit"] == 3
    assert now["nodes"]["play"]["doing"].startswith("unit ")


def test_who_made_the_last_miss_is_told_by_name(tmp_path):
    def poll():
        while (now := ask_once())["last_miss"] is None:
            pass
        return now

    now = watched(looped(tmp_path / "out", toys.Blend), poll, at_unit=1, faults=(parse_fault("mix: drop at=3"),))
    assert now["last_miss"] == {
        "unit": 3,
        "node": "mix",
        "kind": "lost",
        "text": "mix answered unit 3 in time, and its answer was lost (injected: node 'mix', unit 3: drop)",
    }
    shown = Console(width=200)
    with shown.capture() as captured:
        shown.print(view(now))
    assert "last miss, unit 3: mix answered unit 3 in time, and its answer was lost" in captured.get()


def test_a_miss_is_looked_at_until_what_follows_it_is_known_and_then_no_more():
    plan = timing.agent()
    records = simulate(plan, timing.profile(), 40, 0, [parse_fault("act: stall=300ms at=20")]).records
    statistics, last = Statistics(plan), LastMiss()
    assert last.poll(statistics) is None
    missed = next(i for i, r in enumerate(records) if isinstance(r, Firing) and (r.node, r.last) == ("play", 20))
    statistics.add(records[: missed + 1])
    assert last.poll(statistics)["unit"] == 20
    statistics.add(records[missed + 1 :])
    found = last.poll(statistics)
    assert found["text"].startswith("act computed 330.0 ms (usually 30.0) on unit 20")
    statistics.recent.clear()
    assert last.poll(statistics) is found


def test_nothing_more_is_told_while_nobody_asks(tmp_path):
    seen = []

    class Engine:
        """Remembers what the run was asked to tell."""

        usage, statuses = {}, []

        def watch(self, for_ms):
            seen.append(for_ms)

    result = Run(looped(tmp_path / "out").plan(), Options(units=3))
    poll = result.collector.poll
    result.collector.poll = lambda: (poll(), seen.append(len(result.collector.engine.statuses)))
    result.start().wait()
    assert set(seen) == {0}


def test_a_serial_run_answers_too(tmp_path):
    now = watched(looped(tmp_path / "out"), ask_once, serial=True)
    assert now["nodes"]["mix"]["unit"] >= 3
    assert set(now["processes"]) == {"main"}


def test_who_asks_is_told_when_the_run_is_gone_or_silent():
    gone = StatusClient(msgspec.structs.replace(this_process(), born="1"))
    assert gone.snapshot() is None
    gone.close()
    silent = StatusClient(this_process())
    with pytest.raises(RunError, match=r"^top: run 'hello-1' does not answer for 0 s \(expected a snapshot\)$"):
        silent.snapshot(timeout_s=0)
    silent.close()


# Run files


def test_files_of_runs_that_are_gone_are_ignored_and_removed(own_runs):
    publish(this_process())
    dead = publish(msgspec.structs.replace(this_process("old-7"), pid=2**22 + 1))
    reused = publish(msgspec.structs.replace(this_process("old-8"), born="12"))
    (own_runs / "broken.json").write_text("{")
    assert [found.name for found in running()] == ["hello-1"]
    assert not dead.exists() and not reused.exists()


def test_a_graph_that_runs_twice_in_one_process_has_two_names():
    first = free_name("my graph/1")
    publish(this_process(first))
    assert first == f"my_graph_1-{os.getpid()}"
    assert free_name("my graph/1") == f"{first}.2"


def test_a_folder_that_others_may_write_into_is_refused_and_the_run_goes_on(tmp_path, own_runs):
    own_runs.mkdir(mode=0o755)
    own_runs.chmod(0o777)
    with pytest.raises(
        RunError, match=r"wangraph: found a folder that others may write into \(expected one of mode 700\), remove it$"
    ):
        running()
    summary = run(looped(tmp_path / "out"), units=2, clock="virtual").summary
    assert [n["text"].partition(":")[0] for n in summary["notes"]] == ["wangraph top will not find this run"]


def test_without_a_runtime_folder_a_temporary_one_serves(tmp_path, monkeypatch):
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setattr(runfile.tempfile, "gettempdir", lambda: str(tmp_path))
    assert runfile.runs_folder() == tmp_path / f"wangraph-{os.getuid()}"
    assert runfile.runs_folder().stat().st_mode & 0o777 == 0o700


def test_a_run_is_named_by_name_graph_or_pid():
    runs = [
        this_process("hello-1"),
        RunFile("duplex-5", "duplex", 5, "", "", ""),
        RunFile("duplex-6", "duplex", 6, "", "", ""),
    ]
    assert find_run("hello", runs).name == "hello-1"
    assert find_run("duplex-6", runs).name == "duplex-6"
    assert find_run("5", runs).name == "duplex-5"
    with pytest.raises(UserError, match=r"^top: found 2 runs of 'duplex' \(expected one of: duplex-5, duplex-6\)$"):
        find_run("duplex", runs)
    with pytest.raises(
        UserError, match=r"^top: no run 'helo-1' \(running: duplex-5, duplex-6, hello-1\); did you mean 'hello-1'\?$"
    ):
        find_run("helo-1", runs)


# The command


def test_top_prints_a_line_for_every_node(tmp_path):
    def poll():
        return CliRunner().invoke(command, [])

    shown = watched(looped(tmp_path / "out"), poll)
    assert shown.exit_code == 0, shown.output
    lines = shown.output.splitlines()
    assert lines[0].startswith("looped  unit ") and "A/V skew 0 ms" in lines[0]
    assert lines[1].split()[:3] == ["node", "process/lane", "unit"]
    assert [line.split()[:2] for line in lines[2:7]] == [
        ["numbers", "main/io"], ["near", "main/loop"], ["mix", "far/loop"], ["play", "main/loop"], ["digest", "main/io"],
    ]  # fmt: skip


def test_top_gives_one_snapshot_to_machines(tmp_path):
    shown = watched(looped(tmp_path / "out"), lambda: CliRunner().invoke(command, ["looped", "--json"]))
    assert json.loads(shown.output)["graph"] == "looped"


def test_top_lists_the_runs_when_there_are_several_and_says_so_when_there_is_none():
    with pytest.raises(
        UserError, match=r"^top: no run found \(expected one that goes on\), start one with: wangraph run GRAPH$"
    ):
        CliRunner().invoke(command, [], catch_exceptions=False, standalone_mode=False)
    publish(this_process("a-1", "a"))
    publish(this_process("b-1", "b"))
    listed = CliRunner().invoke(command, [])
    assert [line.split()[0] for line in listed.output.splitlines()] == ["run", "a-1", "b-1", "look"]
    assert [r["name"] for r in json.loads(CliRunner().invoke(command, ["--json"]).output)] == ["a-1", "b-1"]


# Prometheus


def scrape(address, **headers):
    with urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=10) as page:
        return page.read().decode()


def test_prometheus_gets_figures_of_the_run_and_of_every_node(tmp_path):
    endless = Run(looped(tmp_path / "out").plan(), Options(metrics_port=0))

    def poll():
        try:
            (note,) = [n for n in endless.statistics.notes if n.kind == "metrics"]
            bare, _, token = note.text.partition("?token=")
            for address, headers in [(note.text, {"Host": "evil.example"}), (bare, {}), (bare + "?token=guess", {})]:
                with pytest.raises(urllib.error.HTTPError, match="403"):
                    scrape(address, **headers)
            assert scrape(bare, Authorization=f"Bearer {token}")
            return scrape(note.text)
        finally:
            endless.stop()

    beside = endless.collector.watcher = Beside(3, poll)
    endless.start().wait()
    page = beside.future.result()
    figures = dict(line.rsplit(" ", 1) for line in page.splitlines() if not line.startswith("#"))
    assert float(figures['wangraph_units_total{graph="looped"}']) >= 3
    for node, process, lane in (("mix", "far", "loop"), ("digest", "main", "io")):
        at = f'{{graph="looped",lane="{lane}",node="{node}",process="{process}"}}'
        assert float(figures[f"wangraph_node_fired_total{at}"]) >= 3
        assert float(figures[f"wangraph_node_busy_seconds_total{at}"]) > 0
    assert float(figures['wangraph_process_resident_bytes{graph="looped",process="far"}']) > 1e6
    assert not [name for name in figures if "python" in name], "only figures of the run"


def test_every_family_has_a_name_of_its_own(tmp_path):
    now = watched(looped(tmp_path / "out"), ask_once)
    names = [family.name for family in families(now)]
    assert len(names) == len(set(names))
    assert all(name.startswith("wangraph_") for name in names)


def test_a_port_that_is_taken_is_said_before_anything_starts(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            UserError,
            match=rf"^--metrics: port {port}: Address already in use \(expected a free port\), name another one$",
        ):
            run(looped(tmp_path / "out"), units=2, metrics=port)
    assert not (tmp_path / "out").exists()


def test_without_the_extra_its_name_is_said(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(
        UserError,
        match=r"^--metrics: found no package 'prometheus-client' \(expected the extra 'metrics'\), "
        r"install it: pip install 'wangraph\[metrics\]'$",
    ):
        run(looped(tmp_path / "out"), units=2, metrics=0)


def test_the_port_and_its_thread_are_free_after_the_run(tmp_path):
    before = {thread.name for thread in threading.enumerate()}
    with socket.create_server(("127.0.0.1", 0)) as chosen:
        port = chosen.getsockname()[1]
    for _ in range(2):
        run(looped(tmp_path / "out"), units=2, clock="virtual", metrics=port)
    assert {thread.name for thread in threading.enumerate()} <= before
