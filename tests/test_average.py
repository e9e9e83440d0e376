from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file
from torch import nn

from wangraph.tools.cli import cli
from wangraph.wan_core import checkpoint_header
from wangraph.wan_core.average import average
from wangraph.wan_core.checkpoint import load_part, save
from wangraph.wan_core.checkpoint_header import inspect
from wangraph.wan_core.errors import ModelError
from wangraph.wan_core.vocabulary import vocabulary

PARTS = ("model", "understanding", "video_codec", "audio_codec")


class Layer(nn.Module):
    """A weight and a counter: floats can be averaged, whole numbers cannot."""

    def __init__(self, value: float, count: int = 3, size: int = 4) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((size,), value))
        self.register_buffer("count", torch.tensor(count))


def refused(message):
    return pytest.raises(ModelError, match=f"^{re.escape(message)}$")


@pytest.fixture(name="made")
def made_fixture(tmp_path):
    """Writes a checkpoint whose codecs are 1 and whose model is what is asked for."""

    def make(name, value, preset="nano", dtype=torch.float32, layers=None, **facts):
        parts = {part: Layer(1.0 if "codec" in part else value) for part in PARTS} | (layers or {})
        path = tmp_path / f"{name}.safetensors"
        save(path, parts, preset, facts, dtype)
        return path

    return make


def averaged(path, part="model"):
    return load_part(path, part, lambda preset: Layer(0.0, 0)).module


def test_what_is_averaged_is_not_overwritten(made):
    a, b = made("a", 1.0), made("b", 3.0)
    before = b.read_bytes()
    with refused(f"average: {b}: is averaged itself (expected another file), it would be lost: name another"):
        average([a, b], b)
    assert b.read_bytes() == before


def test_the_average_lies_between_by_the_shares(made, tmp_path):
    a, b, c, out = made("a", 1.0), made("b", 3.0), made("c", 8.0), tmp_path / "out.safetensors"
    average([a, b], out)
    assert averaged(out).weight.tolist() == [2.0] * 4
    average([a, b, c], out, [1, 2, 1])
    for part in ("model", "understanding"):
        assert averaged(out, part).weight.tolist() == [(1 + 2 * 3 + 8) / 4] * 4
    assert averaged(out, "video_codec").weight.tolist() == [1.0] * 4
    assert averaged(out).count.item() == 3


def test_the_average_of_a_checkpoint_with_itself_or_by_a_share_of_zero_is_that_checkpoint(made, tmp_path):
    a, b, out = made("a", 0.1, dtype=torch.float16), made("b", 7.0, dtype=torch.float16), tmp_path / "out.safetensors"
    for checkpoints, shares in (([a, a], [1, 2]), ([a, b], [3, 0])):
        average(checkpoints, out, shares)
        assert torch.equal(averaged(out).weight, averaged(a).weight)
        assert {tensor.dtype for tensor in inspect(out).tensors.values()} == {"F16", "I64"}


def test_it_is_kept_in_the_widest_dtype(made, tmp_path):
    out = tmp_path / "out.safetensors"
    average([made("a", 1.0, dtype=torch.float16), made("b", 2.0, dtype=torch.bfloat16)], out)
    assert {tensor.dtype for tensor in inspect(out).tensors.values()} == {"F32", "I64"}


def test_it_says_of_what_it_was_made_as_the_one_that_learned_for_longest(made, tmp_path):
    a = made("a", 1.0, trained="2026-01-01 in 60 min", hours="1.0", seed="5", people="anna,bert")
    b = made("b", 2.0, trained="2026-01-02 in 90 min (average of 7)", hours="1.5", seed="6", people="bert,carl")
    out = tmp_path / "out.safetensors"
    average([a, b], out, [1, 3])
    assert inspect(out).people == {"anna", "bert", "carl"}
    facts = inspect(out).metadata[out]
    assert facts["trained"] == "2026-01-02 in 90 min (average of 2)"
    assert facts["average"] == "0.25 a.safetensors, 0.75 b.safetensors"
    assert facts["seed"] == "6" and facts["preset"] == "nano" and facts["parts"] == ",".join(sorted(PARTS))


