"""``wangraph bench faults``: its kinds, and what it finds in a run. The faults themselves strike in the bench."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from wangraph.runtime.errors import UserError
from wangraph.tools.bench import fault_found, fault_trial, faults
from wangraph.tools.bench.fault_found import found
from wangraph.tools.bench.fault_kinds import KINDS, MIDDLE, Deed, Inject, Kind, chosen
from wangraph.tools.bench.fault_nodes import DEEDS, Middle
from wangraph.tools.bench.fault_trial import Trial, three
from wangraph.tools.cli import cli
from wangraph.tools.shared.options import load_plan
from wangraph.tools.verbs.bench import command

UNITS = 10
DROP = KINDS["drop"]


# Kinds


def test_there_are_more_than_thirty_kinds_and_each_has_a_name_of_its_own():
    assert len(KINDS) >= 30 and all(name == kind.name for name, kind in KINDS.items())


def test_every_fault_of_the_kinds_can_be_injected_and_every_deed_be_done(tmp_path):
    from wangraph.runtime.engine.faults import check_faults, parse_fault

    graphs = {"duplex": load_plan("duplex", ())}
    for kind in KINDS.values():
        path = tmp_path / f"{kind.name}.yaml"
        path.write_text(json.dumps(three(kind)))
        plan = graphs.get(kind.graph) or load_plan(str(path), ())
        if isinstance(kind.strike, Inject):
            check_faults([parse_fault(f"{kind.strike.node}: {kind.strike.fault} at=3")], plan, in_processes=True)
        if isinstance(kind.strike, Deed):
            assert kind.strike.name in {*DEEDS, "wrong-shape", "close-raises", "close-hangs"}


def test_every_culprit_is_a_process_or_a_node_of_its_graph_or_a_file(tmp_path):
    path = tmp_path / "three.yaml"
    path.write_text(json.dumps(three(DROP)))
    plans = {"three": load_plan(str(path), ()), "duplex": load_plan("duplex", ())}
    for kind in KINDS.values():
        known = {*plans[kind.graph].nodes, *plans[kind.graph].processes, "run.trace", "run.mcap"}
        assert known.issuperset(kind.culprit), kind


def test_an_unknown_kind_is_answered_with_the_known_ones():
    with pytest.raises(UserError, match=r"^--only: no kind 'kil' \(it has: .*\); did you mean 'kill'\?$"):
        chosen("drop, kil")
    assert [kind.name for kind in chosen("drop, kill")] == ["drop", "kill"]


# Found


@pytest.fixture
def ran(tmp_path, monkeypatch):
    """A run with a dropped unit, under the virtual clock, as the bench leaves it behind."""
    monkeypatch.chdir(tmp_path)
    Path("three.yaml").write_text(json.dumps(three(DROP)))
    words = ["run", "three.yaml", "--clock", "virtual", "--quiet", "--units", str(UNITS), "--trace", "run.trace"]
    result = CliRunner().invoke(
        cli, [*words, "--json", "run.json", "--inject", "middle: drop at=4"], standalone_mode=False
    )
    assert result.exception is None, result.output
    return Trial(tmp_path, UNITS, 4, exit_code=0)


def test_a_run_that_kept_its_promises_broke_none(ran):
    result = found(DROP, ran)
    assert (result["broken"], result["plays"], result["short"], result["unaccounted"]) == ([], True, 0, 0)
    assert result["recover_s"] == 0.16


@pytest.mark.parametrize(
    ("harm", "broken"),
    [
        (lambda trial: setattr(trial, "exit_code", 1), "exit 1 (expected 0)"),
        (lambda trial: setattr(trial, "exit_code", None), "exit never (expected 0)"),
        (lambda trial: trial.left.append("process 7"), "left a process"),
        (lambda trial: (trial.folder / "out.mp4").unlink(), "the file does not play"),
        (lambda trial: (trial.folder / "out.mp4").write_bytes(b"no video"), "the file does not play"),
        (lambda trial: _lose_units(trial.folder / "run.trace"), "1 units without account"),
    ],
)
def test_every_broken_promise_is_found(ran, harm, broken):
    harm(ran)
    assert found(DROP, ran)["broken"] == [broken]


def _lose_units(trace):
    """Take the presentation of unit 6 out of a trace, and of all inputs that it would be missed by."""
    lines = trace.read_text().splitlines(keepends=True)
    kept = [
        line for line in lines if not ('"sync"' in line and '"firing"' in line[:20] and re.search(r'"first":6\b', line))
    ]
    assert len(kept) == len(lines) - 1
    trace.write_text("".join(kept))


def test_a_video_that_lacks_units_is_short_by_so_many(ran, monkeypatch):
    monkeypatch.setattr(fault_found, "_video", lambda path: 4 * (UNITS - 2))
    assert found(DROP, ran)["broken"] == ["the file is 2 units short"]
    assert found(Kind("x", DROP.strike, may_lose=2), ran)["broken"] == []


LOST = "process 'middle' (pid 7): killed by SIGKILL while running node 'middle', unit 9"


@pytest.mark.parametrize(
    ("error", "notes", "naming"),
    [
        (LOST, [], "right"),
        ("process 'main' (pid 7): killed by SIGKILL", [(9, "process 'middle': no sign of life for 2.0 s")], "wrong"),
        ("Errno 5", [], "none"),
        ("", [(9, "process 'middle': no sign of life for 2.0 s")], "right"),
        ("", [(9, "node 'sync': unit 4 waits for video of unit 4 from middle.video; 170 ms over its due")], "right"),
        ("", [(9, "node 'sync': unit 4 waits for video of unit 4 from source.video; 170 ms over its due")], "wrong"),
        ("", [(9, "'source.video': unit 21 was copied through the socket, process 'middle' holds 6")], "wrong"),
        ("", [(8, "node 'file': computing unit 4 since 9 ms"), (9, "node 'middle': computing unit 4 since 9 ms")], "right"),
        ("", [], "none"),
    ],
)  # fmt: skip
def test_who_is_named_is_read_from_the_error_or_else_from_the_notes(error, notes, naming):
    assert fault_found._naming(MIDDLE, error, notes)[0] == naming
    assert fault_found._naming((), error, notes)[0] == ""


def test_a_file_is_named_by_its_name():
    error = "error: --trace: run.trace: File too large after 376 records"
    assert fault_found._naming(("run.trace",), error, [])[0] == "right"


# Left over


def test_what_a_command_started_is_found_ended_and_told(monkeypatch):
    monkeypatch.setattr(fault_trial, "GRACE_S", 0.0)
    code = "import signal; print('up', flush=True); signal.pause()"
    lingering = subprocess.Popen([sys.executable, "-c", code, "wangraph-deadbee-x"], stdout=subprocess.PIPE)
    try:
        lingering.stdout.readline()
        assert fault_trial._left_over(0xDEADBEE, set()) == [f"process {lingering.pid}"]
        assert lingering.wait() == -9
    finally:
        lingering.kill()
        lingering.stdout.close()


# Report


def a_trial(**more):
    plain = dict.fromkeys(("named_s", "end_s", "recover_s"))
    return {"unit": 9, "exit": 0, "named": "", "unaccounted": 0, "left": [], "plays": True, "short": 0, "text": "", "broken": [],
            **plain, **more}  # fmt: skip


def test_the_table_has_a_row_for_each_kind_over_all_rounds_and_one_for_all(monkeypatch):
    rounds = [{"kill": a_trial(exit=1, named="right", named_s=0.2, end_s=1.5), "drop": a_trial()},
              {"kill": a_trial(exit=None, named="wrong", end_s=3.0, left=["socket x"], broken=["exit never (expected 1)"])}]  # fmt: skip
    made = {"rounds": [{"round": n, "kinds": kinds} for n, kinds in enumerate(rounds, 1)]}
    table = faults.table(made)
    rows = {row[0]: dict(zip(table.columns, row, strict=True)) for row in table.rows}
    assert list(rows) == ["kill", "drop", "all 2 kinds"]
    kill = rows["kill"]
    assert (kill["kept"], kill["exit"], kill["end s"], kill["named"]) == (
        "1 of 2",
        "1 never",
        "3 / 3",
        "1 right, 1 wrong",
    )
    assert (kill["left over"], kill["broken"]) == (1, "1 x exit never (expected 1)")
    assert (rows["drop"]["kept"], rows["all 2 kinds"]["kept"]) == ("1 of 1", "2 of 3")
    assert min(made["rounds"], key=faults.rank)["round"] == 1


def test_a_kind_strikes_in_the_same_unit_whichever_others_are_measured(monkeypatch):
    struck = []

    def no_run(kind, folder, units, unit, period_s):
        struck.append((kind.name, unit))
        return Trial(folder, units, unit, exit_code=0)

    monkeypatch.setattr(faults, "harmed", no_run)
    faults.run(2, 8, only="drop,kill,duplex-SIGKILL-main")
    together, struck[:] = list(struck), []
    faults.run(2, 8, only="kill")
    assert struck == [each for each in together if each[0] == "kill"] and len({unit for _, unit in struck}) == 2
    assert [name for name, _ in together].count("duplex-SIGKILL-main") == 1
    assert all(faults.FIRST_UNIT <= unit < 50 - faults.UNITS_AFTER for _, unit in together)


def test_the_command_takes_kinds_and_refuses_others_before_it_measures():
    with pytest.raises(UserError, match="no kind 'fire'"):
        CliRunner().invoke(command, ["faults", "--only", "fire"], catch_exceptions=False)


def test_the_node_in_the_middle_passes_on_what_it_gets():
    assert set(Middle.params) == {"deed", "at"} and not set(DEEDS) & {"", "wrong-shape"}
