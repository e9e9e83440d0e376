"""Common to the programs beside it: what they are to do, when they send, and what they print.

They run in environments of their own, without wangraph: ``python PROGRAM.py BYTES HOPS RATE_HZ`` prints
``{"us": [...], "sent": n, "cpu_us": per hop}``.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from typing import NamedTuple

WARM_UP = 10
NS = 1_000_000_000


class Request(NamedTuple):
    """Arguments of a program."""

    n_bytes: int
    hops: int
    rate_hz: float


def request() -> Request:
    """The arguments, with hops to warm up."""
    n_bytes, hops, rate_hz = sys.argv[1:4]
    return Request(int(n_bytes), int(hops) + WARM_UP, float(rate_hz))


def paced(wanted: Request) -> Iterator[int]:
    """Numbers of the hops, each when it is to be sent."""
    start = time.monotonic_ns()
    for number in range(wanted.hops):
        time.sleep(max(0, start + int(number * NS / wanted.rate_hz) - time.monotonic_ns()) / NS)
        yield number


def say(wanted: Request, took_ns: dict[int, int], cpu_s: float) -> None:
    """Print what was measured, by the hop's number."""
    us = [ns / 1000 for number, ns in sorted(took_ns.items()) if number >= WARM_UP]
    print(json.dumps({"us": us, "sent": wanted.hops - WARM_UP, "cpu_us": 1e6 * cpu_s / wanted.hops}))
