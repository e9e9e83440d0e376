"""Condition of a process that gives no sign of life, as the kernel sees it: stopped, starved, or held up by itself."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import NamedTuple

BUSY_SHARE = 0.5
"""A process that uses more of a core than this while it says nothing is not short of processor time."""


class ThreadStates(NamedTuple):
    """State of a process at a moment: the letters of all its threads (see proc(5)), and processor seconds used by all
    of them together."""

    at_s: float
    states: str
    cpu_s: float


class Condition(NamedTuple):
    """Reason for which a process does not report, in words, and what users can do.

    Attributes:
        is_its_own: it is not the machine that has no time for it.
    """

    text: str
    remedy: str
    is_its_own: bool = True


GONE = Condition("it has ended", "look at its log")
STOPPED = Condition("it is stopped", "let it go on (kill -CONT), or end the debugger")
WAITS = Condition("it waits in the kernel for a disk or a device", "look at that device and at dmesg")
STARVED = Condition("it wants to run and gets no core", "end other programs, or give it a priority", is_its_own=False)
HOLDS = Condition(
    "one of its calls does not let the interpreter go", "look which (py-spy dump), and let its library release it"
)


def thread_states(pid: int) -> ThreadStates | None:
    """The process now; None when it is gone."""
    states, ticks = "", 0
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            # behind the name in brackets, which may hold spaces and brackets itself
            fields = Path(f"/proc/{pid}/task/{task}/stat").read_text().rpartition(")")[2].split()
            states += fields[0]
            ticks += int(fields[11]) + int(fields[12])
    except (OSError, IndexError, ValueError):
        return None
    return ThreadStates(time.monotonic(), states, ticks / os.sysconf("SC_CLK_TCK"))


def condition(before: ThreadStates | None, after: ThreadStates | None) -> Condition:
    """Reason for which a process does not report, by its threads at two moments while it was silent."""
    if before is None or after is None or set(after.states) <= set("ZX"):
        return GONE
    if any(state in "Tt" for state in after.states):
        return STOPPED
    if "D" in before.states and "D" in after.states:
        return WAITS
    used = (after.cpu_s - before.cpu_s) / max(1e-3, after.at_s - before.at_s)
    # one that is ready to run may hold the interpreter, and wait for a core to go on with
    return STARVED if "R" in after.states and used < BUSY_SHARE else HOLDS
