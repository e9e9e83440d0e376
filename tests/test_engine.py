"""Processes, lanes and drivers: the same packets whoever runs the graph, and an orderly end whatever happens."""

from __future__ import annotations

import gc
import multiprocessing
import os
import re
import signal
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import engine_toys as toys
import pytest
import zmq
from engine_toys import looped

from wangraph import Edge, Graph, run
from wangraph.runtime.engine import supervisor as supervisor_module
from wangraph.runtime.engine import system
from wangraph.runtime.engine.body import Body
from wangraph.runtime.engine.collector import Collector
from wangraph.runtime.engine.commands import Commands
from wangraph.runtime.engine.control import Batch
from wangraph.runtime.engine.drivers import SerialExecutor, run_virtual
from wangraph.runtime.engine.initial import initial_packets
from wangraph.runtime.engine.options import Options
from wangraph.runtime.engine.run import Run
from wangraph.runtime.engine.supervisor import Supervisor
from wangraph.runtime.engine.system import bind_to
from wangraph.runtime.errors import NodeError, ProcessLost, RunError, StartError, UserError
from wangraph.runtime.observe.explain import explain
from wangraph.runtime.observe.history import read_history
from wangraph.runtime.observe.records import Footer, Header, read_trace
from wangraph.runtime.packet import Validity
from wangraph.runtime.plan.catalogue import resolve
from wangraph.runtime.recording.reader import open_recording
from wangraph.runtime.schedule.events import Fenced, Firing, Settlement
from wangraph.runtime.schedule.scheduler import Scheduler
from wangraph.runtime.units import MS
from wangraph.tools.timeline.facts import read_run

UNITS = 12


def shared_memory() -> set[str]:
    return {name for name in os.listdir("/dev/shm") if "wangraph" in name} if Path("/dev/shm").is_dir() else set()


def children() -> set[str]:
    return set(Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split())


class Witness:
    """Watches a run; does something once when enough units were presented."""

    def __init__(self, at_unit: int, act) -> None:
        self.at_unit, self.act, self.pids = at_unit, act, {}

    def poll(self, statistics, usage):
        self.pids = {name: used["pid"] for name, used in usage.items()}
        if self.act is not None and statistics.units_presented >= self.at_unit:
            act, self.act = self.act, None
            act(self.pids)


def interrupt(run: Run, times: int) -> None:
    """As a person does: the next one when the one before has arrived."""
    for n in range(times):
        os.kill(os.getpid(), signal.SIGINT)
        while run._commands.stops <= n:
            os.sched_yield()


# Laws


def test_two_processes_make_the_same_packets_as_one(tmp_path):
    two = run(looped(tmp_path / "two"), units=UNITS)
    one = run(looped(tmp_path / "one", far=False), units=UNITS, serial=True)
    assert (two.summary["misses"], one.summary["misses"]) == (0, 0)
    assert (tmp_path / "two").read_text() == (tmp_path / "one").read_text()
    assert len((tmp_path / "two").read_text().splitlines()) == UNITS


def test_serial_and_parallel_make_the_same_packets_under_the_virtual_clock(tmp_path):
    results = [
        run(looped(tmp_path / str(serial)), units=60, clock="virtual", serial=serial, taps=["mix.mixed", "play.shown"])
        for serial in (True, False)
    ]
    assert results[0].log == results[1].log
    for stream, packets in results[0].packets.items():
        others = results[1].packets[stream]
        assert [(p.unit, p.validity) for p in packets] == [(p.unit, p.validity) for p in others]
        assert [p.array.tobytes() for p in packets if p.tensors] == [p.array.tobytes() for p in others if p.tensors]


def test_a_run_that_keeps_no_log_plays_the_same(tmp_path):
    results = [
        run(looped(tmp_path / str(keeps)), units=UNITS, clock="virtual", serial=True, keep_log=keeps)
        for keeps in (True, False)
    ]
    assert results[0].log and results[1].log == []
    assert (tmp_path / "True").read_text() == (tmp_path / "False").read_text()


def test_a_parallel_run_is_made_again_serially_from_its_decision_log(tmp_path):
    first = run(looped(tmp_path / "first"), units=UNITS)
    run(looped(tmp_path / "again"), serial=True, log=first.log)
    assert (tmp_path / "first").read_text() == (tmp_path / "again").read_text()


