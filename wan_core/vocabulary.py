"""Meaning of a model's tokens: the words that are typed and said, the states and gestures of its events.

A vocabulary is data: that of a preset is ``vocabularies/NAME.json`` beside this file, that of a checkpoint is in its
header. Tokens are places in it, and weights are learned by place: entries are never moved. Imports no torch.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from importlib import resources
from typing import Any

from .errors import ModelError

PAD, ENTER, STOP, UNKNOWN = range(4)
"""The first four tokens of every vocabulary: nothing typed or said, the end of a typed line, the agent breaks off
because it was interrupted, or the user has it stop, a typed word that is not in the vocabulary."""
CONTROL = ("<pad>", "<enter>", "<stop>", "<unknown>")
NO_GESTURE = 0
"""The first gesture of every vocabulary is none."""

_DISPLAYED = {PAD: "", ENTER: "", STOP: "—", UNKNOWN: "?"}
_PIECE = re.compile(r"\d|[^\W\d_]+(?:-[^\W\d_]+)*")


@dataclass(frozen=True)
class Vocabulary:
    """Words, states and gestures by their numbers. It is a `text.Language`.

    Attributes:
        words: the `CONTROL` symbols, then words; a token is a place in this list.
        states: what an agent can be doing: the first half of an event.
        gestures: what its face can do besides, the first is none: the second half.
        spelling: other ways to type a word, digits among them.
    """

    words: tuple[str, ...]
    states: tuple[str, ...]
    gestures: tuple[str, ...]
    spelling: Mapping[str, str] = field(default_factory=dict, hash=False)

    pad, enter, stop = PAD, (ENTER,), (STOP,)

    def __post_init__(self) -> None:
        if self.words[: len(CONTROL)] != CONTROL:
            raise ModelError(
                f"vocabulary: found {', '.join(self.words[:4]) or 'no words'} first (expected {', '.join(CONTROL)})"
            )
        for entries in (self.words, self.states, self.gestures):
            twice = sorted({entry for entry in entries if entries.count(entry) > 1})
            if twice:
                raise ModelError(f"vocabulary: found '{twice[0]}' twice (expected each entry once)")
        strange = sorted(set(self.spelling.values()) - set(self.words))
        if strange:
            raise ModelError(f"vocabulary: found spelling of '{strange[0]}' (expected one of its words)")

    @cached_property
    def tokens(self) -> dict[str, int]:
        """Word -> token."""
        return {word: token for token, word in enumerate(self.words)}

    @property
    def known_words(self) -> tuple[str, ...]:
        """The words without the control symbols."""
        return self.words[len(CONTROL) :]

    def tokens_of(self, line: str, goes_on: bool = False) -> list[int]:
        """Tokens of a typed line, without its `ENTER`: case and punctuation ignored, ``42`` read digit by digit."""
        return [self._token(piece) for piece in _PIECE.findall(line.lower())]

    def unknown_in(self, text: str) -> list[str]:
        """The words of a text that are not in the vocabulary, in order, each once."""
        pieces = dict.fromkeys(_PIECE.findall(text.lower()))
        return [piece for piece in pieces if self._token(piece) == UNKNOWN]

    def word_of(self, token: int) -> str:
        """Word displayed for a token that the agent says, ``""`` for nothing, a dash where it breaks off.

        Raises:
            IndexError: no such token.
        """
        return _DISPLAYED[token] if token in _DISPLAYED else self.words[token]

    def new_reader(self) -> Callable[[int], str]:
        """Reader of tokens as by `word_of`; one beyond the vocabulary, of a larger table, is displayed by number."""
        return lambda token: self.word_of(token) if token < len(self.words) else f"<{token}>"

    def state(self, name: str) -> int:
        """The number of a state.

        Raises:
            ValueError: there is none of that name.
        """
        return self.states.index(name)

    def gesture(self, name: str) -> int:
        """The number of a gesture.

        Raises:
            ValueError: there is none of that name.
        """
        return self.gestures.index(name)

    def to_json(self) -> str:
        """JSON as a checkpoint's header keeps it; `from_json` reads it again."""
        return json.dumps(asdict(self), ensure_ascii=False)

    def _token(self, piece: str) -> int:
        piece = str(int(piece)) if piece.isdecimal() else piece
        return self.tokens.get(self.spelling.get(piece, piece), UNKNOWN)


def from_json(where: str, text: str) -> Vocabulary:
    """The vocabulary that is written in ``text``.

    Args:
        where: named in messages.

    Raises:
        ModelError: it is none.
    """
    try:
        found = json.loads(text)
        spelling = {str(key): str(word) for key, word in found.get("spelling", {}).items()}
        words, states, gestures = (_strings(found[name]) for name in ("words", "states", "gestures"))
        return Vocabulary(words, states, gestures, spelling)
    except ModelError as error:
        raise ModelError(f"{where}: {error}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        names = ", ".join(each.name for each in fields(Vocabulary))
        raise ModelError(f"{where}: found no vocabulary (expected JSON with {names}), save it again") from error


def _strings(found: Any) -> tuple[str, ...]:
    if not isinstance(found, list) or not all(isinstance(entry, str) for entry in found):
        raise TypeError(found)
    return tuple(found)


@functools.cache
def vocabulary(name: str) -> Vocabulary:
    """The vocabulary that presets know by this name.

    Raises:
        ModelError: there is none.
    """
    folder = resources.files(__package__) / "vocabularies"
    file = folder / f"{name}.json"
    if not file.is_file():
        known = sorted(path.name.removesuffix(".json") for path in folder.iterdir())
        raise ModelError(f"vocabulary: found '{name}' (available: {', '.join(known)})")
    return from_json(f"vocabulary '{name}'", file.read_text(encoding="utf-8"))
