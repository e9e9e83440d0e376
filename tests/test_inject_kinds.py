"""Faults of outputs, of packets on their way and of processes: what each of them does."""

from __future__ import annotations

import random
import signal
from dataclasses import replace
from pathlib import Path

import engine_toys as toys
import numpy as np
import pytest

from wangraph import Graph, Node, Output, Validity, run
from wangraph.runtime.engine import harm
from wangraph.runtime.engine.faults import KINDS, parse_fault
from wangraph.runtime.engine.faulty_publisher import FaultyPublisher
from wangraph.runtime.engine.options import Options
from wangraph.runtime.engine.run import Run
from wangraph.runtime.errors import ProcessLost, RunError, UserError
from wangraph.runtime.observe.records import Note, read_trace
from wangraph.runtime.packet import Packet
from wangraph.runtime.schedule.events import Settlement

UNITS = 8


class Sounds(Node):
    """A ramp that tells its unit, and the same again in whole numbers."""

    audio = Output("audio", "S", "float32", rate_hz=16000)
    numbers = Output("tokens", "2", "int64")

    def step(self, unit):
        return {"audio": np.full(2560, unit.index / 10, np.float32), "numbers": np.array([unit.index, 0])}


def sounds():
    graph = Graph("sounds", latency_ms=400)
    graph.add("sounds", Sounds)
    graph.add("sync", "sync.playout", inputs={"audio": "sounds.audio"})
    return graph


def given(*faults, stream="sounds.audio", seed=0):
    """By unit, what a stream carried; None where it was not real."""
    result = run(sounds(), units=UNITS, clock="virtual", taps=[stream], inject=faults, seed=seed)
    packets = result.packets[stream]
    return {p.unit: p.array.copy() if p.validity is Validity.REAL else None for p in packets if p.unit < UNITS}


def struck(result):
    return [note["text"] for note in result.summary["notes"] if note["kind"] == "injected"]


# Outputs


def test_what_became_nan_is_lost_by_the_guards_that_find_a_broken_model():
    result = run(sounds(), units=UNITS, clock="virtual", inject=["sounds: nan at=3..4"])
    lost = [e.unit for e in result.log if isinstance(e, Settlement) and e.stream == "sounds.audio" and e.validity == 2]
    assert lost == [3, 4] and result.summary["misses"] == 2
    assert struck(result) == ["node 'sounds', unit 3: nan", "node 'sounds', unit 4: nan"]


def test_a_node_that_repeats_itself_gives_what_it_gave_for_the_unit_before():
    plain, repeated = given(), given("sounds: repeat at=3")
    assert (repeated.pop(3) == plain[2]).all() and (plain.pop(3) != plain[2]).any()
    assert all((repeated[unit] == plain[unit]).all() for unit in plain)


def test_corrupt_bytes_are_few_and_garbage_is_all_of_it():
    plain, corrupt, garbage = given(), given("sounds: corrupt at=3"), given("sounds: garbage at=3")
    assert 0.5 < (plain[3].view(np.uint8) != corrupt[3].view(np.uint8)).sum() / (plain[3].nbytes / 256) <= 1
    assert (plain[3] != garbage[3]).all() and np.abs(garbage[3]).max() <= 1
    assert all((plain[unit] == corrupt[unit]).all() and (plain[unit] == garbage[unit]).all() for unit in {*plain} - {3})


def test_whole_numbers_become_garbage_of_the_same_shape_too():
    garbage = given("sounds: garbage at=3", stream="sounds.numbers")
    assert garbage[3].dtype == np.int64 and garbage[3].shape == (2,) and garbage[3][0] != 3


@pytest.mark.parametrize("kind", ["garbage", "corrupt"])
def test_the_same_seed_gives_the_same_harm_and_another_one_other_harm(kind):
    first, again, other = (given(f"sounds: {kind} at=3", seed=seed)[3] for seed in (7, 7, 8))
    assert (first.view(np.uint8) == again.view(np.uint8)).all() and (first.view(np.uint8) != other.view(np.uint8)).any()


