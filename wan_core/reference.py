"""Thinker and performer on one cache: the reference that the two of them apart must equal, and half the memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .checks import widened
from .exchange import Decision, PrefixUnit, ResponseUnit, Thought, UserUnit
from .flow import Latents, Solver
from .model import DuplexModel
from .performer import solve
from .streaming import State
from .thinker import Thinker, ThinkerState


@dataclass
class ReferenceState(State):
    """One session, or a batch of them; rows may be at different units, and go on together.

    Attributes:
        thinker: the only cache.
        audio: [B, latents, channels], the response that is committed with the next unit.
        video: [B, h, w, channels].
        has_response: 0 when there is none.
    """

    thinker: ThinkerState
    audio: Tensor
    video: Tensor
    has_response: int = 0

    def reset(self, rows: Sequence[int] | None = None, first_unit: int = 0) -> None:
        """Begin anew, in place; with rows, these forget and the others go on."""
        if rows is None:
            super().reset()
        self.thinker.reset(rows, first_unit)


class Reference:
    """A `DuplexModel` that answers by itself: its own latents are its history."""

    def __init__(self, model: DuplexModel) -> None:
        self.model, self.thinker = model, Thinker(model)

    @torch.inference_mode()
    def new_state(self, batch: int = 1, first_unit: int | Sequence[int] = 0) -> ReferenceState:
        """Before unit ``first_unit``."""
        null = widened(self.model.embed.null)
        return ReferenceState(
            self.thinker.new_state(batch, first_unit),
            null.new_zeros(batch, *self.model.preset.audio.latent_shape),
            null.new_zeros(batch, *self.model.preset.video.latent_shape),
        )

    def set_prefix(self, state: ReferenceState, prefix: Sequence[PrefixUnit]) -> None:
        """See `Thinker.set_prefix`."""
        self.thinker.set_prefix(state.thinker, prefix)

    @torch.inference_mode()
    def step(
        self,
        state: ReferenceState,
        user: UserUnit,
        solver: Solver = Solver(),  # noqa: B008 - a constant
        decision: Decision | None = None,
        seed: int = 0,
        sessions: Sequence[int] | None = None,
    ) -> tuple[Thought, Latents]:
        """One unit: see `Thinker.step` and `Performer.generate`; the state is written in place."""
        unit = state.thinker.unit
        thought = self.thinker.step(state.thinker, user, self._response(state), decision, seed, sessions)
        latents = solve(self.model, state.thinker.cache, unit, solver, seed, sessions)
        state.audio, state.video, state.has_response = latents.audio, latents.video, 1
        return thought, latents

    def absorb(self, state: ReferenceState, users: Sequence[UserUnit]) -> None:
        """Take several units in without answering."""
        if users:
            responses = [self._response(state), *[ResponseUnit()] * (len(users) - 1)]
            self.thinker.absorb(state.thinker, users, responses)
            state.has_response = 0

    def gap(self, state: ReferenceState, units: int) -> None:
        """These units are lost."""
        self.absorb(state, [UserUnit()] * units)

    @staticmethod
    def _response(state: ReferenceState) -> ResponseUnit:
        return ResponseUnit(state.audio, state.video) if state.has_response else ResponseUnit()
