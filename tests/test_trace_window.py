"""Traces of the last seconds: little on the disk, readable at any moment, and the same as the end of a whole one."""

from __future__ import annotations

import errno
import os

import engine_toys as toys
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from wangraph import Graph, run
from wangraph.runtime.errors import RunError, UserError
from wangraph.runtime.observe import line_file
from wangraph.runtime.observe.explain import explain
from wangraph.runtime.observe.history import read_history
from wangraph.runtime.observe.records import TRACE_VERSION, Footer, Header, at_ns, read_trace
from wangraph.runtime.observe.trace_window import TraceWindow, older_path
from wangraph.runtime.schedule.events import Settlement
from wangraph.runtime.units import MS, NS
from wangraph.tools.timeline.facts import misses, read_run
from wangraph.tools.verbs.run import command

HEADER = Header(TRACE_VERSION, "0", "now", {}, {}, "virtual", "serial")


def settled(at_ns):
    return Settlement("a.b", at_ns // MS, 0, at_ns, 0)


def check_window(folder, batches, seconds, name="w.trace"):
    """Pass if the trace holds everything within the window of a run's end, and nothing out of order."""
    path, now = folder / name, 0
    window, written = TraceWindow(path, seconds), []
    window.write([HEADER])
    for batch in batches:
        records = [Settlement("a.b", len(written) + i, 0, now + step * 10 * MS, 0) for i, step in enumerate(batch)]
        now += 10 * MS * max(0, *batch)
        window.write(records)
        written += records
    window.write([Footer({})])
    window.close()
    first, *kept, last = read_trace(path)
    assert (first, last) == (HEADER, Footer({}))
    order = iter(written)
    assert all(record in order for record in kept)
    since_ns = max(map(at_ns, written)) - seconds * NS
    assert [r for r in kept if at_ns(r) >= since_ns] == [r for r in written if at_ns(r) >= since_ns]
    assert not older_path(path).exists()


@given(st.lists(st.lists(st.integers(-50, 300), min_size=1, max_size=4), min_size=1, max_size=60), st.integers(1, 4))
def test_a_window_is_the_end_of_the_whole_trace(tmp_path_factory, batches, seconds):
    check_window(tmp_path_factory.mktemp("w"), batches, seconds)
    check_window(tmp_path_factory.mktemp("w"), batches, seconds, "w.trace.gz")


def test_a_window_that_forgets_its_older_file_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(TraceWindow, "_join", lambda window, path: path.write_bytes(window.path.read_bytes()))
    with pytest.raises(AssertionError):
        check_window(tmp_path, [[10, 20]] * 40, 1)


def written_window(path, n, seconds=1):
    """A window after ``n`` records of 10 ms each, open."""
    window = TraceWindow(path, seconds)
    window.write([HEADER])
    for k in range(n):
        window.write([settled(k * 10 * MS)])
    return window


def test_the_disk_holds_twice_the_window_at_most(tmp_path):
    sizes = []
    for n in (150, 1000, 5000):
        window = written_window(tmp_path / "w.trace", n)
        sizes.append(sum(path.stat().st_size for path in tmp_path.iterdir()))
        window.close()
    assert sizes[2] < 1.1 * 200 / 150 * sizes[0]
    assert len(list(read_trace(tmp_path / "w.trace"))) == 102
    assert (tmp_path / "w.trace").stat().st_mode & 0o777 == 0o600


def test_both_files_can_be_read_while_the_run_goes_on(tmp_path):
    path = tmp_path / "w.trace"
    written_window(path, 350)
    older, newer = list(read_trace(older_path(path))), list(read_trace(path))
    assert older[0] == newer[0] == HEADER
    assert [r.unit for r in [*older[1:], *newer[1:]]] == list(range(2000, 3500, 10))


def test_a_window_that_never_filled_is_a_whole_trace(tmp_path):
    written_window(tmp_path / "w.trace", 50).close()
    assert [r.unit for r in list(read_trace(tmp_path / "w.trace"))[1:]] == list(range(0, 500, 10))
    assert list(tmp_path.iterdir()) == [tmp_path / "w.trace"]


def test_without_room_to_join_them_both_files_stay(tmp_path, monkeypatch):
    path = tmp_path / "w.trace"
    window = written_window(path, 350)

    def full(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(line_file, "open_private", full)
    with pytest.raises(RunError) as caught:
        window.close()
    assert str(caught.value) == (
        f"--trace-window: {path}: No space left on device (expected room for both files in one), {older_path(path)} has "
        "what came before"
    )
    assert len(list(read_trace(path))) == 51
    assert len(list(read_trace(older_path(path)))) == 101


def graph(out):
    made = Graph("numbered", latency_ms=150)
    numbers = made.add("numbers", toys.Numbers)
    play = made.add("play", toys.Play, inputs={"video": numbers["video"]})
    made.add("digest", toys.Digest, inputs={"video": play["shown"]}, path=str(out))
    return made


def test_every_reader_reads_a_window_and_says_what_it_says_of_the_whole_trace(tmp_path):
    whole, window = tmp_path / "whole.trace", tmp_path / "window.trace"
    faults = ["numbers: drop at=190"]
    run(graph(tmp_path / "a"), clock="virtual", units=200, inject=faults, trace=whole)
    run(graph(tmp_path / "b"), clock="virtual", units=200, inject=faults, trace=window, trace_window=4)
    assert window.stat().st_size < whole.stat().st_size / 3
    ours, theirs = read_history(window), read_history(whole)
    assert ours.missed == [u for u in theirs.missed if u >= ours.first_unit] != []
    assert 170 <= ours.first_unit <= 175
    assert explain(ours, 190) == explain(theirs, 190)
    assert list(misses(read_run(window))) == list(misses(read_run(whole))) == ours.missed


def test_a_window_without_a_trace_is_refused(tmp_path):
    with pytest.raises(UserError) as caught:
        run(graph(tmp_path / "a"), clock="virtual", units=2, trace_window=4)
    assert str(caught.value) == (
        "--trace-window: found no --trace (expected the file that it is for), add: --trace FILE"
    )


def test_the_older_file_replaces_no_other_kind(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.older.trace").write_text("somebody's notes")
    words = "hello --clock virtual --units 2 --trace run.trace --trace-window 1"
    with pytest.raises(UserError) as caught:
        CliRunner().invoke(command, words.split(), catch_exceptions=False)
    assert str(caught.value).startswith("--trace-window: run.older.trace: found a file that is no trace (expected none")
