"""Amount of logging on standard error, in this process and in those of a run."""

from __future__ import annotations

import logging
import os
import sys
from typing import TextIO

LEVELS = ("debug", "info", "warning", "error")

VARIABLE = "WANGRAPH_LOG_LEVEL"
"""Environment variable by which the processes of a run hear of the level; scripts that call `run` may set it."""


class _StandardError(logging.StreamHandler[TextIO]):
    """Writes to what standard error is now: a live view puts itself there, to write above its drawing."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


def set_level(level: str) -> None:
    """Tell what is at least of this level, here and in the processes that are started from now on."""
    os.environ[VARIABLE] = level
    handler = _StandardError()
    handler.setFormatter(logging.Formatter("%(levelname).1s %(asctime)s %(name)s: %(message)s", "%H:%M:%S"))
    logging.basicConfig(level=level.upper(), handlers=[handler])


def take_level() -> None:
    """Set the level that the process that started this one wants."""
    level = os.environ.get(VARIABLE, "")
    set_level(level if level in LEVELS else "warning")
