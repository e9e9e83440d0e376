"""Common to the programs beside it: what they are to do, when they send, and what they print.

They run in environments of their own, without wangraph: ``python PROGRAM.py BYTES HOPS RATE_HZ [PROCESSES]`` prints
``{"us": [...], "sent": n, "cpu_us": per hop}``, the microseconds from the first process to the last one.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from typing import NamedTuple, TextIO

WARM_UP = 10
NS = 1_000_000_000


class Request(NamedTuple):
    """Arguments of a program."""

    n_bytes: int
    hops: int
    rate_hz: float
    n_processes: int = 2


def request() -> Request:
    """The arguments, with hops to warm up."""
    n_bytes, hops, rate_hz, *n_processes = sys.argv[1:]
    return Request(int(n_bytes), int(hops) + WARM_UP, float(rate_hz), *map(int, n_processes))


def paced(wanted: Request) -> Iterator[int]:
    """Numbers of the hops, each when it is to be sent."""
    start = time.monotonic_ns()
    for number in range(wanted.hops):
        time.sleep(max(0, start + int(number * NS / wanted.rate_hz) - time.monotonic_ns()) / NS)
        yield number


def say(wanted: Request, took_ns: dict[int, int], cpu_s: float | None, file: TextIO = sys.stdout) -> None:
    """Print what was measured, by the hop's number."""
    us = [ns / 1000 for number, ns in sorted(took_ns.items()) if number >= WARM_UP]
    cpu_us = None if cpu_s is None else 1e6 * cpu_s / wanted.hops
    print(json.dumps({"us": us, "sent": wanted.hops - WARM_UP, "cpu_us": cpu_us}), file=file)
