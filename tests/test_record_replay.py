"""Recordings: what goes in comes out, a replay is the run, and every bad file or graph is named."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
from dataclasses import replace

import engine_toys as toys
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from mcap.reader import make_reader
from mcap.writer import Writer

from wangraph import Param, run
from wangraph.runtime.engine.options import Options
from wangraph.runtime.engine.record_sinks import recorded_streams
from wangraph.runtime.engine.run import Run
from wangraph.runtime.errors import ProcessLost, RunError, UserError
from wangraph.runtime.observe.records import TRACE_VERSION, make_header
from wangraph.runtime.observe.run_file import running
from wangraph.runtime.observe.status import StatusClient
from wangraph.runtime.packet import Packet, Validity
from wangraph.runtime.recording import recorder as recorder_module
from wangraph.runtime.recording.cdr import decode_packet, encode_image, encode_packet, pictures_of
from wangraph.runtime.recording.compare import Expectation
from wangraph.runtime.recording.reader import open_recording
from wangraph.runtime.recording.recorder import Recorder
from wangraph.runtime.recording.replay import consistent, difference, make_replay
from wangraph.runtime.schedule.events import Firing, Settlement

UNITS = 12
ALL = ["all"]


class Tinted(toys.Heavy):
    """Heavy, with a tint from one unit on."""

    tint: int = Param(0)
    since: int = Param(0)

    def step(self, state, unit, video, back):
        result = super().step(state, unit, video, back)
        return {"mixed": result["mixed"] + np.uint8(self.tint)} if self.tint and unit.index >= self.since else result


def looped(out, mix=Tinted, *, far=False, **params):
    return toys.looped(out, mix, far=far, latency_ms=600 if far else 150, **params)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A virtual run of which everything was recorded, with lost and late units in it."""
    folder = tmp_path_factory.mktemp("recorded")
    result = run(
        looped(folder / "out"), units=UNITS, clock="virtual", record=folder / "run.mcap", record_edges=ALL,
        inject=["mix: stall=700ms at=4", "near: drop at=9"], taps=["mix.mixed", "numbers.number", "play.shown"],
    )  # fmt: skip
    return folder, result


def replayed(recording, plan, start=None, clock="virtual", expect=True):
    """The replay run, and the first change."""
    replay = make_replay(recording, plan, start)
    expectation = Expectation(recording, replay)
    again = Run(replay.plan, Options(clock=clock, log=replay.log if clock == "virtual" else None))
    again.collector.listener = (expectation.streams, expectation.take)
    again.start().wait()
    return replay, again, expectation.first_change(again.log) if expect else None, expectation


# What a packet is made of

tensors = st.dictionaries(
    st.text("abc", max_size=2),
    hnp.arrays(
        st.sampled_from(["uint8", "int16", "float32", "int64", "float64", "bool"]),
        hnp.array_shapes(min_dims=0, max_dims=4, max_side=5),
    ),
    max_size=3,
)
times = st.integers(-(2**62), 2**62)
packets = st.builds(
    Packet,
    stream=st.just("a.b"), unit=st.integers(0, 2**40), generation=st.integers(0, 1000), pts_ns=times,
    duration_ns=times, validity=st.sampled_from(Validity), tensors=tensors, session=st.integers(0, 9), produced_ns=times, incarnation=st.integers(0, 9),
    capture_ns=st.none() | times, capture_clock=st.text(max_size=5).filter(lambda t: "\0" not in t),
    source_time_ns=st.none() | times,
)  # fmt: skip


def same(a, b):
    fields = ("stream", "unit", "generation", "pts_ns", "duration_ns", "validity", "session", "produced_ns",
              "capture_ns", "capture_clock", "source_time_ns")  # fmt: skip
    assert [getattr(a, field) for field in fields] == [getattr(b, field) for field in fields]
    assert [(n, t.dtype, t.shape, t.tobytes()) for n, t in a.tensors.items()] == [
        (n, t.dtype, t.shape, t.tobytes()) for n, t in b.tensors.items()
    ]


@given(packets)
def test_every_packet_comes_out_as_it_went_in(packet):
    same(packet, decode_packet("a.b", encode_packet(packet, 0), []))


@given(hnp.arrays("uint8", st.tuples(st.integers(1, 5), st.integers(1, 7), st.integers(1, 7), st.just(3))))
def test_pictures_are_kept_one_by_one_and_put_together_again(pictures):
    packet = Packet("a.b", 3, 0, 0, 160, Validity.REAL, {"": pictures})
    assert pictures_of(packet) is pictures
    images = [encode_image(picture, 10**9 + j, "a.b") for j, picture in enumerate(pictures)]
    same(packet, decode_packet("a.b", encode_packet(packet, len(images)), [b"of an older packet", *images]))


