"""Damaged files: whatever a disk, a cut or a stranger did to them, a reader says so in words, and comes to an end."""

from __future__ import annotations

import contextlib
import io
import json
import random
from pathlib import Path

import engine_toys as toys
import pytest
import timing_toys
import yaml
from damage import spoilt, spoilt_bytes, spoilt_json, spoilt_lines
from hypothesis import given, settings
from hypothesis import strategies as st
from mcap.stream_reader import StreamReader
from mcap.writer import CompressionType, Writer

from wangraph.runtime.engine.faults import parse_fault
from wangraph.runtime.engine.options import Options
from wangraph.runtime.engine.run import Run
from wangraph.runtime.errors import RunError, UserError, WangraphError
from wangraph.runtime.forecast.profile_file import load_profile
from wangraph.runtime.forecast.simulate import simulate
from wangraph.runtime.observe.explain import explain
from wangraph.runtime.observe.history import read_history
from wangraph.runtime.recording.compare import Expectation
from wangraph.runtime.recording.reader import open_recording
from wangraph.runtime.recording.replay import make_replay
from wangraph.tools.timeline.columns import view_of
from wangraph.tools.timeline.facts import misses, read_run
from wangraph.tools.timeline.html import page_of
from wangraph.tools.timeline.perfetto import chrome_trace
from wangraph.tools.timeline.story import story
from wangraph.tools.verbs.replay import _judge as judge
from wangraph.wan_core.checkpoint_header import check_part, inspect
from wangraph.wan_core.errors import ModelError

SEEDS = st.integers(0, 2**32)
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


@settings(max_examples=150, deadline=None)
@given(SEEDS)
def test_a_damaged_trace_is_read_or_refused(made, seed):
    folder, _ = made
    chance, path = random.Random(seed), folder / "spoilt.trace"
    path.write_bytes(spoilt_lines((folder / "run.trace").read_bytes().splitlines(), chance))
    try:
        history = read_history(path)
        for unit in [*history.missed, 3][:3]:
            explain(history, unit)
    except UserError:
        return
    run = read_run(path)
    page_of(view_of(run, name="spoilt", blamed=story(run, misses(run))))
    chrome_trace(run)


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
    ],
    ids=["no UTF-8", "endless nesting", "a million years of units", "no such level"],
)
def test_what_is_wrong_in_a_trace_is_named(made, change, message):
    folder, _ = made
    path = in_trace(folder, change)
    with pytest.raises(UserError) as caught:
        read_history(path)
    assert str(caught.value) == f"{path}" + message


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


def copied(data: bytes, *, metadata=None, topic=None, message=None) -> bytes:
    """A recording that is whole MCAP, its fields, topics and messages changed; a message that becomes None is lost."""
    out, schemas, channels = io.BytesIO(), {}, {}
    writer = Writer(out, compression=CompressionType.NONE)
    writer.start(profile="", library="x")
    for record in StreamReader(io.BytesIO(data)).records:
        kind = type(record).__name__
        if kind == "Metadata":
            fields = dict(record.metadata)
            fields = metadata(record.name, fields) if metadata else fields
            if fields is not None:
                writer.add_metadata(record.name, fields)
        elif kind == "Schema":
            schemas[record.id] = writer.register_schema(record.name, record.encoding, record.data)
        elif kind == "Channel":
            name = topic(record.topic) if topic else record.topic
            schema = schemas.get(record.schema_id, 0)
            channels[record.id] = writer.register_channel(name, record.message_encoding, schema)
        elif kind == "Message":
            now = message(record) if message else record.data
            if now is not None:
                writer.add_message(channels[record.channel_id], record.log_time, now, record.publish_time)
    writer.finish()
    return out.getvalue()


