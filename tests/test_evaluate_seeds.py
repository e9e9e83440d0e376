"""Several checkpoints side by side, their mean and their spread."""

import json
import math

import pytest
from click.testing import CliRunner
from train_toys import save_untrained

from wangraph.runtime.errors import UserError
from wangraph.tools.lab.evaluate import rows
from wangraph.tools.lab.evaluate.figures import Figure
from wangraph.tools.lab.evaluate.report import MEASURES
from wangraph.tools.lab.evaluate.rows import Setting
from wangraph.tools.lab.evaluate.seeds import labels, spread
from wangraph.tools.lab.evaluate.tasks import Findings
from wangraph.tools.verbs.evaluate import command

LIPS = next(measure for measure in MEASURES if measure.name == "lips: correlation")
FREE = next(measure for measure in MEASURES if measure.name == "free: words, text")


def found(measure, value, low, reference=None):
    by_row = {"model": Findings(), "reference": Findings()}
    by_row["model"].figures[measure.name] = Figure(value, low, value, 48, "")
    if reference is not None:
        by_row["reference"].figures[measure.name] = Figure(reference, reference, reference, 48, "")
    return by_row


def evaluate(*args):
    return CliRunner().invoke(command, [str(arg) for arg in args])


def test_each_checkpoint_is_judged_against_its_own_reference():
    seeds = [found(LIPS, 0.78, 0.77, 0.80), found(LIPS, 0.78, 0.77, 0.78), found(LIPS, 0.81, 0.80, 0.82)]
    over = spread(LIPS, seeds)
    assert (over.met, over.n) == (2, 3)  # 0.97 of 0.80 is more than 0.77, of 0.78 less
    assert over.text() == "0.790 +- 0.017"
    assert over.plain() == {
        "mean": pytest.approx(0.79),
        "deviation": pytest.approx(0.01732, abs=1e-5),
        "met": 2,
        "n": 3,
    }


def test_a_measure_without_a_goal_is_met_by_none_and_missed_by_none():
    assert spread(FREE, [found(FREE, 0.9, 0.8), found(FREE, 0.7, 0.6)]).met is None


@pytest.mark.parametrize(
    ("values", "text", "mean"),
    [((1.0, math.inf), "never +- -", None), ((1.0, math.nan), "-", None), ((1.0,), "1.000 +- -", 1.0)],
)
def test_what_never_happened_with_one_of_them_has_no_spread(values, text, mean):
    over = spread(FREE, [found(FREE, value, value) for value in values])
    assert over.text() == text and over.plain()["mean"] == mean and over.plain()["deviation"] is None


def test_checkpoints_have_short_names_of_their_own():
    paths = ["tiny", "out/seed1/tiny.safetensors", "out/seed2/tiny.safetensors"]
    assert labels(paths) == dict(zip(("tiny", "seed1/tiny", "seed2/tiny"), paths, strict=True))
    alike = ["a/out/tiny.safetensors", "b/out/tiny.safetensors", "tiny"]
    assert labels(alike) == dict(zip((*alike[:2], "tiny"), alike, strict=True))
    with pytest.raises(UserError) as error:
        labels(["tiny", "a.safetensors", "tiny"])
    assert str(error.value) == "evaluate seeds: found tiny twice (expected other checkpoints), leave one out"


def test_each_setting_has_its_own_findings_in_whatever_order_they_are_done(monkeypatch):
    def run(jobs, processes):
        for setting, row, task in reversed(jobs):
            yield (setting, row, task), Findings(values={task: [f"{setting.checkpoint} {row}"]})

    monkeypatch.setattr(rows, "run", run)
    settings = [Setting(name) for name in ("a", "b")]
    found = rows.measured(settings, ("model", "reference"), ("asks", "cards"), 1)
    assert {(s.checkpoint, row): f.values for s, by_row in found.items() for row, f in by_row.items()} == {
        (name, row): {"asks": [f"{name} {row}"], "cards": [f"{name} {row}"]}
        for name in "ab"
        for row in ("model", "reference")
    }


def test_one_checkpoint_alone_is_no_spread():
    result = evaluate("seeds", "tiny")
    assert isinstance(result.exception, UserError)
    assert str(result.exception) == (
        "evaluate seeds: found 1 checkpoint(s) (expected two or more), for one: wangraph evaluate model"
    )


@pytest.mark.slow
def test_a_checkpoint_has_the_same_figures_alone_and_beside_another(tmp_path):
    paths = [save_untrained(tmp_path / f"seed{seed}.safetensors") for seed in (0, 1)]
    asked = ("--dialogues", 2, "--only", "cards", "--processes", 1, "--json")
    alone = json.loads(evaluate("model", paths[0], *asked, "--no-floors").stdout)["rows"]
    both = json.loads(evaluate("seeds", *paths, *asked).stdout)
    names = [f"{tmp_path.name}/{path.stem}" for path in paths]
    assert list(both["checkpoints"]) == list(both["weights"]) == names
    assert both["checkpoints"][names[0]] == alone
    assert both["spread"]["card named, text"] == {"mean": 0.0, "deviation": 0.0, "met": 0, "n": 2}
