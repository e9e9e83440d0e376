"""Files that a run writes: private, never through a link or over something else, and told where they were not written."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import call

from wangraph.nodes.media.writable import check_replaced, check_writable
from wangraph.runtime.errors import GraphError, MediaError, RunError, UserError
from wangraph.runtime.observe.run_file import RunFile, publish, running, runs_folder
from wangraph.runtime.output_file import FORCE_VARIABLE, SIGNS, claim, open_private
from wangraph.tools.shared.targets import JSON, TRACE, Target, check_kind

GRAPH = """
name: small
nodes:
  pattern: {type: capture.pattern, params: {seconds: 1, width: 64, height: 64}}
  sync: {type: sync.playout, inputs: {video: pattern.video, audio: pattern.audio}}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("small.yaml").write_text(GRAPH)
    return tmp_path


def run(*words: str) -> str:
    return call("run", "small.yaml", "--clock", "virtual", "--units", "4", *words)


def mode(path: str) -> int:
    return os.stat(path).st_mode & 0o777


def test_traces_and_recordings_are_for_their_user_alone():
    Path("run.trace").touch(mode=0o644)
    run("--trace", "run.trace")
    call("record", "small.yaml", "--clock", "virtual", "--units", "4", "-o", "run.mcap")
    assert (mode("run.trace"), mode("run.mcap")) == (0o600, 0o600)


def test_a_private_file_is_not_written_through_a_link():
    Path("precious").write_text("mine")
    Path("link").symlink_to("precious")
    with pytest.raises(OSError, match="is a symbolic link"):
        open_private(Path("link"))
    assert Path("precious").read_text() == "mine"
    open_private(Path("/dev/null")).close()


@pytest.mark.parametrize(("option", "kind"), [("--trace", TRACE), ("--json", JSON)])
def test_an_output_that_is_a_link_is_refused(option, kind):
    Path("precious").write_text("")
    for target in ("precious", "nothing"):
        Path("link").unlink(missing_ok=True)
        Path("link").symlink_to(target)
        with pytest.raises(UserError) as caught:
            check_kind(Target(option, Path("link"), kind))
        assert str(caught.value) == (
            f"{option}: link: found a symbolic link (expected a file of its own), what it leads to would be lost: "
            "name another, or give --force"
        )


def test_a_video_replaces_videos_alone():
    for head in (b"", b"\0\0\0\x20ftypisom"):
        Path("a.mp4").write_bytes(head)
        check_writable("sink.mp4", Path("a.mp4"))
    Path("a.mp4").write_text("my diary")
    with pytest.raises(MediaError) as caught:
        check_writable("sink.mp4", Path("a.mp4"))
    assert str(caught.value) == (
        "sink.mp4: a.mp4: found a file that is no MP4 (expected none, or one to replace), it would be lost: set "
        "params.path, or give --force"
    )
    Path("link.mp4").symlink_to("a.mp4")
    with pytest.raises(MediaError) as caught:
        check_writable("sink.mp4", Path("link.mp4"))
    assert str(caught.value) == (
        "sink.mp4: link.mp4: is a symbolic link (expected a file of its own), set params.path, or give --force"
    )


def test_captions_replace_captions_alone():
    Path("a.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\nhello\n")
    check_replaced("sink.mp4", Path("a.srt"), "caption file", SIGNS[".srt"])
    Path("a.srt").write_text("10 things to do")
    with pytest.raises(MediaError) as caught:
        check_replaced("sink.mp4", Path("a.srt"), "caption file", SIGNS[".srt"])
    assert str(caught.value) == (
        "sink.mp4: a.srt: found a file that is no caption file (expected none, or one to replace), it would be lost: "
        "set params.path, or give --force"
    )


# By force


@pytest.mark.parametrize("suffix", SIGNS)
def test_a_file_is_replaced_by_its_own_kind_alone(suffix, monkeypatch):
    path = Path(f"out{suffix}")
    claim(path)
    path.touch()
    claim(path)
    path.write_text("my diary")
    with pytest.raises(OSError, match="found a file of another kind, which would be lost"):
        claim(path)
    monkeypatch.setenv(FORCE_VARIABLE, "1")
    claim(path)
    assert path.read_text() == "my diary"  # until something is written


