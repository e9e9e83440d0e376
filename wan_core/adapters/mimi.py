"""`MimiModel` as audio codec, unit by unit: 160 ms of 24 kHz sound <-> 2 latents, before quantisation.

The public class streams its encoder only. Here both halves run on its weights with a state of their own: the past of
each convolution, and a sliding window of keys and values for each attention.

# B batch, U units, S samples per unit, T time steps of some layer, C channels, N latents, Z latent channels
# H heads, D head width, W window
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from ..backbone.rope import rotate, rotation
from ..checks import check_input, check_rows
from ..config import AudioCodecConfig
from ..errors import ModelError
from ..media.conv import Past
from ..media.latent import LatentScale
from ..streaming import State
from .folder import audio_config, require
from .loading import from_folder, quiet


@dataclass
class Window(State):
    """Memory of one attention: the last W - 1 steps, zeros where there were fewer.

    Attributes:
        keys: [B, W-1, H, D], rotated.
        values: [B, W-1, H, D].
    """

    keys: Tensor
    values: Tensor


@dataclass
class MimiState(State):
    """State of one half of the codec.

    Attributes:
        convolutions: the past of each of them in the order in which they run, [B, T, C].
        windows: one per layer of the transformer.
        age: [B] int64, units each row has taken in.
    """

    convolutions: tuple[Past, ...]
    windows: tuple[Window, ...]
    age: Tensor


class MimiAudioCodec(nn.Module):
    """The public codec with the interface of `audio.AudioCodec`. Made by `load_mimi`."""

    def __init__(self, mimi: Any, config: AudioCodecConfig) -> None:
        super().__init__()
        self.config, self.mimi = config, mimi
        self.scale = LatentScale(config.channels)
        self._encoder_layers = [*_flat(mimi.encoder.encoder_seanet), mimi.encoder.downsample]
        self._decoder_layers = [mimi.decoder.upsample, *_flat(mimi.decoder.decoder_seanet)]

    def new_encoder_state(self, batch: int = 1) -> MimiState:
        """The beginning: silence."""
        return self._new_state(batch, self._encoder_layers, self.mimi.encoder.encoder_transformer)

    def new_decoder_state(self, batch: int = 1) -> MimiState:
        """The beginning: nothing said."""
        return self._new_state(batch, self._decoder_layers, self.mimi.decoder.decoder_transformer)

    def encode(self, samples: Tensor, state: MimiState) -> tuple[Tensor, MimiState]:
        """[B, U, S] samples in -1..1 -> latents [B, U, N, Z], as the public model makes them.

        Raises:
            ModelError: wrong shape, NaN, or another batch than the state's.
        """
        check_input("audio codec: samples", samples, ("B", "U", self.config.samples))
        check_rows("audio codec: samples", samples, len(state.age))
        half, past = self.mimi.encoder, _Pasts(state)
        x = _seanet(half.encoder_seanet, samples.flatten(1)[:, None], past)
        x, windows = _transform(half.encoder_transformer, x.transpose(1, 2), state, 2 * self.config.latents)
        latents = past.convolve(half.downsample, x.transpose(1, 2)).transpose(1, 2)
        later = MimiState(past.later(), windows, state.age + samples.shape[1])
        return torch.unflatten(self.scale.normalise(latents), 1, (-1, self.config.latents)), later

    def decode(self, latents: Tensor, state: MimiState) -> tuple[Tensor, MimiState]:
        """Latents [B, U, N, Z] -> samples [B, U, S], about -1..1 and not clamped.

        Raises:
            ModelError: wrong shape, NaN, or another batch than the state's.
        """
        check_input("audio codec: latents", latents, ("B", "U", *self.config.latent_shape))
        check_rows("audio codec: latents", latents, len(state.age))
        half, past = self.mimi.decoder, _Pasts(state)
        x = past.convolve(half.upsample, self.scale.denormalise(latents).flatten(1, 2).transpose(1, 2))
        x, windows = _transform(half.decoder_transformer, x.transpose(1, 2), state, 2 * self.config.latents)
        samples = _seanet(half.decoder_seanet, x.transpose(1, 2), past)[:, 0]
        later = MimiState(past.later(), windows, state.age + latents.shape[1])
        return torch.unflatten(samples, 1, (-1, self.config.samples)), later

    def encoder_after(self, samples: Tensor, state: MimiState) -> MimiState:
        """The encoder's state after [B, U, S]: all of it is computed, the past reaches far."""
        return self.encode(samples, state)[1]

    def decoder_after(self, latents: Tensor, state: MimiState) -> MimiState:
        """The decoder's state after [B, U, N, Z]: all of it is computed."""
        return self.decode(latents, state)[1]

    def _new_state(self, batch: int, convolutions: Iterable[nn.Module], transformer: Any) -> MimiState:
        zeros, config = self.scale.mean.new_zeros, transformer.config
        shape = (batch, config.sliding_window - 1, config.num_key_value_heads, config.head_dim)
        return MimiState(
            tuple(Past(zeros(batch, _reach(layer), _channels(layer))) for layer in convolutions),
            tuple(Window(zeros(shape), zeros(shape)) for _ in transformer.layers),
            torch.zeros(batch, dtype=torch.int64, device=self.scale.mean.device),
        )


