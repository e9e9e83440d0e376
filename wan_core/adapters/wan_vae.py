"""`AutoencoderKLWan` (Wan 2.1) as video codec, unit by unit through its own feature cache.

That model codes a first frame alone and four frames at a time from then on: one latent picture is then exactly one
unit. So every session begins behind five black frames that nobody sees: the first frame and one whole unit. After
these, all features in its cache have the shapes that they keep.

# B batch, U units, F frames per unit, H x W pixels, h x w latent pixels, Z latent channels
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from ..checks import check_input, check_rows
from ..config import VideoCodecConfig
from ..errors import ModelError
from ..media.conv import Past
from ..media.latent import LatentScale
from ..streaming import State
from .folder import require, video_config
from .loading import from_folder

BLACK = -1.0


@dataclass
class FeatureState(State):
    """State of one half of the codec.

    Attributes:
        features: the past of each of its convolutions, [B, frames, C, H, W]. Of a row that has not begun they do not
            matter.
        age: [B] int64, units each row has seen.
    """

    features: tuple[Past, ...]
    age: Tensor


Convolve = Callable[[Tensor, list[Any]], Tensor]
"""(steps of all rows, the model's feature cache, which is written) -> what comes out."""


class WanVideoCodec(nn.Module):
    """The public codec with the interface of `video.VideoCodec`. Made by `load_wan_vae`."""

    def __init__(self, vae: Any, config: VideoCodecConfig) -> None:
        super().__init__()
        self.config, self.vae = config, vae
        self.scale = LatentScale(config.channels).to(vae.device)
        self.scale.mean.copy_(torch.tensor(vae.config.latents_mean))
        self.scale.std.copy_(torch.tensor(vae.config.latents_std))
        with torch.inference_mode():
            self._seen, self._shown = self._beginnings()

    def new_encoder_state(self, batch: int = 1) -> FeatureState:
        """Behind black pictures."""
        return _zeros_like(self._seen, batch)

    def new_decoder_state(self, batch: int = 1) -> FeatureState:
        """Behind black pictures."""
        return _zeros_like(self._shown, batch)

    def encode(self, frames: Tensor, state: FeatureState) -> tuple[Tensor, FeatureState]:
        """[B, U, F, H, W, 3] in -1..1 -> normalised latents [B, U, h, w, Z]: the mean of the posterior.

        Raises:
            ModelError: wrong shape, NaN, or another batch than the state's.
        """
        self._check("frames", frames, state, (self.config.frames, self.config.height, self.config.width, 3))
        latents, state = self._stream(self._encode, frames.permute(1, 0, 5, 2, 3, 4), state, self._seen)
        return self.scale.normalise(latents.flatten(1, 2).permute(0, 1, 3, 4, 2)), state

    def decode(self, latents: Tensor, state: FeatureState) -> tuple[Tensor, FeatureState]:
        """Normalised latents [B, U, h, w, Z] -> pictures [B, U, F, H, W, 3], about -1..1 and not clamped.

        Raises:
            ModelError: wrong shape, NaN, or another batch than the state's.
        """
        self._check("latents", latents, state, self.config.latent_shape)
        raw = self.scale.denormalise(latents).permute(1, 0, 4, 2, 3)[:, :, :, None]
        frames, state = self._stream(self._decode, raw, state, self._shown)
        return frames.permute(0, 1, 2, 4, 5, 3), state

    def encoder_after(self, frames: Tensor, state: FeatureState) -> FeatureState:
        """The encoder's state after [B, U, F, H, W, 3]: all of it is computed, the past reaches far."""
        return self.encode(frames, state)[1]

    def decoder_after(self, latents: Tensor, state: FeatureState) -> FeatureState:
        """The decoder's state after [B, U, h, w, Z]: all of it is computed."""
        return self.decode(latents, state)[1]

    def _stream(
        self, convolve: Convolve, units: Tensor, state: FeatureState, begin: FeatureState
    ) -> tuple[Tensor, FeatureState]:
        """Units [U, B, C, F, H, W] -> [B, U, F', C', H', W'] one after the other; rows of age 0 begin."""
        fresh = (state.age == 0).view(-1, 1, 1, 1, 1)
        cache: list[Any] = [
            torch.where(fresh, start.steps, past.steps).transpose(1, 2)
            for past, start in zip(state.features, begin.features, strict=True)
        ]
        out = [convolve(unit, cache).transpose(1, 2) for unit in units]
        features = tuple(Past(feature.transpose(1, 2)) for feature in cache)
        return torch.stack(out, 1), FeatureState(features, state.age + len(units))

    def _encode(self, frames: Tensor, cache: list[Any]) -> Tensor:
        """[B, 3, F, H, W] -> mean [B, Z, 1, h, w]."""
        moments = self.vae.quant_conv(self.vae.encoder(frames, feat_cache=cache, feat_idx=[0]))
        return cast(Tensor, moments.chunk(2, 1)[0])

    def _decode(self, raw: Tensor, cache: list[Any]) -> Tensor:
        """[B, Z, 1, h, w] -> [B, 3, F, H, W]."""
        return cast(Tensor, self.vae.decoder(self.vae.post_quant_conv(raw), feat_cache=cache, feat_idx=[0]))

    def _beginnings(self) -> tuple[FeatureState, FeatureState]:
        """States of one row behind the first black frame and one black unit: of the encoder, of the decoder."""
        black = self.scale.mean.new_full((1, 3, self.config.frames, self.config.height, self.config.width), BLACK)
        n_convolutions = sum(1 for m in self.vae.modules() if isinstance(m, nn.Conv3d))
        seen: list[Any] = [None] * n_convolutions
        raw = [self._encode(black[:, :, :1], seen), self._encode(black, seen)]
        shown: list[Any] = [None] * n_convolutions
        for latent in raw:
            self._decode(latent, shown)
        return _state_of(seen), _state_of(shown)

    def _check(self, what: str, x: Tensor, state: FeatureState, shape: tuple[int, ...]) -> None:
        check_input(f"video codec: {what}", x, ("B", "U", *shape))
        check_rows(f"video codec: {what}", x, len(state.age))


def load_wan_vae(path: str | Path, height: int, width: int, device: str = "cpu") -> WanVideoCodec:
    """The codec in this folder, for pictures of this size, in eval mode and fp32.

    Raises:
        ModelError: another kind or version, damaged, or the extra is not installed.
    """
    config = video_config(path, height, width)
    vae = from_folder(require("diffusers").AutoencoderKLWan, path, low_cpu_mem_usage=False)
    for name in ("latents_mean", "latents_std"):
        n_found = len(getattr(vae.config, name))
        if n_found != config.channels:
            raise ModelError(f"weights {path}: found {n_found} {name} (expected {config.channels}, one per channel)")
    return WanVideoCodec(vae.to(device), config).eval()


def _state_of(cache: list[Any]) -> FeatureState:
    """The convolutions that keep something come first in the cache; the others never asked for a place."""
    features = [x for x in cache if x is not None]
    assert all(isinstance(x, Tensor) for x in features) and cache[len(features) :].count(None) == len(cache) - len(
        features
    )
    return FeatureState(
        tuple(Past(x.transpose(1, 2).clone()) for x in features),
        torch.zeros(1, dtype=torch.int64, device=features[0].device),
    )


def _zeros_like(state: FeatureState, batch: int) -> FeatureState:
    features = tuple(Past(p.steps.new_zeros(batch, *p.steps.shape[1:])) for p in state.features)
    return FeatureState(features, state.age.new_zeros(batch))
