"""Budgets out of a profile, in the text of a graph file; lines of progress; words for what was mistyped."""

from __future__ import annotations

import pytest
from click.testing import CliRunner
from observe_toys import recorded
from schedule_toys import Stateful, chain

from wangraph.runtime.errors import UserError
from wangraph.runtime.forecast.profile import NodeCost, Profile
from wangraph.runtime.observe.statistics import Statistics
from wangraph.runtime.packet import Validity
from wangraph.tools.cli import cli
from wangraph.tools.shared.budgets import budget_ms, write_budgets
from wangraph.tools.shared.options import load_plan
from wangraph.tools.shared.progress import EVERY_S, ProgressLines

GRAPH = """\
name: mine   # with remarks
latency_ms: 100
nodes:
  # the source
  pattern: {type: capture.pattern, params: {seconds: 1} }
  pip:
    type: flow.pip  # both
    inputs: {main: pattern.video, inset: pattern.video}
  known: {type: flow.pip, inputs: {main: pattern.video, inset: pattern.video}, budget_ms: 7}
  sync: {type: sync.playout, inputs: {video: pip.video, audio: pattern.audio}}
"""


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(GRAPH)
    return path


def profile(**costs: float) -> Profile:
    nodes = {name: NodeCost(ms, "made up", 1.23 * ms) for name, ms in costs.items()}
    return Profile("mine", "made up", nodes)


def test_missing_budgets_are_written_and_everything_else_stays(mine):
    plan = load_plan(str(mine))
    written = write_budgets(mine, plan, profile(pattern=2.0, pip=10.0, known=3.0, sync=1.0))
    assert written == {"pattern": 2.5, "pip": 13.0}
    assert mine.read_text() == (
        GRAPH.replace("{seconds: 1} }", "{seconds: 1}, budget_ms: 2.5 }").replace(
            "# both\n", "# both\n    budget_ms: 13\n"
        )
    )
    again = load_plan(str(mine)).nodes
    assert [again[name].cost_ns for name in ("pattern", "pip", "known", "sync")] == [
        2_500_000,
        13_000_000,
        7_000_000,
        0,
    ]
    assert write_budgets(mine, load_plan(str(mine)), profile(pattern=2.0, pip=10.0, known=3.0, sync=1.0)) == {}
    assert [path.name for path in mine.parent.iterdir()] == ["mine.yaml"]


def test_budgets_that_cannot_be_kept_are_not_written(mine):
    with pytest.raises(UserError) as error:
        write_budgets(mine, load_plan(str(mine)), profile(pattern=2.0, pip=90.0, known=3.0, sync=1.0))
    assert str(error.value) == (
        f"--write-budgets: with the measured budgets: {mine}:8:16: infeasible: because pattern -> pip -> sync takes 123 ms "
        "after release (pattern 2.5, pip 120, 3 to give up what is late; expected latency_ms 100 or less), raise latency_ms or lower the budgets; "
        "nothing was written"
    )
    assert mine.read_text() == GRAPH


@pytest.mark.parametrize(
    ("p95", "budget"), [(0.004, 0.1), (0.44, 0.44), (2.41, 2.5), (12.01, 13.0), (99.1, 100.0), (130.0, 130.0)]
)
def test_a_budget_is_what_19_of_20_units_need_rounded_up(p95, budget):
    assert budget_ms(NodeCost(p95, "x", p95)) == budget


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["profile", "MINE"], "profile: found no file to write (expected -o FILE or --write-budgets), give one of them"),
        (["profile", "hello", "--write-budgets"],
         "--write-budgets: found the shipped graph 'hello' (expected a graph file as it is), write to a file of your own"),
        (["chek", "hello"], "wangraph: found 'chek' (available: "),
        (["check", "mine.yml"], "mine.yml: no such graph (expected a file, or one of: "),
    ],
)  # fmt: skip
def test_what_was_mistyped_is_answered_with_what_there_is(mine, monkeypatch, words, text):
    monkeypatch.chdir(mine.parent)
    result = CliRunner().invoke(cli, [str(mine) if word == "MINE" else word for word in words], standalone_mode=False)
    assert str(result.exception).startswith(text)
    hints = {"chek": "; did you mean 'check'?", "check": "; did you mean 'mine.yaml'?"}
    assert str(result.exception).endswith(hints.get(words[0], ""))


def test_a_parameter_that_the_file_does_not_write_is_set_though_it_looks_like_a_key(mine):
    (mine.parent / "words.py").write_text(
        "from wangraph import Node, Output, Param\n\n\nclass Words(Node):\n    out = Output('text')\n"
        "    graphs: int = Param(3)\n"
    )
    mine.write_text("nodes:\n  words: {type: 'words.py:Words'}\n  s: {type: sink.null, inputs: {value: words.out}}\n")
    assert load_plan(str(mine), ["words.graphs=5"]).nodes["words"].params == {"graphs": 5}


def test_a_line_every_ten_seconds_says_how_the_run_is_doing():
    plan, now, lines = chain(("work", Stateful, 10)), [0.0], []
    progress = ProgressLines(lines.append, lambda: now[0])
    statistics = Statistics(plan)
    statistics.add(recorded(plan, 12, {("source", 0): 0}, {("work", 3): Validity.MISSING}))
    for _ in range(3):
        now[0] += EVERY_S - 4
        progress.poll(statistics, None)
    assert lines == ["unit 12: 1 misses, 0 late, model latency p50 10.0, p95 10.0 of 200 ms"]
    silent = ProgressLines(lines.append, lambda: now[0])
    now[0] += EVERY_S
    silent.poll(Statistics(plan), None)
    assert lines[1:] == ["unit 0: 0 misses, 0 late"]
