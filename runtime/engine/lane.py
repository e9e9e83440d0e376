"""A lane: one thread of a process, running the bodies that the scheduler hands to it, one at a time."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping

from ..channel.transport import Poller
from ..schedule.decide import Fire
from ..schedule.scheduler import Result
from .body import Body
from .calls import CallBoard
from .mailbox import Arrive, Mailbox

_log = logging.getLogger("wangraph.lane")

Finish = Callable[["Lane", Fire, Result], None]
"""Tells the process that a body is done; gives the lane its next fire, if there is one, by `Lane.give`."""


class Lane:
    """Opens its nodes, runs what `give` hands to it, closes them; all in its own thread.

    Attributes:
        doing: in words, what its thread does besides the calls of the scheduler; empty: nothing.
        closing_at: when it began to close the node that it closes, on the monotonic clock; None while it closes none.

    Args:
        name: ``process/lane``.
        calls: where the call that goes on is written down.
        bodies: its nodes, in data-flow order.
        lock: the process's lock; held by the caller of `give` and `leave`.
        opening: called in the thread before each node is opened, with its name.
        open_body: opens a body.
        opened: called in the thread when all its nodes are open and warm.
        finish: called in the thread, without the lock, after each body.
        failed: called in the thread with what a body raised; the lane runs no more bodies then.
    """

    def __init__(
        self,
        name: str,
        bodies: Mapping[str, Body],
        lock: threading.Lock,
        calls: CallBoard,
        *,
        opening: Callable[[str], None],
        open_body: Callable[[Body], None],
        opened: Callable[[Lane], None],
        finish: Finish,
        failed: Callable[[BaseException], None],
    ) -> None:
        self.name = name
        self.bodies = bodies
        self.is_idle = False
        self.doing = ""
        self.closing_at: float | None = None
        self._calls = calls
        self._lock = lock
        self._given = Mailbox()
        self._opening, self._open_body = opening, open_body
        self._opened, self._finish, self._failed = opened, finish, failed
        self.thread = threading.Thread(target=self._live, name=f"lane {name}", daemon=True)

    def give(self, fire: Fire) -> None:
        """Hand over the next call. The lock is held, the lane is idle."""
        assert self.is_idle, self.name
        self.is_idle = False
        self._given.put(fire)

    def post(self, call: Callable[[], None]) -> None:
        """Make a call in the lane's thread, between two bodies: as soon as the body that runs is done. From any
        thread."""
        self._given.put(call)

    def listen(self, poller: Poller | None, arrive: Arrive) -> None:
        """Receive packets from other processes while it has nothing to do, from now on."""
        self._given.listen(poller, arrive)

    def leave(self) -> None:
        """Close the nodes and end, after the calls that were given."""
        self._given.put(None)

    def _live(self) -> None:
        self._calls.end(self.name)  # what a life before was computing when it died
        try:
            for name, body in self.bodies.items():
                self._opening(name)
                self.doing = f"node '{name}': being opened"
                self._open_body(body)
            self.doing = ""
            # idle before it is announced: the first dispatch may come with the announcement
            with self._lock:
                self.is_idle = True
            self._opened(self)
            while (given := self._given.get()) is not None:
                if isinstance(given, Fire):
                    self._calls.begin(self.name, given)
                    result = self.bodies[given.node].run(given)
                    self._calls.end(self.name)
                    self._finish(self, given, result)
                else:
                    self.doing = "a call between two units"
                    given()
                    self.doing = ""
        except BaseException as error:
            self._fail(error)
        self._calls.end(self.name)
        self.doing = ""
        # every one of them, also after a failure: a file that is not closed does not play
        for name, body in self.bodies.items():
            self.doing, self.closing_at = f"node '{name}': being closed", time.monotonic()
            try:
                body.close()
            except BaseException as error:
                self._fail(error)
        self.doing, self.closing_at = "", None

    def _fail(self, error: BaseException) -> None:
        _log.debug("%s: a node failed", self.name, exc_info=error)  # only its text reaches the supervisor
        self._failed(error)
