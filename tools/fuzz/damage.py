"""Damage to files and messages, as a bad disk, a cut or a stranger does it: to plain data, lines and bytes."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

NUMBERS = [0, 1, -1, 7, 255, 2**31, 2**53, 2**62, 2**63 - 1, -(2**63), 10**9, 10**15, 10**18]
VALUES = [*NUMBERS, None, True, "", "x", "main", "sync", "missing", 1.5, 1e308, [], {}, [1], {"a": 1}, "\u00e9\u2028",
          "</script>", "x" * 2000, "\x00", "a.b", "n/o.p", 10**40, "9" * 60]  # fmt: skip


def spoilt(value: Any, chance: random.Random) -> Any:
    """Plain data with one thing in it changed, left out, renamed or doubled."""
    if isinstance(value, dict) and value and chance.random() < 0.9:
        return _spoilt_mapping(dict(value), chance)
    if isinstance(value, list) and value and chance.random() < 0.9:
        return _spoilt_list(list(value), chance)
    if isinstance(value, int) and not isinstance(value, bool) and chance.random() < 0.6:
        return chance.choice(NUMBERS)
    if isinstance(value, str) and chance.random() < 0.4:
        return chance.choice([value + "x", value[:-1], "", "nowhere", value * 2])
    return chance.choice(VALUES)


def spoilt_bytes(data: bytes, chance: random.Random) -> bytes:
    """Bytes with bits turned, runs of them lost, put in or doubled, or cut."""
    spoiling = bytearray(data)
    for _ in range(chance.choice([1, 1, 3, 20])):
        if not spoiling:
            break
        at, how = chance.randrange(len(spoiling)), chance.random()
        if how < 0.5:
            spoiling[at] ^= 1 << chance.randrange(8)
        elif how < 0.65:
            spoiling[at] = chance.choice([0, 255, 127, 128])
        elif how < 0.75:
            del spoiling[at : at + chance.randrange(1, 200)]
        elif how < 0.85:
            spoiling[at:at] = chance.randbytes(chance.randrange(1, 40))
        elif how < 0.92:
            del spoiling[at:]
        else:
            other = chance.randrange(len(spoiling))
            spoiling[at : at + 100] = spoiling[other : other + 100]
    return bytes(spoiling)


def spoilt_json(text: bytes, chance: random.Random) -> bytes:
    """A JSON text that is one still, but says something else."""
    return json.dumps(spoilt(json.loads(text), chance)).encode()


def spoilt_lines(lines: Sequence[bytes], chance: random.Random) -> bytes:
    """Lines of JSON, some of them spoilt, lost, doubled, or cut off."""
    spoiling = list(lines)
    for _ in range(chance.choice([1, 1, 2, 5])):
        if not spoiling:
            break
        at, how = 0 if chance.random() < 0.35 else chance.randrange(len(spoiling)), chance.random()
        if how < 0.7:
            try:
                spoiling[at] = spoilt_json(spoiling[at], chance)
            except ValueError:
                spoiling[at] = spoilt_bytes(spoiling[at], chance)
        elif how < 0.8:
            spoiling[at] = spoilt_bytes(spoiling[at], chance)
        elif how < 0.87:
            del spoiling[at]
        elif how < 0.94:
            spoiling.insert(at, chance.choice(spoiling))
        else:
            del spoiling[at + 1 :]
    return b"\n".join(spoiling) + b"\n"


def _spoilt_mapping(mapping: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    key, how = chance.choice(list(mapping)), chance.random()
    if how < 0.8:
        mapping[key] = spoilt(mapping[key], chance)
    elif how < 0.9:
        del mapping[key]
    else:
        mapping[chance.choice(["a", "type", "node", f"{key}x"])] = mapping.pop(key)
    return mapping


def _spoilt_list(items: list[Any], chance: random.Random) -> list[Any]:
    at, how = chance.randrange(len(items)), chance.random()
    if how < 0.8:
        items[at] = spoilt(items[at], chance)
    elif how < 0.9:
        del items[at]
    else:
        items.insert(at, items[at])
    return items
