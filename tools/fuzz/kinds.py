"""Kinds of input that are fuzzed, by name."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from ...runtime.errors import UserError, did_you_mean, listing
from .reader import Reader

KINDS: dict[str, str] = {
    "wire": "wire:Wire",
    "graphs": "graphs:Graphs",
    "traces": "traces:Traces",
    "recordings": "recordings:Recordings",
    "profiles": "profiles:Profiles",
    "checkpoints": "checkpoints:Checkpoints",
    "page": "messages:Page",
    "agent": "messages:Agent",
}
"""``module:Class``, imported when it is made: some need packages that others do without."""


def make_reader(kind: str, folder: Path) -> Reader:
    """The reader of a kind, with a folder of its own."""
    module, _, name = KINDS[kind].partition(":")
    reader = getattr(import_module(f".{module}", __package__), name)(folder)
    assert isinstance(reader, Reader)
    return reader


def parse_kinds(only: str | None) -> list[str]:
    """``traces,wire`` as names, in the order of `KINDS`; all without.

    Raises:
        UserError: one of them is none.
    """
    names = list(KINDS) if only is None else [name.strip() for name in only.split(",")]
    for name in names:
        if name not in KINDS:
            hint = did_you_mean(name, KINDS)
            raise UserError(f"--only: found '{name}' (expected one or more of: {listing(KINDS)}){hint}")
    return [name for name in KINDS if name in names]