def test_lost_units_are_lost_again_in_a_run_that_follows_the_log(tmp_path):
    plan = looped(tmp_path / "out").plan()
    bodies = {name: Body(resolve(node.target)(**node.params), node, plan) for name, node in plan.nodes.items()}
    scheduler = Scheduler(plan, initial=initial_packets(plan), limit=UNITS)
    for body in bodies.values():
        body.open()
    run_virtual(plan, bodies, scheduler, SerialExecutor(),
                cost=lambda node, fire: 700 * MS if (node.name, fire.first) == ("mix", 4) else node.cost_ns)  # fmt: skip
    for body in bodies.values():
        body.close()
    lines = (tmp_path / "out").read_text()
    assert lines.count("empty") > 2
    Run(plan, Options(log=tuple(scheduler.take_events()))).start().wait()
    assert (tmp_path / "out").read_text() == lines


def test_a_process_takes_what_it_is_sent_until_its_senders_have_ended(tmp_path):
    """The nodes of a process end with their undelayed inputs; feedback goes on, for longer than a queue holds."""
    graph = Graph("uneven", latency_ms=40, fps=800)
    graph.process("main")
    graph.process("far")
    short = graph.add("short", toys.Numbers, units=12)
    long = graph.add("long", toys.Numbers, units=300)
    back = graph.add("back", toys.Blend, inputs={"video": long["video"]})
    graph.add("end", toys.Digest, inputs={"video": back["mixed"]}, path=str(tmp_path / "long"))
    near = graph.add("near", toys.Blend, inputs={"video": short["video"],
                                                 "back": Edge("back.mixed", delay=1, init="zeros")}, process="far")  # fmt: skip
    graph.add("digest", toys.Digest, inputs={"video": near["mixed"]}, process="far", path=str(tmp_path / "short"))
    result = run(graph)
    assert [len((tmp_path / name).read_text().splitlines()) for name in ("short", "long")] == [12, 300]
    assert not [e for e in result.log if isinstance(e, Settlement) and e.validity == Validity.MISSING]


def test_a_file_in_the_current_folder_does_not_stand_in_for_a_library(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "queue.py").write_text("raise RuntimeError('not the one that Python means')")
    assert run(looped(tmp_path / "out"), units=3).summary["units"] == 3


def test_a_process_may_have_any_name(tmp_path):
    graph = Graph("named", latency_ms=150)
    graph.process("main")
    graph.process("supervisor")
    numbers = graph.add("numbers", toys.Numbers)
    graph.add("digest", toys.Digest, inputs={"video": numbers["video"]}, process="supervisor", path=str(tmp_path / "x"))
    assert run(graph, units=3).summary["units"] == 3


def test_taps_keep_the_same_packets_in_processes_as_in_one(tmp_path):
    two = run(looped(tmp_path / "two"), units=UNITS, taps=["mix.mixed"])
    one = run(looped(tmp_path / "one", far=False), units=UNITS, clock="virtual", taps=["mix.mixed"])
    seen = [[(p.unit, p.validity, p.array.tobytes()) for p in r.packets["mix.mixed"] if p.tensors] for r in (two, one)]
    assert seen[0] == seen[1] and len(seen[0]) == UNITS


def test_a_tap_on_no_stream_is_refused(tmp_path):
    with pytest.raises(
        UserError, match=r"^taps: no stream 'mix.moxed' \(it has: mix.mixed, near.mixed, .*did you mean"
    ):
        run(looped(tmp_path / "x"), taps=["mix.moxed"])


# What a run leaves


def test_a_run_leaves_no_process_thread_socket_or_memory_behind(tmp_path):
    run(looped(tmp_path / "first"), units=2)
    gc.collect()
    before = (shared_memory(), children(), {t.name for t in threading.enumerate()}, len(os.listdir("/proc/self/fd")))
    run(looped(tmp_path / "second"), units=2)
    gc.collect()
    after = (shared_memory(), children(), {t.name for t in threading.enumerate()}, len(os.listdir("/proc/self/fd")))
    assert after == before


def test_the_trace_holds_the_plan_every_decision_and_the_summary(tmp_path):
    result = run(looped(tmp_path / "out"), units=4, trace=tmp_path / "run.trace")
    records = list(read_trace(tmp_path / "run.trace"))
    assert isinstance(records[0], Header)
    assert records[0].plan["nodes"]["mix"]["process"] == "far"
    assert isinstance(records[-1], Footer)
    assert records[-1].summary == result.summary
    assert [r for r in records if r in result.log] == result.log


