"""Traces: written line by line, read back whole, refused when they are something else."""

from __future__ import annotations

import pytest

from wangraph.runtime.errors import UserError
from wangraph.runtime.observe.records import TRACE_VERSION, Footer, Header, Note, TraceWriter, Transfer, read_trace
from wangraph.runtime.schedule.events import Firing, Settlement

HEADER = Header(TRACE_VERSION, "0", "now", {}, {}, "system", "parallel")
RECORDS = [
    HEADER,
    Firing("a", 0, 0, "step", 0, 1, 2, 3, None, "real"),
    Settlement("a.b", 0, 0, 3, 10),
    Note(5, "main", "stall", "wörds"),
    Footer({"units": 1}),
]
REMEDY = "make one with: wangraph run GRAPH --trace FILE"


def written(path, records=RECORDS):
    writer = TraceWriter(path)
    writer.write(records)
    writer.close()
    return path


def test_what_was_written_is_read(tmp_path):
    assert list(read_trace(written(tmp_path / "t"))) == RECORDS


def test_a_trace_that_was_cut_is_read_up_to_the_cut(tmp_path):
    path = written(tmp_path / "t")
    path.write_bytes(path.read_bytes()[:-8])
    assert list(read_trace(path)) == RECORDS[:-1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"\x00\x01", "t:1: found b'\\x00\\x01' (expected a trace record), " + REMEDY),
        (
            b'{"type":"note","at_ns":1,"process":"","kind":"","text":""}\n',
            "t: found no header (expected a trace), " + REMEDY,
        ),
        (
            b'{"type":"header","version":99,"wangraph":"","started":"","plan":{},"machine":{},"clock":"","engine":""}\n',
            f"t: found trace version 99 (expected {TRACE_VERSION}), record it again",
        ),
        (
            b'{"type":"header","version":1,"wangraph":"","started":"","plan":{},"machine":{},"clock":"","engine":""}\n',
            f"t: found trace version 1 (expected {TRACE_VERSION}), record it again",
        ),
    ],
)
def test_something_else_is_refused(tmp_path, text, message, monkeypatch):
    (tmp_path / "t").write_bytes(text)
    with pytest.raises(UserError) as caught:
        list(read_trace(tmp_path / "t"))
    assert str(caught.value).removeprefix(f"{tmp_path}/") == message


def test_a_trace_that_is_not_there_is_said(tmp_path):
    with pytest.raises(UserError, match=r"/none: No such file or directory \(expected a trace\), make one with"):
        list(read_trace(tmp_path / "none"))


def test_what_most_records_have_is_not_written_and_read_all_the_same(tmp_path):
    usual = [
        Firing("a", 7, 7, "step", 0, 1, 2, 3, 4, "real"),
        Settlement("a.b", 7, 0, 3, 10),
        Transfer("a.b", 7, "main", "far", 1, 2, 10, "shared"),
    ]
    unusual = [
        Firing("a", 7, 8, "gap", 1, 1, 2, 3, None, "late", 2, 3),
        Settlement("a.b", 7, 2, 3, 0, 2, 3),
        Transfer("a.b", 7, "main", "far", 1, 2, 10, "inline", 2, 3),
    ]
    path = written(tmp_path / "t", [HEADER, *usual, *unusual])
    assert list(read_trace(path)) == [HEADER, *usual, *unusual]
    assert path.read_text().splitlines()[1:4] == [
        '{"type":"firing","node":"a","first":7,"last":7,"ready_ns":1,"started_ns":2,"finished_ns":3,"due_ns":4}',
        '{"type":"settled","stream":"a.b","unit":7,"at_ns":3,"n_bytes":10}',
        '{"type":"transfer","stream":"a.b","unit":7,"sender":"main","reader":"far","sent_ns":1,"arrived_ns":2,"n_bytes":10}',
    ]
