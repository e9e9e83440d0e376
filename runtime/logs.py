"""Amount of logging on standard error, in this process and in those of a run."""

from __future__ import annotations

import logging
import os

LEVELS = ("debug", "info", "warning", "error")

VARIABLE = "WANGRAPH_LOG_LEVEL"
"""Environment variable by which the processes of a run hear of the level; scripts that call `run` may set it."""


def set_level(level: str) -> None:
    """Tell what is at least of this level, here and in the processes that are started from now on."""
    os.environ[VARIABLE] = level
    logging.basicConfig(level=level.upper(), format="%(levelname).1s %(name)s: %(message)s")


def take_level() -> None:
    """Set the level that the process that started this one wants."""
    level = os.environ.get(VARIABLE, "")
    set_level(level if level in LEVELS else "warning")