def test_brain_floats_travel_as_whole_numbers_and_are_spoilt_as_floats():
    bits = np.zeros(64, np.uint16)
    nan = harm.spoilt("nan", bits, "bfloat16", random.Random(1))
    garbage = harm.spoilt("garbage", bits, "bfloat16", random.Random(1))

    def floats(array):
        return (array.astype(np.uint32) << 16).view(np.float32)

    assert np.isnan(floats(nan)).all() and (np.abs(floats(garbage)) <= 1).all() and floats(garbage).std() > 0.1


def test_an_output_without_a_byte_is_corrupted_in_vain():
    assert harm.spoilt("corrupt", np.empty(0, np.uint8), "uint8", random.Random(1)).size == 0


# Chance


def test_a_share_of_the_units_is_struck_the_same_ones_in_every_run_of_a_seed():
    fault = parse_fault("a: drop at=100..1099 p=.1")
    units = [[u for u in range(2000) if fault.strikes_unit(u, seed)] for seed in (1, 1, 2)]
    assert units[0] == units[1] != units[2]
    assert all(70 <= len(struck) <= 130 and min(struck) >= 100 and max(struck) < 1100 for struck in units)


def test_two_nodes_and_two_kinds_are_not_struck_together():
    texts = ("a: drop at=0.. p=.5", "b: drop at=0.. p=.5", "a: nan at=0.. p=.5")
    struck = [[parse_fault(text).strikes_unit(unit, 0) for unit in range(64)] for text in texts]
    assert struck[0] != struck[1] != struck[2] != struck[0]


def test_a_share_of_a_simulated_or_virtual_run_is_that_of_every_run(tmp_path):
    dropped = "mix: drop at=0.. p=.3"
    expected = [unit for unit in range(30) if parse_fault(dropped).strikes_unit(unit, 0)]
    result = run(toys.looped(tmp_path / "out", far=False), units=30, clock="virtual", inject=[dropped])
    assert struck(result) == [f"node 'mix', unit {unit}: drop" for unit in expected] and 3 <= len(expected) <= 15


# Refused


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("numbers: nan at=1", "node 'numbers' gives out no floating-point numbers (expected some), inject garbage"),
        ("digest: drop at=1", "node 'digest' has no outputs (expected some), name a node before it"),
        ("digest: garbage at=1", "node 'digest' has no outputs (expected some), name a node before it"),
        ("play: reorder at=1", "node 'play' is read in its own process alone (expected a reader in another one)"),
    ],
)
def test_a_fault_that_could_strike_nothing_is_refused(tmp_path, fault, message):
    with pytest.raises(UserError) as refused:
        run(toys.looped(tmp_path / "out"), units=2, inject=[fault])
    assert str(refused.value) == f"--inject '{fault}': {message}"


@pytest.mark.parametrize(
    "fault",
    [
        "hang",
        "exit0",
        "stop",
        "stop=1000ms",
        "freeze-gil=1000ms",
        "cpu-hog=1000ms",
        "disk-full",
        "duplicate",
        "reorder",
    ],
)
def test_what_harms_a_process_is_refused_where_the_run_has_none_of_its_own(tmp_path, fault):
    with pytest.raises(UserError) as refused:
        run(toys.looped(tmp_path / "out"), units=2, serial=True, inject=[f"mix: {fault} at=1"])
    assert str(refused.value) == (
        f"--inject 'mix: {fault} at=1': found a run inside this process (expected processes of its own), "
        "run it on the system clock without --serial"
    )


# On the way


class Wire:
    """Notes messages in the place of a publisher."""

    def __init__(self):
        self.messages = []

    def publish_all(self, packets, readers):
        self.messages.append([packet.unit for packet in packets])
        return ["shared"] * len(packets)


def sent(fault, units=range(5), validity=Validity.REAL):
    wire, notes = Wire(), []
    plan = toys.looped("unused").plan()
    publisher = FaultyPublisher(wire, plan, [parse_fault(fault)], lambda kind, text: notes.append((kind, text)))
    for unit in units:
        assert publisher.publish_all([Packet("near.mixed", unit, 0, 0, 0, validity)], ["far"]) == ["shared"]
    return wire.messages, notes


