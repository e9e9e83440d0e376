"""Marks of where things were written, and the gathering of mistakes: `Mark`, `Item`, `Problems`."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import GraphError


@dataclass(frozen=True, slots=True)
class Mark:
    """A place as messages name it: ``file:line:column``; without line and column, ``file`` alone."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return ":".join([self.file, *(str(n) for n in (self.line, self.column) if n)])


@dataclass(frozen=True, slots=True)
class Item:
    """A value of a graph file with the place where it stands.

    Attributes:
        value: a scalar, a list of items, or a mapping of items by key.
        mark: where the value begins.
        key_mark: where its key begins, for values of a mapping.
        folder: where the file it was written in lies; None for values given from outside (``--set``, Python).
        is_secret: it, or a part of it, comes from the environment.
    """

    value: Any
    mark: Mark
    key_mark: Mark | None = None
    folder: Path | None = None
    is_secret: bool = False

    @property
    def is_mapping(self) -> bool:
        """True if it holds items by key."""
        return isinstance(self.value, dict)

    @property
    def is_list(self) -> bool:
        """True if it holds items in a row."""
        return isinstance(self.value, list)

    def get(self, key: str) -> Item | None:
        """The item under ``key`` of a mapping; None when there is none, or when this is not a mapping."""
        found = self.value.get(key) if isinstance(self.value, dict) else None
        assert found is None or isinstance(found, Item)
        return found

    def children(self) -> dict[str, Item]:
        """The items of a mapping; nothing of anything else."""
        return self.value if isinstance(self.value, dict) else {}

    def below(self, key: str) -> dict[str, Item]:
        """The items of the mapping under ``key``; nothing where there is none."""
        found = self.get(key)
        return {} if found is None else found.children()

    def having(self, key: str, item: Item) -> Item:
        """This mapping with ``key`` set to ``item``."""
        return replace(self, value={**self.children(), key: item})

    def without(self, *keys: str) -> Item:
        """This mapping less these keys."""
        return replace(self, value={k: v for k, v in self.children().items() if k not in keys})

    @property
    def has_secrets(self) -> bool:
        """True if it, or something in it, comes from the environment."""
        below = self.value.values() if isinstance(self.value, dict) else self.value if self.is_list else ()
        return self.is_secret or any(item.has_secrets for item in below)

    def plain(self) -> Any:
        """The value alone, as ordinary lists and dicts."""
        if isinstance(self.value, dict):
            return {key: item.plain() for key, item in self.value.items()}
        if isinstance(self.value, list):
            return [item.plain() for item in self.value]
        return self.value


def item_of(value: Any, mark: Mark) -> Item:
    """A Python value as an item given from outside."""
    if isinstance(value, dict):
        return Item({str(key): item_of(v, mark) for key, v in value.items()}, mark, mark)
    if isinstance(value, (list, tuple)):
        return Item([item_of(v, mark) for v in value], mark, mark)
    return Item(os.fspath(value) if isinstance(value, Path) else value, mark, mark)


class Problems:
    """Mistakes found so far: a graph's author wants to hear of all of them at once."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, where: object, text: str) -> None:
        """Note one, at ``where``."""
        line = f"{where}: {text}"
        if line not in self.lines:
            self.lines.append(line)

    def raise_any(self) -> None:
        """Raise `GraphError` with one mistake a line, if there are any."""
        if self.lines:
            raise GraphError("\n".join(self.lines))


def shown(path: Path) -> str:
    """A path as messages show it: relative when it lies below the current folder."""
    path = Path(os.path.abspath(path))
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
