"""Kinds of values in a graph file: how each is read, written and described to editors."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from ..errors import did_you_mean, listing
from .document import kind_name
from .marks import Item, Problems

Schema = dict[str, Any]

STAND_IN: Schema = {"$ref": "#/definitions/stand_in"}
"""What may stand in place of a value: a parameter, or null."""

WRONG: Any = object()
"""What a kind gives for a value that it has complained of; a default stands in."""

NAME = re.compile(r"[A-Za-z_][\w-]*(/[A-Za-z_][\w-]*)*\Z")
"""Names of nodes, processes and lanes; ``outer/inner`` after sub-graphs are spliced in."""


@dataclass(frozen=True)
class At:
    """Place of a value: whose key it is, as messages call them; without a key, the owner itself is the value."""

    owner: str
    key: str
    problems: Problems
    remedy: str = ""

    def wrong(self, item: Item, expected: str, hint: str = "") -> Any:
        """Note a value that cannot be, and give `WRONG`."""
        remedy = f", {self.remedy}" if self.remedy else ""
        self.problems.add(
            item.mark, f"{self.where}: found {kind_name(item.plain())} (expected {expected}){remedy}{hint}"
        )
        return WRONG

    @property
    def where(self) -> str:
        """Owner and key."""
        return f"{self.owner}: {self.key}" if self.key else self.owner


@dataclass(frozen=True)
class ValueKind:
    """A kind of value.

    Attributes:
        expected: what it may be, as messages and documents say it.
        parse: the value for the program, of an item; `WRONG` once the mistake is noted.
        schema: JSON Schema of what a file may hold.
        write: the value as a file holds it.
        sample: one, for messages about a key that is missing.
        blank: the same as none; stands in for a required one, so that reading can go on.
    """

    expected: str
    parse: Callable[[Item, At], Any]
    schema: Schema
    write: Callable[[Any], Any] = lambda value: value
    sample: str = "VALUE"
    blank: Any = ""


def plain(
    expected: str,
    take: Callable[[Any], Any],
    schema: Schema,
    *,
    write: Callable[[Any], Any] = lambda value: value,
    sample: str = "VALUE",
    hint: Callable[[Any], str] = lambda value: "",
) -> ValueKind:
    """A kind whose values need no places: ``take`` gives the program's value, or raises ValueError."""

    def parse(item: Item, at: At) -> Any:
        value = item.plain()
        try:
            return take(value)
        except ValueError:
            return at.wrong(item, expected, hint(value))

    return ValueKind(expected, parse, schema, write, sample)


def text(expected: str = "a string", pattern: str = "", sample: str = "TEXT") -> ValueKind:
    """A string; numbers are taken as they are spelled."""

    def take(value: Any) -> str:
        if isinstance(value, (dict, list, bool)) or (pattern and not re.fullmatch(pattern, str(value))):
            raise ValueError(value)
        return str(value)

    schema = {"type": "string", "pattern": f"^(?:{pattern})$"} if pattern else {"type": ["string", "number"]}
    return plain(expected, take, schema, sample=sample)


