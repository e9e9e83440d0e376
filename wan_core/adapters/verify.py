"""Does a folder of public weights load, stream, and agree with the model's own code? What `wangraph adapters` runs.

# B batch, U units, T tokens
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from .folder import Kind, kind_of, require
from .loading import quiet
from .mimi import MimiAudioCodec, load_mimi
from .qwen import fill_from_qwen, qwen_preset, text_logits
from .wan_vae import BLACK, WanVideoCodec, load_wan_vae

UNITS = 4
TOKENS = 64
TOLERANCE = 1e-3
"""Largest difference, relative to the largest number, that is put down to rounding."""


@dataclass(frozen=True)
class Finding:
    """One comparison.

    Attributes:
        name: what was compared.
        difference: largest one, relative to the largest number.
        ms_per_unit: of the streamed side, the fastest unit; None where nothing streams.
    """

    name: str
    difference: float
    ms_per_unit: float | None = None

    @property
    def is_equal(self) -> bool:
        """True if the difference is rounding; NaN is not."""
        return self.difference <= TOLERANCE


@dataclass(frozen=True)
class Verified:
    """Contents of the folder, and how it did."""

    kind: Kind
    parameters: int
    sizes: str
    findings: tuple[Finding, ...]

    @property
    def is_right(self) -> bool:
        """True if every comparison holds."""
        return all(finding.is_equal for finding in self.findings)


def verify(path: str | Path, height: int = 64, width: int = 64, device: str = "cpu", seed: int = 0) -> Verified:
    """Load the folder's weights and compare, on random input.

    Args:
        path: the folder.
        height: of pictures, for a video codec.
        width: of pictures, for a video codec.
        device: where it runs.
        seed: of the input.

    Raises:
        ModelError: the folder cannot be used, or the extra is not installed.
    """
    kind = kind_of(path)
    generator = torch.Generator().manual_seed(seed)
    with torch.inference_mode():
        if kind == "wan2.1":
            return _verify_video(load_wan_vae(path, height, width, device), generator)
        if kind == "mimi":
            return _verify_audio(load_mimi(path, device), generator)
        return _verify_language(path, device, generator)


def _verify_video(codec: WanVideoCodec, generator: torch.Generator) -> Verified:
    c, device = codec.config, codec.scale.mean.device
    frames = (torch.rand(1, UNITS, c.frames, c.height, c.width, 3, generator=generator) * 2 - 1).to(device)
    video = frames.permute(0, 5, 1, 2, 3, 4).flatten(2, 3)
    behind_black = torch.cat([video.new_full((1, 3, c.frames + 1, c.height, c.width), BLACK), video], 2)
    raw = codec.vae.encode(behind_black).latent_dist.mode()
    latents = codec.scale.normalise(raw[:, :, 2:].permute(0, 2, 3, 4, 1))
    shown = codec.vae.decode(raw).sample[:, :, c.frames + 1 :]
    shown = torch.unflatten(shown, 2, (UNITS, c.frames)).permute(0, 2, 3, 4, 5, 1)
    sizes = f"{c.frames} frames of {c.width}x{c.height} -> {'x'.join(map(str, c.latent_shape))}"
    findings = [
        *_streamed("encode", codec.encode, codec.new_encoder_state, frames, latents),
        *_streamed("decode", codec.decode, codec.new_decoder_state, latents, shown, limit=1.0),
    ]
    return Verified("wan2.1", _count(codec.vae), sizes, tuple(findings))


def _verify_audio(codec: MimiAudioCodec, generator: torch.Generator) -> Verified:
    c, device = codec.config, codec.scale.mean.device
    samples = (torch.randn(1, UNITS, c.samples, generator=generator) * 0.1).to(device)
    raw = codec.mimi.encoder(samples.flatten(1)[:, None]).latents
    sound = torch.unflatten(codec.mimi.decoder(raw).audio_values[:, 0], 1, (UNITS, -1))
    latents = torch.unflatten(raw.transpose(1, 2), 1, (UNITS, -1))
    findings = [
        *_streamed("encode", codec.encode, codec.new_encoder_state, samples, latents),
        *_streamed("decode", codec.decode, codec.new_decoder_state, latents, sound),
    ]
    sizes = f"{c.samples} samples at {c.rate_hz} Hz -> {'x'.join(map(str, c.latent_shape))}"
    return Verified("mimi", _count(codec.mimi.encoder) + _count(codec.mimi.decoder), sizes, tuple(findings))


def _verify_language(path: str | Path, device: str, generator: torch.Generator) -> Verified:
    from ..model import DuplexModel

    preset = qwen_preset(path)
    transformers = require("transformers")
    model = DuplexModel(preset).to(device).eval()
    filled = set(fill_from_qwen(model, path))
    tokens = torch.randint(0, preset.n_words, (1, TOKENS), generator=generator).to(device)
    ours = text_logits(model, tokens)
    n_parameters = sum(p.numel() for name, p in model.named_parameters() if name in filled)
    del model  # before the second copy is loaded
    folder = str(Path(path).expanduser())
    with quiet(transformers.utils.logging):
        theirs = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    b = preset.backbone
    return Verified(
        "qwen",
        n_parameters,
        f"width {b.width}, {b.layers} layers, {b.heads} heads on {b.kv_heads}, {preset.n_words} words",
        (
            Finding(
                "next words of our backbone == those of transformers",
                _difference(ours, theirs.to(device)(tokens).logits),
            ),
        ),
    )


Run = Callable[[Tensor, Any], tuple[Tensor, Any]]


def _streamed(
    name: str, run: Run, new_state: Callable[[int], Any], x: Tensor, own: Tensor, limit: float | None = None
) -> Iterator[Finding]:
    """Unit by unit against one pass, and against the model's own."""
    state, parts, ms = new_state(1), list[Tensor](), list[float]()
    for unit in torch.split(x, 1, 1):
        began = time.perf_counter()
        y, state = run(unit, state)
        parts.append(y.cpu())  # waits for the device
        ms.append((time.perf_counter() - began) * 1000)
    streamed, whole = torch.cat(parts, 1), run(x, new_state(1))[0].cpu()
    yield Finding(f"{name}, unit by unit == all at once", _difference(streamed, whole), min(ms))
    if limit is not None:
        streamed = streamed.clamp(-limit, limit)
    yield Finding(f"{name}, unit by unit == the model's own offline pass", _difference(streamed, own.cpu()))


def _difference(a: Tensor, b: Tensor) -> float:
    if a.shape != b.shape:
        return float("nan")
    return float((a - b).abs().max() / b.abs().max().clamp_min(1e-6))


def _count(module: nn.Module) -> int:
    return sum(cast(Tensor, p).numel() for p in module.parameters())
