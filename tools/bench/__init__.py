"""``wangraph bench``: one benchmark a file, each printing the machine it ran on and every round.

`clock`, `overhead`, `duplex`, `prediction` and `hop` measure the runtime, `model` and `cache` the model (`plain` is
what the cache is measured against). `empty` holds the nodes without bodies that they run, `machine` and `report` what
they share, `verb` is the command. Nothing here is estimated, and no test asserts a time.
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    """``command``, imported when it is asked for."""
    if name == "command":
        from .verb import command

        return command
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
