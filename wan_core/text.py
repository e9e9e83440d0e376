"""The language of the world: a fixed, ordered vocabulary of words and control symbols. Imports no torch.

The order is part of every checkpoint: entries are never moved. Users type a line; it becomes a queue of tokens, one
of which reaches the model per unit, and `ENTER` ends it. The agent says one token per unit, mostly `PAD`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

PAD = 0
"""Nothing typed, nothing said."""
ENTER = 1
"""The end of a typed line."""
STOP = 2
"""The agent breaks off because it was interrupted."""
UNKNOWN = 3
"""A typed word that is not in the vocabulary."""

_CONTROL = ("<pad>", "<enter>", "<stop>", "<unknown>")
_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")

WORDS: tuple[str, ...] = (
    *_CONTROL,
    *_DIGITS,
    "yes", "no",
    "red", "green", "blue", "yellow",
    "mm-hmm", "okay", "right", "aha",
    "hello", "goodbye", "please", "thanks",
    "stop", "wait", "over", "go", "on", "again",
    "what", "which", "who", "where", "is", "are", "it", "this", "that", "the", "a",
    "i", "you", "my", "your", "see", "hear", "say", "colour", "card", "number", "hand", "name", "and", "not",
    "now", "later", "sorry", "done",
)  # fmt: skip
"""Token -> word."""

TOKENS: dict[str, int] = {word: token for token, word in enumerate(WORDS)}
"""Word -> token."""

EVENT_STATES: tuple[str, ...] = ("idle", "listen", "backchannel", "speak", "stop")
"""First half of an event: what the agent is doing."""

GESTURES: tuple[str, ...] = ("none", "blink", "nod")
"""Second half of an event: what its face does besides."""

_SPELLING = {"color": "colour", "ok": "okay", "bye": "goodbye", "hi": "hello", "uh-huh": "mm-hmm", "hm": "mm-hmm"}
_SAID = {PAD: "", ENTER: "", STOP: "—", UNKNOWN: "?"}
_PIECE = re.compile(r"\d|[^\W\d_]+(?:-[^\W\d_]+)*")


def tokens_of(line: str) -> list[int]:
    """Tokens of a typed line, without its `ENTER`: case and punctuation ignored, ``42`` read digit by digit."""
    return [_token(piece) for piece in _PIECE.findall(line.lower())]


def _token(piece: str) -> int:
    if piece.isdecimal():
        return TOKENS[_DIGITS[int(piece)]]
    return TOKENS.get(_SPELLING.get(piece, piece), UNKNOWN)


def word_of(token: int) -> str:
    """What is shown for a token the agent said: a word, ``""`` for nothing, a dash where it broke off.

    Raises:
        IndexError: no such token.
    """
    return _SAID[token] if token in _SAID else WORDS[token]


def line_of(tokens: Iterable[int]) -> str:
    """The words of these tokens, separated by blanks."""
    return " ".join(word for word in map(word_of, tokens) if word)


class Language(Protocol):
    """What typed lines and spoken tokens are read with: the words of the world, or a language model's tokenizer."""

    @property
    def pad(self) -> int:
        """Nothing typed, nothing said."""
        ...

    @property
    def enter(self) -> Sequence[int]:
        """The end of a typed line."""
        ...

    def tokens_of(self, line: str, goes_on: bool = False) -> list[int]:
        """Tokens of a typed line without its end; ``goes_on``: of words that follow others."""
        ...

    def new_reader(self) -> Callable[[int], str]:
        """What is shown for each token of a session, in turn; ``""`` for nothing."""
        ...


class WorldLanguage:
    """The vocabulary above. Tokens beyond it, of a model that knows more, are shown by number."""

    pad, enter = PAD, (ENTER,)

    def tokens_of(self, line: str, goes_on: bool = False) -> list[int]:
        """As the function of this name."""
        return tokens_of(line)

    def new_reader(self) -> Callable[[int], str]:
        """As `word_of`."""
        return lambda token: word_of(token) if token < len(WORDS) else f"<{token}>"


WORLD_LANGUAGE = WorldLanguage()


class TypedText:
    """What the user has typed and the model has not read yet: first in, first out, one token per unit.

    Attributes:
        waiting: tokens still to be read, the next one first.
    """

    def __init__(self, waiting: Iterable[int] = (), language: Language = WORLD_LANGUAGE) -> None:
        self.waiting = list(waiting)
        self._language = language
        self._is_open = False

    def type(self, text: str) -> None:
        """Add lines; every one of them, blank ones apart, gets its end.

        A text that ends with a blank is the beginning of a line that goes on with the next text: what somebody types
        while it is typed, word by word and then ``"\\n"``.
        """
        for line in text.splitlines(keepends=True):
            tokens = self._language.tokens_of(line, self._is_open)
            self.waiting += tokens
            self._is_open |= bool(tokens)
            if self._is_open and not line.endswith(" "):
                self.waiting += self._language.enter
                self._is_open = False

    def next(self) -> int:
        """The token of this unit; padding when there is none."""
        return self.waiting.pop(0) if self.waiting else self._language.pad