class _Pasts:
    """The pasts of the convolutions of one call, taken in the order in which these run."""

    def __init__(self, state: MimiState) -> None:
        self._before = iter(state.convolutions)
        self._after: list[Past] = []
        self._fresh = (state.age == 0)[:, None, None]

    def convolve(self, layer: Any, x: Tensor) -> Tensor:
        """A `MimiConv1d` or `MimiConvTranspose1d` over x [B, C, T] that follows its past."""
        past = next(self._before).steps.transpose(1, 2)
        reach = past.shape[2]
        if getattr(layer, "pad_mode", None) == "replicate":
            past = torch.where(self._fresh, x[:, :, :1], past)
        joined = torch.cat([past, x], 2)
        self._after.append(Past(joined[:, :, joined.shape[2] - reach :].transpose(1, 2).clone()))
        y: Tensor = layer.conv(joined)
        if isinstance(layer.conv, nn.ConvTranspose1d):
            step = layer.conv.stride[0]
            return y[:, :, reach * step : joined.shape[2] * step]
        return y

    def later(self) -> tuple[Past, ...]:
        """The pasts for the next call."""
        assert next(self._before, None) is None, "a convolution did not run"
        return tuple(self._after)


def _is_convolution(layer: nn.Module) -> bool:
    return isinstance(getattr(layer, "conv", None), nn.Conv1d | nn.ConvTranspose1d)


def _flat(seanet: Any) -> Iterator[nn.Module]:
    """The convolutions of an encoder or decoder in the order in which `_seanet` runs them."""
    for layer in seanet.layers:
        if hasattr(layer, "block"):
            yield from (inner for inner in (*layer.block, layer.shortcut) if _is_convolution(inner))
        elif _is_convolution(layer):
            yield layer


def _seanet(seanet: Any, x: Tensor, past: _Pasts) -> Tensor:
    for layer in seanet.layers:
        if hasattr(layer, "block"):
            y = x
            for inner in layer.block:
                y = past.convolve(inner, y) if _is_convolution(inner) else inner(y)
            x = (past.convolve(layer.shortcut, x) if _is_convolution(layer.shortcut) else x) + y
        else:
            x = past.convolve(layer, x) if _is_convolution(layer) else layer(x)
    return x


def _transform(transformer: Any, x: Tensor, state: MimiState, per_unit: int) -> tuple[Tensor, tuple[Window, ...]]:
    """The public transformer's layers over x [B, T, C], which follow their windows."""
    config = transformer.config
    length, kept = x.shape[1], config.sliding_window - 1
    before = state.age[:, None] * per_unit  # steps that each row has behind it
    steps = torch.arange(length, device=x.device)
    by = rotation(before + steps, config.head_dim, float(config.rope_parameters["rope_theta"]), x.dtype)
    places = torch.arange(-kept, length, device=x.device)  # of the keys, 0 is the first new one
    in_window = (places <= steps[:, None]) & (places >= steps[:, None] - kept)
    mask = in_window & (places >= -before)[:, None]  # [B, T, W - 1 + T]
    windows = []
    for layer, window in zip(transformer.layers, state.windows, strict=True):
        normal, attention = layer.input_layernorm(x), layer.self_attn
        q, k, v = (
            project(normal).unflatten(-1, (-1, config.head_dim))
            for project in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        keys, values = torch.cat([window.keys, rotate(k, by)], 1), torch.cat([window.values, v], 1)
        windows.append(Window(keys[:, length:].clone(), values[:, length:].clone()))
        y = F.scaled_dot_product_attention(
            rotate(q, by).transpose(1, 2), keys.transpose(1, 2), values.transpose(1, 2), mask[:, None], enable_gqa=True
        )
        x = x + layer.self_attn_layer_scale(attention.o_proj(y.transpose(1, 2).flatten(2)))
        x = x + layer.mlp_layer_scale(layer.mlp(layer.post_attention_layernorm(x)))
    return x, tuple(windows)


def _reach(layer: Any) -> int:
    """Steps before the present one that a convolution sees."""
    conv = layer.conv
    if isinstance(conv, nn.ConvTranspose1d):
        return -(-conv.kernel_size[0] // conv.stride[0]) - 1
    return int((conv.kernel_size[0] - 1) * conv.dilation[0] + 1 - conv.stride[0])


def _channels(layer: Any) -> int:
    return int(layer.conv.in_channels)


def load_mimi(path: str | Path, device: str = "cpu") -> MimiAudioCodec:
    """The codec in this folder, in eval mode and fp32.

    Raises:
        ModelError: another kind or variant, damaged, or the extra is not installed.
    """
    config = audio_config(path)
    transformers = require("transformers")
    with quiet(transformers.utils.logging):
        mimi = from_folder(transformers.MimiModel, path)
    c = mimi.config
    variant = (c.use_causal_conv, c.trim_right_ratio, c.rope_parameters["rope_type"], c.latent_stride)
    if variant != (True, 1.0, "default", 2):
        raise ModelError(
            f"weights {path}: found use_causal_conv, trim_right_ratio, rope_type, latent_stride of {variant} "
            "(expected (True, 1.0, 'default', 2)), this adapter knows no other"
        )
    return MimiAudioCodec(mimi.to(device), config).to(device).eval()
