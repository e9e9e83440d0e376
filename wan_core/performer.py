"""The performer: reads the context log into its own cache and solves the flow. It never sees the user.

    performer.append(state, slice)               every slice, in order, late ones too
    latents = performer.generate(state, unit)    the newest that can still be in time

# B batch, T noisy tokens
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from .cache.context import ContextState, append_slice, no_digest
from .cache.kvcache import CachePass
from .cache.kvslice import KVSlice
from .cache.kvstate import KVState
from .cache.resync import follow
from .checks import widened
from .errors import ModelError
from .flow import Latents, Solver, exits, noise
from .model import DuplexModel


@dataclass
class PerformerState(ContextState):
    """One session, or a batch of them: keys and values of every slice so far."""


class Performer:
    """The performing half of a `DuplexModel`, with the same weights as its thinker."""

    def __init__(self, model: DuplexModel) -> None:
        self.model = model

    @torch.inference_mode()
    def new_state(self, batch: int = 1, first_unit: int | Sequence[int] = 0) -> PerformerState:
        """Before the slice of unit ``first_unit``; the first slice that comes may say otherwise."""
        return PerformerState(self.model.cache.new_state(batch, self.model.embed.null, first_unit), no_digest())

    def append(self, state: PerformerState, slice_: KVSlice) -> None:
        """Take the next slice of the log; the state is written in place.

        Raises:
            ModelError: not the next one, changed on the way, or of another model; the state is then as before.
        """
        append_slice(self.model.cache, state, slice_)

    def follow(self, state: PerformerState, slices: Sequence[KVSlice], present: int | None = None) -> int | None:
        """Take those of the slices that are next, up to the unit ``present``: see `resync.follow`.

        Returns:
            The place in the log of what is needed before the present unit can be taken; None when nothing is.
        """
        return follow(self.model.cache, state, slices, present)

    @torch.inference_mode()
    def generate(
        self,
        state: PerformerState,
        unit: int,
        solver: Solver = Solver(),  # noqa: B008 - a constant
        seed: int = 0,
        sessions: Sequence[int] | None = None,
    ) -> Latents:
        """Solve for audio and video of the unit whose slice came last; the state stays as it is.

        Args:
            state: holds the slice of ``unit``.
            unit: k, of the first row.
            solver: how.
            seed: of the noise, with session and unit.
            sessions: one number a row; None: 0, 1, 2...

        Raises:
            ModelError: another unit than the last appended one, or weights that give NaN or infinity.
        """
        if unit != state.unit - 1:
            raise ModelError(
                f"performer: found unit {unit} to generate (expected {state.unit - 1}, the last appended slice)"
            )
        return solve(self.model, state.cache, unit, solver, seed, sessions)


def solve(
    model: DuplexModel,
    cache: KVState,
    unit: int,
    solver: Solver,
    seed: int = 0,
    sessions: Sequence[int] | None = None,
) -> Latents:
    """Latents of ``unit`` (of the first row) [B, ...] from noise, given a cache that ends with its slice.

    Nothing of it is kept in the cache.
    """
    rows = range(cache.batch) if sessions is None else sessions
    z = _starting_noise(model, seed, rows, [unit + other - cache.units[0] for other in cache.units])
    z = Latents(z.audio * solver.audio_temperature, z.video)
    memory = _noisy_pass(model, cache, unit)
    for x in exits(lambda z, t: _predict(model, memory, z, t), z, solver):
        clean = x
    model.check_latents("performer: generated", clean, cache.batch, 1)
    return Latents(clean.audio[:, 0], clean.video[:, 0])


@torch.inference_mode()
def predict_clean(model: DuplexModel, cache: KVState, unit: int, z: Latents, t: float) -> Latents:
    """One evaluation of the network: clean latents as seen from z [B, 1, ...] at flow time t."""
    return _predict(model, _noisy_pass(model, cache, unit), z, t)


def _noisy_pass(model: DuplexModel, cache: KVState, unit: int) -> CachePass:
    """Memory for noisy tokens of the unit. It is never kept, so every step of a solve can use the same."""
    ahead = unit - cache.units[0]  # -1: the slice of their unit is closed
    offsets = model.noisy_offsets + model.preset.stride * ahead
    return CachePass(model.cache, cache, offsets, model.noisy_mask)


def _predict(model: DuplexModel, memory: CachePass, z: Latents, t: float) -> Latents:
    x, flow = model.embed.noisy(z, z.audio.new_full((len(z.audio), 1), t))
    clean = model.read_clean(model.backbone(x[:, 0], memory, flow)[:, None])
    return Latents(widened(clean.audio), widened(clean.video))


def _starting_noise(model: DuplexModel, seed: int, sessions: Sequence[int], units: Sequence[int]) -> Latents:
    """z_1 of one unit, [B, 1, ...]; audio first."""
    audio, video = model.preset.audio, model.preset.video
    size = audio.latent_size + video.latent_size
    rows = [noise((size,), seed, [session], unit) for session, unit in zip(sessions, units, strict=True)]
    both = torch.cat(rows).to(model.device)
    batch = len(both)
    return Latents(
        both[:, : audio.latent_size].reshape(batch, 1, *audio.latent_shape),
        both[:, audio.latent_size :].reshape(batch, 1, *video.latent_shape),
    )
