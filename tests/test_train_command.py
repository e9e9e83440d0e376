import csv
import shutil

import pytest
import torch
from click.testing import CliRunner
from rich.console import Console
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from wangraph.runtime.errors import UserError
from wangraph.tools.lab.train.context import TrainingContext, digest_of, digest_of_weights, seconds_of
from wangraph.tools.lab.train.data import WORLD_VERSION
from wangraph.tools.lab.train.drive import Drive
from wangraph.tools.lab.train.interact import new_learner
from wangraph.tools.lab.train.stages import locked
from wangraph.tools.verbs.train import command
from wangraph.wan_core.checkpoint import load_part, save
from wangraph.wan_core.config import preset
from wangraph.wan_core.errors import ModelError
from wangraph.wan_core.media.audio import AudioCodec
from wangraph.wan_core.model import DuplexModel
from wangraph.wan_core.train.state import load_state

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(400),
]


IDENTITY = {
    "stage": "interact",
    "preset": "nano",
    "seed": 0,
    "world": WORLD_VERSION,
    "voices": "",
    "hold_out": "",
}


def train(*words):
    words = [*map(str, words), "--preset", "nano", "--threads", "1", "--device", "cpu"]
    return CliRunner().invoke(command, words, standalone_mode=False)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """All stages for some steps, with a checkpoint after every third."""
    out = tmp_path_factory.mktemp("whole")
    result = train("all", "--out", out, "--steps", 6, "--checkpoint-steps", 3)
    assert result.exception is None, result.exception
    return out


def test_all_stages_of_nano_make_a_model_that_graphs_can_load(tmp_path):
    result = train("all", "--out", tmp_path, "--steps", 60)
    assert result.exception is None, result.exception
    path = tmp_path / "nano.safetensors"
    loaded = load_part(path, "model", DuplexModel)
    assert loaded.preset.name == "nano" and loaded.description.startswith("nano.safetensors, trained 20")
    with safe_open(path, framework="pt") as file:
        facts = file.metadata()
    assert facts["parts"] == "audio_codec,model,understanding,video_codec"
    assert (facts["seed"], facts["voices"]) == ("0", "synthetic") and float(facts["hours"]) > seconds_of(
        tmp_path / "nano-codecs.safetensors"
    ) / 3600 > 0
    for stage in ("audio", "video", "interact"):
        rows = list(csv.DictReader((tmp_path / f"{stage}.csv").open()))
        assert float(rows[-1]["loss"]) < float(rows[0]["loss"]), stage
    for sheet in ("codecs-sheet.png", "interact-sheet.png"):
        assert (tmp_path / sheet).stat().st_size > 1000


def same(one, two):
    a, b = load_file(one), load_file(two)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def interrupt(monkeypatch, stage):
    """Whoever trains is interrupted right after the first checkpoint of that stage."""
    checkpoint = Drive.checkpoint

    def stopped(drive):
        checkpoint(drive)
        if drive.name == stage:
            raise KeyboardInterrupt

    monkeypatch.setattr(Drive, "checkpoint", stopped)


@pytest.mark.parametrize("stage", ["audio", "video", "interact", "roll"])
def test_interrupted_training_resumes_bit_by_bit(trained, tmp_path, monkeypatch, stage):
    out = tmp_path / "again"
    shutil.copytree(trained, out)
    for name in ("audio", "video", "interact", "roll"):
        (out / f"{name}.state").unlink()
    for result in out.glob("nano*.safetensors"):
        result.unlink()
    with monkeypatch.context() as patched:
        interrupt(patched, stage)
        result = train("all", "--out", out, "--steps", 6, "--checkpoint-steps", 3)
    assert isinstance(result.exception, click_abort())
    result = train("all", "--out", out, "--steps", 6, "--checkpoint-steps", 3, "--resume")
    assert result.exception is None, result.exception
    assert f"{stage}: going on from step 3" in result.output
    assert same(out / "nano.safetensors", trained / "nano.safetensors")


