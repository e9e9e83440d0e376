"""``wangraph bench``: what is computed from records, the graphs it runs, and what it says. No test asserts a time."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from wangraph.runtime.engine.options import Options
from wangraph.runtime.engine.record_sinks import recorded_streams
from wangraph.runtime.engine.run import Run
from wangraph.runtime.errors import RunError, UserError
from wangraph.runtime.observe.records import Note
from wangraph.runtime.observe.statistics import Statistics
from wangraph.runtime.plan.graph import Graph
from wangraph.runtime.schedule.events import Firing
from wangraph.runtime.schedule.log import DecisionLog
from wangraph.runtime.schedule.scheduler import Scheduler
from wangraph.tools.bench import (
    chain,
    chain_graph,
    channel_hop,
    clock,
    device,
    duplex,
    graph_hop,
    growth,
    model,
    overhead,
    recording,
    soak,
    tracing,
    transport,
)
from wangraph.tools.bench.empty import WORD, empty_graph
from wangraph.tools.bench.graph_hop import hops_in
from wangraph.tools.bench.hops import Hops
from wangraph.tools.bench.machine import kept_busy, machine_line
from wangraph.tools.bench.overhead import SUPERVISOR, Sample, Samples, Slope, computed, slope
from wangraph.tools.bench.report import quantiles, report
from wangraph.tools.verbs.bench import BENCHES, command, find

MACHINE = {"cpu": "abacus", "cores": 2, "system": "Linux 6", "python": "3.11.7", "load_1m": 0.25, "torch": "2.13.0"}


def fired(plan, node, unit, *, called_us=0, done_us=0, mode="step", verdict="real"):
    release = plan.release_ns(unit)
    started, finished = release + called_us * 1000, release + done_us * 1000
    return Firing(node, unit, unit, mode, 0, release, started, finished, None, verdict)


# Rounds


def test_all_rounds_are_kept_and_the_best_is_the_first_of_the_smallest():
    values, on_round = iter([3, 1, 2, 1]), []
    made = report("x", "be quick", {"a": 1}, 4, lambda: {"value": next(values)}, lambda r: r["value"], on_round.append)
    assert [r["value"] for r in made["rounds"]] == [3, 1, 2, 1]
    assert made["best"] == 2
    assert on_round == made["rounds"]
    assert {"cpu", "cores", "python", "torch", "load_1m", "wangraph"} <= made["machine"].keys()


def test_every_round_tells_the_load_it_met():
    made = report("x", "", {}, 2, dict, lambda r: 0)
    assert [r["round"] for r in made["rounds"]] == [1, 2]
    assert all("load_1m" in r for r in made["rounds"])


def test_quantiles_are_those_of_the_values_in_any_order():
    assert quantiles([4.0, 1.0, 3.0, 5.0, 2.0]) == {"p50": 3.0, "p95": 4.8, "p99": 4.96, "max": 5.0}


def test_busy_processes_are_gone_after_the_block(monkeypatch):
    started, popen = [], subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: started.append(popen(*a, **k)) or started[-1])
    with kept_busy(2):
        assert [process.poll() for process in started] == [None, None]
    assert [process.returncode for process in started] == [-9, -9]


# Clock


def test_deviation_is_counted_from_the_release_of_each_unit():
    plan = clock.graph().plan()
    log = [fired(plan, "source", k, called_us=10 * k, done_us=100 * k) for k in range(5, 10)]
    found = clock.deviation(plan, log)
    assert found["called_ms"] == {"p50": 0.07, "p95": 0.088, "p99": 0.09, "max": 0.09}
    assert found["done_ms"]["max"] == 0.9


def test_other_nodes_the_first_units_and_the_end_count_for_nothing():
    plan = clock.graph().plan()
    log = [fired(plan, "source", k, called_us=20) for k in range(5, 10)]
    noise = [
        fired(plan, "sink", 6, called_us=9000),
        fired(plan, "source", 0, called_us=9000),
        fired(plan, "source", 10, called_us=9000, verdict="end"),
    ]
    assert clock.deviation(plan, log + noise) == clock.deviation(plan, log)


def test_the_clock_ticks_25_times_a_second():
    plan = clock.graph().plan()
    assert plan.release_ns(24) == 1_000_000_000


# Overhead


def test_a_slope_leaves_out_the_beginning_and_the_end():
    samples = [Sample(2, 10, 5.0), Sample(8, 40, 6.0), Sample(20, 100, 6.06), Sample(28, 140, 6.1), Sample(30, 150, 9)]
    assert slope(samples, units=30) == Slope(20, 100, pytest.approx(0.1))


def test_a_run_without_two_samples_is_too_short():
    with pytest.raises(RunError) as error:
        slope([Sample(2, 10, 5.0), Sample(8, 40, 6.0)], units=9)
    assert str(error.value) == "bench overhead: found 1 samples in 9 units (expected 2), measure for longer"


def test_the_supervisor_counts_and_is_told_apart():
    found = computed({"main": Slope(10, 90, 0.02), "performer": Slope(10, 10, 0.01), SUPERVISOR: Slope(10, 0, 0.5)})
    assert (found["ms_per_unit"], found["graph_ms_per_unit"]) == (53.0, 3.0)
    assert found["processes"]["main"] == {"us_per_unit": 2000.0, "us_per_firing": 222.2}
    assert found["processes"][SUPERVISOR]["us_per_firing"] is None


def test_a_sample_is_taken_of_a_process_when_it_has_told_something_new():
    plan = overhead.floor().plan()
    statistics, samples = Statistics(plan), Samples(plan, every_s=0)
    usage = {"main": {"cpu_s": 1.0}, "performer": {"cpu_s": 2.0}}
    statistics.add([fired(plan, "main_source", 0), Note(0, "main", "stall", "x")])
    samples.poll(statistics, usage)
    usage["performer"] = {"cpu_s": 2.5}
    statistics.add([fired(plan, "performer_source", 0), fired(plan, "performer_source", 1)])
    samples.poll(statistics, usage)
    assert samples.by_process["main"] == [Sample(1, 1, 1.0)]
    assert samples.by_process["performer"] == [Sample(0, 0, 2.0), Sample(2, 2, 2.5)]


def test_an_empty_graph_has_the_nodes_edges_and_times_of_the_shipped_one():
    real, empty = Graph.load("duplex").plan(), empty_graph("duplex").plan()
    for name, node in real.nodes.items():
        stand_in = empty.nodes[name]
        assert stand_in.inputs == node.inputs
        assert stand_in.outputs == node.outputs
        assert (stand_in.process, stand_in.lane, stand_in.due_ns) == (node.process, node.lane, node.due_ns)
        assert (stand_in.paced, stand_in.ahead_units) == (node.paced, node.ahead_units)
        assert [level["options"] for level in stand_in.ladder] == list(node.ladder)


def test_packets_of_an_empty_graph_have_their_full_size():
    real, empty = Graph.load("duplex").plan(), empty_graph("duplex").plan()
    assert empty.streams["think.context"].tensors == real.streams["think.context"].tensors
    assert {empty.streams[s].max_bytes for s in ("user.video", "show.frames", "sync.video")} == {774_144}
    assert empty.streams["user.audio"].max_bytes == 2560 * 4


def test_what_an_empty_graph_emits_is_real_on_every_stream():
    plan = empty_graph("duplex").plan()
    result = Run(plan, Options(units=4, clock="virtual", serial=True, taps=tuple(plan.streams))).start().wait()
    assert result.summary["misses"] == 0
    for name, stream in plan.streams.items():
        packets = [p for p in result.packets[name] if p.validity == 0]
        assert len(packets) == 4, name
        size = len(WORD) if stream.kind == "text" else stream.max_bytes
        assert {p.n_bytes for p in packets} == {size}, name


@pytest.mark.parametrize("name", ["as shipped", "a processor each", "pictures cross", "sources alone"])
def test_graphs_of_the_overhead_bench_pass_the_check_in_two_processes(name):
    plan = overhead.variants()[name]
    assert {node.process for node in plan.nodes.values()} == {"main", "performer"}


def test_pictures_cross_in_the_variant_that_says_so():
    plan = overhead.variants()["pictures cross"]
    crossing = {name for name, stream in plan.streams.items() if stream.readers}
    assert "user.video" in crossing


# Tracing


def test_without_records_the_scheduler_decides_the_same():
    plan = empty_graph("duplex").plan()
    made = {}
    for kind in (DecisionLog, tracing.NoLog):
        settled = []
        scheduler = Scheduler(plan, limit=12, tap=settled.append, log=kind())
        _, calls, events = tracing.drive(plan, scheduler)
        made[kind] = (calls, [(p.stream, p.unit, p.validity) for p in settled])
        assert bool(events) == (kind is DecisionLog)
    assert made[DecisionLog] == made[tracing.NoLog]
    assert made[DecisionLog][0] == 12 * len(plan.nodes)


def test_what_follows_on_a_record_ends_in_a_trace():
    plan = empty_graph("duplex").plan()
    _, _, events = tracing.drive(plan, Scheduler(plan, limit=5))
    spent, n_bytes = tracing.after(plan, events, 5, "bench.trace")
    _, n_packed = tracing.after(plan, events, 5, "bench.trace.gz")
    assert spent > 0 and n_bytes > 50 * len(events) and 2 * n_packed < n_bytes


# Recording


def test_a_disk_that_stalls_for_a_moment_loses_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(recording, "STALL_S", 0.2)
    plan = empty_graph("duplex", 32, 16).plan()
    found = recording.stalled(plan, 12, tmp_path, stall_after=20_000)
    assert found["expected"] == 12 * len(recorded_streams(plan, ()))
    assert found["lost"] == 0 < found["packets"] <= found["expected"], "a busy machine may miss units, the disk none"
    assert list(tmp_path.iterdir()) == []


# Duplex


def a_summary(**more):
    return {
        "units": 375,
        "real": 375,
        "model_latency_ms": {"p50": 60.0, "p95": 80.0, "p99": 90.0, "max": 95.0},
        "latency_ms": {"p50": 240.0, "p95": 240.1, "p99": 240.2, "max": 240.3},
        "misses": 0,
        "late": 1,
        "nodes": {"perform": {"levels": {"0": 374, "1": 1}}},
        "processes": {"main": {"pid": 1, "cpu_s": 20.5}, "performer": {"pid": 2, "cpu_s": 11.0}},
        **more,
    }


def test_the_first_release_is_counted_from_the_command():
    plan = Graph.load("duplex").plan()
    found = duplex.figures(a_summary(origin_ns=9_000_000_000), plan, started_ns=7_000_000_000)
    assert found["first_release_s"] == 2.16
    assert found["cpu_s"] == {"main": 20.5, "performer": 11.0}
    assert found["levels"] == {"0": 374, "1": 1}


def test_a_round_without_misses_is_better_than_a_quick_one():
    quick = {"misses": 1, "model_latency_ms": {"p95": 50.0}}
    clean = {"misses": 0, "model_latency_ms": {"p95": 90.0}}
    frozen = {"misses": 375, "model_latency_ms": {}}
    assert sorted([frozen, quick, clean], key=duplex.rank) == [clean, quick, frozen]


def test_the_duplex_bench_loops_the_clip():
    plan = Graph.load(duplex.GRAPH, duplex.SETTINGS).plan()
    assert plan.nodes["user"].params["loop"] is True


# What people see


def a_report(bench, measured):
    return {
        "bench": bench, "aim": "be quick", "machine": MACHINE, "best": 2,
        "parameters": {"units": 3, "threads": {"main": 1, "performer": 2}},
        "rounds": [{"round": n, "load_1m": 0.5, **measured} for n in (1, 2)],
    }  # fmt: skip


FIGURES = {"p50": 1.0, "p95": 2.0, "p99": 3.0, "max": 4.0}
MEASURED = {
    "clock": {c: {"called_ms": FIGURES, "done_ms": FIGURES} for c in ("idle", "busy")},
    "overhead": {
        "variants": {
            "as shipped": computed({"main": Slope(10, 90, 0.02), SUPERVISOR: Slope(10, 0, 0.01)}),
        }
    },
    "duplex": {**duplex.figures(a_summary(), Graph.load("duplex").plan(), 0), "total_cpu_s": 40.0},
    "prediction": {
        "graphs": {
            "duplex": {
                **dict.fromkeys(("predicted_ms", "real_ms", "own_ms"), FIGURES),
                **{key: {"p50": 0.01, "p95": -0.05} for key in ("error", "own_error")},
                "sums_ms": 1.0,
                "misses": {"predicted": 0, "real": 0},
                "simulated_s": 5.0,
            }
        }
    },
    "agreement": {
        "graphs": [
            {
                "seed": 3,
                "shape": "chain of 2, 1 process, loose",
                "verdict": "feasible",
                "error": 0.01,
                "disagree": False,
                "misses": {"predicted": 0.0, "real": 0.02},
                "predicted_ms": FIGURES,
                "real_ms": FIGURES,
            },
            {
                "seed": 4,
                "shape": "loop of 2, 1 process, tight",
                "verdict": "feasible",
                "error": None,
                "disagree": True,
                "misses": {"predicted": 0.0, "real": 1.0},
                "predicted_ms": FIGURES,
                "real_ms": {},
            },
        ],
        "n_disagree": 1,
        "n_compared": 1,
        "n_near": 1,
        "n_far": 0,
    },
    "model": {
        "policies": {p: {"10 s": dict.fromkeys((*model.STAGES, "sum"), FIGURES)} for p in ("full", "window")},
        "processes": {"1 x": dict.fromkeys(("one_ms", "two_ms", "bound", "gain", "of_bound"), 1.0)},
        "crosses_s": None,
        "window_spread": 1.02,
    },
    "cache": {
        **dict.fromkeys(("ours_ms", "plain_ms"), FIGURES),
        **dict.fromkeys(("stated_bytes_per_unit", "growth_bytes_per_unit", "drift_bytes_per_unit"), 6528),
        "ratio": 2.1,
        "largest_difference": 1e-6,
    },
    "tracing": dict.fromkeys(
        (
            *("on_us", "off_us", "adds_us", "records_per_unit", "after_us", "bytes_per_unit", "cpu_share"),
            *("compressed_after_us", "compressed_bytes_per_unit"),
        ),
        1.0,
    ),
    "recording": {
        **dict.fromkeys(("plain_ms", "recorded_ms", "cpu_share", "mb_per_s", "misses"), 1.0),
        "stalled": dict.fromkeys(("packets", "expected", "lost", "misses"), 0),
    },
    "live": {
        "ways": {
            "client": {"video_ms": FIGURES, "audio_ms": FIGURES, "shown_percent": 99.0, "underruns": 0},
            "page, socket": {"video_ms": None, "audio_ms": FIGURES, "carrier": "socket"},
            "page, WebRTC": None,
        }
    },
    "device": {"us": {"774 KB": {way: {**FIGURES, "p99.9": 3.0, "lost": 0} for way in ("device slot", "by the host")}}},
    "soak": {
        "outcomes": {"real": 8, "late": 1},
        "misses": 0,
        "underruns": 0,
        "skew_ms": {"p50": 1.0, "p95": 2.0},
        "answered_ms": {"p50": 90.0, "p95": 120.0},
        "processes": {"server": {"mb": 70.0, "bytes_per_unit": 12.0, "mb_per_hour": 0.3}},
    },
    "chain": {
        "ways": {
            "graph, in place": {"cpu_s": 1.5, "p50": 9.0, "p99": 12.0, "p99.9": 13.0, "max": 14.0, "lost": 0},
            "a peer": None,
        }
    },
    "transport": {"us": {"774 KB": {"graph, copied": Hops([1.0, 2.0], 3, 4.0).figures(), "a peer": None}}},
    "growth": {"units": 9, "processes": {"main": {"mb": 70.0, "bytes_per_unit": 12.0, "mb_per_hour": 0.3}}},
    "concealment": {"db": {"sine": {"continued": {"out": FIGURES, "back": FIGURES}}}},
}


def test_all_benches_are_here_but_that_of_faults_whose_rows_are_kinds():
    assert {*MEASURED, "faults"} == {*BENCHES}


@pytest.mark.parametrize("name", MEASURED)
def test_every_round_is_printed_with_the_machine_and_the_best_is_marked(name, monkeypatch):
    made = a_report(name, MEASURED[name])
    monkeypatch.setattr(find(name), "run", lambda rounds, seconds, on_round: made)
    out = CliRunner().invoke(command, [name, "--rounds", "2"]).output
    assert f"{name}: {machine_line(MACHINE)}" in out
    assert "units 3, torch threads main 1 performer 2" in out
    rows = [line.split() for line in out.splitlines()]
    rows = [row[1:] if row[:1] == ["best"] else ["-", *row] for row in rows if row[:1] in (["best"], ["1"], ["2"])]
    n_rows = len(find(name).table(made).rows)
    assert out.count("best") == n_rows // 2
    assert len(rows) == n_rows
    assert "aim: be quick" in out


@pytest.mark.parametrize("name", MEASURED)
def test_tables_have_a_cell_for_every_column_and_begin_with_the_round(name):
    table = find(name).table(a_report(name, MEASURED[name]))
    assert {len(row) for row in table.rows} == {len(table.columns)}
    assert {row[0] for row in table.rows} == {1, 2}


def test_json_goes_to_standard_output_and_nothing_else_does(monkeypatch):
    made = a_report("clock", MEASURED["clock"])
    monkeypatch.setattr(clock, "run", lambda rounds, seconds, on_round: made)
    assert json.loads(CliRunner().invoke(command, ["clock", "--json", "-"]).output) == made


def test_json_goes_to_a_file(monkeypatch, tmp_path):
    made = a_report("clock", MEASURED["clock"])
    monkeypatch.setattr(clock, "run", lambda rounds, seconds, on_round: made)
    CliRunner().invoke(command, ["clock", "--json", str(tmp_path / "clock.json")])
    assert json.loads((tmp_path / "clock.json").read_text()) == made


def test_json_that_cannot_be_written_is_said_before_anything_is_measured(tmp_path):
    target = tmp_path / "none" / "clock.json"
    with pytest.raises(UserError) as error:
        CliRunner().invoke(command, ["clock", "--json", str(target)], catch_exceptions=False)
    assert str(error.value) == (
        f"--json: {target}: cannot write into {target.parent} (expected a writable folder), name another file"
    )


def test_an_unknown_benchmark_is_answered_with_the_known_ones():
    with pytest.raises(UserError) as error:
        CliRunner().invoke(command, ["klock"], catch_exceptions=False)
    assert str(error.value) == (
        "bench: found 'klock' (available: agreement, cache, chain, clock, concealment, device, duplex, faults, fuzz, growth, live, model, overhead, prediction, recording, soak, tracing, transport); "
        "did you mean 'clock'?"
    )


def test_growth_is_the_slope_of_the_second_half_of_a_run():
    sizes = [(k, 50_000_000 + 9_000 * min(k, 100) + 40 * k) for k in range(0, 400, 5)]
    found = growth.growth(sizes)
    assert found == {"mb": 50.9, "bytes_per_unit": 40.0, "mb_per_hour": 0.9}
    assert growth.growth([(k, held + 300 * k) for k, held in sizes])["mb_per_hour"] > 5


def test_a_run_that_is_too_short_shows_no_growth():
    for sizes in ([], [(3, 10)], [(3, 10), (3, 12)]):
        with pytest.raises(RunError) as error:
            growth.growth(sizes)
        n = len(sizes)
        assert str(error.value) == (f"bench growth: found {n} sizes of a process (expected 2), measure for longer")


def test_memory_of_this_process_is_read_and_that_of_none_is_none():
    assert growth.resident_bytes(os.getpid()) > 1_000_000
    assert growth.resident_bytes(2**30) is None


def test_the_graph_whose_growth_is_measured_passes_the_check_in_two_processes(tmp_path):
    plan = growth.graph(tmp_path).plan()
    assert set(plan.processes) == {"camera", "main"}
    assert plan.clock.period_ns == 20_000_000


def test_help_tells_what_every_benchmark_measures():
    out = " ".join(CliRunner().invoke(command, ["--help"]).output.split())
    for name, text in BENCHES.items():
        assert f"{name} {text}" in out


def test_the_help_of_the_benches_imports_no_torch():
    code = "import sys, wangraph.tools.verbs.bench; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


@pytest.mark.parametrize("link", ["direct", "zeromq"])
@pytest.mark.parametrize("in_place", [False, True])
def test_hops_are_measured_over_the_channel_and_in_a_graph_on_both_links(link, in_place):
    for bench in (channel_hop, graph_hop):
        found = bench.measure(1000, 3, 200.0, link, in_place=in_place)
        assert (len(found.us), found.sent) == (3, 3)
        assert all(us > 0 for us in found.us)


@pytest.mark.parametrize("peer", [name for name, peer in transport.PEERS.items() if not peer.packages])
def test_what_needs_no_packages_of_others_is_measured_everywhere(peer):
    found = transport._measure_peer(transport.PEERS[peer], 1000, 3, 200.0)
    assert (len(found.us), found.sent) == (3, 3)


def test_a_chain_of_processes_is_measured_whole_whoever_made_it():
    floor = [sys.executable, str(chain.PROGRAMS / "floor_chain.py"), "1000", "50", "50", "4"]
    cores, found = chain.watch(floor, 1.0)
    assert cores >= 0 and (len(found.us), found.sent) == (50, 50)
    assert chain.watch([sys.executable, "-c", "print('nothing')"], 1.0) is None
    cores, found = chain.watch(chain._command(chain.OURS["graph, copied"], 25), 1.0)
    assert (len(found.us), found.sent) == (25, 25)
    assert chain.cpu_s(os.getpid()) > 0
    result = Run(chain_graph.plan(1000, 200.0, 4, in_place=True), Options(units=chain_graph.WARM_UP + 3)).start().wait()
    assert len(hops_in(result.log, 3, lambda reader: reader.started_ns).us) == 3


def test_what_cannot_be_had_is_left_out_and_said(tmp_path, monkeypatch):
    monkeypatch.setattr(transport, "python_with", lambda packages: None)
    assert transport._measure_peer(transport.PEERS["iceoryx2"], 1000, 3, 200.0) is None
    monkeypatch.setattr(transport, "PROGRAMS", tmp_path)
    assert transport._measure_peer(transport.PEERS["pipe and shared memory"], 1000, 3, 200.0) is None
    assert transport._cells(None) == ["not to be had", "", "", "", "", ""]


def test_losses_are_counted_and_quantiles_are_of_what_arrived():
    found = Hops([1.0, 3.0, 2.0], 5, None).figures()
    assert (found["p50"], found["max"], found["lost"], found["cpu_us"]) == (2.0, 3.0, 2, None)
    assert Hops([], 5, None).figures()["lost"] == 5


def test_the_processes_of_a_server_are_found_by_the_names_that_they_were_started_with():
    words = ["sh", "-c", "sleep 60; :", "wangraph.runtime.engine.child"]
    started = [subprocess.Popen([*words, name]) for name in ("main", "main", "far")]
    try:
        found = soak.processes_of(os.getpid())
    finally:
        for process in started:
            process.kill()
            process.wait()
    first, second, far = (process.pid for process in started)
    assert (found["far"], {found["main"], found["main'"]}) == (far, {first, second})


def test_a_conversation_without_misses_is_the_better_one_however_it_grows():
    small, large = ({"processes": {"main": {"mb_per_hour": grown}}} for grown in (1.0, 9.0))
    assert soak.rank({"misses": 0, **large}) < soak.rank({"misses": 3, **small})
    assert soak.rank({"misses": 0, **small}) < soak.rank({"misses": 0, **large})


def test_a_hop_on_a_device_is_measured_both_ways(monkeypatch):
    found = device.measure("fake:0", 8, {"774 KB": 4 * 192 * 336 * 3})["us"]["774 KB"]
    assert set(found) == set(device.WAYS)
    carriers = {
        way: device.plan("fake:0", 100, memory).streams["sender.out"].carrier for way, memory in device.WAYS.items()
    }
    assert carriers == {"device slot": "device", "by the host": "shared"}
    assert all(way["p50"] > 0 and way["lost"] < 8 for way in found.values())