def test_the_summary_says_what_was_run_and_how_it_was(tmp_path):
    summary = run(looped(tmp_path / "out"), units=6).summary
    assert summary["graph"] == "looped"
    assert summary["units"] == 6
    assert summary["misses"] == 0
    assert summary["fps"] == pytest.approx(25, rel=0.2)
    assert set(summary["processes"]) == {"main", "far"}
    assert summary["edges"]["near.mixed->mix.video"] == {
        "carrier": "shared", "bytes": 6 * 4 * 16 * 16 * 3,
        "transfer_ms": summary["edges"]["near.mixed->mix.video"]["transfer_ms"],
    }  # fmt: skip
    assert summary["edges"]["numbers.video->near.video"]["carrier"] == "reference"
    assert {"p50", "p95", "p99", "max"} <= set(summary["latency_ms"])
    assert summary["nodes"]["mix"]["fired"] == 6


# Faults


def failing(tmp_path: Path, mix: type, **params: object) -> Run:
    return Run(looped(tmp_path / "out", mix, **params).plan(), Options(UNITS))


def assert_clean(tmp_path: Path) -> None:
    lines = (tmp_path / "out").read_text().splitlines()
    assert len(lines) >= 1, "what was written before is kept"
    assert shared_memory() == set()
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("far", [True, False])
def test_a_node_that_raises_is_named_with_its_unit(tmp_path, far):
    broken = Run(looped(tmp_path / "out", toys.Raises, far=far).plan(), Options(UNITS))
    with pytest.raises(
        RunError, match=r"^node 'mix', unit 3: ValueError: the lens fell off, at .*engine_toys.py:\d+ in step$"
    ):
        broken.start().wait()
    assert_clean(tmp_path)


def test_a_node_that_raises_in_a_serial_run_is_a_node_error(tmp_path):
    with pytest.raises(
        NodeError, match=r"^node 'mix', unit 3: ValueError: the lens fell off, at .*engine_toys.py:\d+ in step$"
    ):
        run(looped(tmp_path / "out", toys.Raises), units=UNITS, serial=True, clock="virtual")
    assert_clean(tmp_path)


def test_a_wrong_shape_is_named_with_unit_port_expected_and_found(tmp_path):
    expected = (
        r"^node 'mix', unit 3, output 'mixed': found \[2 16 16 3\] uint8 \(expected \[4 16 16 3\] uint8\), "
        r"return what the port declares$"
    )
    with pytest.raises(RunError, match=expected):
        failing(tmp_path, toys.WrongShape).start().wait()
    assert_clean(tmp_path)


def test_a_node_that_cannot_open_stops_the_run_before_the_clock_starts(tmp_path):
    with pytest.raises(
        RunError, match=r"^node 'mix': OSError while opening: no lens, at .*engine_toys.py:\d+ in open$"
    ):
        failing(tmp_path, toys.CannotOpen).start().wait()
    written = tmp_path / "out"
    assert not written.exists() or written.read_text() == "", "no unit was run"


@pytest.mark.parametrize("code", [7, 0])
def test_a_process_that_ends_by_itself_is_named_and_the_rest_is_stopped_in_order(tmp_path, code):
    expected = (
        rf"^process 'far' \(pid \d+\): ended with exit code {code} while running node 'mix', unit 3 "
        r"\(expected to live as long as the run\), the other processes were stopped in order$"
    )
    with pytest.raises(ProcessLost, match=expected):
        failing(tmp_path, toys.Vanishes, code=code).start().wait()
    assert_clean(tmp_path)


def test_a_killed_process_stops_the_run_and_leaves_nothing_behind(tmp_path):
    lost = Run(looped(tmp_path / "out").plan(), Options())
    lost.collector.watcher = Witness(3, lambda pids: os.kill(pids["far"], signal.SIGKILL))
    with pytest.raises(ProcessLost, match=r"^process 'far' \(pid \d+\): killed by SIGKILL while running "):
        lost.start().wait()
    assert_clean(tmp_path)


def test_an_interrupt_ends_sources_where_they_are_and_everything_flows_out(tmp_path):
    endless = Run(looped(tmp_path / "out").plan(), Options())
    endless.collector.watcher = Witness(3, lambda pids: os.kill(os.getpid(), signal.SIGINT))
    before = signal.getsignal(signal.SIGINT)
    endless.start().wait()
    assert endless.is_stopped
    lines = (tmp_path / "out").read_text().splitlines()
    assert [int(line.split()[0]) for line in lines] == list(range(len(lines)))
    assert endless.summary["units"] == len(lines)
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("serial", [True, False])
def test_a_second_interrupt_ends_a_virtual_run_at_once(tmp_path, monkeypatch, serial):
    monkeypatch.setattr("wangraph.runtime.engine.local.POLL_EVERY_S", 0.0)

    def settled(interrupts):
        run = Run(looped(tmp_path / "out").plan(), Options(clock="virtual", serial=serial))
        run.collector.watcher = Witness(3, lambda pids: interrupt(run, interrupts))
        return len(run.start().wait().log)

    assert settled(2) < settled(1)
    assert_clean(tmp_path)


