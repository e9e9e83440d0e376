"""Qwen2.5 and Qwen3 in the places of our backbone, table of words and text head, name by name.

What remains of a `DuplexModel` (embedders of sight and sound, heads of event and latents) has no counterpart there and
keeps what it has. On text alone the filled model then says what the language model says: `text_logits`.

# B batch, T tokens, V vocabulary
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import safetensors
import torch
from torch import Tensor

from ..backbone.attention import WholeSequence
from ..backbone.mask import Tokens
from ..checkpoint_header import TensorInfo, inspect
from ..config import Preset, preset
from ..errors import ModelError
from ..model import DuplexModel
from .folder import backbone_config, read_config


def qwen_preset(path: str | Path, like: str = "paper-0.5b") -> Preset:
    """A preset in the shapes of the language model in this folder; codecs and slots are those of ``like``.

    Raises:
        ModelError: another kind or variant, or an unknown preset.
    """
    config = read_config(path)
    n_words = config.get("vocab_size")
    if not isinstance(n_words, int):
        raise ModelError(f"weights {path}: found vocab_size {n_words!r} (expected a whole number), copy them again")
    return replace(
        preset(like),
        name=Path(path).expanduser().resolve().name,
        backbone=backbone_config(path),
        n_words=n_words,
        text_decode="token",
        tie_embeddings=bool(config.get("tie_word_embeddings", False)),
        slot_init="zero",
    )


@torch.no_grad()
def fill_from_qwen(model: DuplexModel, path: str | Path) -> tuple[str, ...]:
    """Give the model the language model's weights, widened to the model's precision.

    Args:
        model: of `qwen_preset`, or of a preset with the same backbone.
        path: the folder.

    Returns:
        Names of the model's own parameters that were filled.

    Raises:
        ModelError: other shapes than the model's, a tensor missing or too many, damaged, NaN.
    """
    check_shapes(model.preset, qwen_preset(path), path)
    targets = _targets(model)
    tensors = dict(inspect(Path(path).expanduser()).tensors)
    if model.preset.tie_embeddings:
        tensors.pop("lm_head.weight", None)  # some files keep the tied matrix twice
    missing, unknown = sorted(targets.keys() - tensors.keys()), sorted(tensors.keys() - targets.keys())
    if missing or unknown:
        what = f"no tensor '{missing[0]}'" if missing else f"found an unknown tensor '{unknown[0]}'"
        raise ModelError(f"weights {path}: {what} ({len(missing or unknown)} in all), copy them again")
    for file in sorted({info.file for info in tensors.values()}):
        _copy(file, {name: info for name, info in tensors.items() if info.file == file}, targets, path)
    own = dict(model.named_parameters())
    filled = {target.untyped_storage().data_ptr() for target in targets.values()}
    return tuple(name for name, parameter in own.items() if parameter.untyped_storage().data_ptr() in filled)


@torch.inference_mode()
def text_logits(model: DuplexModel, tokens: Tensor) -> Tensor:
    """Logits of the next word after each of these, as a language model: [B, T] -> [B, T, V].

    Raises:
        ModelError: the model reads words another way.
    """
    if model.is_local:
        raise ModelError(
            f"{model.preset.name}.text_decode: found 'local' (expected 'token'), use a language model's preset"
        )
    positions = torch.arange(tokens.shape[1])
    none = torch.zeros_like(positions)
    places = Tokens(positions, positions, none, none.bool(), positions)
    memory = WholeSequence(model.geometry, places, 1, model.embed.null)
    return model.read_words(model.backbone(model.embed.s_text(tokens), memory))


def _targets(model: DuplexModel) -> dict[str, Tensor]:
    """By the language model's names, the parts of our parameters that they fill."""
    b = model.preset.backbone
    targets = {"model.embed_tokens.weight": model.embed.s_text.weight, "model.norm.weight": model.backbone.norm.weight}
    if model.text_head is not None:
        targets["lm_head.weight"] = model.text_head.get_parameter("weight")
    sizes = {"q": b.heads * b.head_dim, "k": b.kv_heads * b.head_dim, "v": b.kv_heads * b.head_dim}
    for index in range(b.layers):
        ours, theirs = model.backbone.blocks[index], f"model.layers.{index}."
        qkv = {"weight": ours.get_parameter("attention.qkv.weight")}
        if b.qkv_bias:
            qkv["bias"] = ours.get_parameter("attention.qkv.bias")
        for kind, joined in qkv.items():
            parts = torch.split(joined, list(sizes.values()))
            targets.update({f"{theirs}self_attn.{n}_proj.{kind}": part for n, part in zip(sizes, parts, strict=True)})
        if b.qk_norm == "gain":
            # one gain for all heads there, one for each here
            q_gain, k_gain = torch.split(ours.get_parameter("attention.qk_gain"), [b.heads, b.kv_heads])
            targets |= {f"{theirs}self_attn.q_norm.weight": q_gain, f"{theirs}self_attn.k_norm.weight": k_gain}
        gate, up = ours.get_parameter("ffn.gate_up.weight").chunk(2)
        targets |= {
            f"{theirs}self_attn.o_proj.weight": ours.get_parameter("attention.out.weight"),
            f"{theirs}mlp.gate_proj.weight": gate,
            f"{theirs}mlp.up_proj.weight": up,
            f"{theirs}mlp.down_proj.weight": ours.get_parameter("ffn.down.weight"),
            f"{theirs}input_layernorm.weight": ours.get_parameter("attention_norm.weight"),
            f"{theirs}post_attention_layernorm.weight": ours.get_parameter("ffn_norm.weight"),
        }
    return targets


def _copy(file: Path, tensors: Mapping[str, TensorInfo], targets: Mapping[str, Tensor], path: str | Path) -> None:
    try:
        with safetensors.safe_open(file, framework="pt") as weights:
            for name, info in tensors.items():
                target = targets[name]
                # a head's gain is repeated for all heads
                if tuple(target.shape) != info.shape and tuple(target.shape[1:]) != info.shape:
                    raise ModelError(f"weights {path}: '{name}' is {list(info.shape)} (expected {list(target.shape)})")
                tensor = weights.get_tensor(name)
                if not torch.isfinite(tensor).all():
                    raise ModelError(f"weights {path}: '{name}' holds NaN or infinity, copy them again")
                target.copy_(tensor)
    except (OSError, safetensors.SafetensorError) as error:
        raise ModelError(f"weights {file}: cannot be read ({error}), copy them again") from error


def check_shapes(ours: Preset, theirs: Preset, path: str | Path) -> None:
    """Pass if a preset of ours has the shapes of the language model in this folder.

    Raises:
        ModelError: the first difference.
    """
    for what, a, b in (
        ("text_decode", ours.text_decode, theirs.text_decode),
        ("tie_embeddings", ours.tie_embeddings, theirs.tie_embeddings),
        ("n_words", ours.n_words, theirs.n_words),
        *((f"backbone.{key}", value, getattr(theirs.backbone, key)) for key, value in vars(ours.backbone).items()
          if key != "position"),
    ):  # fmt: skip
        if a != b:
            raise ModelError(
                f"weights {path}: {what} is {b!r} there (expected {a!r} by preset '{ours.name}'), "
                "use the preset of these weights"
            )
