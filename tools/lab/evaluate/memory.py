"""Reach of a model's memory: what was seen and heard d units ago is exchanged, and its present state compared.

Its decisions and responses are the same in both, so that only the user's past differs.
"""

# D distances, U units

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from ....wan_core.exchange import Decision, ResponseUnit, UserUnit
from ....wan_core.flow import Solver
from ....wan_core.media.mel import LogMel
from ....wan_core.performer import solve
from ....wan_core.thinker import Thinker
from ..world.cues import UserUnit as Met
from ..world.oracle import Oracle
from ..world.voices import Bank
from . import probes
from .agents import Weights, as_pictures, as_sounds
from .rows import Setting, tools
from .talk import DialogueSpec

DISTANCES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
"""Units from the end of what is exchanged to the present."""
STRETCH, AVERAGED = 4, 4
"""Units that are exchanged, and units of the present that are compared."""
LEAST = 0.05
"""Share of the effect of one unit ago that still counts as remembered."""


@dataclass(frozen=True)
class Memory:
    """Share of the past that is left.

    Attributes:
        effects: by distance, how far the model's state is from what it would be, relative to its size.
    """

    effects: dict[int, float]

    @property
    def span(self) -> int:
        """The largest distance, in units, at which the past still matters."""
        nearest = self.effects[DISTANCES[0]]
        return max(d for d, effect in self.effects.items() if effect >= LEAST * nearest)


def memory_of(setting: Setting, dialogues: int = 6) -> Memory:
    """Measured on free dialogues with the ideal agent."""
    weights, made = Weights.load(setting.checkpoint), tools(setting)
    units = DISTANCES[-1] + STRETCH + AVERAGED + 1
    specs = probes.free(made.voices.synthetic, dialogues + 1).specs
    users = [_user(spec, units, weights, made.voices.bank) for spec in specs]
    total = dict.fromkeys(DISTANCES, 0.0)
    for one, other in pairwise(users):
        for distance, effect in _effects(weights, one, other).items():
            total[distance] += effect / dialogues
    return Memory(total)


def _user(spec: DialogueSpec, units: int, weights: Weights, bank: Bank) -> list[UserUnit]:
    """A user who is answered by the ideal agent, as the model takes it."""
    world, oracle = spec.world(bank, weights.size), Oracle(spec.seed, bank, spec.persona)
    met: list[Met] = []
    answer = None
    for _ in range(units):
        met.append(world.step(answer))
        answer = oracle.step(met[-1].cues).samples
    front_end = LogMel(weights.model.preset.mel)
    with torch.inference_mode():
        seen, _ = weights.sees.encode(
            torch.cat([as_pictures([user.frames]) for user in met], 1), weights.sees.new_encoder_state()
        )
        mel, _ = front_end(torch.cat([as_sounds([user.samples]) for user in met], 1), front_end.new_state())
    return [UserUnit(seen[:, k], mel[:, k], torch.tensor([user.text])) for k, user in enumerate(met)]


@torch.inference_mode()
def _effects(weights: Weights, one: Sequence[UserUnit], other: Sequence[UserUnit]) -> dict[int, float]:
    """Row 0 is the dialogue as it was; in row 1 + i, a stretch at the i-th distance is the other user's."""
    thinker, rows = Thinker(weights.model), 1 + len(DISTANCES)
    state, response = thinker.new_state(rows), ResponseUnit()
    idle = Decision(torch.zeros(rows, 2, dtype=torch.int64), torch.zeros(rows, dtype=torch.int64))
    first = len(one) - AVERAGED
    exchanged = [range(first - d - STRETCH + 1, first - d + 1) for d in DISTANCES]
    effects = torch.zeros(len(DISTANCES))
    for unit in range(len(one)):
        mine = [one[unit], *(other[unit] if unit in span else one[unit] for span in exchanged)]
        video, audio, text = (torch.cat([_of(met, name) for met in mine]) for name in ("video", "audio", "text"))
        user = UserUnit(video, audio, text)
        hidden = thinker.step(state, user, response, idle).user_hidden
        latents = solve(weights.model, state.cache, unit, Solver(1), sessions=[0] * rows)
        response = ResponseUnit(_spread(latents.audio, rows), _spread(latents.video, rows))
        if unit >= first:
            effects += (hidden[1:] - hidden[:1]).norm(dim=-1) / hidden[:1].norm(dim=-1) / AVERAGED
    return dict(zip(DISTANCES, effects.tolist(), strict=True))


def _spread(x: Tensor, rows: int) -> Tensor:
    return x[:1].expand(rows, *x.shape[1:])


def _of(unit: UserUnit, name: str) -> Tensor:
    found = getattr(unit, name)
    assert isinstance(found, Tensor), (name, unit)
    return found
