"""Typed text on its way into the model: lines become a queue of tokens, one of which is read per unit. No torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

STOP_KEY = "\x03"
"""Character by which a user stops the agent: what Ctrl-C types (ETX). What was typed before and not read is dropped."""


class Language(Protocol):
    """Words of typed lines and spoken tokens: a vocabulary, or a language model's tokenizer."""

    @property
    def pad(self) -> int:
        """Nothing typed, nothing said."""
        ...

    @property
    def enter(self) -> Sequence[int]:
        """The end of a typed line."""
        ...

    @property
    def stop(self) -> Sequence[int]:
        """The stop key; empty: the model knows none, and `STOP_KEY` only drops what waits."""
        ...

    def tokens_of(self, line: str, goes_on: bool = False) -> list[int]:
        """Tokens of a typed line without its end; ``goes_on``: of words that follow others."""
        ...

    def new_reader(self) -> Callable[[int], str]:
        """Reader of a session's tokens, each as it is displayed, in turn; ``""`` for nothing."""
        ...


class NumberedTokens:
    """The `Language` of a model of whose words nothing is known: tokens are displayed by number, nothing is typed."""

    pad = 0
    enter: tuple[int, ...] = ()
    stop: tuple[int, ...] = ()

    def tokens_of(self, line: str, goes_on: bool = False) -> list[int]:
        """None, whatever the line is."""
        return []

    def new_reader(self) -> Callable[[int], str]:
        """``<42>``."""
        return lambda token: f"<{token}>"


class TypedText:
    """Typed text that the model has not read yet: first in, first out, one token per unit.

    Attributes:
        waiting: tokens still to be read, the next one first.
    """

    def __init__(self, language: Language, waiting: Iterable[int] = ()) -> None:
        self.waiting = list(waiting)
        self._language = language
        self._is_open = False

    def type(self, text: str) -> None:
        """Add lines; every one of them, blank ones apart, gets its end.

        A text that ends with a blank is the beginning of a line that goes on with the next text: what somebody types
        while it is typed, word by word and then ``"\\n"``. A `STOP_KEY` in it is read next, and drops what came before.
        """
        *_, text = parts = text.split(STOP_KEY)
        if len(parts) > 1:
            self.waiting, self._is_open = list(self._language.stop), False
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
