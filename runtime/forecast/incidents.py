"""Incidents of a simulated run: sessions that join and leave, processes that die and come back, fences."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Session:
    """A session of ``units`` units from ``first_unit`` on. ``joins_ns``: when all processes are told to begin it, which
    may make its first unit later; None: they have known of it from the start."""

    number: int
    first_unit: int
    units: int
    joins_ns: int | None = None

    @property
    def limit(self) -> int:
        """The unit at which its sources end."""
        return self.first_unit + self.units


@dataclass(frozen=True)
class Dies:
    """A process is gone at an instant.

    ``noticed_ns`` later that is known (its exit is seen at once, a frozen one is killed after units without a sign);
    for ``silent_ns`` before, no record of it came through.
    """

    process: str
    at_ns: int
    noticed_ns: int = 0
    silent_ns: int = 0


@dataclass(frozen=True)
class Returns:
    """A process is there again, open and warm; it is let in once it was known to be dead."""

    process: str
    at_ns: int


@dataclass(frozen=True)
class Leaves:
    """The sources of a session are told to end at ``unit``."""

    session: int
    at_ns: int
    unit: int


@dataclass(frozen=True)
class Fences:
    """A fence on streams of a session, from ``first_unit`` on."""

    session: int
    at_ns: int
    streams: tuple[str, ...]
    first_unit: int


Incident = Dies | Returns | Leaves | Fences
