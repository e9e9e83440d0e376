"""End of a command whose run does not end, because a body inside this very process does not come back."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...runtime.engine.run import Run

PATIENCE_S = 2.5
"""How long a body may go on after a stop."""

POLL_S = 0.1


@contextmanager
def watchdog(run: Run, end: Callable[[int], None] = os._exit) -> Iterator[None]:
    """Meanwhile end the whole process if a run in it was told to stop, and a body keeps it from obeying.

    Processes of a run's own are killed then, and the others go on: see `engine/supervisor`. Here records are written,
    and nodes are not closed.

    Args:
        end: ends the process, with an exit code.
    """
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(POLL_S):
            stuck = run.stuck_after_stop(time.monotonic(), PATIENCE_S)
            if stuck:
                sys.stderr.write(
                    f"error: {stuck} (expected an end within {PATIENCE_S:g} s of the stop), it was left with what it "
                    "held: the process was ended\n"
                )
                sys.stderr.flush()
                run.collector.finish(is_whole=False)
                end(run.exit_code)
                return

    thread = threading.Thread(target=watch, name="watchdog", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