def test_a_fence_from_outside_reaches_every_process_and_the_run_goes_on(tmp_path):
    fenced = Run(looped(tmp_path / "out").plan(), Options(UNITS))
    fenced.collector.watcher = Witness(3, lambda pids: fenced.fence(["mix.mixed"]))
    result = fenced.start().wait()
    fences = [e for e in result.log if isinstance(e, Fenced)]
    assert [(f.streams, f.generation) for f in fences] == [(["mix.mixed"], 1)] * 2
    lines = (tmp_path / "out").read_text().splitlines()
    assert len(lines) == UNITS
    assert [f.first_unit for f in fences] == [0, 0]
    assert len([line for line in lines if line.endswith("empty")]) <= 2, "no more is dropped than what was under way"


def test_a_fence_in_a_serial_run_drops_what_was_begun_before_it(tmp_path):
    fenced = Run(looped(tmp_path / "out").plan(), Options(UNITS, "virtual", serial=True))
    fenced.fence(["mix.mixed"], first_unit=0)
    assert [e.generation for e in fenced.start().wait().log if isinstance(e, Fenced)] == [1]


def test_a_fence_around_nothing_is_refused(tmp_path):
    with pytest.raises(UserError) as caught:
        Run(looped(tmp_path / "out").plan(), Options(1)).fence(["mix.moxed"])
    assert str(caught.value) == (
        "fence: no stream 'mix.moxed' (it has: mix.mixed, near.mixed, numbers.number, numbers.video, play.shown); did you mean 'mix.mixed'?"
    )


def test_a_start_that_takes_too_long_names_the_node_that_is_being_opened(tmp_path, monkeypatch):
    monkeypatch.setattr(supervisor_module, "START_DEADLINE_S", 0.0)
    with pytest.raises(StartError, match=r"^start: process 'main' is starting; process 'far' is starting after 0 s "):
        failing(tmp_path, toys.Heavy).start().wait()


def test_a_stall_is_reported_by_node_unit_and_reason(tmp_path):
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    hanging = Run(looped(tmp_path / "out", toys.Hangs, gate=str(gate)).plan(), Options(UNITS))
    told: list[str] = []

    class Opener:
        def poll(self, statistics, usage):
            for note in statistics.notes:
                if note.kind == "stall" and "'mix'" in note.text and not told:
                    told.append(note.text)
                    gate.open("wb").close()

    hanging.collector.watcher = Opener()
    hanging.start().wait()
    assert told[0].startswith("node 'mix': computing unit 3 since ")
    assert told[0].endswith(" ms over its due")


class StopsAtStall:
    """Stops a run in order once a stall was told; keeps how long the run took from there."""

    def __init__(self, run):
        self.run, self.stopped_at = run, 0.0
        run.collector.watcher = self

    def poll(self, statistics, usage):
        if any(note.kind == "stall" for note in statistics.notes) and not self.run.is_stopped:
            self.before_stop(usage)
            self.run.stop()

    def before_stop(self, usage):
        """For tests that do something to the processes first."""


def warnings_of(result):
    return [note["text"] for note in result.summary["notes"] if note["kind"] == "warning"]


