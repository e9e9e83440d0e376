"""The world's words, states and gestures as numbers: the vocabulary of the presets that learn in it."""

from __future__ import annotations

from ....wan_core.vocabulary import vocabulary

VOCABULARY = vocabulary("toy_world")
TOKENS = VOCABULARY.tokens
"""Word -> token."""
