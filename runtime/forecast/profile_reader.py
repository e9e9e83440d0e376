"""Reads one mapping of a profile by key, with types; mistakes are noted and a default stands in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import did_you_mean, listing
from ..plan.document import kind_name
from ..plan.marks import Item, Mark, Problems
from .profile import LONGEST_MS


class Reader:
    """A mapping whose keys are known.

    Args:
        item: the mapping; null stands for an empty one.
        where: how messages call it.
        keys: allowed keys; others are noted as mistakes, and listed as available.
    """

    def __init__(self, item: Item, where: str, keys: Sequence[str], problems: Problems) -> None:
        self.item = item
        self.where = where
        self.problems = problems
        if not item.is_mapping and item.value is not None:
            problems.add(item.mark, f"{where}: found {kind_name(item.value)} (expected a mapping of: {listing(keys)})")
        for key, child in item.children().items():
            if key not in keys:
                problems.add(
                    child.key_mark or child.mark,
                    f"{where}: unknown key '{key}' (expected: {listing(keys)}){did_you_mean(key, keys)}",
                )

    def mark(self, key: str) -> Mark:
        """Place of the value of ``key``, or of the mapping itself."""
        child = self.item.get(key)
        return self.item.mark if child is None else child.mark

    def text(self, key: str, default: Any) -> Any:
        """A string; numbers are taken as they are spelled."""
        value = self._value(key)
        if value is None:
            return default
        if isinstance(value, (dict, list, bool)):
            return self._wrong(key, "a string", default)
        return str(value)

    def integer(self, key: str, default: Any) -> Any:
        """A whole number."""
        value = self._value(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int):
            return self._wrong(key, "a whole number", default)
        return value

    def number(self, key: str, default: Any) -> Any:
        """A number."""
        value = self._value(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return self._wrong(key, "a number", default)
        if not abs(value) <= LONGEST_MS:
            return self._wrong(key, f"a number up to {LONGEST_MS}", default)
        return float(value)

    def strings(self, key: str, default: tuple[str, ...]) -> tuple[str, ...]:
        """A list of strings."""
        child = self.item.get(key)
        if child is None or child.value is None:
            return default
        values = child.plain()
        if not isinstance(values, list) or not values or not all(isinstance(v, str) for v in values):
            return tuple(self._wrong(key, "a list of names", default))
        return tuple(values)

    def named(self, key: str) -> dict[str, Item]:
        """A mapping of anything by name."""
        child = self.item.get(key)
        if child is None or child.value is None:
            return {}
        if not child.is_mapping:
            self._wrong(key, "a mapping", None)
        return child.children()

    def _value(self, key: str) -> Any:
        child = self.item.get(key)
        return None if child is None else child.value

    def _wrong(self, key: str, expected: str, default: Any) -> Any:
        found = kind_name(self._value(key))
        self.problems.add(self.mark(key), f"{self.where}: {key}: found {found} (expected {expected})")
        return default
