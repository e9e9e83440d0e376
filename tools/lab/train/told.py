"""Who the agent is, told before the first unit in words: ``one is zero`` makes it the agent that takes one away.

A persona's voice, looks and rule go together, so that the rule is enough to name all three. An agent that is told
nothing is the first of `TRAINED`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ....wan_core.vocabulary import ENTER
from ..world.persona import PERSONAS, Persona
from ..world.tokens import VOCABULARY
from ..world.words import answer

TRAINED: tuple[str, ...] = tuple(PERSONAS)
"""Names of the personas, in the order of their numbers."""


def words_for(persona: Persona) -> str:
    """The line that makes the agent this persona."""
    return f"one is {answer('one', None, persona.rule)}"


def told_tokens() -> Tensor:
    """Tokens of every persona's line, [personas, P]."""
    return torch.tensor([[*VOCABULARY.tokens_of(words_for(PERSONAS[name])), ENTER] for name in TRAINED])


def told_labels(personas: Tensor | None, rows: int, units: int) -> Tensor:
    """Who they were told to be, which agents should know in every unit: [rows, units].

    Args:
        personas: numbers [rows]; None: they were told nothing.

    Returns:
        1 + the persona's number, or 0.
    """
    known = torch.zeros(rows, dtype=torch.long) if personas is None else 1 + personas.long()
    return known[:, None].expand(-1, units)
