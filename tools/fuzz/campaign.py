"""A campaign: many cases of several kinds, each in a process of its own, whose death or standstill is a finding."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, field
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from ...runtime.engine.system import die_with_parent
from .kinds import make_reader
from .trial import Finding, Tally, limit_memory, try_cases

STANDSTILL_S = 120.0
"""How long a process may be at one case: in C it does not heed a signal, and waiting takes no processor time."""

START_S = 300.0
"""How long it may take to begin: some load torch, on a machine that has other things to do."""

POLL_S = 0.5

OnNews = Callable[[str, "Result"], None]
"""Called with a kind and its result so far, about twice a second."""


@dataclass
class Result:
    """Outcome of one kind.

    Attributes:
        wanted: how many cases there were to be.
        findings: the first of each place, with how many there were of it.
        seconds: by the wall.
    """

    wanted: int
    tally: Tally = field(default_factory=Tally)
    findings: dict[str, tuple[Finding, int]] = field(default_factory=dict)
    seconds: float = 0.0

    def add(self, finding: Finding) -> None:
        """Count a finding; those of one place and error are one."""
        place = finding.what.partition(": ")[0]
        first, n = self.findings.get(place, (finding, 0))
        self.findings[place] = first, n + 1


def run_campaign(kinds: Sequence[str], n_cases: int, seed: int, first: int, news: OnNews) -> dict[str, Result]:
    """Try so many cases of each kind, from number ``first`` on; ended early by Ctrl-C, with what there is by then."""
    results = {kind: Result(n_cases) for kind in kinds}
    try:
        for kind, result in results.items():
            _run_kind(kind, result, seed, first, partial(news, kind))
    except KeyboardInterrupt:
        pass
    return results


def _run_kind(kind: str, result: Result, seed: int, first: int, news: Callable[[Result], None]) -> None:
    """Start processes until all cases are tried: one that a case has killed is followed by another, after that."""
    began, end = time.monotonic(), first + result.wanted
    while first < end:
        life = _Life(kind, seed, first, end)
        before = Tally(*astuple(result.tally))
        try:
            while life.goes_on(result):
                result.tally = _sum(before, life.tally)
                result.seconds = time.monotonic() - began
                news(result)
        finally:
            life.close()
        result.tally = _sum(before, life.tally)
        result.seconds = time.monotonic() - began
        if not life.lost:
            return
        result.tally.cases += 1
        result.add(Finding(life.number, life.lost))
        first = life.number + 1


class _Life:
    """One process that tries cases.

    Attributes:
        lost: how it ended before its time; empty: it did not.
    """

    def __init__(self, kind: str, seed: int, first: int, end: int) -> None:
        # a fork: what is fuzzed is imported once, and nothing of this process's state is used there
        context = multiprocessing.get_context("fork")
        self.lost = ""
        self._shared: Any = context.Array("d", [first - 1, *astuple(Tally())], lock=False)
        self._folder = tempfile.mkdtemp(prefix="wangraph-fuzz-")
        self._ours, theirs = context.Pipe(duplex=False)
        arguments = (os.getpid(), kind, seed, range(first, end), self._shared, theirs, self._folder)
        self._process = context.Process(target=_live, args=arguments, daemon=True)
        self._process.start()
        theirs.close()
        self._first = first
        self._moved_at, self._at = time.monotonic(), first - 1

    @property
    def number(self) -> int:
        """The case that is tried, or was last."""
        return int(self._shared[0])

    @property
    def tally(self) -> Tally:
        """Sums so far."""
        cases, declared, accepted, slowest_s, slowest, peak_mb = self._shared[1:]
        return Tally(int(cases), int(declared), int(accepted), slowest_s, int(slowest), peak_mb)

    def goes_on(self, result: Result) -> bool:
        """Wait a moment for findings; False when the process has ended, or does not get on."""
        try:
            while self._ours.poll(POLL_S):
                finding = self._ours.recv()
                if finding is None:
                    return False
                result.add(finding)
        except EOFError:
            self._process.join()
            code = self._process.exitcode or 0
            how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
            self.lost = f"process {how}"
            return False
        now = time.monotonic()
        if self.number != self._at:
            self._moved_at, self._at = now, self.number
        if now - self._moved_at > (STANDSTILL_S if self.number >= self._first else START_S):
            self.lost = f"more than {now - self._moved_at:.0f} s without an end"
            return False
        return True

    def close(self) -> None:
        """End the process, whatever it does."""
        self._process.kill()
        self._process.join()
        self._ours.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def _live(parent: int, kind: str, seed: int, numbers: range, shared: Any, news: Connection, folder: str) -> None:
    """The process: try these cases, and say of each which it is before it begins."""
    die_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is for who started it
    # what a reader prints is its own affair; what it writes beside its folder would be the user's
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(1, 2)
    os.chdir(folder)
    reader, tally = make_reader(kind, Path(folder)), Tally()
    limit_memory()
    for number in try_cases(reader, seed, numbers, tally, news.send):
        shared[1:] = astuple(tally)
        shared[0] = number
    shared[1:] = astuple(tally)
    news.send(None)


def _sum(before: Tally, now: Tally) -> Tally:
    """Both together."""
    slower = max(before, now, key=lambda tally: tally.slowest_s)
    return Tally(
        before.cases + now.cases,
        before.declared + now.declared,
        before.accepted + now.accepted,
        slower.slowest_s,
        slower.slowest,
        max(before.peak_mb, now.peak_mb),
    )
