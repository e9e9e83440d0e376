"""Goals of a run, ``--slo 'misses<1%, recover<3s'``, held against its summary. Nothing is decided here anew: each
name is a figure of the summary."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import click

from ...runtime.errors import UserError, did_you_mean, listing
from .tables import console, table

Measure = Literal["count", "share", "time", "rate"]

_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_MS = {"us": 0.001, "ms": 1.0, "s": 1000.0}
_GOAL = re.compile(r"(\w+)\s*(<=|>=|<|>)\s*(\d+(?:\.\d+)?|\.\d+)\s*(\S*)$")
_EXAMPLES: dict[Measure, str] = {
    "count": "a number, or a share of the units: {}<3, {}<1%",
    "share": "a share: {}>99%",
    "time": "a time: {}<300ms",
    "rate": "a number: {}>24.9",
}


def _figures() -> dict[str, tuple[Measure, str, str]]:
    """By name, what it measures, and where in a summary it is."""
    figures: dict[str, tuple[Measure, str, str]] = {
        name: ("count", name, "") for name in ("units", "real", "misses", "concealed", "late", "underruns")
    }
    figures["deadline_attainment"] = ("share", "deadline_attainment", "")
    figures["fps"] = ("rate", "fps", "")
    figures["recover"] = ("time", "recover_ms", "")
    figures["first"] = ("time", "time_to_first_unit_ms", "")
    figures["skew"] = ("time", "av_skew_ms", "max")
    for name in ("latency", "model_latency"):
        figures.update({f"{name}_{q}": ("time", f"{name}_ms", q) for q in ("p50", "p95", "p99", "max")})
    figures.update({f"slack_{q}": ("time", "slack_ms", q) for q in ("p50", "p5", "p1", "min")})
    return figures


FIGURES = _figures()

HELP = """\
A goal of --slo is FIGURE<LIMIT (also <=, > and >=), where FIGURE is
  units, real, misses, concealed, late, underruns           a number, or a share of the units: misses<1%
  deadline_attainment                                       a share: deadline_attainment>99%
  recover                                                   longest time without a real unit
  first, skew                                               until the first real unit; the largest
  latency_p50, _p95, _p99, _max, model_latency_p50 ...      of the real units
  slack_p50, _p5, _p1, _min, fps"""
"""What users are told of them."""


@dataclass(frozen=True)
class Goal:
    """One of them.

    Attributes:
        text: as it was written.
        name: the figure, one of `FIGURES`.
        limit: in milliseconds, per cent or plain, as ``unit`` says.
        unit: ``ms``, ``%`` or nothing.
    """

    text: str
    name: str
    operator: str
    limit: float
    unit: str

    def found_in(self, summary: Mapping[str, Any]) -> float | None:
        """The figure, in the goal's unit; None where the run had none."""
        measure, key, quantile = FIGURES[self.name]
        value: float | None = summary[key].get(quantile) if quantile else summary[key]
        if value is None or self.unit != "%":
            return value
        if measure == "share":
            return 100.0 * value
        return 100.0 * value / summary["units"] if summary["units"] else None

    def is_kept(self, found: float | None) -> bool:
        """True if the figure is on the right side of the limit; one that there is not is on no side."""
        return found is not None and _OPERATORS[self.operator](found, self.limit)


def parse_goals(text: str) -> list[Goal]:
    """Goals as they are written, with commas between them.

    Raises:
        UserError: one of them is not written like one.
    """
    return [_goal(part.strip()) for part in text.split(",")]


def _goal(text: str) -> Goal:
    where = f"--slo '{text}'"
    match = _GOAL.match(text)
    if match is None:
        raise UserError(f"{where}: found no figure and limit (expected misses<1%; figures: {listing(FIGURES)})")
    name, sign, number, unit = match.groups()
    if name not in FIGURES:
        hint = did_you_mean(name, FIGURES)
        raise UserError(f"{where}: found '{name}' (expected one of: {listing(FIGURES)}){hint}")
    measure = FIGURES[name][0]
    fits = {"count": ("", "%"), "share": ("%",), "time": tuple(_MS), "rate": ("",)}[measure]
    if unit not in fits:
        example = _EXAMPLES[measure].replace("{}", name)
        raise UserError(f"{where}: found {number}{unit} (expected {example})")
    if measure == "time":
        return Goal(text, name, sign, float(number) * _MS[unit], "ms")
    return Goal(text, name, sign, float(number), unit)


def held_against(goals: Sequence[Goal], summary: Mapping[str, Any]) -> dict[str, Any]:
    """The goals beside what was found, as ``--json`` holds them."""
    rows = []
    for goal in goals:
        found = goal.found_in(summary)
        rounded = None if found is None else round(found, 3)
        rows.append({"goal": goal.text, "found": rounded, "unit": goal.unit, "kept": goal.is_kept(found)})
    return {"kept": all(row["kept"] for row in rows), "goals": rows}


def print_goals(slo: Mapping[str, Any]) -> None:
    """A line per goal: whether it was kept, and what was found."""
    rows = table("", "goal", "found", right=("found",))
    for row in slo["goals"]:
        rows.add_row("  [green]pass[/]" if row["kept"] else "  [red]FAIL[/]", row["goal"], _words(row))
    console().print(rows)


def exit_code_of_goals(slo: Mapping[str, Any] | None) -> int:
    """1 if one of them was not kept, after a line on standard error for each of those; 0 without any."""
    for row in slo["goals"] if slo else ():
        if not row["kept"]:
            click.echo(f"--slo: found {_words(row)} (expected {row['goal']})", err=True)
    return 1 if slo and not slo["kept"] else 0


def _words(row: Mapping[str, Any]) -> str:
    return "none" if row["found"] is None else f"{row['found']:g} {row['unit']}".rstrip()


slo_option = click.option(
    "--slo",
    "slo",
    metavar="GOALS",
    help="Exit with 1 unless all of them are kept: 'misses<1%, recover<3s, skew<20ms, latency_p95<300ms'.",
)
