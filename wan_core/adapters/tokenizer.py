"""The tokenizer in a language model's folder: what is typed and said is then in its words.

Needs the package tokenizers, which comes with transformers, and imports no torch.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ..errors import ModelError
from .folder import require

FILE, CONFIG = "tokenizer.json", "tokenizer_config.json"
UNFINISHED = "\N{REPLACEMENT CHARACTER}"
"""What decoding shows for a character of which some bytes are still to come."""
LONGEST = 4
"""A character has no more bytes than this, so that what is unfinished after so many tokens is no character."""


class FolderLanguage:
    """A `text.Language`. Made by `load_language`.

    Attributes:
        pad: nothing typed, nothing said: the folder's padding token, or the one that ends its texts.
        enter: the end of a typed line: its line break.
        stop: none: a language model has no token for being stopped.
        size: tokens that it knows.
    """

    def __init__(self, tokenizer: Any, pad: int) -> None:
        self._tokenizer, self.pad = tokenizer, pad
        self.size: int = tokenizer.get_vocab_size()
        self.stop: tuple[int, ...] = ()
        self.enter: tuple[int, ...] = tuple(self._encoded("\n")) or (pad,)

    def tokens_of(self, line: str, goes_on: bool = False) -> list[int]:
        """Tokens of a typed line without its end; ``goes_on``: of words that follow others."""
        words = line.strip()
        return self._encoded(f" {words}" if goes_on and words else words)

    def new_reader(self) -> Callable[[int], str]:
        """Token by token, what is said: pieces of words to be joined as they are; nothing for special tokens.

        A character that takes several tokens comes with the last of them.
        """
        waiting: list[int] = []

        def read(token: int) -> str:
            waiting.append(token)
            text: str = self._tokenizer.decode(waiting, skip_special_tokens=True)
            if text.endswith(UNFINISHED) and len(waiting) < LONGEST:
                return ""
            waiting.clear()
            return text

        return read

    def _encoded(self, text: str) -> list[int]:
        ids: Iterable[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return list(ids)


def check_language(path: str | Path) -> None:
    """Pass if the folder has a tokenizer, unread.

    Raises:
        ModelError: it has none.
    """
    folder = Path(path).expanduser()
    if not (folder / FILE).is_file():
        what = f"no {FILE}" if folder.is_dir() else "no such folder"
        raise ModelError(f"tokenizer {path}: {what} (expected the folder of a language model, with {FILE})")


def load_language(path: str | Path, n_words: int) -> FolderLanguage:
    """The tokenizer in this folder, for a model that knows so many tokens.

    Raises:
        ModelError: there is none, it cannot be read, names no padding token, or has more tokens than the model.
    """
    check_language(path)
    folder = Path(path).expanduser()
    tokenizers = require("tokenizers")
    try:
        tokenizer = tokenizers.Tokenizer.from_file(str(folder / FILE))
    except Exception as error:  # the package raises nothing narrower
        raise ModelError(f"tokenizer {folder / FILE}: cannot be read ({error}), copy it again") from error
    language = FolderLanguage(tokenizer, _pad(tokenizer, folder, path))
    if language.size > n_words:
        raise ModelError(
            f"tokenizer {path}: found {language.size} tokens (expected {n_words} or fewer, as the model has), "
            "name the folder that the checkpoint was made from"
        )
    return language


def _pad(tokenizer: Any, folder: Path, path: str | Path) -> int:
    file = folder / CONFIG
    try:
        config = json.loads(file.read_text()) if file.is_file() else {}
    except (OSError, ValueError) as error:
        raise ModelError(f"tokenizer {file}: cannot be read ({error}), copy it again") from error
    for key in ("pad_token", "eos_token"):
        name = config.get(key)
        token = tokenizer.token_to_id(name.get("content") if isinstance(name, dict) else name) if name else None
        if token is not None:
            return int(token)
    raise ModelError(
        f"tokenizer {path}: no pad_token or eos_token in {CONFIG} (expected one), it stands for nothing typed or said"
    )
