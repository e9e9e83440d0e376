"""How the command ends: 0 fine, 1 what was asked for does not hold, 2 a mistake, 130 and 143 by signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from wangraph.runtime.engine.options import Options
from wangraph.runtime.engine.run import Run
from wangraph.runtime.engine.system import ending_signals
from wangraph.runtime.errors import RunError
from wangraph.tools.cli import cli
from wangraph.tools.shared.json_file import write_json
from wangraph.tools.shared.options import load_plan

NOISY = """
from wangraph import Input, Node, Output


class Noisy(Node):
    frames = Input("video", "F H W 3", "uint8")

    def step(self, unit, frames):
        print("a node prints", flush=True)
"""

GRAPH = """
name: noisy
processes: {main: {}, other: {}}
nodes:
  pattern: {type: capture.pattern, params: {seconds: 1}}
  noisy: {type: "noisy.py:Noisy", process: other, inputs: {frames: pattern.video}}
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "noisy.py").write_text(NOISY)
    (tmp_path / "noisy.yaml").write_text(GRAPH)
    return tmp_path


def invoke(*words: str) -> int:
    result = CliRunner().invoke(cli, words, standalone_mode=False)
    assert result.exception is None, result.output
    return result.return_value or 0


def test_help_says_what_the_exit_status_means():
    text = CliRunner().invoke(cli, ["--help"]).output
    assert "Exit status: 0 fine; 1 the run failed, or what was asked for does not hold" in text


@pytest.mark.parametrize(("limit", "code"), [((), 0), (("--max-misses", "1"), 0), (("--max-misses", "0"), 1)])
def test_a_miss_is_no_failure_unless_it_is_asked_for(here, limit, code):
    words = ["run", "hello", "--units", "8", "--clock", "virtual", "--quiet", "--inject", "pattern: drop at=3", *limit]
    result = CliRunner().invoke(cli, words, standalone_mode=False)
    assert (result.return_value or 0) == code
    assert ("--max-misses: found 1 misses (expected 0 at most)" in result.stderr) == (code == 1)


@pytest.mark.parametrize(("last", "limit", "code"), [(6, (), 1), (4, (), 0), (6, ("--max-misses", "7"), 0)])
def test_a_run_that_misses_more_than_half_of_its_units_has_failed(here, last, limit, code):
    words = ["run", "hello", "--units", "8", "--clock", "virtual", "--quiet", "--inject", f"pattern: drop at=1..{last}"]
    result = CliRunner().invoke(cli, [*words, *limit], standalone_mode=False)
    assert (result.return_value or 0) == code
    told = "run: found 6 misses of 8 units (expected half of them at most), allow more with --max-misses\n"
    assert result.stderr == (told if code else "")


@pytest.mark.parametrize("how", [[], ["--serial"]], ids=["processes", "serial"])
def test_json_on_standard_output_is_json_whatever_nodes_print(here, how):
    command = [sys.executable, "-m", "wangraph", "run", "noisy.yaml", "--json", "-", *how]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(ran.stdout)["units"] == 7
    assert ran.stderr.count("a node prints") == 7


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_signals_end_a_run_in_order_and_say_which_it_was(here, number, code):
    run = Run(load_plan("hello"), Options())

    class Interrupter:
        def poll(self, statistics, usage):
            if statistics.units_presented and not run.is_stopped:
                os.kill(os.getpid(), number)

    run.collector.watcher = Interrupter()
    run.start().wait()
    assert run.exit_code == code


def test_a_run_under_nohup_outlives_its_terminal():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert signal.SIGHUP not in ending_signals()
    finally:
        signal.signal(signal.SIGHUP, before)
    assert signal.SIGHUP in ending_signals()


def test_a_json_file_is_written_whole_or_not_at_all(tmp_path):
    target = tmp_path / "summary.json"
    target.write_text('{"old": 1}')
    with pytest.raises(TypeError):
        write_json({"new": object()}, str(target))
    assert json.loads(target.read_text()) == {"old": 1}
    write_json({"new": 2}, str(target))
    assert json.loads(target.read_text()) == {"new": 2}
    assert [path.name for path in tmp_path.iterdir()] == ["summary.json"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_at_the_summary_is_told_in_words():
    with pytest.raises(
        RunError, match=r"^--json: /dev/full: No space left on device \(expected room for it\), write it elsewhere$"
    ):
        write_json({"units": 1}, "/dev/full")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_the_error_of_the_run_is_not_lost_with_its_summary(here):
    result = CliRunner().invoke(
        cli, ["run", "hello", "--units", "4", "--clock", "virtual", "--quiet", "--inject", "sync: raise at=1",
              "--json", "/dev/full"], standalone_mode=False,
    )  # fmt: skip
    assert str(result.exception).startswith("node 'sync', unit 1: raised because --inject said so")


@pytest.mark.parametrize("verb", [["check", "--timing"], ["simulate"]], ids=["check", "simulate"])
def test_a_graph_that_cannot_hold_its_clock_ends_check_and_simulate_alike(here, verb):
    (here / "tight.yaml").write_text(
        "name: tight\nlatency_ms: 100\nnodes:\n"
        "  pattern: {type: capture.pattern, params: {seconds: 1}}\n"
        "  pip: {type: flow.pip, inputs: {main: pattern.video, inset: pattern.video}}\n"
        "  sync: {type: sync.playout, inputs: {video: pip.video}}\n"
    )
    (here / "slow.yaml").write_text(
        "version: 1\nname: slow\ngraph: tight\nsource: assumed\nnodes:\n  pattern: {cost_ms: 1}\n  pip: {cost_ms: 400}\n  sync: {cost_ms: 1}\n"
    )
    name, *options = verb
    assert invoke(name, "tight.yaml", *options, "--profile", "slow.yaml") == 1