def test_by_force_a_link_is_replaced_and_what_it_leads_to_is_not(monkeypatch):
    Path("precious.mp4").write_text("mine")
    Path("precious.trace").write_text("mine")
    Path("precious.json").write_text("mine")
    for name in ("out.mp4", "out.trace", "out.json"):
        Path(name).symlink_to(f"precious{Path(name).suffix}")
    Path("filmed.yaml").write_text(
        GRAPH + "  file: {type: sink.mp4, params: {path: out.mp4}, inputs: {video: sync.video, audio: sync.audio}}\n"
    )
    words = ["run", "filmed.yaml", "--units", "4", "--trace", "out.trace", "--json", "out.json", "--quiet"]
    with pytest.raises(GraphError, match=r"out.mp4: is a symbolic link \(expected a file of its own\)"):
        call(*words)
    call(*words, "--force")
    for name in ("out.mp4", "out.trace", "out.json"):
        assert not Path(name).is_symlink() and Path(name).stat().st_size > 100
        assert Path(f"precious{Path(name).suffix}").read_text() == "mine"
    assert FORCE_VARIABLE not in os.environ


@pytest.mark.parametrize(
    ("words", "output"),
    [
        (["run", "small.yaml", "--clock", "virtual", "--units", "2", "--quiet", "--trace"], "t.trace"),
        (["record", "small.yaml", "--clock", "virtual", "--units", "2", "--quiet", "-o"], "r.mcap"),
        (["schema", "-o"], "s.json"),
        (["average", "tiny", "tiny", "-o"], "a.safetensors"),
        (["world", "clip", "1", "--units", "2", "-o"], "v.mp4"),
    ],
)
def test_a_verb_replaces_another_kind_by_force_alone(words, output):
    Path(output).write_text("my diary")
    with pytest.raises(UserError, match=r"it would be lost: name another, or give --force$"):
        call(*words, output)
    assert Path(output).read_text() == "my diary"
    call(*words, output, "--force")
    assert Path(output).read_bytes()[:8] != b"my diary"


def test_force_does_not_write_over_what_is_read():
    with pytest.raises(UserError, match="is the graph itself"):
        run("--trace", "small.yaml", "--force")
    assert Path("small.yaml").read_text() == GRAPH


def test_a_trace_of_a_miss_replaces_traces_alone():
    Path("small.flight.trace").write_text("my diary")
    with pytest.raises(UserError) as caught:
        run("--flight-recorder", "5")
    assert str(caught.value) == (
        "--flight-recorder: small.flight.trace: found a file of another kind, which would be lost (expected none, or a "
        "trace to replace), move it away, or give --force"
    )


# A full disk


def test_a_summary_that_is_not_written_never_hides_why_the_run_ended():
    with pytest.raises(RunError, match=r"^node 'pattern', unit 2: raised because --inject said so$"):
        run("--json", "/dev/full", "--inject", "pattern: raise at=2")
    with pytest.raises(RunError) as caught:
        run("--json", "/dev/full")
    assert str(caught.value) == "--json: /dev/full: No space left on device (expected room for it), write it elsewhere"


def test_a_json_file_that_was_there_is_there_still_when_the_disk_is_full(monkeypatch):
    Path("out.json").write_text('{"before": 1}')

    def full(self, *args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(RunError, match=r"^--json: out.json: No space left on device \(expected room for it\), "):
        run("--json", "out.json")
    assert Path("out.json").read_bytes() == b'{"before": 1}'
    assert not list(Path().glob(".out.json*"))


@pytest.mark.parametrize("verb", [["check", "hello"], ["run", "small.yaml", "--clock", "virtual", "--units", "2"]])
def test_an_output_that_nobody_takes_is_told_without_a_traceback(verb):
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "wangraph", *verb],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env={key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"},
        )
    assert ended.returncode == 1
    message = r"error: standard output: No space left on device \(expected room for (it|the summary)\)\n"
    assert re.fullmatch(message, ended.stderr), ended.stderr


def test_a_trace_of_a_miss_that_could_not_be_written_ends_the_run_with_its_reason(folder):
    (folder / "small.flight.trace").mkdir()
    with pytest.raises(RunError) as caught:
        run("--flight-recorder", "5", "--inject", "pattern: stall=900ms at=1")
    assert str(caught.value) == (
        "--flight-recorder: small.flight.trace: Is a directory (expected room for it), the miss was not written"
    )


# What a killed run leaves


def test_a_run_that_begins_removes_what_killed_ones_left(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    stale = publish(RunFile("gone-1", "gone", 2**22 + 1, "7", "ipc://@gone", ""))
    fresh = publish(RunFile("here-2", "here", os.getpid(), "7", "ipc://@here", ""))
    assert not stale.exists() and fresh.exists()
    assert list(runs_folder().glob("*.json")) == [fresh] and running() == []
