"""The performer: reads the context log into its own cache and solves the flow. It never sees the user.

    performer.append(state, slice)                        every slice, in order, late ones too
    latents = performer.generate(state, unit, steps=2)    the newest that can still be in time

# B batch, T noisy tokens
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from .errors import ModelError
from .flow import Latents, euler, noise, schedule
from .guard import check_input
from .kvcache import CachePass, KVState
from .kvslice import DIGEST_BYTES, KVSlice, check_follows
from .mask import tokens_of
from .model import DuplexModel
from .streaming import State


@dataclass
class PerformerState(State):
    """One session, or a batch of them at the same unit.

    Attributes:
        cache: keys and values of every slice so far.
        digest: [8] uint8, of the last slice.
        first: number of the first unit.
        units: slices appended.
    """

    cache: KVState
    digest: Tensor
    first: int = 0
    units: int = 0

    @property
    def unit(self) -> int:
        """The unit whose slice comes next."""
        return self.first + self.units

    def reset(self, rows: Sequence[int] | None = None) -> None:
        """Begin anew, in place; with rows, these forget what they have seen and the others go on."""
        if rows is None:
            super().reset()
        else:
            self.cache.reset(rows)


class Performer:
    """The performing half of a `DuplexModel`, with the same weights as its thinker."""

    def __init__(self, model: DuplexModel) -> None:
        self.model = model
        self._offsets = tokens_of(model.slots, 0, 1).unit

    @torch.inference_mode()
    def new_state(self, batch: int = 1, first_unit: int = 0) -> PerformerState:
        """Before the slice of unit ``first_unit``."""
        cache = self.model.cache.new_state(batch, self.model.embed.null)
        return PerformerState(cache, torch.zeros(DIGEST_BYTES, dtype=torch.uint8), first=first_unit)

    @torch.inference_mode()
    def append(self, state: PerformerState, slice_: KVSlice) -> None:
        """Take the next slice of the log; the state is written in place.

        Raises:
            ModelError: not the next one, changed on the way, or of another model; the state is then as before.
        """
        cache = self.model.cache
        shape = (state.cache.keys.shape[0], *self.model.preset.slice_shape)
        check_input("context keys", slice_.keys, shape)
        check_input("context values", slice_.values, shape)
        check_follows(slice_, state.unit, state.units * self.model.slots.clean, state.digest.numpy().tobytes())
        cache.start_slice(state.cache, slice_.unit)
        cache.append(state.cache, slice_.keys, slice_.values, self._offsets + slice_.unit)
        cache.close_slices(state.cache)
        state.digest = torch.frombuffer(bytearray(slice_.digest), dtype=torch.uint8)
        state.units += 1

    @torch.inference_mode()
    def generate(
        self,
        state: PerformerState,
        unit: int,
        steps: int = 2,
        seed: int = 0,
        sessions: Sequence[int] | None = None,
    ) -> Latents:
        """Solve for audio and video of the unit whose slice came last; the state stays as it is.

        Args:
            state: holds the slice of ``unit``.
            unit: k.
            steps: Euler steps, 1 or more.
            seed: of the noise, with session and unit.
            sessions: one number a row; None: 0, 1, 2...

        Raises:
            ModelError: another unit than the last appended one, no steps, or weights that give NaN or infinity.
        """
        if unit != state.unit - 1:
            raise ModelError(
                f"performer: found unit {unit} to generate (expected {state.unit - 1}, the last appended slice)"
            )
        return solve(self.model, state.cache, unit, steps, seed, sessions)


def solve(
    model: DuplexModel,
    cache: KVState,
    unit: int,
    steps: int,
    seed: int = 0,
    sessions: Sequence[int] | None = None,
) -> Latents:
    """Latents of ``unit`` [B, ...] from noise, given a cache that ends with its slice. Nothing of it is kept there."""
    batch = cache.keys.shape[0]
    rows = range(batch) if sessions is None else sessions
    z = _starting_noise(model, seed, rows, unit)
    for t, s in pairwise(schedule(steps)):
        x = predict_clean(model, cache, unit, z, t)
        z = Latents(euler(z.audio, x.audio, t, s), euler(z.video, x.video, t, s))
    model.check_latents("performer: generated", z, batch, 1)
    return Latents(z.audio[:, 0], z.video[:, 0])


@torch.inference_mode()
def predict_clean(model: DuplexModel, cache: KVState, unit: int, z: Latents, t: float) -> Latents:
    """One evaluation of the network: clean latents as seen from z [B, 1, ...] at flow time t."""
    x = model.embed.noisy(z, z.audio.new_full((len(z.audio), 1), t))
    units = torch.full((model.slots.noisy,), unit)
    memory = CachePass(model.cache, cache, units, model.geometry.rotation(units, x))
    return model.read_clean(model.backbone(x[:, 0], memory)[:, None])


def _starting_noise(model: DuplexModel, seed: int, sessions: Sequence[int], unit: int) -> Latents:
    """z_1 of one unit, [B, 1, ...]; audio first."""
    audio, video = model.preset.audio, model.preset.video
    both = noise((audio.latent_size + video.latent_size,), seed, sessions, unit).to(model.device, model.dtype)
    batch = len(both)
    return Latents(
        both[:, : audio.latent_size].reshape(batch, 1, *audio.latent_shape),
        both[:, audio.latent_size :].reshape(batch, 1, *video.latent_shape),
    )