def test_a_longer_training_keeps_the_codecs_goes_on_with_the_model_and_rolls_anew(trained, tmp_path):
    out = tmp_path / "longer"
    shutil.copytree(trained, out)
    result = train("all", "--out", out, "--steps", 9, "--resume")
    assert result.exception is None, result.exception
    for line in (
        "audio: kept as it is, interact has begun on its latents",
        "video: kept as it is, interact has begun on its latents",
        "interact: going on from step 6",
        "roll: begun anew, from weights learned since",
    ):
        assert line in result.output
    states = {stage: torch.load(out / f"{stage}.state")["state"] for stage in ("audio", "video", "interact", "roll")}
    assert [state["loop"]["step"] for state in states.values()] == [6, 6, 9, 9]
    assert same(out / "nano-codecs.safetensors", trained / "nano-codecs.safetensors")
    assert states["roll"]["begun_with"] == digest_of_weights(states["interact"]["loop"]["average"])


def click_abort():
    import click

    return (click.exceptions.Abort, KeyboardInterrupt)


def test_a_training_begins_with_the_weights_of_another_and_keeps_its_codecs(trained, tmp_path):
    origin = trained / "nano.safetensors"
    context = TrainingContext("nano", 0.01, tmp_path, Console(), seed=5, origin=str(origin))
    wanted = load_part(origin, "model", DuplexModel).module.state_dict()
    found = new_learner(context, context.preset).model.state_dict()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    result = train("all", "--from", origin, "--out", tmp_path, "--steps", 3, "--seed", 5)
    assert result.exception is None, result.exception
    made, before = load_file(tmp_path / "nano.safetensors"), load_file(origin)
    assert all(torch.equal(made[name], before[name]) for name in made if "codec." in name)
    assert any(not torch.equal(made[name], before[name]) for name in made if name.startswith("model."))
    assert seconds_of(tmp_path / "nano.safetensors") > seconds_of(origin)
    with safe_open(tmp_path / "nano.safetensors", framework="pt") as file:
        assert file.metadata()["origin"] == digest_of(origin)


def test_a_training_does_not_begin_with_what_does_not_fit(trained, tmp_path):
    codecs = trained / "nano-codecs.safetensors"
    told = {
        ("interact", "--from", codecs): f"--from {codecs}: found no model, understanding "
        "(expected what wangraph train writes)",
        ("interact", "--from", "tiny"): "--from tiny: found preset 'tiny' (expected 'nano'), choose --preset",
        ("interact", "--from", "nano"): "--from nano: found no checkpoint file (expected what wangraph train writes)",
    }
    for words, text in told.items():
        result = train(*words, "--out", tmp_path)
        assert isinstance(result.exception, UserError) and str(result.exception) == text


def test_codecs_are_not_learned_on_from_others():
    assert "No such option '--from'" in train("codecs", "--from", "tiny").exception.format_message()


def test_a_checkpoint_that_says_no_number_of_hours_is_not_begun_with(trained, tmp_path):
    odd = tmp_path / "odd.safetensors"
    with safe_open(trained / "nano.safetensors", framework="pt") as file:
        save_file(load_file(trained / "nano.safetensors"), odd, {**file.metadata(), "hours": "two"})
    result = train("all", "--from", odd, "--out", tmp_path / "out")
    assert isinstance(result.exception, UserError)
    assert str(result.exception) == (
        f"--from: checkpoint {odd}: found hours 'two' (expected a number from 0), save it again"
    )


def test_codecs_of_another_training_are_not_taken_for_those_of_the_origin(trained, tmp_path):
    origin, out = trained / "nano.safetensors", tmp_path / "out"
    shutil.copytree(trained, out)
    result = train("interact", "--from", origin, "--out", out, "--steps", 1, "--resume")
    assert isinstance(result.exception, UserError)
    assert str(result.exception) == (
        f"{out / 'nano-codecs.safetensors'}: found codecs of another training (expected those of {origin}), "
        "choose another --out"
    )


