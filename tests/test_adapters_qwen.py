"""Qwen2.5 and Qwen3 weights in our backbone: name by name, and the same next words."""

from __future__ import annotations

import json
import re

import pytest
import torch

pytest.importorskip("transformers")

from public_weights import save_qwen

from wangraph.wan_core.adapters.folder import backbone_config, kind_of
from wangraph.wan_core.adapters.qwen import fill_from_qwen, qwen_preset, text_logits
from wangraph.wan_core.config import preset
from wangraph.wan_core.errors import ModelError
from wangraph.wan_core.model import DuplexModel

WORDS = torch.randint(0, 101, (2, 40), generator=torch.Generator().manual_seed(4))
VARIANTS = [("2.5", True), ("2.5", False), ("3", True), ("3", False)]


def small_preset(path):
    """With the codecs of `nano`: nothing large is built beside the language model."""
    from dataclasses import replace

    nano = preset("nano")
    return replace(qwen_preset(path), video=nano.video, audio=nano.audio, mel=nano.mel, slots=nano.slots)


def filled(path):
    model = DuplexModel(small_preset(path)).eval()
    return model, fill_from_qwen(model, path)


@pytest.mark.parametrize(("version", "tied"), VARIANTS)
def test_text_logits_are_those_of_transformers(tmp_path, version, tied):
    theirs = save_qwen(tmp_path, version, tied)
    model, _ = filled(tmp_path)
    with torch.no_grad():
        expected = theirs(WORDS).logits
    assert expected.std() > 0.1
    torch.testing.assert_close(text_logits(model, WORDS), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("version", "tied"), VARIANTS)
def test_the_backbone_is_filled_and_the_rest_stays(tmp_path, version, tied):
    save_qwen(tmp_path, version, tied)
    torch.manual_seed(0)
    before = {name: p.clone() for name, p in DuplexModel(small_preset(tmp_path)).named_parameters()}
    torch.manual_seed(0)
    model, names = filled(tmp_path)
    changed = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert changed == set(names)
    heads = {"embed.s_text.weight"} if tied else {"embed.s_text.weight", "text_head.weight"}
    assert set(names) == heads | {name for name in before if name.startswith("backbone.")}