@pytest.mark.parametrize("hours", ["long", "-1", "nan", "inf"])
def test_hours_that_are_no_number_are_refused(made, tmp_path, hours):
    a, b = made("a", 1.0, hours="1.0"), made("b", 2.0, hours=hours)
    with refused(f"checkpoint {b}: found hours '{hours}' (expected a number from 0), save it again"):
        average([a, b], tmp_path / "out.safetensors")


def test_other_codecs_are_refused(made, tmp_path):
    a, b = made("a", 1.0), made("b", 2.0, layers={"audio_codec": Layer(1.5)})
    with refused(
        "average: found other codecs ('audio_codec.weight' differs; expected the same), latents of one are not those "
        "of the other; average what was trained --from one checkpoint, which keeps its codecs"
    ):
        average([a, b], tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()


def test_checkpoints_that_are_not_alike_are_refused(made, tmp_path):
    a, out = made("a", 1.0), tmp_path / "out.safetensors"
    with refused(
        "average of a.safetensors and b.safetensors: found presets 'nano' and 'tiny' (expected one), "
        "average checkpoints of one preset"
    ):
        average([a, made("b", 1.0, preset="tiny")], out)
    other = replace(vocabulary("toy_world"), states=("still", "moves"))
    with refused(
        "average of a.safetensors and b.safetensors: found two vocabularies (expected one), "
        "average checkpoints of the same words"
    ):
        average([a, made("b", 1.0, vocabulary=other.to_json())], out)
    b = made("b", 1.0, layers={"other": Layer(1.0)})
    with refused(
        f"average of a.safetensors and b.safetensors: 'other.count' is only in {b} (expected in all), save them again"
    ):
        average([a, b], out)
    with refused(
        "average of a.safetensors and b.safetensors: 'model.weight' is [4] F32 and [5] F32 (expected the same), "
        "save them again"
    ):
        average([a, made("b", 1.0, layers={"model": Layer(1.0, size=5)})], out)
    with refused("average: 'model.count' is torch.int64 and differs (expected the same), save them again"):
        average([a, made("b", 1.0, layers={"model": Layer(1.0, count=9)})], out)


def test_weights_that_are_not_numbers_are_refused(made, tmp_path):
    a, b = made("a", 1.0), made("b", 2.0)
    tensors, facts = load_file(b), inspect(b).metadata[b]
    tensors["model.weight"][0] = float("nan")
    save_file(tensors, b, dict(facts))
    with refused(f"checkpoint {b}: 'model.weight' holds NaN or infinity, train it again"):
        average([a, b], tmp_path / "out.safetensors")


def test_shares_and_names_that_cannot_be_are_refused(made, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint_header, "shipped_folder", lambda: tmp_path / "weights")
    a, b, out = made("a", 1.0), made("b", 1.0), tmp_path / "out.safetensors"
    for checkpoints, shares, found in (([a], [], "1 checkpoint(s) and 0"), ([a, b], [1], "2 checkpoint(s) and 1")):
        with refused(
            f"average: found {found} share(s) (expected two checkpoints or more, and a share of each or none), "
            "name what is missing"
        ):
            average(checkpoints, out, shares)
    for shares, found in (
        ([0, 0], "0, 0"),
        ([2, -1], "2, -1"),
        ([1, float("inf")], "1, inf"),
        ([float("nan"), 1], "nan, 1"),
    ):
        with refused(f"average: found shares {found} (expected numbers from 0, not all of them 0), mend them"):
            average([a, b], out, shares)
    with refused(
        "average: found no checkpoint file of 'tiny' (expected what wangraph train writes), name a .safetensors file"
    ):
        average([a, "tiny"], out)


def test_the_command_writes_it_and_tells_a_mistake_in_a_line(made, tmp_path):
    a, b, out = str(made("a", 1.0)), str(made("b", 4.0)), tmp_path / "out.safetensors"
    told = CliRunner().invoke(cli, ["average", a, b, "-o", str(out), "--share", "2", "--share", "1"])
    assert told.exit_code == 0 and told.output == f"wrote {out}\n"
    assert averaged(out).weight.tolist() == [2.0] * 4
    told = CliRunner().invoke(cli, ["average", a, b, "-o", str(tmp_path / "out.pt")])
    assert str(told.exception) == f"checkpoint {tmp_path}/out.pt: found '.pt' (expected .safetensors), rename it"
