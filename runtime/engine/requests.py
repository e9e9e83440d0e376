"""Requests of nodes to the run that they are part of, and where they go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from .control import NodeRequest


class Requests(Protocol):
    """Takes what nodes ask of the run that they are part of. From any thread."""

    def fence(self, streams: Sequence[str], first_unit: int = 0) -> None:
        """Drop what these streams carry of ``first_unit`` and later, was begun before, and has not settled."""
        ...

    def stop(self, reason: str = "") -> None:
        """End the run in order."""
        ...


class NoRequests:
    """A node alone, without a run: what it asks for is dropped."""

    def fence(self, streams: Sequence[str], first_unit: int = 0) -> None:
        """Nothing to drop."""

    def stop(self, reason: str = "") -> None:
        """Nothing to end."""


NO_REQUESTS = NoRequests()


class ForwardedRequests:
    """Requests of this process's nodes to the run, on their way to the supervisor."""

    def __init__(self, forward: Callable[[NodeRequest], None]) -> None:
        self._forward = forward

    def fence(self, streams: Sequence[str], first_unit: int = 0) -> None:
        """Ask for a fence."""
        self._forward(NodeRequest(list(streams), first_unit))

    def stop(self, reason: str = "") -> None:
        """Ask for the run's end."""
        self._forward(NodeRequest([], reason=reason))