def test_a_message_that_is_no_packet_is_refused():
    message = encode_packet(Packet("a.b", 3, 0, 0, 160, Validity.REAL, {"": np.zeros(5)}), 0)
    for broken in (message[:-3], b"", b"\0\0\0\0" + message[4:]):
        with pytest.raises(
            UserError, match=r"^'a.b': found a broken packet: .* \(expected a recording of wangraph\), record it again$"
        ):
            decode_packet("a.b", broken, [])


# What is recorded


def test_a_recording_holds_the_packets_and_decisions_of_the_run(recorded):
    folder, result = recorded
    recording = open_recording(folder / "run.mcap")
    assert recording.is_whole and recording.lost == {}
    assert list(recording.log) == result.log
    assert set(recording.units) == {"numbers.video", "numbers.number", "near.mixed", "mix.mixed", "play.shown"}
    for stream, packets in result.packets.items():
        read = list(recording.packets([stream]))
        assert len(read) == len(packets) == UNITS + 1
        for a, b in zip(packets, read, strict=True):
            same(a, b)
    assert {p.validity for p in recording.packets(["mix.mixed"])} == {Validity.REAL, Validity.MISSING, Validity.END}


def test_a_recording_is_mcap_for_others_too_with_an_index_and_schemas(recorded):
    folder, _ = recorded
    with (folder / "run.mcap").open("rb") as file:
        summary = make_reader(file).get_summary()
    encodings = {
        c.topic: (c.message_encoding, summary.schemas[c.schema_id].encoding) for c in summary.channels.values()
    }
    assert encodings["/mix/mixed"] == encodings["/mix/mixed/pictures"] == ("cdr", "ros2msg")
    assert encodings["/wangraph/firing"] == encodings["/wangraph/settled"] == ("json", "jsonschema")
    assert summary.chunk_indexes and summary.statistics.message_count > 10 * UNITS


def test_what_enters_and_leaves_the_graph_is_recorded_unless_told_otherwise(tmp_path):
    plan = looped(tmp_path / "out").plan()
    assert recorded_streams(plan, []) == ["numbers.video", "numbers.number", "play.shown"]
    assert recorded_streams(plan, ["mix", "numbers.number"]) == ["mix.mixed", "numbers.number"]
    with pytest.raises(
        UserError,
        match=r"^--edges: no stream 'mix.moxed' \(it has: mix.mixed, near.mixed, .*\); did you mean 'mix.mixed'\?$",
    ):
        run(looped(tmp_path / "out"), units=2, record=tmp_path / "x.mcap", record_edges=["mix.moxed"])
    assert not (tmp_path / "x.mcap").exists()


def test_a_recording_that_cannot_be_written_is_said_before_anything_starts(tmp_path):
    with pytest.raises(
        UserError, match=r"^--output: .*missing/x.mcap: No such file or directory \(expected a writable file\)$"
    ):
        run(looped(tmp_path / "out"), units=2, record=tmp_path / "missing" / "x.mcap")
    assert not (tmp_path / "out").exists()


