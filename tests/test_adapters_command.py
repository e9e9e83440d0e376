"""``wangraph adapters verify``."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
import torch

pytest.importorskip("diffusers")
pytest.importorskip("transformers")

from click.testing import CliRunner
from public_weights import save_mimi, save_qwen, save_wan_vae

from wangraph.runtime.errors import CheckpointError, UserError
from wangraph.tools.cli import cli
from wangraph.wan_core import config
from wangraph.wan_core.adapters import convert as converting
from wangraph.wan_core.adapters import verify as verifying
from wangraph.wan_core.adapters.mimi import MimiAudioCodec
from wangraph.wan_core.adapters.qwen import fill_from_qwen, qwen_preset, text_logits
from wangraph.wan_core.checkpoint import load_part
from wangraph.wan_core.model import DuplexModel

SAVED = {"wan2.1": save_wan_vae, "mimi": save_mimi, "qwen": save_qwen}


def run(*arguments):
    return CliRunner().invoke(cli, ["adapters", "verify", *map(str, arguments)], catch_exceptions=False)


@pytest.mark.parametrize("kind", SAVED)
def test_weights_that_load_and_stream_are_found_right(kind, tmp_path):
    SAVED[kind](tmp_path)
    result = run("--path", tmp_path, "--json", "--size", "24x16")
    found = json.loads(result.output)
    assert result.exit_code == 0 or result.return_value == 0
    assert (found["kind"], found["is_right"]) == (kind, True)
    assert len(found["findings"]) == (1 if kind == "qwen" else 4)
    assert all(finding["difference"] <= verifying.TOLERANCE for finding in found["findings"])


def test_the_printed_report_names_every_comparison(tmp_path):
    save_mimi(tmp_path)
    lines = run("--path", tmp_path).output.splitlines()
    assert lines[0].startswith(f"{tmp_path}: mimi, ")
    assert lines[0].endswith("parameters, 3840 samples at 24000 Hz -> 2x16")
    assert sum(line.rstrip().endswith("equal") for line in lines) == 4
    assert lines[-1] == "ok"


def test_a_codec_that_streams_wrongly_is_found_out(tmp_path, monkeypatch):
    save_mimi(tmp_path)
    right = MimiAudioCodec.encode

    def forgetful(self, samples, state):
        return right(self, samples, state)[0], self.new_encoder_state(len(samples))

    monkeypatch.setattr(MimiAudioCodec, "encode", forgetful)
    found = verifying.verify(tmp_path)
    assert not found.is_right
    assert {f.name for f in found.findings if not f.is_equal} == {
        "encode, unit by unit == all at once",
        "encode, unit by unit == the model's own offline pass",
    }
    output = run("--path", tmp_path).output
    assert output.splitlines()[-1] == "not as published: the weights or the packages differ"


def test_not_a_number_is_never_equal():
    assert not verifying.Finding("x", float("nan")).is_equal


def test_mistakes_are_the_users(tmp_path):
    message = f"weights {tmp_path}: no config.json (expected a folder as save_pretrained writes it)"
    with pytest.raises(CheckpointError, match=f"^{re.escape(message)}$"):
        run("--path", tmp_path)
    with pytest.raises(UserError, match=r"^--size: found '64' \(expected WIDTHxHEIGHT, for example 336x192\)$"):
        run("--path", tmp_path, "--size", "64")


@pytest.fixture
def pocket(monkeypatch, tmp_path):
    """A preset with the shapes of the small language model, beside the others."""
    save_qwen(tmp_path / "Qwen-pocket")
    nano = config.preset("nano")
    made = replace(
        qwen_preset(tmp_path / "Qwen-pocket"),
        name="pocket",
        video=nano.video,
        audio=nano.audio,
        mel=nano.mel,
        slots=nano.slots,
    )
    monkeypatch.setitem(config.PRESETS, "pocket", made)
    return tmp_path / "Qwen-pocket"


def test_a_checkpoint_that_begins_as_a_language_model_says_what_it_says(pocket, tmp_path):
    output = tmp_path / "duplex.safetensors"
    result = CliRunner().invoke(
        cli,
        ["adapters", "convert", "--path", str(pocket), "--preset", "pocket", "-o", str(output), "--dtype", "float32"],
        catch_exceptions=False,
    )
    loaded = load_part(output, "model", DuplexModel)
    assert loaded.description == "duplex.safetensors, trained not yet, begins as Qwen-pocket"
    total = sum(p.numel() for p in loaded.module.parameters())
    direct = DuplexModel(config.preset("pocket"))
    filled = {name: p.numel() for name, p in direct.named_parameters()}
    kept = sum(filled[name] for name in fill_from_qwen(direct, pocket))
    assert (
        result.output == f"{output}: {total:,} parameters, {kept:,} of them from {pocket}, the others random, seed 0\n"
    )
    words = torch.randint(0, 101, (1, 20), generator=torch.Generator().manual_seed(1))
    assert torch.equal(text_logits(loaded.module, words), text_logits(direct.eval(), words))


def test_the_language_model_itself_is_not_overwritten(pocket):
    weights = next(pocket.glob("*.safetensors"))
    before = weights.read_bytes()
    message = f"{weights}: is a file of the language model (expected another file), name another"
    words = ["adapters", "convert", "--path", str(pocket), "--preset", "pocket", "-o", str(weights)]
    with pytest.raises(CheckpointError, match=f"^{re.escape(message)}$"):
        CliRunner().invoke(cli, words, catch_exceptions=False)
    assert weights.read_bytes() == before


def test_a_language_model_of_other_shapes_is_refused_before_anything_is_built(pocket, tmp_path, monkeypatch):
    monkeypatch.setattr(converting, "load_part", None)
    message = f"weights {pocket}: n_words is 101 there (expected 152064 by preset 'paper-7b'), use the preset of these weights"
    save_qwen(pocket, tied=False)
    with pytest.raises(CheckpointError, match=f"^{re.escape(message)}$"):
        CliRunner().invoke(
            cli,
            [
                "adapters",
                "convert",
                "--path",
                str(pocket),
                "--preset",
                "paper-7b",
                "-o",
                str(tmp_path / "x.safetensors"),
            ],
            catch_exceptions=False,
        )
