"""Parameters in graph files.

``$name``               the whole value is the graph's parameter ``name``, whatever its type
``a/${name}.mp4``       its text inside a string
``${NAME:default}``     a parameter called NAME if the graph has one; else, for names in capitals, the environment
                        variable; else the default. Read as YAML, so that numbers are numbers
``$$``                  a dollar sign, where one would be misread
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import replace

from ..errors import did_you_mean, listing
from .document import kind_name, scalar
from .marks import Item, Problems

_WHOLE = re.compile(r"\$([A-Za-z_]\w*)\Z|\$\{([A-Za-z_]\w*)(?::([^}]*))?\}\Z")
_INSIDE = re.compile(r"\$\$|\$\{([A-Za-z_]\w*)(?::([^}]*))?\}")
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*\Z")


def resolve_params(tree: Item, given: Mapping[str, Item], problems: Problems) -> dict[str, Item]:
    """The graph's parameters; a value may use the environment and the parameters above it.

    Args:
        given: values that replace the declared ones, taken as they are.
    """
    section = tree.get("params")
    if section is not None and section.value is not None and not section.is_mapping:
        problems.add(section.mark, f"params: found {kind_name(section.value)} (expected name: value)")
    declared = tree.below("params")
    for name, item in given.items():
        if name not in declared:
            problems.add(
                item.key_mark or item.mark,
                f"no parameter '{name}' in the graph {tree.mark.file} (it has: {listing(declared)})"
                f"{did_you_mean(name, declared)}",
            )
    values: dict[str, Item] = {}
    for name, item in declared.items():
        values[name] = given[name] if name in given else substitute(item, values, problems)
    return values


def substitute(item: Item, params: Mapping[str, Item], problems: Problems) -> Item:
    """The tree with every ``$name`` replaced; what replaces it keeps the place where it was written."""
    if item.is_mapping:
        return replace(item, value={k: substitute(v, params, problems) for k, v in item.value.items()})
    if item.is_list:
        return replace(item, value=[substitute(v, params, problems) for v in item.value])
    if not isinstance(item.value, str) or "$" not in item.value:
        return item
    match = _WHOLE.match(item.value)
    if match is not None:
        found = _resolved(match[1] or match[2], match[3], match[2] is not None, item, params, problems)
        return replace(found, key_mark=item.key_mark)

    parts: list[Item] = []

    def text(inside: re.Match[str]) -> str:
        if inside[0] == "$$":
            return "$"
        parts.append(_resolved(inside[1], inside[2], True, item, params, problems))
        found = parts[-1].value
        return str(found).lower() if isinstance(found, bool) else str(found)

    value = _INSIDE.sub(text, item.value)
    return replace(item, value=value, is_secret=any(part.has_secrets for part in parts))


def _resolved(
    name: str, default: str | None, in_braces: bool, item: Item, params: Mapping[str, Item], problems: Problems
) -> Item:
    if name in params:
        return params[name]
    if in_braces and _VARIABLE.match(name):
        if name in os.environ:
            return replace(item, value=scalar(os.environ[name]), folder=None, is_secret=True)
        if default is not None:
            return replace(item, value=scalar(default))
        problems.add(
            item.mark, f"found '{item.value}' (expected the environment variable {name} to be set), set it, "
            f"or give a default: ${{{name}:default}}"
        )  # fmt: skip
        return item
    problems.add(
        item.mark,
        f"found '{item.value}' (the graph's parameters: {listing(params)}), "
        f"declare '{name}' under params{did_you_mean(name, params)}",
    )
    return item
