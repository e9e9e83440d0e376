"""Eyes of the model: a causal network from the pictures of a unit to one small latent picture.

User pictures are never generated, so what sees them need not be able to draw them. The codec of the agent's own face
is learned on drawings; eyes are learned on people, and give for a real picture the latent that the codec gives for a
plain drawing of somebody who does the same. What the model knows to do with drawings, it then does with people.

# B batch, U units, F frames per unit, H x W pixels, h x w latent pixels, Z latent channels, D features
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..checkpoint import load_part
from ..checkpoint_header import find, inspect
from ..checks import check_input, check_rows
from ..config import VideoCodecConfig
from ..streaming import State
from .conv import Past, causal_taps
from .video import VideoCodec

PART = "eyes"
"""Name of the part in checkpoints; one that has none sees with the encoder of its video codec."""
NARROW, HIDDEN = 32, 256
"""Features of each place in the picture, and of the whole."""


@dataclass
class EyesState(State):
    """State of the eyes: the features of the unit before, ``features.steps`` [B, 1, D]."""

    features: Past


class Sight(Protocol):
    """Encoder that sees a user: eyes, or that of a video codec; states are its own."""

    def new_encoder_state(self, batch: int = 1) -> Any:
        """The beginning."""
        ...

    def encode(self, frames: Tensor, state: Any, /) -> tuple[Tensor, Any]:
        """[B, U, F, H, W, 3] in -1..1 -> normalised latents [B, U, h, w, Z]."""
        ...


class Eyes(nn.Module):
    """Pictures of the user -> latents of the video codec's shape, already normalised.

    People are anywhere in a picture, and the plain drawing of them is where it always is: after the convolutions
    everything meets everything.

    Args:
        config: of the codec whose latents are given.
    """

    def __init__(self, config: VideoCodecConfig) -> None:
        super().__init__()
        self.config = config
        widths, (h, w, _) = (3 * config.frames, *config.widths), config.latent_shape
        self.down = nn.ModuleList(nn.Conv2d(a, b, 4, stride=2, padding=1) for a, b in pairwise(widths))
        self.block = Residual(widths[-2])
        self.narrow = nn.Conv2d(widths[-1], NARROW, 1)
        self.whole = nn.Linear(2 * NARROW * h * w, HIDDEN)
        self.output = nn.Linear(HIDDEN, config.latent_size)
        nn.utils.convert_conv2d_weight_memory_format(self, torch.channels_last)

    @torch.no_grad()
    def begin(self, codec: VideoCodec, latents: Tensor) -> None:
        """Begin with what a codec sees in a picture, and with the mean of the latents [N, h, w, Z] to be given."""
        self.down.load_state_dict(codec.encoder.down.state_dict())
        self.output.weight.mul_(0.2)
        self.output.bias.copy_(latents.flatten(1).mean(0))

    def new_encoder_state(self, batch: int = 1) -> EyesState:
        """The beginning: no features."""
        h, w, _ = self.config.latent_shape
        return EyesState(Past(self.whole.weight.new_zeros(batch, 1, NARROW * h * w)))

    def features(self, frames: Tensor) -> Tensor:
        """[B, U, F, H, W, 3] -> [B, U, D], each unit by itself."""
        x = frames.permute(0, 1, 3, 4, 2, 5).flatten(4).flatten(0, 1).permute(0, 3, 1, 2)
        for layer in self.down[:-1]:
            x = functional.silu(layer(x))
        x = functional.silu(self.down[-1](self.block(x)))
        return functional.silu(self.narrow(x)).reshape(*frames.shape[:2], -1)

    def encode(self, frames: Tensor, state: EyesState) -> tuple[Tensor, EyesState]:
        """[B, U, F, H, W, 3] in -1..1 -> normalised latents [B, U, h, w, Z].

        Raises:
            ModelError: wrong shape, NaN, or another batch than the state's.
        """
        self._check(frames, state)
        pairs, past = causal_taps(self.features(frames), state.features, 2)
        latents = self.output(functional.silu(self.whole(pairs)))
        return latents.unflatten(2, self.config.latent_shape), EyesState(past)

    def encoder_after(self, frames: Tensor, state: EyesState) -> EyesState:
        """The state after [B, U, F, H, W, 3]: the features of the last unit."""
        self._check(frames, state)
        return EyesState(Past(self.features(frames[:, -1:])))

    def _check(self, frames: Tensor, state: EyesState) -> None:
        config = self.config
        check_input("eyes: frames", frames, ("B", "U", config.frames, config.height, config.width, 3))
        check_rows("eyes: frames", frames, state.features.steps.shape[0])


class Residual(nn.Module):
    """Two convolutions beside the way past them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        groups = math.gcd(8, width)
        self.before, self.between = nn.GroupNorm(groups, width), nn.GroupNorm(groups, width)
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        for parameter in self.second.parameters():  # the block begins as the identity
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """[N, D, h, w] -> the same shape."""
        inner = self.first(functional.silu(self.before(x)))
        y: Tensor = x + self.second(functional.silu(self.between(inner)))
        return y


def load_eyes_of(checkpoint: str | Path, device: str = "cpu") -> Eyes | None:
    """The eyes of a checkpoint; None where it has none, and its video codec sees.

    Raises:
        ModelError: it cannot be read, or its eyes do not fit.
    """
    path = find(checkpoint)
    if path is None or PART not in inspect(path).parts:
        return None
    return load_part(checkpoint, PART, lambda shapes: Eyes(shapes.video), device=device).module
