"""The words of the world: what users say, what the agent answers."""

from __future__ import annotations

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
COLOURS = ("red", "green", "blue", "yellow")
ANSWERS = ("yes", "no")
BACKCHANNELS = ("mm-hmm", "okay")
CLOSING = "please"
"""Ends a turn in words, where another turn ends by its falling melody alone."""
ASIDES = ("coffee", "later", "monday", "window")
"""Said only to somebody else; side talk is made of digits too, so that words alone do not give it away."""

USER_WORDS = (*DIGITS, *COLOURS, *BACKCHANNELS, CLOSING, *ASIDES)
AGENT_WORDS = (*DIGITS, *COLOURS, *ANSWERS, BACKCHANNELS[0])


def answer(word: str, card: str | None, rule: int = 1) -> str:
    """Answer of the agent to a word: a digit plus ``rule``; yes or no to a colour, as the ``card`` in view is it."""
    if word in DIGITS:
        return DIGITS[(DIGITS.index(word) + rule) % 10]
    return "yes" if word == card else "no"