def test_a_checkpoint_in_several_files_is_read(tmp_path):
    theirs = save_qwen(tmp_path, shard="20KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    model, _ = filled(tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(text_logits(model, WORDS), theirs(WORDS).logits, atol=1e-4, rtol=0)


def test_weights_in_bf16_are_widened(tmp_path):
    theirs = save_qwen(tmp_path)
    theirs.bfloat16().save_pretrained(tmp_path)
    theirs = type(theirs).from_pretrained(tmp_path, dtype=torch.float32)
    model, _ = filled(tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(text_logits(model, WORDS), theirs(WORDS).logits, atol=1e-4, rtol=0)


def test_a_later_word_changes_no_earlier_logits(tmp_path):
    save_qwen(tmp_path)
    model, _ = filled(tmp_path)
    other = WORDS.clone()
    other[:, 20:] = 7
    torch.testing.assert_close(text_logits(model, other)[:, :20], text_logits(model, WORDS)[:, :20], atol=1e-6, rtol=0)


@pytest.mark.parametrize(("name", "head_dim"), [("2.5", 8), ("3", 24)])
def test_shapes_are_read_from_the_configuration(tmp_path, name, head_dim):
    save_qwen(tmp_path, name)
    backbone = backbone_config(tmp_path)
    assert kind_of(tmp_path) == "qwen"
    assert (backbone.width, backbone.layers, backbone.heads, backbone.kv_heads) == (32, 3, 4, 2)
    assert (backbone.head_dim, backbone.qk_norm == "gain", backbone.qkv_bias) == (head_dim, name == "3", name == "2.5")


PUBLISHED = {
    "paper-0.5b": (896, 24, 14, 2, 4864, 151_936, True),
    "paper-7b": (3584, 28, 28, 4, 18_944, 152_064, False),
}
KEYS = (
    "hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "intermediate_size", "vocab_size",
    "tie_word_embeddings",
)  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_large_presets_have_the_shapes_of_the_published_models(name, tmp_path):
    from transformers import Qwen2Config, Qwen2ForCausalLM

    common = {"model_type": "qwen2", "rms_norm_eps": 1e-6, "rope_theta": 1000000.0, "use_sliding_window": False}
    (tmp_path / "config.json").write_text(json.dumps({**common, **dict(zip(KEYS, PUBLISHED[name], strict=True))}))
    published, ours = qwen_preset(tmp_path), preset(name)
    assert published.backbone == ours.backbone
    assert (published.n_words, published.tie_embeddings) == (ours.n_words, ours.tie_embeddings)
    with torch.device("meta"):
        model = DuplexModel(ours)
        theirs = Qwen2ForCausalLM(Qwen2Config.from_pretrained(tmp_path))
    kept = [model.backbone, model.embed.s_text] + ([] if model.text_head is None else [model.text_head])
    assert sum(p.numel() for part in kept for p in part.parameters()) == sum(p.numel() for p in theirs.parameters())


def refused(message):
    return pytest.raises(ModelError, match=f"^{re.escape(message)}$")


def test_another_models_shapes_are_told(tmp_path):
    save_qwen(tmp_path)
    with refused(
        f"weights {tmp_path}: text_decode is 'token' there (expected 'local' by preset 'nano'), "
        "use the preset of these weights"
    ):
        fill_from_qwen(DuplexModel(preset("nano")), tmp_path)
    wide = small_preset(tmp_path)
    (tmp_path / "wide").mkdir()
    save_qwen(tmp_path / "wide", intermediate_size=64)
    with refused(
        f"weights {tmp_path}/wide: backbone.ffn_width is 64 there (expected 48 by preset '{tmp_path.name}'), "
        "use the preset of these weights"
    ):
        fill_from_qwen(DuplexModel(wide), tmp_path / "wide")


def test_rotary_scaling_is_refused(tmp_path):
    save_qwen(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["rope_scaling"] = {"rope_type": "yarn", "factor": 4.0}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with refused(f"weights {tmp_path}: found rope 'yarn' (expected plain rotary positions and full attention)"):
        backbone_config(tmp_path)


def test_missing_unknown_and_damaged_tensors_are_told(tmp_path):
    from safetensors.torch import load_file, save_file

    save_qwen(tmp_path)
    file = tmp_path / "model.safetensors"
    tensors = load_file(file)
    name = "model.layers.1.mlp.up_proj.weight"
    model = DuplexModel(small_preset(tmp_path))
    save_file({key: x for key, x in tensors.items() if key != name}, file)
    with refused(f"weights {tmp_path}: no tensor '{name}' (1 in all), copy them again"):
        fill_from_qwen(model, tmp_path)
    save_file({**tensors, "model.extra": tensors[name].clone()}, file)
    with refused(f"weights {tmp_path}: found an unknown tensor 'model.extra' (1 in all), copy them again"):
        fill_from_qwen(model, tmp_path)
    save_file({**tensors, name: tensors[name][:-1].contiguous()}, file)
    with refused(f"weights {tmp_path}: '{name}' is [47, 32] (expected [48, 32])"):
        fill_from_qwen(model, tmp_path)
    save_file({**tensors, name: tensors[name] * float("nan")}, file)
    with refused(f"weights {tmp_path}: '{name}' holds NaN or infinity, copy them again"):
        fill_from_qwen(model, tmp_path)


def test_a_model_with_a_local_head_has_no_text_logits():
    with refused("nano.text_decode: found 'local' (expected 'token'), use a language model's preset"):
        text_logits(DuplexModel(preset("nano")), WORDS)