def whole(least: int, most: int) -> ValueKind:
    """A whole number of a range."""

    def take(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise ValueError(value)
        return value

    schema = {"type": "integer", "minimum": least, "maximum": most}
    return plain(f"a whole number from {least} to {most}", take, schema)


def flag() -> ValueKind:
    """True or false."""

    def take(value: Any) -> bool:
        if not isinstance(value, bool):
            raise ValueError(value)
        return value

    return plain("true or false", take, {"type": "boolean"}, sample="true")


def amount(words: Mapping[str, int | None], most: int) -> ValueKind:
    """A whole number from 1, or a word for one; None: no bound."""

    def take(value: Any) -> int | None:
        if isinstance(value, str) and value in words:
            return words[value]
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            raise ValueError(value)
        return value

    def write(value: int | None) -> int | str | None:
        return next((word for word, number in words.items() if number == value), value)

    schema = {"anyOf": [{"enum": sorted(words)}, {"type": "integer", "minimum": 1, "maximum": most}]}
    return plain(f"{', '.join(words)} or a whole number from 1 to {most}", take, schema, write=write)


def number(most: float, *, is_zero_allowed: bool) -> ValueKind:
    """A number from 0, or above it."""

    def take(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(value)
        if not (0 <= value <= most) or (value == 0 and not is_zero_allowed):
            raise ValueError(value)
        return float(value)

    expected = f"a number from 0 to {most:g}" if is_zero_allowed else f"a number above 0, {most:g} at most"
    schema = {"type": "number", "minimum" if is_zero_allowed else "exclusiveMinimum": 0, "maximum": most}
    return plain(expected, take, schema, write=_short)


def rate(most: int) -> ValueKind:
    """Pictures per second, exact: ``25``, ``12.5`` or ``30000/1001``."""

    def take(value: Any) -> Fraction:
        if isinstance(value, bool) or not isinstance(value, (int, float, str, Fraction)):
            raise ValueError(value)
        try:
            found = Fraction(str(value))
        except ZeroDivisionError:
            raise ValueError(value) from None
        if not Fraction(1, 1000) <= found <= most:
            raise ValueError(value)
        return found

    return plain(
        f"a number from 0.001 to {most}, or a ratio as 30000/1001",
        take,
        {"type": ["number", "string"], "exclusiveMinimum": 0, "maximum": most},
        write=lambda fps: int(fps) if fps.denominator == 1 else str(fps),
    )


def choice(*options: Any) -> ValueKind:
    """One of these."""

    def take(value: Any) -> Any:
        if isinstance(value, bool) or value not in options:
            raise ValueError(value)
        return value

    words = [str(option) for option in options]
    return plain(
        listing(words) if len(words) == 1 else f"one of: {listing(words)}",
        take,
        {"enum": list(options)},
        hint=lambda value: did_you_mean(str(value), words),
    )


def names(least: int = 1) -> ValueKind:
    """A list of names, each once."""

    def take(value: Any) -> tuple[str, ...]:
        if not isinstance(value, list) or not all(isinstance(v, str) and NAME.match(v) for v in value):
            raise ValueError(value)
        if len(set(value)) < len(value) or len(value) < least:
            raise ValueError(value)
        return tuple(value)

    schema = {"type": "array", "items": {"type": "string"}, "minItems": least}
    return plain("a list of names, each once", take, schema, write=list)


def processors() -> ValueKind:
    """Numbers of processors, as ``taskset`` takes them: ``0``, ``0-3``, ``0-3,8``, or a list."""
    spans = r"\d{1,4}(-\d{1,4})?(,\d{1,4}(-\d{1,4})?)*"

    def take(value: Any) -> tuple[int, ...]:
        if isinstance(value, str) and re.fullmatch(spans, value):
            ends = [part.split("-") for part in value.split(",")]
            found = [cpu for end in ends for cpu in range(int(end[0]), int(end[-1]) + 1)]
        else:
            found = value if isinstance(value, list) else [value]
        if any(isinstance(cpu, bool) or not isinstance(cpu, int) or not 0 <= cpu < 10_000 for cpu in found):
            raise ValueError(value)
        if not found or len(set(found)) < len(found):
            raise ValueError(value)
        return tuple(sorted(found))

    one: Schema = {"type": "integer", "minimum": 0}
    schema = {
        "anyOf": [one, {"type": "string", "pattern": f"^(?:{spans})$"}, {"type": "array", "items": one, "minItems": 1}]
    }
    return plain("numbers as 0, 0-3 or [0, 2], each once", take, schema, write=list)


def levels() -> ValueKind:
    """A ladder: mappings with the same keys."""

    def take(value: Any) -> tuple[dict[str, Any], ...]:
        if not isinstance(value, list) or not all(isinstance(level, dict) and level for level in value):
            raise ValueError(value)
        if len({frozenset(level) for level in value}) > 1:
            raise ValueError(value)
        return tuple(value)

    return plain(
        "a list as [{steps: 4}, {steps: 2}], with the same parameters in each",
        take,
        {"type": "array", "items": {"anyOf": [{"type": "object"}, STAND_IN]}},
        write=lambda ladder: [dict(level) for level in ladder],
    )


def port() -> ValueKind:
    """The name of a port, ``NODE.PORT``."""
    return plain("NODE.PORT", _port, {"type": "string"}, sample="NODE.PORT")


def named(item: Item, at: At, pattern: re.Pattern[str] | None = NAME) -> dict[str, Item]:
    """The items of a mapping by name; none, and a complaint, of anything else."""
    if item.value is not None and not item.is_mapping:
        at.wrong(item, "a mapping by name")
    for name, child in item.children().items():
        if pattern is not None and not pattern.match(name):
            at.problems.add(
                child.key_mark or child.mark,
                f"{at.where}: found the name '{name}' (expected letters, digits, - and _, a letter first)",
            )
    return item.children()


def _port(value: Any) -> str:
    if not isinstance(value, str) or "." not in value.strip("."):
        raise ValueError(value)
    return value


def _short(value: float) -> int | float:
    return int(value) if float(value).is_integer() else value
