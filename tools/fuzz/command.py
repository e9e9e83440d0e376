"""``wangraph bench fuzz``."""

from __future__ import annotations

import sys
import time
from typing import Any

import click

from ..shared.json_file import check_json, write_json
from ..shared.options import force_option, seed_option
from ..shared.tables import console, table
from .campaign import Result, run_campaign
from .kinds import parse_kinds

CASES = 1000
NEWS_EVERY_S = 10.0


@click.command()
@click.option("--cases", type=click.IntRange(1, 10**9), default=CASES, show_default=True, metavar="N",
              help="Of each kind.")  # fmt: skip
@seed_option
@click.option("--first", type=click.IntRange(0, 10**12), default=0, show_default=True, metavar="N",
              help="Number of the first case: --first N --cases 1 tries one again.")  # fmt: skip
@click.option(
    "--only", metavar="KIND,...", help="wire, graphs, traces, recordings, profiles, checkpoints, page, agent."
)
@force_option
@click.option("--json", "json_to", metavar="FILE", help="Write the report as JSON; - for standard output.")
def command(cases: int, seed: int, first: int, only: str | None, json_to: str | None) -> int:
    """Spoilt and made-up inputs for every reader: each is read, or refused in words, within 5 s and 500 MB.

    \b
    wangraph bench fuzz
    wangraph bench fuzz --only traces,graphs --cases 20000 --seed 7
    wangraph bench fuzz --only traces --seed 7 --first 1234 --cases 1    the one that was found

    Exits with 1 when something was found. A Ctrl-C ends it with what was tried by then.
    """
    kinds = parse_kinds(only)
    check_json(json_to)
    results = run_campaign(kinds, cases, seed, first, _Progress())
    report = {
        "bench": "fuzz",
        "parameters": {"cases": cases, "seed": seed, "first": first},
        "kinds": {kind: _plain(result) for kind, result in results.items()},
    }
    if json_to is not None:
        write_json(report, json_to)
    if json_to != "-":
        _print(results, seed)
    return 1 if any(result.findings for result in results.values()) else 0


class _Progress:
    """Findings as they come, and a line every few seconds: a campaign may take hours."""

    def __init__(self) -> None:
        self._at = time.monotonic()
        self._n_shown: dict[str, int] = {}

    def __call__(self, kind: str, result: Result) -> None:
        for finding, _ in list(result.findings.values())[self._n_shown.get(kind, 0) :]:
            click.echo(f"{kind}, case {finding.number}: {finding.what}", err=True)
        self._n_shown[kind] = len(result.findings)
        if (now := time.monotonic()) - self._at >= NEWS_EVERY_S:
            self._at = now
            text = f"{kind}: {result.tally.cases:,} of {result.wanted:,} cases, {len(result.findings)} findings"
            click.echo(text, err=True)
            sys.stderr.flush()


def _plain(result: Result) -> dict[str, Any]:
    tally = result.tally
    return {
        "cases": tally.cases,
        "declared": tally.declared,
        "accepted": tally.accepted,
        "findings": [
            {"case": finding.number, "what": finding.what, "times": n} for finding, n in result.findings.values()
        ],
        "slowest_ms": round(1000 * tally.slowest_s, 1),
        "slowest_case": tally.slowest,
        "peak_mb": round(tally.peak_mb, 1),
        "seconds": round(result.seconds, 1),
    }


def _print(results: dict[str, Result], seed: int) -> None:
    numbers = ("cases", "declared errors", "accepted", "findings", "slowest ms", "peak MB", "s")
    rows = table("kind", *numbers, right=numbers)
    for kind, result in results.items():
        tally = result.tally
        figures = (tally.cases, tally.declared, tally.accepted, len(result.findings))
        rows.add_row(kind, *(f"{n:,}" for n in figures), f"{1000 * tally.slowest_s:.1f}", f"{tally.peak_mb:.0f}",
                     f"{result.seconds:.0f}")  # fmt: skip
    out = console()
    out.print(rows)
    for kind, result in results.items():
        for finding, n in result.findings.values():
            out.print(
                f"{kind}, {n} times, first in case {finding.number}: {finding.what}", soft_wrap=True, markup=False
            )
            again = f"wangraph bench fuzz --only {kind} --seed {seed} --first {finding.number} --cases 1"
            out.print(f"  again: {again}", soft_wrap=True, markup=False)
