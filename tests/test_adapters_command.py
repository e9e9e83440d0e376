"""``wangraph adapters verify``."""

from __future__ import annotations

import json
import re

import pytest

pytest.importorskip("diffusers")
pytest.importorskip("transformers")

from click.testing import CliRunner
from public_weights import save_mimi, save_qwen, save_wan_vae

from wangraph.runtime.errors import CheckpointError, UserError
from wangraph.tools.cli import cli
from wangraph.wan_core.adapters import verify as verifying
from wangraph.wan_core.adapters.mimi import MimiAudioCodec

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