def test_another_seed_makes_another_model_and_is_not_gone_on_with(trained):
    result = train("interact", "--out", trained, "--steps", 6, "--seed", 1, "--resume")
    assert isinstance(result.exception, UserError)
    assert str(result.exception) == (
        f"training {trained / 'interact.state'}: found seed 0 (expected 1), choose another --out"
    )


@pytest.mark.parametrize(("stage", "first"), [("all", "audio"), ("interact", "interact"), ("roll", "roll")])
def test_what_was_learned_is_not_begun_anew_over(trained, stage, first):
    before = {path: path.read_bytes() for path in trained.glob("*.s*")}
    result = train(stage, "--out", trained, "--steps", 6)
    assert isinstance(result.exception, UserError)
    assert str(result.exception) == (
        f"{trained / f'{first}.state'}: found a training (expected none, since "
        f"'{'codecs' if stage == 'all' else stage}' would begin anew), go on with --resume or choose another --out"
    )
    assert before == {path: path.read_bytes() for path in before}


@pytest.mark.parametrize("more", [[], ["--resume"]])
def test_two_trainings_are_not_at_work_in_one_folder(tmp_path, more):
    with locked(tmp_path):
        result = train("codecs", "--out", tmp_path, "--steps", 1, *more)
    assert isinstance(result.exception, UserError)
    assert str(result.exception) == (
        f"{tmp_path}: found another training at work here (expected none: they would write over each other), "
        "wait for its end or choose another --out"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "data"]
    with locked(tmp_path):
        pass


def test_codecs_that_a_model_has_begun_to_learn_on_are_not_begun_anew_over(trained, tmp_path):
    shutil.copy(trained / "interact.state", tmp_path)
    result = train("codecs", "--out", tmp_path, "--steps", 6)
    assert str(result.exception).startswith(f"{tmp_path / 'interact.state'}: found a training (expected none, ")


def test_a_model_is_not_gone_on_with_on_other_codecs(trained, tmp_path):
    out = tmp_path / "other"
    shutil.copytree(trained, out)
    before = digest_of(out / "nano-codecs.safetensors")
    save(out / "nano-codecs.safetensors", {"audio_codec": AudioCodec(preset("nano").audio)}, "nano")
    other = digest_of(out / "nano-codecs.safetensors")
    with pytest.raises(ModelError) as told:
        load_state(out / "interact.state", {**IDENTITY, "codecs": other})
    assert str(told.value) == (
        f"training {out / 'interact.state'}: found codecs {before!r} (expected {other!r}), choose another --out"
    )


def test_a_stage_without_the_one_before_says_which_comes_first(tmp_path):
    result = train("interact", "--out", tmp_path)
    assert isinstance(result.exception, UserError)
    assert str(result.exception) == (
        f"{tmp_path / 'nano-codecs.safetensors'}: no codecs (needed to encode dialogues), first: wangraph train codecs"
    )


def test_the_same_weights_are_the_same_codecs_on_any_day(tmp_path):
    codec = AudioCodec(preset("nano").audio)
    for day in ("one", "two"):
        save(tmp_path / f"{day}.safetensors", {"audio_codec": codec}, "nano", {"trained": day * 9})
    one, two = (digest_of(tmp_path / f"{day}.safetensors") for day in ("one", "two"))
    assert one == two != digest_of(tmp_path / "none")


def test_a_device_that_is_not_there_is_refused(tmp_path):
    result = CliRunner().invoke(
        command, ["codecs", "--preset", "nano", "--out", str(tmp_path), "--device", "cuda:99"], standalone_mode=False
    )
    assert isinstance(result.exception, UserError)
    assert str(result.exception) == (
        "device: found 'cuda:99' (expected cpu, or a graphics card that torch sees), leave it out"
    )
