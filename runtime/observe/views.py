"""Those who look at a run from outside while it goes on: ``wangraph top``, the live timeline and Prometheus."""

from __future__ import annotations

import zmq

from ..errors import RunError
from ..plan.plan import Plan
from .metrics import MetricsServer
from .records import Header, Note
from .statistics import Statistics
from .status import StatusServer, Watched


class Views:
    """Everything that others see of a run; `serve` is called a few times a second, in the run's own thread.

    A run that cannot be found by others runs all the same, and says so in a note.

    Raises:
        MissingExtra, UserError: ``--metrics`` cannot be served.
    """

    def __init__(self, plan: Plan, header: Header, metrics_port: int | None) -> None:
        self.notes: list[Note] = []
        self._metrics = None if metrics_port is None else MetricsServer(metrics_port)
        self._status: StatusServer | None = None
        if self._metrics is not None:
            self.notes.append(Note(0, "supervisor", "metrics", self._metrics.address))
        try:
            self._status = StatusServer(plan, header)
        except (RunError, zmq.ZMQError) as error:
            self.notes.append(Note(0, "supervisor", "warning", f"wangraph top will not find this run: {error}"))

    def close(self) -> None:
        """Nobody finds the run any more."""
        if self._status is not None:
            self._status.close()
        if self._metrics is not None:
            self._metrics.close()

    def news(self, *, is_end: bool = False) -> str:
        """Text of messages of other programs, see `Strangers`."""
        return "" if self._status is None else self._status.strangers.news(is_end=is_end)

    def serve(self, statistics: Statistics, engine: Watched) -> None:
        """Answer who has asked."""
        if self._status is not None:
            self._status.serve(statistics, engine)
        if self._metrics is not None:
            self._metrics.serve(statistics, engine)
