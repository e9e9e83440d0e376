"""Goals of a run: how they are written, and that they are held against the figures of its summary."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from wangraph.runtime.errors import UserError
from wangraph.tools.cli import cli
from wangraph.tools.shared.slo import FIGURES, Goal, held_against, parse_goals

ALL = (
    "concealed, deadline_attainment, first, fps, late, latency_max, latency_p50, latency_p95, latency_p99, misses, "
    "model_latency_max, model_latency_p50, model_latency_p95, model_latency_p99, real, recover, skew, slack_min, "
    "slack_p1, slack_p5, slack_p50, underruns, units"
)

SUMMARY = {
    "units": 200,
    "real": 196,
    "misses": 3,
    "concealed": 1,
    "late": 4,
    "underruns": 2,
    "deadline_attainment": 0.97,
    "fps": 24.98,
    "recover_ms": 480.0,
    "time_to_first_unit_ms": 240.0,
    "av_skew_ms": {"p50": 0.0, "p95": 0.0, "max": 160.0},
    "latency_ms": {"p50": 240.1, "p95": 241.0, "p99": 245.0, "max": 250.0},
    "model_latency_ms": {},
    "slack_ms": {"p50": 30.0, "p5": 20.0, "p1": 9.0, "min": 4.0},
}


def kept(text):
    return [row["kept"] for row in held_against(parse_goals(text), SUMMARY)["goals"]]


@pytest.mark.parametrize(
    ("text", "goal"),
    [
        ("misses<1%", Goal("misses<1%", "misses", "<", 1.0, "%")),
        ("misses <= 3", Goal("misses <= 3", "misses", "<=", 3.0, "")),
        ("recover<3s", Goal("recover<3s", "recover", "<", 3000.0, "ms")),
        ("slack_p5>.5ms", Goal("slack_p5>.5ms", "slack_p5", ">", 0.5, "ms")),
        ("deadline_attainment>=99.5%", Goal("deadline_attainment>=99.5%", "deadline_attainment", ">=", 99.5, "%")),
    ],
)
def test_a_goal_names_a_figure_and_its_limit(text, goal):
    assert parse_goals(text) == [goal]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", f"--slo '': found no figure and limit (expected misses<1%; figures: {ALL})"),
        ("misses", f"--slo 'misses': found no figure and limit (expected misses<1%; figures: {ALL})"),
        ("misses=1", f"--slo 'misses=1': found no figure and limit (expected misses<1%; figures: {ALL})"),
        ("mises<1%", f"--slo 'mises<1%': found 'mises' (expected one of: {ALL}); did you mean 'misses'?"),
        ("misses<1s", "--slo 'misses<1s': found 1s (expected a number, or a share of the units: misses<3, misses<1%)"),
        ("skew<20", "--slo 'skew<20': found 20 (expected a time: skew<300ms)"),
        ("skew<20%", "--slo 'skew<20%': found 20% (expected a time: skew<300ms)"),
        ("deadline_attainment>0.9", "--slo 'deadline_attainment>0.9': found 0.9 (expected a share: deadline_attainment>99%)"),
        ("fps>24hz", "--slo 'fps>24hz': found 24hz (expected a number: fps>24.9)"),
        ("misses<1%,", f"--slo '': found no figure and limit (expected misses<1%; figures: {ALL})"),
    ],
)  # fmt: skip
def test_a_goal_that_is_not_written_like_one_is_refused(text, message):
    with pytest.raises(UserError) as refused:
        parse_goals(text)
    assert str(refused.value) == message


def test_goals_are_held_against_the_figures_of_the_summary():
    assert kept("misses<4, misses<3, misses<=3, misses<2%, misses<1.5%") == [True, False, True, True, False]
    assert kept("recover<0.5s, recover<480ms, recover>=480ms, skew<20ms, first<1s") == [True, False, True, False, True]
    assert kept("latency_p95<300ms, latency_max<250ms, slack_min>3ms, fps>24.9") == [True, False, True, True]
    assert kept("deadline_attainment>96%, deadline_attainment>97%, late<=2%, units>=200") == [True, False, True, True]
    assert held_against(parse_goals("misses<2%"), SUMMARY)["kept"]
    assert not held_against(parse_goals("misses<2%, skew<20ms"), SUMMARY)["kept"]


def test_a_figure_that_the_run_has_not_keeps_no_goal():
    assert kept("model_latency_p95<300ms, model_latency_p95>1ms") == [False, False]
    empty = {**SUMMARY, "units": 0, "misses": 0, "deadline_attainment": None}
    rows = held_against(parse_goals("misses<1%, deadline_attainment>1%, misses<1"), empty)["goals"]
    assert [(row["found"], row["kept"]) for row in rows] == [(None, False), (None, False), (0, True)]


@given(st.sampled_from(sorted(FIGURES)), st.sampled_from(["<", "<=", ">", ">="]), st.integers(0, 1000))
def test_a_limit_below_or_above_decides_as_numbers_do(name, sign, limit):
    unit = {"count": "", "share": "%", "time": "ms", "rate": ""}[FIGURES[name][0]]
    (goal,) = parse_goals(f"{name}{sign}{limit}{unit}")
    found = goal.found_in(SUMMARY)
    expected = {
        "<": lambda f: f < limit,
        "<=": lambda f: f <= limit,
        ">": lambda f: f > limit,
        ">=": lambda f: f >= limit,
    }
    assert goal.is_kept(found) == (found is not None and expected[sign](found))


# Commands


def invoke(*words):
    return CliRunner().invoke(
        cli, ["run", "hello", "--units", "8", "--clock", "virtual", *words], standalone_mode=False
    )


@pytest.mark.parametrize(("limit", "code"), [("2", 0), ("1", 1)])
def test_a_run_ends_with_1_when_a_goal_was_not_kept(tmp_path, monkeypatch, limit, code):
    monkeypatch.chdir(tmp_path)
    slo = f"misses<{limit}, recover<3s"
    result = invoke("--inject", "pattern: drop at=3", "--slo", slo, "--json", "it.json")
    assert (result.return_value or 0) == code
    assert result.stderr.count("\n") >= code and (f"--slo: found 1 (expected misses<{limit})" in result.stderr) == code
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["FAIL" if code else "pass", f"misses<{limit}", "1"] in lines and [
        "pass",
        "recover<3s",
        "160",
        "ms",
    ] in lines
    written = json.loads((tmp_path / "it.json").read_text())["slo"]
    assert written["kept"] == (code == 0) and [row["found"] for row in written["goals"]] == [1, 160.0]


def test_a_goal_on_misses_speaks_in_the_place_of_the_usual_limit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    drop = ("--quiet", "--inject", "pattern: drop at=1..6")
    assert invoke(*drop, "--slo", "misses<90%").return_value == 0
    assert invoke(*drop, "--slo", "recover<3s").return_value == 1


def test_a_simulation_is_held_against_goals_too():
    words = ["simulate", "wan_streamer", "--profile", "wan-streamer", "--units", "50"]
    passed = CliRunner().invoke(cli, [*words, "--slo", "misses<1%"], standalone_mode=False)
    failed = CliRunner().invoke(cli, [*words, "--json", "--slo", "model_latency_p50<1us"], standalone_mode=False)
    assert (passed.return_value, failed.return_value) == (0, 1) and "pass  misses<1%" in passed.stdout
    assert json.loads(failed.stdout)["slo"]["kept"] is False


def test_goals_are_read_before_anything_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = invoke("--slo", "mises<1%")
    assert isinstance(result.exception, UserError) and not list(tmp_path.iterdir())
