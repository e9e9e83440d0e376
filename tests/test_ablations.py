"""Trainings that lack one thing."""

import json

import pytest
import torch
from click.testing import CliRunner
from rich.console import Console
from train_toys import sequences

from wangraph.tools.lab import ablations
from wangraph.tools.lab.ablations import VARIANTS, behind, stage_of
from wangraph.tools.lab.evaluate.talk import FIRST_SEED as MEASURED_FROM
from wangraph.tools.lab.train.context import FIRST_SEED as TRAINED_FROM
from wangraph.tools.lab.train.context import TrainingContext
from wangraph.tools.lab.train.interact import new_learner
from wangraph.tools.lab.train.labels import HEADS
from wangraph.tools.lab.train.partners import SEEDS
from wangraph.tools.shared.options import TRAINING_SEEDS
from wangraph.tools.verbs import ablate, train
from wangraph.wan_core.checkpoint import load_part
from wangraph.wan_core.config import preset
from wangraph.wan_core.model import DuplexModel
from wangraph.wan_core.train.interact import InteractTask, Learner


def test_the_first_variant_is_the_model_as_it_is():
    nano = preset("nano")
    assert VARIANTS[0].shapes(nano) == nano
    assert len({stage_of(variant) for variant in VARIANTS}) == len(VARIANTS)


@pytest.mark.parametrize("variant", VARIANTS, ids=stage_of)
def test_every_variant_can_be_learned(variant):
    torch.manual_seed(0)
    learner = Learner(DuplexModel(variant.shapes(preset("nano"))), 6, HEADS)
    draw = behind(lambda generator, progress, weights: sequences(2, 12), variant.behind)
    loss = InteractTask(learner, draw, variant.corruption).loss(torch.Generator().manual_seed(1), 0.5)
    loss.total.backward()
    assert torch.isfinite(loss.total)
    assert sum(float(p.grad.abs().sum()) for p in learner.model.parameters() if p.grad is not None) > 0


def test_a_thinker_that_is_behind_meets_the_user_one_unit_later_and_the_agent_on_time():
    batch = sequences(2, 8)
    late = behind(lambda *_: batch, 1)(torch.Generator(), 0.0, torch.ones(6))
    assert torch.equal(late.user_audio[:, 1:], batch.user_audio[:, :-1]) and not late.user_audio[:, 0].any()
    assert torch.equal(late.user_video[:, 1:], batch.user_video[:, :-1])
    assert torch.equal(late.user_video[:, 0], batch.user_video[:, 0])
    assert torch.equal(late.labels["digit"][:, 1:], batch.labels["digit"][:, :-1])
    assert late.text is batch.text and late.agent is batch.agent


@pytest.mark.slow
def test_variants_are_learned_measured_and_told_in_one_table(tmp_path, monkeypatch):
    monkeypatch.setattr(ablations, "VARIANTS", VARIANTS[:2])
    monkeypatch.setattr(ablations, "MEASURED", ("hands",))
    common = ("--preset", "nano", "--out", str(tmp_path), "--steps", "2", "--threads", "1")
    assert CliRunner().invoke(train.command, ["codecs", "--hours", "0.005", *common]).exit_code == 0
    result = CliRunner().invoke(ablate.command, ["--hours", "0.005", "--dialogues", "2", *common])
    assert result.exit_code == 0, result.exception
    assert "sound and picture apart" in result.output and "reduced runs" in result.output
    found = json.loads((tmp_path / "ablations.json").read_text())
    assert list(found) == ["as it is", "sound and picture apart"]
    assert "raised hand, minus control" in found["as it is"]


def test_every_variant_goes_on_from_the_same_weights(tmp_path):
    console = Console(record=True, width=200)
    context = TrainingContext("tiny", 0.005, tmp_path, console, origin="tiny", threads=1)
    shipped = load_part("tiny", "model", DuplexModel).module.state_dict()
    for variant in VARIANTS:
        begins = new_learner(context, variant.shapes(context.preset)).model.state_dict()
        assert begins.keys() == shipped.keys() and all(torch.equal(begins[name], shipped[name]) for name in shipped)


@pytest.mark.parametrize("verb", [ablate.command, train.command], ids=["ablate", "train"])
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--seed", "49"), "Invalid value for '--seed': 49 is not in the range 0<=x<=48."),
        (("--seed", "-1"), "Invalid value for '--seed': -1 is not in the range 0<=x<=48."),
        (("--hours", "inf"), "Invalid value for '--hours': inf is not a finite number."),
        (("--hours", "nan"), "Invalid value for '--hours': nan is not a finite number."),
        (("--hours", "-inf"), "Invalid value for '--hours': -inf is not a finite number."),
    ],
    ids=" ".join,
)
def test_seeds_of_evaluations_and_hours_without_an_end_are_refused(tmp_path, verb, words, told):
    stage = ["codecs"] if verb is train.command else []
    result = CliRunner().invoke(verb, [*stage, "--preset", "nano", "--out", str(tmp_path), *words])
    assert result.exit_code == 2 and result.output.endswith(f"Error: {told}\n")
    assert not list(tmp_path.iterdir())


def test_no_seed_of_a_training_reaches_the_dialogues_of_evaluations():
    assert (TRAINING_SEEDS.max + 2) * TRAINED_FROM <= MEASURED_FROM
    assert SEEDS <= MEASURED_FROM
