"""A body that does not come back keeps no command from ending, also where it runs inside the command's process."""

from __future__ import annotations

import os
import time
from types import SimpleNamespace

import engine_toys as toys
import pytest
from engine_toys import looped

from wangraph.runtime.engine.options import Options
from wangraph.runtime.engine.run import Run
from wangraph.tools.shared.watchdog import watchdog


@pytest.mark.parametrize("options", [Options(6, serial=True), Options(6, clock="virtual"), Options(6)])
def test_who_keeps_a_stopped_run_from_ending_is_named_with_its_unit(tmp_path, options):
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    run = Run(looped(tmp_path / "out", toys.Hangs, gate=str(gate)).plan(), options).start()
    with gate.open("wb") as door:  # open once the body waits there
        assert run.stuck_after_stop(time.monotonic() + 99, 2.5) == "", "it was not stopped"
        run.stop()
        assert run.stuck_after_stop(time.monotonic(), 2.5) == ""
        stuck = run.stuck_after_stop(time.monotonic() + 99, 2.5)
        assert stuck == ("" if options.in_processes else "node 'mix', unit 3: still computing")
        door.write(b"!")
    run.wait()
    assert run.stuck_after_stop(time.monotonic() + 99, 2.5) == ""


def test_the_command_ends_with_the_signals_code_and_its_records_are_written(capsys):
    ended, finished = [], []
    run = SimpleNamespace(
        stuck_after_stop=lambda now_s, patience_s: "node 'a', unit 3: still computing",
        collector=SimpleNamespace(finish=lambda is_whole: finished.append(is_whole)),
        exit_code=143,
    )
    with watchdog(run, ended.append):
        while not ended:
            os.sched_yield()
    assert (ended, finished) == ([143], [False])
    expected = (
        "error: node 'a', unit 3: still computing (expected an end within 2.5 s of the stop), it was left with what it "
        "held: the process was ended\n"
    )
    assert capsys.readouterr().err == expected


def test_a_run_that_obeys_is_left_alone():
    ended = []
    with watchdog(SimpleNamespace(stuck_after_stop=lambda now_s, patience_s: ""), ended.append):
        pass
    assert ended == []