def rewritten(data: bytes, chance: random.Random) -> bytes:
    """A recording with other things in it."""
    harm = chance.choice([0, 0.01, 0.05])

    def metadata(name, fields):
        if "header" in fields and chance.random() < 0.5:
            fields["header"] = spoilt_json(fields["header"].encode(), chance).decode()
        elif chance.random() < 0.3:
            fields = {key: chance.choice(["", "null", "[]", "1", value]) for key, value in fields.items()}
        return fields

    def topic(name):
        return name if chance.random() > harm else chance.choice(["/x", "", "/", "/wangraph/firing"])

    def message(record):
        if chance.random() < harm / 2:
            return None
        spoil = spoilt_json if record.data[:1] == b"{" else spoilt_bytes
        return spoil(record.data, chance) if chance.random() < harm else record.data

    return copied(data, metadata=metadata, topic=topic, message=message)


@settings(max_examples=120, deadline=None)
@given(SEEDS)
def test_a_damaged_recording_is_replayed_or_refused(made, seed):
    folder, plan = made
    chance, path = random.Random(seed), folder / "spoilt.mcap"
    data = (folder / "run.mcap").read_bytes()
    path.write_bytes(spoilt_bytes(data, chance) if chance.random() < 0.4 else rewritten(data, chance))
    try:
        recording = open_recording(path)
        replay = make_replay(recording, plan)
        expectation = Expectation(recording, replay)
        list(recording.packets())
        if chance.random() < 0.3:
            run = Run(replay.plan, Options(clock="virtual", log=replay.log))
            run.collector.listener = (expectation.streams, expectation.take)
            run.start().wait()
            expectation.first_change(run.log)
    except WangraphError:
        pass


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


# Profiles

PROFILE = {
    "name": "p",
    "source": "assumed",
    "nodes": {name: {"cost_ms": ms, "p95_ms": 2 * ms, "per_unit_ms": 0.1} for name, ms in timing_toys.COSTS.items()},
    "transfers": {"*": {"ms": 0.3, "p95_ms": 1.0}},
    "clock": {"late_ms": 0.1, "p95_ms": 1.0},
    "machines": {"all": {"processes": ["main"], "cores": 4}},
    "rows": {"columns": ["think", "act"], "ms": [[40, 30], [50, 20]]},
}


@settings(max_examples=150, deadline=None)
@given(SEEDS)
def test_a_damaged_profile_is_simulated_or_refused(tmp_path_factory, seed):
    chance, path = random.Random(seed), tmp_path_factory.mktemp("p") / "p.yaml"
    profile = PROFILE
    for _ in range(chance.choice([1, 1, 2, 4])):
        profile = spoilt(profile, chance)
    text = yaml.safe_dump(profile, sort_keys=False)
    if chance.random() < 0.2:
        text = spoilt_bytes(text.encode(), chance).decode("utf-8", "replace")
    path.write_text(text)
    with contextlib.suppress(WangraphError):
        simulate(timing_toys.agent(), load_profile(path), 12)


# Checkpoints


HEADER = {
    "__metadata__": {"preset": "tiny", "version": "1"},
    "audio_codec.a.weight": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
    "audio_codec.a.bias": {"dtype": "F32", "shape": [3], "data_offsets": [24, 36]},
}


@settings(max_examples=300, deadline=None)
@given(SEEDS)
def test_a_damaged_checkpoint_header_is_read_or_refused(tmp_path_factory, seed):
    chance, path = random.Random(seed), tmp_path_factory.mktemp("c") / "c.safetensors"
    how = chance.random()
    if how < 0.6:
        header = json.dumps(spoilt(spoilt(HEADER, chance), chance)).encode()
        data = len(header).to_bytes(8, "little") + header
    else:
        header = json.dumps(HEADER).encode()
        length = chance.choice([0, 1, 2**20, 2**40, 2**64 - 1, len(header)])
        data = length.to_bytes(8, "little") + spoilt_bytes(header, chance)
    path.write_bytes(data + bytes(36))
    try:
        info = inspect(path)
        assert info.parts is not None and info.preset is not None
        check_part(path, "audio_codec")
    except ModelError:
        pass


def test_a_text_for_a_size_does_not_fill_the_memory(tmp_path):
    header = json.dumps({"a": {"dtype": "F32", "shape": [10**12, "x"], "data_offsets": [0, 4]}}).encode()
    path = tmp_path / "c.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    with pytest.raises(ModelError) as caught:
        inspect(path)
    assert str(caught.value) == (f"checkpoint {path}: no readable header (expected a safetensors file), copy it again")
