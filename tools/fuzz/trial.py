"""Trials of a reader, one input after the other in this process: what was read or refused, and what went wrong."""

from __future__ import annotations

import random
import resource
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from .reader import Reader

LIMIT_S = 5.0
"""Processor time that one input may take. Not the wall's: on a busy machine it would find the others' work."""

LIMIT_MB = 500.0
"""Memory by which one input may raise the process's peak."""

ROOM_BYTES = 4 * 2**30
"""Address space beyond what the process has before its first case: what wants more fails, and not the machine."""

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Finding:
    """An input that was neither read nor refused as it should be.

    Attributes:
        number: of the case, from which `case_of` makes it again.
        what: error, place and text, or how much was used of what.
    """

    number: int
    what: str


@dataclass
class Tally:
    """Sums over the cases of one reader."""

    cases: int = 0
    declared: int = 0
    accepted: int = 0
    slowest_s: float = 0.0
    slowest: int = -1
    peak_mb: float = 0.0


class OutOfTime(BaseException):
    """The input took longer than `LIMIT_S`. No `Exception`, which a reader could catch."""


def chance_of(seed: int, number: int) -> random.Random:
    """The chance that makes a case: any of them can be made again without those before it."""
    return random.Random((seed << 40) | number)


def try_cases(
    reader: Reader, seed: int, numbers: Iterator[int] | range, tally: Tally, found: Callable[[Finding], None]
) -> Iterator[int]:
    """Try these cases; gives each number before its case, and tells findings as they come. In the main thread alone."""
    for number in numbers:
        yield number
        case = reader.case(chance_of(seed, number))
        before_mb, began_s = peak_mb(), time.process_time()
        try:
            with _timed():
                reader.read(case)
            tally.accepted += 1
        except reader.declared:
            tally.declared += 1
        except OutOfTime as error:
            found(Finding(number, f"more than {LIMIT_S:g} s{_place(error)}"))
        except Exception as error:
            found(Finding(number, f"{type(error).__name__}{_place(error)}: {str(error)[:120]!r}"))
        took_s = time.process_time() - began_s
        tally.cases += 1
        tally.peak_mb = max(tally.peak_mb, peak_mb())
        if took_s > tally.slowest_s:
            tally.slowest_s, tally.slowest = took_s, number
        if peak_mb() - before_mb > LIMIT_MB:
            found(Finding(number, f"more than {LIMIT_MB:g} MB"))
            forget_peak()


def peak_mb() -> float:
    """The most memory that this process has had resident, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def forget_peak() -> None:
    """Begin anew with `peak_mb`: what is far below an old peak would not be seen."""
    Path("/proc/self/clear_refs").write_text("5")


def limit_memory() -> None:
    """Let what asks for far too much memory fail."""
    has = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (has + ROOM_BYTES, resource.getrlimit(resource.RLIMIT_AS)[1]))


@contextmanager
def _timed() -> Iterator[None]:
    """Raise `OutOfTime` in here once the limit has passed."""
    kept = signal.signal(signal.SIGPROF, _raise)
    signal.setitimer(signal.ITIMER_PROF, LIMIT_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, kept)


def _raise(number: int, frame: FrameType | None) -> None:
    raise OutOfTime


def _place(error: BaseException) -> str:
    """`` at runtime/observe/history.py:43 in read``: the innermost line of ours."""
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        file = Path(frame.f_code.co_filename)
        if file.resolve().is_relative_to(ROOT) and file.parent != Path(__file__).parent:
            return f" at {file.resolve().relative_to(ROOT)}:{line} in {frame.f_code.co_name}"
    return ""