@pytest.fixture
def hanging(tmp_path):
    """A run whose node 'mix' hangs in unit 3, in a process of its own, recorded."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    plan = looped(tmp_path / "out", toys.Hangs, gate=str(gate)).plan()
    return Run(plan, Options(UNITS, record=tmp_path / "run.mcap", trace=tmp_path / "run.trace"))


def test_a_body_that_hangs_holds_up_no_stop_and_is_named(tmp_path, hanging):
    StopsAtStall(hanging)
    result = hanging.start().wait()
    (warning,) = warnings_of(result)
    assert re.fullmatch(
        r"node 'mix', unit 3: computing since \d+ ms, for \d+\.\d s; it was left, what it held is lost", warning
    )
    assert [(call["node"], call["unit"]) for call in result.summary["unfinished"]] == [("mix", 3)]
    assert not open_recording(tmp_path / "run.mcap").is_whole
    assert_clean(tmp_path)


def test_a_process_that_does_not_answer_a_stop_is_killed_and_what_it_computed_is_named(tmp_path, hanging):
    class Freezes(StopsAtStall):
        def before_stop(self, usage):
            os.kill(usage["far"]["pid"], signal.SIGSTOP)

    Freezes(hanging)
    (warning,) = warnings_of(hanging.start().wait())
    assert re.fullmatch(
        r"process 'far' did not answer and was killed; node 'mix', unit 3: computing since \d+ ms, for \d+\.\d s; "
        r"it was left, what it held is lost",
        warning,
    )
    assert_clean(tmp_path)


def test_a_call_that_lasts_longer_than_stall_s_ends_the_run_and_the_readers_blame_it(tmp_path):
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    graph = looped(tmp_path / "out", toys.Hangs, gate=str(gate))
    plan = graph.plan()
    plan = replace(plan, nodes={**plan.nodes, "mix": replace(plan.nodes["mix"], stall_ns=900_000_000)})
    stuck = Run(plan, Options(UNITS, trace=tmp_path / "run.trace"))
    with pytest.raises(RunError) as caught:
        stuck.start().wait()
    assert re.fullmatch(
        r"node 'mix', unit 3: computing since \d+ ms, for \d\.\d s \(expected 0\.9 s at most\), the run was ended; "
        r"if the body needs longer, give its node a larger stall_s",
        str(caught.value),
    )
    history = read_history(tmp_path / "run.trace")
    assert [(call.node, call.first) for call in history.unfinished] == [("mix", 3)]
    culprits = {(c.kind, c.node, c.unit) for unit in (3, 4) for c in explain(history, unit).culprits}
    assert culprits == {("computing", "mix", 3)}
    drawn = read_run(tmp_path / "run.trace").bodies["mix"][3]
    assert (drawn.verdict, drawn.finished_ns - drawn.started_ns > 900_000_000) == ("unfinished", True)


def test_a_process_that_says_nothing_is_told_while_the_run_goes_on(tmp_path, hanging):
    told = []

    class Freezes:
        def poll(self, statistics, usage):
            notes = [note.text for note in statistics.notes if note.kind == "stall"]
            if any("'mix'" in text for text in notes) and not told:
                os.kill(usage["far"]["pid"], signal.SIGSTOP)
            told[:] = notes
            if any(text.startswith("process 'far'") for text in notes) and not hanging.is_stopped:
                hanging.stop()

    hanging.collector.watcher = Freezes()
    hanging.start().wait()
    silence = next(text for text in told if text.startswith("process 'far'"))
    what = r"no sign of life for \d\.\d s, it is stopped; node 'mix', unit 3: computing since \d+ ms, for \d\.\d s"
    assert re.fullmatch(f"process 'far': {what}", silence)


def test_a_stop_in_order_waits_for_whoever_moves(tmp_path, monkeypatch):
    now = 1000.0
    monkeypatch.setattr(supervisor_module.time, "monotonic", lambda: now)
    commands = Commands()
    commands.open()
    collector = Collector(plan := looped(tmp_path / "out").plan(), Options())
    collector.engine = supervisor = Supervisor(plan, Options(), collector, commands)
    supervisor.stop()
    supervisor._children._known["main"] = SimpleNamespace()
    firing = Firing("digest", 3, 3, "step", 0, 0, 0, 0, None, "real")
    for _ in range(5):
        now += 9.0
        assert not supervisor._is_stuck()
        supervisor._handle("main", Batch([firing], 0.0, 0.0), b"")
    supervisor._handle("main", Batch([], 0.0, 0.0), b"")
    now += 10.1
    assert not supervisor._is_stuck(), "what was made may wait for as long as the latency"
    now += 0.1
    assert supervisor._is_stuck()
    commands.close()
    supervisor._context.destroy(0)


def test_too_little_shared_memory_is_said_before_anything_starts(tmp_path, monkeypatch):
    from wangraph.runtime.channel import segment

    monkeypatch.setattr(segment, "free_bytes", lambda folder: 1000)
    with pytest.raises(
        UserError, match=r"^shared memory: found 0 MB free in /dev/shm \(expected \d+ MB for process 'main'\)"
    ):
        failing(tmp_path, toys.Heavy).start().wait()
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_ends_the_trace_and_not_the_run(tmp_path):
    full = Run(looped(tmp_path / "out").plan(), Options(UNITS, clock="virtual", trace=Path("/dev/full")))
    text = "--trace: /dev/full: No space left on device after 0 records (expected room for the trace), "
    with pytest.raises(RunError, match="^" + re.escape(text)):
        full.start().wait()
    assert [note["kind"] for note in full.summary["notes"] if note["text"].startswith(text)] == ["warning"]
    assert full.summary["units"] == UNITS


def test_a_trace_that_cannot_be_written_is_said_before_anything_starts(tmp_path):
    with pytest.raises(
        UserError, match=r"^--trace: .*missing.*: No such file or directory \(expected a writable file\)$"
    ):
        run(looped(tmp_path / "out"), units=2, trace=tmp_path / "missing" / "run.trace")
    assert not (tmp_path / "out").exists()


def test_a_run_started_while_nodes_are_loaded_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(system, "process_of_run", "far")
    with pytest.raises(
        UserError, match=r"^run: called while process 'far' loads a file of nodes .* put the call under: if __name__"
    ):
        run(looped(tmp_path / "out"), units=2)


def test_a_process_that_a_node_forked_ends_with_the_run(tmp_path):
    run(looped(tmp_path / "out", toys.Forks, pid=str(tmp_path / "pid")), units=UNITS)
    try:
        forked = os.pidfd_open(int((tmp_path / "pid").read_text()))
    except ProcessLookupError:
        return
    poller = zmq.Poller()
    poller.register(forked, zmq.POLLIN)
    assert poller.poll(10_000), "what a node forked outlives the run"
    os.close(forked)


def test_the_processes_die_with_their_supervisor(tmp_path):
    """The supervisor is a process here; it is killed, and its children are gone without being told."""
    context = multiprocessing.get_context("fork")
    reading, writing = os.pipe()

    def supervise() -> None:
        zmq.Context.instance().term()
        endless = Run(looped(tmp_path / "out").plan(), Options())
        endless.collector.watcher = Witness(
            2, lambda pids: os.write(writing, " ".join(map(str, pids.values())).encode())
        )
        endless.start().wait()

    supervising = context.Process(target=supervise)
    supervising.start()
    pids = [int(pid) for pid in os.read(reading, 100).split()]
    handles = [os.pidfd_open(pid) for pid in pids]
    supervising.kill()
    supervising.join()
    poller = zmq.Poller()
    for handle in handles:
        poller.register(handle, zmq.POLLIN)
    left = set(handles)
    while left:
        gone = {fd for fd, _ in poller.poll(10_000)}
        assert gone, "processes outlive their supervisor"
        for handle in gone & left:
            poller.unregister(handle)
        left -= gone
    for handle in [*handles, reading, writing]:
        os.close(handle)
    assert shared_memory() == set()


def test_a_process_runs_on_the_processors_that_it_is_given(tmp_path):
    only = min(os.sched_getaffinity(0))
    graph = looped(tmp_path / "out")
    graph.process("far", cpus=only)
    seen = Run(graph.plan(), Options(UNITS))
    allowed = []

    def look(pids):
        threads = Path(f"/proc/{pids['far']}/task").iterdir()
        allowed.extend(frozenset(os.sched_getaffinity(int(thread.name))) for thread in threads)

    seen.collector.watcher = Witness(3, look)
    seen.start().wait()
    assert set(allowed) == {frozenset({only})}


def test_a_refused_processor_is_told_with_those_that_there_are():
    usable = ", ".join(map(str, sorted(os.sched_getaffinity(0))))
    assert bind_to([9999]) == f"cpus 9999: Invalid argument (expected some of: {usable}), it runs on those"


def test_a_process_has_the_priority_that_is_asked_for_or_says_why_not(tmp_path):
    graph = looped(tmp_path / "out")
    graph.process("far", priority=7)
    seen = Run(graph.plan(), Options(UNITS))
    policies = []

    def look(pids):
        threads = Path(f"/proc/{pids['far']}/task").iterdir()
        policies.extend(
            (os.sched_getscheduler(int(t.name)), os.sched_getparam(int(t.name)).sched_priority) for t in threads
        )

    seen.collector.watcher = Witness(3, look)
    refused = [text for text in warnings_of(seen.start().wait()) if "priority" in text]
    if refused:
        assert refused[0].startswith("process 'far': priority 7: Operation not permitted (expected CAP_SYS_NICE, or ")
    else:
        assert set(policies) == {(os.SCHED_RR, 7)}
