"""Persona prompts: words before the first unit that say who the agent is; ``one is zero`` makes it take one away.

A persona's voice, looks and rule go together, so that the rule is enough to name all three. An agent without a prompt
is the first of `TRAINED`.
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


def prompt_for(persona: Persona) -> str:
    """The line that makes the agent this persona."""
    return f"one is {answer('one', None, persona.rule)}"


def prompt_tokens() -> Tensor:
    """Tokens of every persona's line, [personas, P]."""
    return torch.tensor([[*VOCABULARY.tokens_of(prompt_for(PERSONAS[name])), ENTER] for name in TRAINED])


def persona_labels(personas: Tensor | None, rows: int, units: int) -> Tensor:
    """The persona that agents should know of in every unit: [rows, units].

    Args:
        personas: numbers [rows]; None: they have no prompt.

    Returns:
        1 + the persona's number, or 0.
    """
    known = torch.zeros(rows, dtype=torch.long) if personas is None else 1 + personas.long()
    return known[:, None].expand(-1, units)
