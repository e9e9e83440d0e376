"""Damaged files: whatever a disk, a cut or a stranger did to them, a reader says so in words, and comes to an end."""

from __future__ import annotations

import io
import json
from pathlib import Path

import engine_toys as toys
import pytest
from mcap.stream_reader import StreamReader

from wangraph.runtime.engine.faults import parse_fault
from wangraph.runtime.engine.options import Options
from wangraph.runtime.engine.run import Run
from wangraph.runtime.errors import RunError, UserError
from wangraph.runtime.observe.explain import explain
from wangraph.runtime.observe.history import read_history
from wangraph.runtime.recording.compare import Expectation
from wangraph.runtime.recording.reader import open_recording
from wangraph.runtime.recording.replay import make_replay
from wangraph.runtime.schedule.events import Firing
from wangraph.tools.fuzz.recordings import copied
from wangraph.tools.timeline.columns import view_of
from wangraph.tools.timeline.facts import misses, read_run
from wangraph.tools.timeline.html import page_of
from wangraph.tools.timeline.story import story
from wangraph.tools.verbs.replay import _judge as judge
from wangraph.wan_core.checkpoint_header import inspect
from wangraph.wan_core.errors import ModelError

PACKET = b"\x00\x01\x00\x00"
"""How a packet begins in a recording: CDR, little-endian."""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A short run with a fault in it: its trace, its recording, and its plan."""
    folder = tmp_path_factory.mktemp("made")
    plan = toys.looped(folder / "out.txt", far=True).plan()
    options = Options(
        units=8,
        clock="virtual",
        trace=folder / "run.trace",
        record=folder / "run.mcap",
        record_edges=("all",),
        faults=(parse_fault("numbers: stall=400ms at=3"),),
    )
    Run(plan, options).start().wait()
    return folder, plan


# Traces


def in_trace(folder: Path, change) -> Path:
    """The trace with one line changed: the first settlement, transfer or firing, whichever ``change`` takes."""
    lines = (folder / "run.trace").read_bytes().splitlines()
    path = folder / "changed.trace"
    path.write_bytes(b"\n".join(change(lines)) + b"\n")
    return path


def renamed(kind: str, **fields):
    def change(lines: list[bytes]) -> list[bytes]:
        at = next(n for n, line in enumerate(lines) if line.startswith(b'{"type":"%s"' % kind.encode()))
        return [*lines[:at], json.dumps({**json.loads(lines[at]), **fields}).encode(), *lines[at + 1 :]]

    return change


NEXT = "make one with: wangraph run GRAPH --trace FILE"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda lines: [lines[0], b'{"type":"note\xff"}', *lines[1:]],
            f':2: found b\'{{"type":"note\\xff"}}\' (expected a trace record), {NEXT}',
        ),
        (
            lambda lines: [lines[0], b'{"type":"footer","summary":' + b"[" * 100_000, *lines[1:]],
            f':2: found b\'{{"type":"footer","summary":[[[[[[[[[[[[[\' (expected a trace record), {NEXT}',
        ),
        (
            renamed("firing", node="mix", first=0, last=10**15, finished_ns=1_000_000_000),
            ": found units 0 to 1000000000000000 of 'mix' at 1.000 s (expected units of that time): the file is "
            "damaged, record it again",
        ),
        (
            renamed("firing", node="mix", level=7),
            ": found level 7 of 'mix' (expected one of 1, from 0): the file is damaged, record it again",
        ),
        (
            renamed("settled", validity=77),
            ": found outcome 77 of 'numbers.video', unit 0 (expected one of 0 to 5): the file is damaged, record it again",
        ),
        (
            renamed("firing", started_ns=-(2**63)),
            ": found a time of -9223372036854775808 ns (expected 1000000000000000000 at most): the file is damaged, "
            "record it again",
        ),
    ],
    ids=["no UTF-8", "endless nesting", "a million years of units", "no such level", "no such outcome", "no such time"],
)
def test_what_is_wrong_in_a_trace_is_named(made, change, message):
    folder, _ = made
    path = in_trace(folder, change)
    with pytest.raises(UserError) as caught:
        read_history(path)
    assert str(caught.value) == f"{path}" + message


def test_a_plan_of_units_that_last_for_years_is_refused(made):
    folder, _ = made

    def change(lines):
        header = json.loads(lines[0])
        header["plan"]["clock"]["unit_frames"] = 10**15
        return [json.dumps(header).encode(), *lines[1:]]

    path = in_trace(folder, change)
    with pytest.raises(UserError) as caught:
        read_run(path)
    assert str(caught.value) == (
        f"{path}:1: plan: found units of more than 10000 s (expected a whole plan), make it again"
    )


def test_a_trace_is_read_without_running_what_its_plan_names(made, tmp_path):
    folder, _ = made
    trap = tmp_path / "trap.py"
    trap.write_text("from pathlib import Path\nPath(__file__).with_suffix('.ran').touch()\n")

    def change(lines):
        header = json.loads(lines[0])
        for node in header["plan"]["nodes"].values():
            node["target"] = f"{trap}:Trap"
        return [json.dumps(header).encode(), *lines[1:]]

    path = in_trace(folder, change)
    history, run = read_history(path), read_run(path)
    explain(history, 3)
    page_of(view_of(run, name="trap", blamed=story(run, misses(run))))
    assert not trap.with_suffix(".ran").exists()


# Recordings


def test_a_damaged_unit_is_no_reason_to_replay_for_ever(made):
    folder, _ = made
    data, path = (folder / "run.mcap").read_bytes(), folder / "far.mcap"
    is_packet = [r for r in StreamReader(io.BytesIO(data)).records if type(r).__name__ == "Message"]
    last = [r for r in is_packet if r.data[:4] == PACKET and len(r.data) < 500][-1]

    def message(record):
        is_last = (record.log_time, record.data) == (last.log_time, last.data)
        return PACKET + (10**15).to_bytes(8, "little") + record.data[12:] if is_last else record.data

    path.write_bytes(copied(data, message=message))
    found = r"found unit 1000000000000000 \(expected one near \d+\): the file is damaged, record it again"
    with pytest.raises(UserError, match=rf"far.mcap: '[\w.]+': {found}$"):
        open_recording(path)


def test_a_log_that_cannot_be_followed_is_refused(made):
    _, plan = made
    log = Run(plan, Options(units=8, clock="virtual")).start().wait().log
    cut = tuple(event for event in log if not (isinstance(event, Firing) and event.node == "mix" and event.first == 5))
    with pytest.raises(RunError) as caught:
        Run(plan, Options(clock="virtual", log=cut)).start().wait()
    assert str(caught.value) == (
        "log: found numbers: ended; near: unit 6 waits for back of unit 5 from mix.mixed; mix: unit 5 waits for its "
        "time; play: unit 5 waits for video of unit 5 from mix.mixed; digest: unit 5 waits for video of unit 5 from "
        "play.shown (expected calls whose inputs it has), it is damaged: record anew"
    )


def test_an_expectation_that_compared_nothing_has_failed(made, monkeypatch):
    """The recording was cut after the first decisions: what the sources gave is there, no answer is."""
    folder, plan = made
    monkeypatch.chdir(folder)
    kept = {"n": 0}

    def first_source(record):
        if record.data[:4] != PACKET:
            return None
        kept["n"] += 1
        return record.data if kept["n"] == 1 else None

    path = folder / "cut.mcap"
    path.write_bytes(copied((folder / "run.mcap").read_bytes(), message=first_source,
                            metadata=lambda name, fields: fields if "header" in fields else None))  # fmt: skip
    recording = open_recording(path)
    replay = make_replay(recording, plan)
    expectation = Expectation(recording, replay)
    run = Run(replay.plan, Options(clock="virtual", log=replay.log))
    run.collector.listener = (expectation.streams, expectation.take)
    run.start().wait()
    with pytest.raises(RunError) as caught:
        judge(expectation, run)
    assert str(caught.value) == (
        "--expect: found no packet to compare (expected one at least): the recording was cut before the graph "
        "answered, record it again"
    )


# Checkpoints


def test_a_text_for_a_size_does_not_fill_the_memory(tmp_path):
    header = json.dumps({"a": {"dtype": "F32", "shape": [10**12, "x"], "data_offsets": [0, 4]}}).encode()
    path = tmp_path / "c.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    with pytest.raises(ModelError) as caught:
        inspect(path)
    assert str(caught.value) == (f"checkpoint {path}: no readable header (expected a safetensors file), copy it again")
