"""Streaming as a mode of the same module: one explicit `State`, one ``forward`` for both.

A stateful module has ``new_state(batch)`` and takes the state as an argument:

    y, state = module(x, state)        # x is any number of whole steps; None is the beginning

Cutting x anywhere between steps gives the same y. The module itself keeps nothing, so one set of weights serves any
number of sessions, and a state that was given in stays valid: a unit that fails or is cancelled leaves no trace.
(Modules too large to copy, as a key-value cache, may write into their state in place; they say so.)

**A fresh state is all zeros**, so that a session, or one row of a batch, begins anew by being zeroed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Self

import torch
from torch import Tensor

from .errors import ModelError


@dataclass
class State:
    """State of a module: what it knows about the past.

    Subclasses are dataclasses whose fields are tensors with the batch first, ints common to all rows (positions),
    other States, or tuples of States. They own their tensors: no field is a view of what a caller gave.
    """

    def save(self) -> dict[str, Tensor]:
        """A copy of everything as a flat dict; nested names are joined by dots (``layers.0.past``)."""
        return {name: _as_tensor(owner._saved(key)) for name, owner, key in self._leaves()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over a copy of what `save` gave; self is a state of the same module and batch.

        Raises:
            ModelError: names or shapes differ; self is then unchanged.
        """
        leaves = list(self._leaves())
        names = [name for name, _, _ in leaves]
        if set(names) != set(tensors):
            wrong = ", ".join(sorted(set(names) ^ set(tensors)))
            raise ModelError(f"state of {type(self).__name__}: names differ: {wrong} (expected {', '.join(names)})")
        for name, owner, key in leaves:
            found = list(tensors[name].shape)
            expected = owner._expected(key, found)
            if found != expected:
                raise ModelError(f"state of {type(self).__name__}: '{name}' is {found} (expected {expected})")
        for name, owner, key in leaves:
            value = getattr(owner, key)
            if isinstance(value, int):
                setattr(owner, key, int(tensors[name]))
            else:
                setattr(owner, key, owner._restored(key, tensors[name].to(value.device, value.dtype, copy=True)))

    def reset(self, rows: Sequence[int] | None = None) -> None:
        """Begin anew: the given rows of the batch, or all of it (which also zeroes the positions)."""
        for _, owner, key in self._leaves():
            value = getattr(owner, key)
            if isinstance(value, int):
                setattr(owner, key, value if rows is not None else 0)
            elif rows is None:
                setattr(owner, key, torch.zeros_like(value))
            else:
                setattr(owner, key, value.index_fill(0, torch.tensor(rows, device=value.device), 0))

    def adopt(self, later: Self) -> None:
        """Become ``later`` (a state of the same module) by reference: how a session moves on by one unit."""
        for item in fields(self):
            setattr(self, item.name, getattr(later, item.name))

    def _saved(self, key: str) -> Tensor | int:
        """Part of a field that is saved; states with room to spare override this and the next two."""
        value: Tensor | int = getattr(self, key)
        return value

    def _expected(self, key: str, found: list[int]) -> list[int]:
        """The shape that a saved field must have, given the one it has."""
        value = getattr(self, key)
        return [] if isinstance(value, int) else list(value.shape)

    def _restored(self, key: str, saved: Tensor) -> Tensor:
        """The field made of what was saved."""
        return saved

    def _leaves(self, prefix: str = "") -> Iterator[tuple[str, State, str]]:
        """(full name, owner, field name) of every tensor and int."""
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, State):
                yield from value._leaves(f"{prefix}{item.name}.")
            elif isinstance(value, tuple):
                for index, part in enumerate(value):
                    yield from part._leaves(f"{prefix}{item.name}.{index}.")
            else:
                yield f"{prefix}{item.name}", self, item.name


def _as_tensor(value: Tensor | int) -> Tensor:
    return value.detach().clone() if isinstance(value, Tensor) else torch.tensor(value)
