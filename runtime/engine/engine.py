"""Interface of what runs a plan: processes of their own under a supervisor, or the calling process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ..observe.records import NodeStatus, Record
from ..packet import Packet
from .commands import Fence

NodeReport = tuple[str, str, str]
"""What a node reported: (node, key, text)."""

Usage = dict[str, dict[str, float | int]]
"""Per process: pid, CPU seconds, resident megabytes, restarts."""


class Engine(Protocol):
    """Runs a plan once.

    Attributes:
        reports: of the nodes, so far.
        gave_up: an ordered stop did not come to its end, and what was under way is lost.
        is_ready: every node is open and warm.
    """

    reports: list[NodeReport]
    gave_up: bool
    is_ready: bool

    @property
    def origin_ns(self) -> int:
        """The beginning of unit 0 on the machine's monotonic clock; 0 while it is not known, or has no place there."""
        ...

    @property
    def usage(self) -> Usage:
        """Resources that each process uses."""
        ...

    @property
    def statuses(self) -> list[NodeStatus]:
        """State of every node, as far as `watch` had it reported."""
        ...

    def watch(self, for_ms: int) -> None:
        """Have `statuses` reported for so long."""
        ...

    def run(self) -> None:
        """Run to the end.

        Raises:
            WangraphError: what ended the run before its time; processes are gone and files closed by then.
        """
        ...


class Observer(Protocol):
    """Takes what an engine gives while it runs."""

    def take(self, records: Sequence[Record]) -> None:
        """Records, in the order in which they were collected. Called in the engine's thread, several times a second."""
        ...

    def tap(self, packet: Packet) -> None:
        """A packet of a tapped stream, as it settled. From any thread; it may lie in shared memory."""
        ...

    def fenced(self, fence: Fence) -> None:
        """A fence was raised. Called at once, before the records of it come."""
        ...

    def poll(self) -> None:
        """A few times a second, in the engine's thread: serve those who watch the run."""
        ...
