"""Whole graphs under fault: an error that says what, exit codes, and an MP4 that plays whatever happened."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import av
import pytest

from wangraph import load
from wangraph.runtime.engine.options import Options
from wangraph.runtime.engine.run import Run
from wangraph.runtime.errors import ProcessLost, UserError

ROOT = Path(__file__).parents[1]


def wangraph(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "wangraph", *arguments], cwd=cwd, capture_output=True, text=True, timeout=100
    )


def pictures(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


class Killer:
    """Kills a process of the run once some units were presented."""

    def __init__(self, process: str, number: signal.Signals, at_unit: int) -> None:
        self.process, self.number, self.at_unit, self.done = process, number, at_unit, False

    def poll(self, statistics, usage):
        if not self.done and statistics.units_presented >= self.at_unit:
            self.done = True
            os.kill(usage[self.process]["pid"] if self.process else os.getpid(), self.number)


def duplex(tmp_path: Path, **sets: object) -> Run:
    sets = {"output": str(tmp_path / "out.mp4"), "checkpoint": "nano", "user.width": 32, "user.height": 32, **sets}
    return Run(load("duplex", settings=sets).plan(), Options())


@pytest.mark.slow
def test_the_mp4_plays_after_another_process_was_killed(tmp_path):
    run = duplex(tmp_path, **{"processes.performer.on_crash": "end"})
    run.collector.watcher = Killer("performer", signal.SIGKILL, 12)
    with pytest.raises(ProcessLost, match=r"^process 'performer' \(pid \d+\): killed by SIGKILL while running "):
        run.start().wait()
    assert pictures(tmp_path / "out.mp4") >= 4 * 10


@pytest.mark.slow
def test_the_agent_answers_again_after_its_performer_was_killed(tmp_path):
    run = duplex(tmp_path, **{"user.loop": True})
    run.collector.watcher = Killer("performer", signal.SIGKILL, 12)
    answers = []
    with run.start():
        for packet in run.packets("perform.video"):
            answers += [packet.unit] if packet.tensors and packet.incarnation else []
            if len(answers) == 5:
                run.stop()
    assert len(answers) >= 5, "its past came back with the thinker's log"
    assert pictures(tmp_path / "out.mp4") == 4 * run.summary["units"]


@pytest.mark.slow
def test_the_mp4_plays_after_the_process_that_writes_it_was_killed(tmp_path):
    run = duplex(tmp_path)
    run.collector.watcher = Killer("main", signal.SIGKILL, 20)
    with pytest.raises(ProcessLost, match=r"^process 'main' \(pid \d+\): killed by SIGKILL while running "):
        run.start().wait()
    assert pictures(tmp_path / "out.mp4") >= 25


@pytest.mark.slow
def test_the_mp4_holds_every_presented_unit_after_an_interrupt(tmp_path):
    run = duplex(tmp_path)
    run.collector.watcher = Killer("", signal.SIGINT, 12)
    run.start().wait()
    assert pictures(tmp_path / "out.mp4") == 4 * run.summary["units"]


def test_an_interrupted_command_exits_with_130_and_its_mp4_plays(tmp_path):
    command = [sys.executable, "-m", "wangraph", "run", "hello", "--trace", "run.trace", "--quiet"]
    running = subprocess.Popen(command, cwd=tmp_path)
    trace = tmp_path / "run.trace"
    while running.poll() is None and not (trace.exists() and trace.read_bytes().count(b'"firing"') > 20):
        pass
    running.send_signal(signal.SIGINT)
    assert running.wait(30) == 130
    assert pictures(tmp_path / "hello.mp4") > 0


def test_a_node_that_raises_leaves_an_mp4_that_plays(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from wangraph import Input, Node, Output\n"
        "class Breaks(Node):\n"
        "    frames = Input('video', 'F H W 3', 'uint8')\n"
        "    out = Output('video', 'F H W 3', 'uint8')\n"
        "    def step(self, unit, frames):\n"
        "        if unit.index == 8:\n"
        "            raise RuntimeError('no more')\n"
        "        return {'out': frames}\n"
    )
    (tmp_path / "g.yaml").write_text(
        "name: g\nlatency_ms: 100\nnodes:\n"
        "  pattern: {type: capture.pattern}\n"
        "  mine: {type: 'mine.py:Breaks', inputs: {frames: pattern.video}}\n"
        "  sync: {type: sync.playout, inputs: {video: mine.out}}\n"
        "  file: {type: sink.mp4, params: {path: out.mp4}, inputs: {video: sync.video}}\n"
    )
    done = wangraph("run", "g.yaml", "--quiet", cwd=tmp_path)
    told = "error: node 'mine', unit 8: RuntimeError: no more, at mine.py:7 in step\n"
    assert (done.returncode, done.stderr) == (1, told)
    assert pictures(tmp_path / "out.mp4") >= 4 * 6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "hello", "--set", "output=/proc/nowhere/x.mp4"], "sink.mp4: "),
        (["run", "mirror", "--set", "source=missing.mp4"], "missing.mp4"),
        (["run", "nothing"], "nothing"),
        (["run", "hello", "--set", "pattern.seconds=-1"], "expected 0 or more"),
        (["run", "mirror", "--set", "checkpoint=tinny"], "did you mean 'tiny'?"),
        (["run", "hello", "--units", "3", "--duration", "1"], "--units and --duration: found both"),
        (["run", "hello", "--set", "units"], "--set: found 'units' (expected KEY=VALUE, for example source=me.mp4)"),
        (["run", "hello", "--json", "/proc/nowhere/x.json"], "--json: /proc/nowhere/x.json: cannot write into"),
    ],
)
def test_what_the_user_got_wrong_is_said_before_the_clock_starts_and_exits_with_2(tmp_path, arguments, message):
    done = wangraph(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_of_another_shape_is_refused_before_the_clock_starts(tmp_path):
    from wangraph.wan_core.checkpoint import save
    from wangraph.wan_core.config import preset
    from wangraph.wan_core.media.audio import AudioCodec
    from wangraph.wan_core.media.video import VideoCodec

    nano = preset("nano")
    parts = {"video_codec": VideoCodec(nano.video), "audio_codec": AudioCodec(nano.audio)}
    save(tmp_path / "nano.safetensors", parts, preset="tiny")
    with pytest.raises(
        UserError, match=r"^checkpoint .*: '\w+_codec\.[\w.]+' is \[.*\] \(expected \[.*\] by preset 'tiny'\), name"
    ):
        Run(load("mirror", settings={"checkpoint": str(tmp_path / "nano.safetensors"), "output": str(tmp_path / "o.mp4")}).plan(),
            Options(4)).start().wait()  # fmt: skip


def test_json_holds_what_machines_read(tmp_path):
    done = wangraph("run", "hello", "--units", "6", "--json", "-", cwd=tmp_path)
    summary = json.loads(done.stdout)
    assert done.returncode == 0
    assert {
        "graph", "units", "wall_s", "realtime_factor", "fps", "misses", "late", "concealed", "latency_ms",
        "model_latency_ms", "slack_ms", "av_skew_ms", "nodes", "processes", "edges", "weights", "machine",
    } <= set(summary)  # fmt: skip
    assert (summary["units"], summary["misses"]) == (6, 0)
    assert {"fired", "busy_ms", "wait_ms", "late", "levels"} <= set(summary["nodes"]["sync"])
    assert {"pid", "cpu_s", "rss_mb", "restarts"} == set(summary["processes"]["main"])


def test_virtual_time_makes_bit_equal_media(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        arguments = ["run", "duplex", "--clock", "virtual", "--units", "30", "--quiet", "--set", "checkpoint=nano",
                     "--set", "user.width=32", "--set", "user.height=32"]  # fmt: skip
        assert wangraph(*arguments, cwd=tmp_path / name).returncode == 0
    for file in ("duplex.mp4", "duplex.srt"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_one_process_and_two_make_the_same_agent(tmp_path):
    """Placement is not part of the result: duplex and duplex_solo present the same pictures."""
    frames = []
    for graph in ("duplex", "duplex_solo"):
        sets = {"output": str(tmp_path / f"{graph}.mp4"), "checkpoint": "nano", "user.width": 32, "user.height": 32}
        result = Run(load(graph, settings=sets).plan(), Options(20)).start().wait()
        assert result.summary["misses"] == 0
        with av.open(str(tmp_path / f"{graph}.mp4")) as container:
            frames.append([frame.to_ndarray(format="rgb24").tobytes() for frame in container.decode(video=0)])
    assert frames[0] == frames[1]