def test_without_the_extra_its_name_is_said(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mcap.writer", None)
    with pytest.raises(
        UserError, match=r"^recording: found no package 'mcap' .*, install it: pip install 'wangraph\[record\]'$"
    ):
        run(looped(tmp_path / "out"), units=2, record=tmp_path / "x.mcap")


def stalled_recorder(tmp_path, **more):
    """A recorder whose disk waits for an event."""
    plan = looped(tmp_path / "out").plan()
    recorder = Recorder(tmp_path / "x.mcap", plan, make_header(plan, "system", "parallel"), **more)
    disk = threading.Event()
    write = recorder._write

    def stall(taken):
        disk.wait(30)
        write(taken)

    recorder._write = stall
    return recorder, disk


def picture(unit):
    return Packet("mix.mixed", unit, 0, 0, 160, Validity.REAL, {"": np.full((4, 10, 10, 3), unit, np.uint8)})


def test_nothing_is_lost_while_a_disk_stalls(tmp_path):
    recorder, disk = stalled_recorder(tmp_path)
    for unit in range(50):
        recorder.put(picture(unit))
    disk.set()
    assert recorder.close() is None
    recording = open_recording(recorder.path)
    assert [p.unit for p in recording.packets()] == list(range(50)) and recording.lost == {}


def test_what_a_stalled_disk_has_no_room_for_is_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(recorder_module, "LIMIT_BYTES", 10 * 1200)
    recorder, disk = stalled_recorder(tmp_path)
    for unit in range(50):
        recorder.put(picture(unit))
    disk.set()
    assert recorder.close() is None
    recording = open_recording(recorder.path)
    assert [p.unit for p in recording.packets()] == list(range(10))
    assert recorder.lost == recording.lost == {"mix.mixed": 40}


def test_where_time_is_virtual_the_run_waits_for_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(recorder_module, "LIMIT_BYTES", 10 * 1200)
    recorder, disk = stalled_recorder(tmp_path, waits=True)
    threading.Timer(0.0, disk.set).start()
    for unit in range(50):
        recorder.put(picture(unit))
    assert recorder.close() is None
    assert len(list(open_recording(recorder.path).packets())) == 50


def test_a_full_disk_ends_the_recording_and_not_the_run(tmp_path, monkeypatch):
    write = Recorder._write_packet

    def fill(self, packet):
        if self.n_packets == 20:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(self, packet)

    monkeypatch.setattr(Recorder, "_write_packet", fill)
    with pytest.raises(
        RunError,
        match=r"^--output: .*x.mcap: No space left on device after 20 packets \(expected room for the recording\), "
        r"what was written before can be replayed$",
    ):
        run(looped(tmp_path / "out"), units=50, clock="virtual", record=tmp_path / "x.mcap", record_edges=ALL)
    assert len((tmp_path / "out").read_text().splitlines()) == 50
    recording = open_recording(tmp_path / "x.mcap")
    assert not recording.is_whole


def test_a_disk_that_is_full_already_is_said_before_anything_starts(tmp_path):
    with pytest.raises(UserError, match=r"^--output: /dev/full: No space left on device \(expected a writable file\)$"):
        run(looped(tmp_path / "out"), units=2, record="/dev/full")


# Replays


@pytest.mark.parametrize("start", [None, "near", "mix", "play"])
def test_a_replay_is_the_run_from_wherever_it_starts(recorded, tmp_path, start):
    folder, result = recorded
    recording = open_recording(folder / "run.mcap")
    replay, again, change, expectation = replayed(recording, looped(tmp_path / "out").plan(), start)
    assert replay.log is not None and change is None
    assert (tmp_path / "out").read_text() == (folder / "out").read_text()
    assert set(expectation.streams) == set(replay.plan.streams) - {
        s.name for s in replay.plan.streams.values() if s.node in replay.played
    }
    assert expectation.n_equal == len(expectation.streams) * (UNITS + 1)
    repeated = [e for e in again.log if isinstance(e, Firing) and e.node not in replay.played]
    asked = [
        e for e in result.log if isinstance(e, Firing) and e.node in replay.plan.nodes and e.node not in replay.played
    ]
    key = lambda e: (e.node, e.first, e.last, e.mode, e.level)  # noqa: E731
    assert sorted(map(key, repeated)) == sorted(key(e) for e in asked if e.verdict != "end")


def test_two_processes_recorded_in_real_time_are_replayed_in_one(tmp_path):
    run(looped(tmp_path / "out", far=True), units=UNITS, record=tmp_path / "run.mcap", record_edges=ALL,
        inject=["mix: stall=700ms at=4"])  # fmt: skip
    recording = open_recording(tmp_path / "run.mcap")
    assert {len(list(recording.packets([s]))) for s in recording.units} == {UNITS + 1}
    _, _, change, expectation = replayed(recording, looped(tmp_path / "again").plan())
    assert change is None and expectation.n_equal == 3 * (UNITS + 1)
    assert (tmp_path / "again").read_text() == (tmp_path / "out").read_text()


def test_a_recording_is_fed_in_real_time_into_processes(recorded, tmp_path):
    folder, _ = recorded
    replay, again, _, _ = replayed(
        open_recording(folder / "run.mcap"), looped(tmp_path / "out", far=True).plan(), "near", "system", expect=False
    )
    assert list(replay.plan.processes) == ["main", "far"] and replay.played == ("near",)
    lines = (tmp_path / "out").read_text().splitlines()
    assert [line.split()[0] for line in lines] == [str(unit) for unit in range(UNITS)]
    assert again.summary["fps"] == pytest.approx(25, rel=0.3)


@pytest.mark.parametrize("since", [0, 10])
def test_the_first_packet_that_differs_is_named(recorded, tmp_path, since):
    folder, _ = recorded
    recording = open_recording(folder / "run.mcap")
    _, _, change, _ = replayed(recording, looped(tmp_path / "out", tint=3, since=since).plan(), "near")
    assert str(change).startswith(f"'mix.mixed', unit {since}: 3072 of 3072 values differ, first number 0: found ")


def test_a_graph_that_differs_decides_anew_and_says_why(recorded, tmp_path):
    folder, _ = recorded
    recording = open_recording(folder / "run.mcap")
    replay, again, _, _ = replayed(recording, looped(tmp_path / "out", toys.Heavy).plan(), expect=False)
    assert replay.log is None
    assert replay.why.startswith("node 'mix' is ") and "Heavy, was " in replay.why
    assert again.summary["units"] == UNITS


def test_placement_does_not_make_a_graph_another_one(recorded, tmp_path):
    folder, _ = recorded
    recording = open_recording(folder / "run.mcap")
    assert difference(recording.plan, looped(tmp_path / "out", far=True, tint=3).plan(), []) == ""


def test_a_source_does_not_run_ahead_of_the_slowest_node(tmp_path):
    """A replay of an hour must not hold an hour in memory."""
    first = run(looped(tmp_path / "out"), units=300, clock="virtual", record=tmp_path / "run.mcap")
    ahead, seen = 0, {"numbers.number": 0, "play.shown": 0}

    def look(packet):
        nonlocal ahead
        seen[packet.stream] = packet.unit
        ahead = max(ahead, seen["numbers.number"] - seen["play.shown"])

    recording = open_recording(tmp_path / "run.mcap")
    replay = make_replay(recording, looped(tmp_path / "again").plan())
    again = Run(replay.plan, Options(clock="virtual", log=(*first.log,)))
    again.collector.listener = (frozenset(seen), look)
    again.start().wait()
    assert again.summary["units"] == 300 and ahead <= 40


# Bad input


def test_what_is_asked_for_and_not_there_is_named(recorded, tmp_path):
    folder, _ = recorded
    plan = looped(tmp_path / "out").plan()
    recording = open_recording(folder / "run.mcap")
    with pytest.raises(UserError, match=r"^--from: no node 'near2' \(it has: digest, .*\); did you mean 'near'\?$"):
        make_replay(recording, plan, "near2")
    less = replace(recording, units={"numbers.video": 13, "numbers.number": 13})
    with pytest.raises(
        UserError,
        match=r"run.mcap: no stream 'mix.mixed' \(recorded: numbers.number, numbers.video\), the graph takes it from 'mix'; "
        r"record it with: wangraph record GRAPH --edges mix$",
    ):
        make_replay(less, plan, "mix")
    with pytest.raises(
        UserError,
        match=r"run.mcap: none of the sources numbers was recorded \(recorded: mix.mixed\), "
        r"name the recorded node with --from$",
    ):
        make_replay(replace(recording, units={"mix.mixed": 13}), plan)


def test_a_graph_of_other_shapes_is_refused(recorded, tmp_path):
    folder, _ = recorded
    with pytest.raises(
        UserError,
        match=r"run.mcap: stream 'numbers.video': found video \[4 16 16 3\] uint8 \(expected video \[4 8 8 3\] uint8 "
        r"by 'looped'\), replay it into the graph that was recorded$",
    ):
        make_replay(open_recording(folder / "run.mcap"), looped(tmp_path / "out", side=8).plan())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"x.mcap: No such file or directory \(expected a recording\), make one with: wangraph record GRAPH -o FILE.mcap$"),
        (b"", r"x.mcap: found 0 bytes \(expected an MCAP recording\), make one with: .*$"),
        (b"PK\x03\x04 a zip file", r"x.mcap: found b'PK\\x03\\x04 a z' \(expected an MCAP recording\), make one with: .*$"),
        (b"\x89MCAP0\r\n", r"x.mcap: found MCAP without a wangraph header \(expected a recording of wangraph\), make one .*$"),
        (b"\x89MCAP0\r\n" + b"\x06" + b"\xff" * 8 + b"junk", r"x.mcap: found broken MCAP: .* \(expected a recording\), record it again$"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_recording_is_refused(tmp_path, content, message):
    path = tmp_path / "x.mcap"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        open_recording(path)


def test_mcap_of_somebody_else_is_refused(tmp_path):
    with (tmp_path / "x.mcap").open("wb") as file:
        writer = Writer(file)
        writer.start()
        channel = writer.register_channel("/chatter", "json", writer.register_schema("s", "jsonschema", b"{}"))
        writer.add_message(channel, 0, b"{}", 0)
        writer.finish()
    with pytest.raises(UserError, match=r"x.mcap: found MCAP without a wangraph header \(expected a recording of "):
        open_recording(tmp_path / "x.mcap")


@pytest.mark.parametrize("version", [TRACE_VERSION - 1, 99])
def test_a_recording_of_another_version_is_refused(tmp_path, version):
    with (tmp_path / "x.mcap").open("wb") as file:
        writer = Writer(file)
        writer.start()
        header = {"type": "header", "version": version, "wangraph": "9", "started": "", "plan": {}, "machine": {},
                  "clock": "", "engine": ""}  # fmt: skip
        writer.add_metadata("wangraph", {"header": json.dumps(header)})
        writer.finish()
    with pytest.raises(
        UserError, match=rf"x.mcap: found version {version} \(expected {TRACE_VERSION}\), record it again$"
    ):
        open_recording(tmp_path / "x.mcap")


# Cut recordings


@settings(deadline=None, max_examples=15)
@given(st.floats(0, 1))
def test_a_recording_cut_anywhere_is_replayed_up_to_the_cut(recorded, tmp_path_factory, share):
    folder, _ = recorded
    whole = (folder / "run.mcap").read_bytes()
    path = tmp_path_factory.mktemp("cut") / "run.mcap"
    start = whole.index(b"wangraph_msgs")
    path.write_bytes(whole[: start + int(share * (len(whole) - start))])
    recording = open_recording(path)
    if not recording.units.get("numbers.video") or not recording.log:
        return
    _, _, change, _ = replayed(recording, looped(path.parent / "out").plan())
    assert change is None
    lines = (path.parent / "out").read_text().splitlines()
    assert lines == (folder / "out").read_text().splitlines()[: len(lines)]


@settings(deadline=None, max_examples=30)
@given(st.data())
def test_a_log_of_which_each_process_lost_its_end_is_made_consistent(recorded, tmp_path_factory, data):
    _, result = recorded
    plan = looped(tmp_path_factory.mktemp("c") / "out").plan()
    until = {name: data.draw(st.integers(-1, UNITS), label=name) for name in plan.nodes}
    log = [
        e for e in result.log
        if (isinstance(e, Firing) and e.last <= until[e.node])
        or (isinstance(e, Settlement) and e.unit <= until[plan.streams[e.stream].node])
    ]  # fmt: skip
    kept = consistent(plan, log)
    again = run(plan, serial=True, log=kept)
    for name in plan.nodes:
        calls = [e for e in kept if isinstance(e, Firing) and e.node == name]
        assert [e for e in log if isinstance(e, Firing) and e.node == name][: len(calls)] == calls
    made = {(e.stream, e.unit): e.validity for e in again.log if isinstance(e, Settlement)}
    before = {(e.stream, e.unit): e.validity for e in result.log if isinstance(e, Settlement)}
    assert all(before[key] == validity for key, validity in made.items() if validity != Validity.END and key in before)


def test_a_run_whose_process_is_killed_leaves_a_recording_that_replays(tmp_path):
    with pytest.raises(ProcessLost):
        run(looped(tmp_path / "out", far=True), units=60, record=tmp_path / "run.mcap", record_edges=ALL,
            inject=["mix: kill at=12"])  # fmt: skip
    recording = open_recording(tmp_path / "run.mcap")
    assert not recording.is_whole
    assert recording.units["mix.mixed"] >= 11
    _, again, change, _ = replayed(recording, looped(tmp_path / "again").plan())
    assert change is None
    assert again.summary["units"] >= 5


def wangraph(*arguments, cwd):
    return subprocess.run(
        [sys.executable, "-m", "wangraph", *arguments], cwd=cwd, capture_output=True, text=True, timeout=60
    )


def test_a_recording_survives_the_death_of_its_writer_up_to_the_last_second(tmp_path, monkeypatch):
    (tmp_path / "runtime").mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    command = [sys.executable, "-m", "wangraph", "record", "hello", "-o", "run.mcap", "--edges", "all", "--quiet"]
    process = subprocess.Popen(command, cwd=tmp_path)
    while process.poll() is None and not running():
        pass
    client = StatusClient(running()[0])
    while process.poll() is None and (now := client.snapshot()) is not None and now["unit"] < 12:
        pass
    process.kill()
    process.wait()
    client.close()
    recording = open_recording(tmp_path / "run.mcap")
    assert not recording.is_whole
    assert (now["unit"] - recording.units["sync.video"]) * recording.plan.clock.period <= 1
    done = wangraph("replay", "run.mcap", "hello", "--expect", "--set", "output=again.mp4", cwd=tmp_path)
    assert (done.stderr, done.returncode) == ("", 0)
    assert "the recording was cut" in done.stdout


# The commands


def test_record_and_replay_from_the_command_line(tmp_path):
    done = wangraph("record", "hello", "-o", "hello.mcap", "--units", "6", "--clock", "virtual", "--json", "-",
                    cwd=tmp_path)  # fmt: skip
    summary = json.loads(done.stdout)
    assert summary["recording"]["packets"] == 7 * 7 and summary["recording"]["lost"] == {}
    assert "hello.mcap" in summary["wrote"]
    done = wangraph("replay", "hello.mcap", "hello", "--set", "output=again.mp4", "--expect", cwd=tmp_path)
    assert done.stdout.startswith("playing back pattern; the rest follows the recorded decisions\n")
    assert "(by recorded decisions, no clock)" in done.stdout and "latency" not in done.stdout
    assert done.stdout.endswith("as recorded: 28 packets are equal, bit for bit\n")
    assert (tmp_path / "again.mp4").read_bytes() == (tmp_path / "hello.mp4").read_bytes()


def test_nodes_of_a_sub_graph_are_recorded_and_replayed(tmp_path):
    (tmp_path / "inner.yaml").write_text(
        "name: inner\nexports: {outputs: {video: pattern.video, audio: pattern.audio}}\nnodes:\n"
        "  pattern: {type: capture.pattern, params: {seconds: 1, width: 64, height: 64}}\n"
    )
    (tmp_path / "outer.yaml").write_text(
        "name: outer\nlatency_ms: 100\nnodes:\n  in: {graph: inner.yaml}\n"
        "  sync: {type: sync.playout, inputs: {video: in.video, audio: in.audio}}\n"
        "  drop: {type: sink.null, inputs: {value: sync.video}}\n"
    )
    record = ("record", "outer.yaml", "-o", "o.mcap", "--clock", "virtual", "--edges", "all", "--quiet")
    assert wangraph(*record, cwd=tmp_path).returncode == 0
    assert {"in/pattern.video", "in/pattern.audio", "sync.video"} <= set(open_recording(tmp_path / "o.mcap").units)
    done = wangraph("replay", "o.mcap", "outer.yaml", "--expect", cwd=tmp_path)
    assert done.stdout.startswith("playing back in/pattern; the rest follows the recorded decisions\n"), done.stderr
    assert done.stdout.endswith(" are equal, bit for bit\n")


def test_a_replay_that_differs_exits_with_1_and_says_where(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from wangraph import Input, Node, Output, Param\n"
        "class Louder(Node):\n"
        "    samples = Input('audio', 'S', 'float32', rate_hz=16000)\n"
        "    louder = Output('audio', 'S', 'float32', rate_hz=16000)\n"
        "    gain: float = Param(1.0)\n"
        "    def step(self, unit, samples):\n"
        "        return {'louder': samples * self.gain if unit.index > 2 else samples}\n"
    )
    (tmp_path / "g.yaml").write_text(
        "name: g\nlatency_ms: 100\nnodes:\n"
        "  pattern: {type: capture.pattern, params: {seconds: 2}}\n"
        "  mine: {type: 'mine.py:Louder', inputs: {samples: pattern.audio}}\n"
        "  sync: {type: sync.playout, inputs: {audio: mine.louder, video: pattern.video}}\n"
        "  sink: {type: sink.null, inputs: {value: sync.audio}}\n"
    )
    assert (
        wangraph(
            "record", "g.yaml", "-o", "g.mcap", "--clock", "virtual", "--edges", "pattern,mine", cwd=tmp_path
        ).returncode
        == 0
    )
    done = wangraph("replay", "g.mcap", "g.yaml", "--expect", "--set", "mine.gain=2.0", "--quiet", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: replay: 'mine.louder', unit ")
    assert done.stderr.endswith(", the first of what differs from the recording\n")
    done = wangraph("replay", "g.mcap", "g.yaml", "--expect", "--from", "mine", cwd=tmp_path)
    assert done.stderr == (
        "error: --expect: g.mcap holds nothing that the graph makes again (recorded: mine.louder, pattern.audio, "
        "pattern.text, pattern.video), record more with --edges, or start further up\n"
    )
