"""Shapes of what goes in and out of the model: pictures, voices, and what the thinker hears. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .errors import ModelError


@dataclass(frozen=True)
class VideoCodecConfig:
    """Strictly causal video codec: ``frames`` pictures of ``height x width`` RGB -> one latent ``h x w x channels``.

    Attributes:
        kind: ``own``: `video.VideoCodec`; ``wan2.1``: `adapters.wan_vae`, with weights from elsewhere.
        patch: latent pixels (h, w) that one token holds; None: whole latent rows, as many as the slots ask for.
        widths: of the layers of ``own``.
    """

    height: int = 64
    width: int = 64
    frames: int = 4
    downsample: int = 16
    channels: int = 16
    widths: tuple[int, ...] = (32, 64, 96, 128)
    kind: Literal["own", "wan2.1"] = "own"
    patch: tuple[int, int] | None = None

    def patch_of(self, tokens: int) -> tuple[int, int]:
        """Latent pixels (h, w) in each of this many tokens.

        Raises:
            ModelError: the latent does not divide like that.
        """
        rows, columns, _ = self.latent_shape
        h, w = self.patch or (max(rows // max(tokens, 1), 1), columns)
        if rows % h or columns % w or rows // h * (columns // w) != tokens:
            raise ModelError(
                f"found {tokens} tokens for a latent of {rows}x{columns} in patches of {h}x{w} "
                f"(expected {rows // h * (columns // w)} and patches that divide it)"
                if self.patch
                else f"found {tokens} tokens for {rows} latent rows (expected a divisor of {rows})"
            )
        return h, w

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
    """Strictly causal audio codec: ``latents x channels`` per unit, ``hop`` samples each.

    Attributes:
        kind: ``own``: `audio.AudioCodec`; ``mimi``: `adapters.mimi`, with weights from elsewhere.
        width: of the layers of ``own``.
    """

    rate_hz: int = 16_000
    hop: int = 320
    latents: int = 8
    channels: int = 32
    width: int = 256
    kind: Literal["own", "mimi"] = "own"

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
