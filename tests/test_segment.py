from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from wangraph.runtime.channel import segment as module
from wangraph.runtime.channel.layout import LEASE_ALIGNMENT, SegmentLayout
from wangraph.runtime.channel.segment import Segment, SegmentFile, create_segments, plain_name, shared_folder
from wangraph.runtime.errors import RunError, UserError


def layout(process: str = "main", payload_bytes: int = 10_000) -> SegmentLayout:
    return SegmentLayout(process, {}, LEASE_ALIGNMENT, payload_bytes)


@pytest.fixture(params=[False, True], ids=["nameless", "named"])
def file(request, tmp_path):
    made = SegmentFile("run", layout(), tmp_path, named=request.param)
    yield made
    made.close()


def test_what_the_producer_writes_the_reader_sees(file):
    producer = Segment(file.path, layout(), writable=True)
    reader = Segment(file.path, layout(), writable=False)
    producer.payload[5:8] = b"abc"
    assert reader.payload[5:8] == b"abc"
    reader.leases[3] = 1
    assert producer.leases[3] == 1


def test_a_reader_cannot_write_into_the_payload(file):
    reader = Segment(file.path, layout(), writable=False)
    with pytest.raises(TypeError, match=r"mmap can't modify a readonly memory map\."):
        reader.payload[0] = 1


def test_mappings_stay_valid_when_the_file_is_gone(file):
    producer = Segment(file.path, layout(), writable=True)
    file.unlink()
    file.close()
    producer.payload[0] = 7
    assert producer.payload[0] == 7


def test_payload_and_leases_do_not_overlap(file):
    producer = Segment(file.path, layout(), writable=True)
    producer.payload[:] = b"\xff" * len(producer.payload)
    assert not any(producer.leases[:])
    assert len(producer.payload) == 10_000


def test_nothing_has_a_name_once_unlinked(tmp_path):
    files = [SegmentFile("run", layout(), tmp_path), SegmentFile("run", layout("other"), tmp_path, named=True)]
    for made in files:
        made.unlink()
    assert list(tmp_path.iterdir()) == []


def test_closing_twice_takes_no_other_file_away(file, tmp_path):
    file.close()
    with (tmp_path / "other").open("w") as other:  # gets the descriptor that the first close gave back
        file.close()
        other.write("whole")
    assert (tmp_path / "other").read_text() == "whole"


def test_unmapping_waits_for_the_last_array(file):
    producer = Segment(file.path, layout(), writable=True)
    look = memoryview(producer.payload)
    producer.close()
    look[0] = 3
    assert look[0] == 3


@pytest.mark.skipif(sys.platform != "linux", reason="nameless files are Linux's")
def test_a_supervisor_killed_at_any_time_leaves_nothing(tmp_path):
    code = (
        "import sys, os, signal\n"
        "from pathlib import Path\n"
        "from wangraph.runtime.channel.layout import SegmentLayout\n"
        "from wangraph.runtime.channel.segment import SegmentFile\n"
        "SegmentFile('run', SegmentLayout('main', {}, 65536, 10_000), Path(sys.argv[1]))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("refused", [os.O_RDWR | getattr(os, "O_TMPFILE", 0), os.O_RDWR])
def test_where_a_file_cannot_go_without_a_name_it_gets_one(tmp_path, monkeypatch, refused):
    opened = os.open

    def refusing(path, flags, *mode):
        if flags == refused and path != tmp_path / "wangraph-run-main":
            raise OSError(errno.EOPNOTSUPP, "Operation not supported")
        return opened(path, flags, *mode)

    monkeypatch.setattr(os, "open", refusing)
    made = SegmentFile("run", layout(), tmp_path)
    assert made.path == str(tmp_path / "wangraph-run-main")
    made.close()
    assert list(tmp_path.iterdir()) == []


def test_too_little_shared_memory_is_said_before_anything_is_taken(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "free_bytes", lambda folder: 12_300_000)
    expected = (
        f"shared memory: found 12 MB free in {tmp_path} (expected 64 MB for process 'main'), "
        "free some or set memory: inline on the largest edges"
    )
    with pytest.raises(UserError, match=f"^{re.escape(expected)}$"):
        SegmentFile("run", layout(payload_bytes=63_900_000), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_shared_memory_that_runs_out_while_it_is_taken_is_said_too(tmp_path, monkeypatch):
    def full(fd: int, offset: int, length: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(
        UserError, match=r"^shared memory: found \d+ MB free in .* \(expected 1 MB for process 'main'\)"
    ):
        SegmentFile("run", layout(), tmp_path, named=True)
    assert list(tmp_path.iterdir()) == []


def test_when_one_segment_fails_the_others_are_gone_again(tmp_path, monkeypatch):
    free = iter([10**9, 0, 0])
    monkeypatch.setattr(module, "free_bytes", lambda folder: next(free))
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").is_dir() else 0
    with pytest.raises(UserError, match=r"^shared memory: found 0 MB free"):
        create_segments("run", {"a": layout("a"), "b": layout("b")}, tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert before == 0 or len(os.listdir("/proc/self/fd")) == before


def test_a_folder_that_is_not_there_is_named(tmp_path):
    missing = tmp_path / "none"
    expected = f"shared memory: {missing}: No such file or directory (expected a writable folder), mount a tmpfs there"
    with pytest.raises(UserError, match=f"^{re.escape(expected)}$"):
        SegmentFile("run", layout(), missing)


def test_attaching_with_another_layout_is_refused(file):
    expected = (
        f"shared memory of process 'main': found {LEASE_ALIGNMENT + 10_000} bytes "
        f"(expected {LEASE_ALIGNMENT + 20_000}), attach with the layout it was made for"
    )
    with pytest.raises(RunError, match=f"^{re.escape(expected)}$"):
        Segment(file.path, layout(payload_bytes=20_000), writable=False)


def test_attaching_what_is_gone_is_refused(file):
    file.close()
    expected = (
        f"shared memory of process 'main': {file.path}: No such file or directory (expected a segment), "
        "is the supervisor gone?"
    )
    with pytest.raises(RunError, match=f"^{re.escape(expected)}$"):
        Segment(file.path, layout(), writable=False)


def test_names_are_plain_short_and_stay_different():
    names = {plain_name("r", process) for process in ("main", "a/b", "a_b", "a b", "ü" * 80, "ü" * 81)}
    assert len(names) == 6
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,90}", name) for name in names)


def test_segments_are_made_where_the_machine_shares_memory():
    assert shared_folder().is_dir()
