"""Shapes of the model, as plain numbers: the presets, and what follows from them. Imports no torch.

Words: a unit has three groups of *clean* slots, ``y`` (what the agent showed and said), ``u`` (what the user did) and
``s`` (what the agent decides: event and text), and *noisy* slots for the latents being denoised.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from typing import Literal

from .errors import ModelError


@dataclass(frozen=True)
class VideoCodecConfig:
    """Strictly causal video codec: ``frames`` pictures of ``height x width`` RGB -> one latent ``h x w x channels``."""

    height: int = 64
    width: int = 64
    frames: int = 4
    downsample: int = 16
    channels: int = 16
    widths: tuple[int, ...] = (32, 64, 96, 128)

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """Latent of one unit: (h, w, channels)."""
        return self.height // self.downsample, self.width // self.downsample, self.channels

    @property
    def latent_size(self) -> int:
        """Numbers in the latent of one unit."""
        h, w, c = self.latent_shape
        return h * w * c


@dataclass(frozen=True)
class AudioCodecConfig:
    """Strictly causal audio codec: ``latents x channels`` per unit, ``hop`` samples each."""

    rate_hz: int = 16_000
    hop: int = 320
    latents: int = 8
    channels: int = 32
    width: int = 256

    @property
    def samples(self) -> int:
        """Samples in one unit."""
        return self.hop * self.latents

    @property
    def latent_shape(self) -> tuple[int, int]:
        """Latents of one unit: (latents, channels)."""
        return self.latents, self.channels

    @property
    def latent_size(self) -> int:
        """Numbers in the latents of one unit."""
        return self.latents * self.channels


@dataclass(frozen=True)
class MelConfig:
    """The user's voice as the thinker hears it: ``hops`` log-mel frames of ``bands`` per unit."""

    rate_hz: int = 16_000
    hops: int = 16
    bands: int = 40
    window: int = 400

    @property
    def hop(self) -> int:
        """Samples between two frames."""
        return self.rate_hz * 16 // 100 // self.hops

    @property
    def shape(self) -> tuple[int, int]:
        """Frames of one unit: (hops, bands)."""
        return self.hops, self.bands


@dataclass(frozen=True)
class SlotConfig:
    """Tokens per unit and group."""

    y_audio: int = 2
    y_video: int = 2
    u_text: int = 1
    u_audio: int = 2
    u_video: int = 2
    s_event: int = 1
    s_text: int = 1
    s_spare: int = 1

    @property
    def y(self) -> int:
        """Agent slots, clean."""
        return self.y_audio + self.y_video

    @property
    def u(self) -> int:
        """User slots."""
        return self.u_text + self.u_audio + self.u_video

    @property
    def s(self) -> int:
        """Decision slots."""
        return self.s_event + self.s_text + self.s_spare

    @property
    def clean(self) -> int:
        """Tokens that stay in the context, per unit."""
        return self.y + self.u + self.s

    @property
    def noisy(self) -> int:
        """Tokens being denoised, per unit."""
        return self.y


@dataclass(frozen=True)
class BackboneConfig:
    """The Transformer."""

    width: int
    layers: int
    heads: int
    kv_heads: int
    ffn_width: int
    head_dim: int = 0
    rope_theta: float = 300.0
    rms_eps: float = 1e-5
    alibi_slopes: tuple[float, ...] = ()
    position: Literal["unit", "token"] = "unit"
    qk_norm: Literal["none", "gain"] = "gain"
    qkv_bias: bool = False
    tie_embeddings: bool = False
    flow_time: Literal["additive", "modulation"] = "additive"

    def __post_init__(self) -> None:
        if not self.head_dim:
            object.__setattr__(self, "head_dim", self.width // self.heads)
        if self.heads % self.kv_heads:
            raise ModelError(f"backbone: found {self.heads} heads over {self.kv_heads} (expected a whole ratio)")


@dataclass(frozen=True)
class Preset:
    """A complete model: backbone, slots and codecs."""

    name: str
    backbone: BackboneConfig
    video: VideoCodecConfig = field(default_factory=VideoCodecConfig)
    audio: AudioCodecConfig = field(default_factory=AudioCodecConfig)
    mel: MelConfig = field(default_factory=MelConfig)
    slots: SlotConfig = field(default_factory=SlotConfig)
    vocabulary: int = 64
    unit_seconds: float = 0.16


_ALIBI = (0.0, 0.0, 1 / 2, 1 / 4, 1 / 16, 1 / 64)

PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            "nano",
            BackboneConfig(width=64, layers=2, heads=2, kv_heads=1, ffn_width=128, alibi_slopes=(0.0, 1 / 4)),
            video=VideoCodecConfig(height=32, width=32, widths=(8, 16, 24, 32)),
            audio=AudioCodecConfig(channels=16, width=64),
        ),
        Preset(
            "tiny",
            BackboneConfig(width=192, layers=6, heads=6, kv_heads=2, ffn_width=384, alibi_slopes=_ALIBI),
        ),
    )
}


def preset(name: str) -> Preset:
    """The preset called ``name``.

    Raises:
        ModelError: there is none.
    """
    if name not in PRESETS:
        close = difflib.get_close_matches(name, PRESETS, n=1)
        hint = f"; did you mean '{close[0]}'?" if close else ""
        raise ModelError(f"preset: found '{name}' (available: {', '.join(PRESETS)}){hint}")
    return PRESETS[name]