def test_a_duplicated_packet_is_sent_twice_in_two_messages():
    messages, notes = sent("near: duplicate at=2")
    assert messages == [[0], [1], [2], [2], [3], [4]]
    assert notes == [("injected", "node 'near', unit 2: duplicate of 'near.mixed'")]


def test_a_reordered_packet_goes_after_that_of_the_next_unit():
    assert sent("near: reorder at=2")[0] == [[0], [1], [3], [2], [4]]
    assert sent("near: reorder at=2..")[0] == [[0], [1], [3], [2]]  # 4 waits for what comes after it


def test_packets_of_other_nodes_and_those_without_a_payload_go_as_ever():
    assert sent("mix: duplicate at=0..") == ([[0], [1], [2], [3], [4]], [])
    assert sent("near: duplicate at=0..", validity=Validity.MISSING) == ([[0], [1], [2], [3], [4]], [])


def test_an_end_sets_free_what_was_held_back():
    wire = Wire()
    publisher = FaultyPublisher(wire, toys.looped("x").plan(), [parse_fault("near: reorder at=4")], lambda *_: None)
    publisher.publish_all([Packet("near.mixed", 4, 0, 0, 0, Validity.REAL)], ["far"])
    publisher.publish_all([Packet("near.mixed", 5, 0, 0, 0, Validity.END)], ["far"])
    assert wire.messages == [[5], [4]]


# Processes


def notes_of(path):
    return [
        (note.process, note.text) for note in read_trace(path) if isinstance(note, Note) and note.kind == "injected"
    ]


def test_a_process_that_ends_with_exit_code_0_is_named_and_so_is_what_made_it(tmp_path):
    trace = tmp_path / "run.trace"
    with pytest.raises(
        ProcessLost, match=r"^process 'far' \(pid \d+\): ended with exit code 0 while running node 'mix'"
    ):
        run(toys.looped(tmp_path / "out"), units=UNITS, inject=["mix: exit0 at=3"], trace=trace)
    assert ("supervisor", "node 'mix', unit 3: exit0") in notes_of(trace), "the dead process could not tell it"


@pytest.mark.parametrize(
    "fault", ["stop=50ms", "freeze-gil=50ms", "cpu-hog=50ms", "duplicate", "reorder", "garbage", "corrupt", "repeat"]
)
def test_a_run_outlives_what_passes(tmp_path, fault):
    trace = tmp_path / "run.trace"
    run(toys.looped(tmp_path / "out"), units=UNITS, inject=[f"mix: {fault} at=3"], trace=trace)
    assert any(text.startswith(f"node 'mix', unit 3: {fault}") for _, text in notes_of(trace))
    assert len((tmp_path / "out").read_text().splitlines()) == UNITS


def test_a_full_disk_is_an_error_of_the_writer(tmp_path):
    with pytest.raises(RunError, match=r"^node 'digest': OSError while closing: \[Errno 27\] File too large"):
        run(toys.looped(tmp_path / "out"), units=UNITS, inject=["numbers: disk-full at=2"])


def test_a_hung_node_is_named_and_the_run_ends(tmp_path):
    plan = toys.looped(tmp_path / "out").plan()
    plan = replace(plan, nodes={**plan.nodes, "mix": replace(plan.nodes["mix"], stall_ns=500_000_000)})
    with pytest.raises(RunError, match=r"^node 'mix', unit 3: computing since \d+ ms"):
        Run(plan, Options(UNITS, faults=(parse_fault("mix: hang at=3"),))).start().wait()


def test_the_kernel_wakes_a_stopped_process_after_the_time_it_was_given():
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCONT])
    try:
        harm._resume_after(1_000_000)
        assert signal.sigtimedwait([signal.SIGCONT], 5) is not None
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def test_every_kind_is_struck_in_some_test_of_these_files():
    here = Path(__file__).parent
    text = (here / "test_inject.py").read_text() + (here / "test_inject_kinds.py").read_text()
    assert all(f": {kind}" in text or f'"{kind}' in text for kind in KINDS)
