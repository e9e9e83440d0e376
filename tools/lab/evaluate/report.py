"""The table of an evaluation: goals, figures with intervals, reference, floors and chance, as text and as JSON."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import click

from .figures import Figure
from .tasks import Findings

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class Measure:
    """One line of the table.

    Attributes:
        name: of the figure.
        kind: which way is better; ``neutral``: neither.
        goal: that the interval's worse end should reach; None: none.
        over: what the goal counts from: nothing, or the reference's value, times or plus the goal.
        chance: what somebody reaches who does not look or listen; None: not known beforehand.
        learned: read by what was learned from the shipped voices and faces: of `OTHER_AGENTS` it is not judged.
    """

    name: str
    kind: Literal["high", "low", "near", "neutral"] = "neutral"
    goal: float | None = None
    over: Literal["nothing", "times", "plus"] = "nothing"
    chance: float | None = None
    learned: bool = False

    def limit(self, reference: Figure | None) -> float | None:
        """Number that the goal comes to."""
        if self.goal is None or (self.over != "nothing" and (reference is None or math.isnan(reference.value))):
            return None
        if self.over == "nothing" or reference is None:
            return self.goal
        return self.goal * reference.value if self.over == "times" else self.goal + reference.value

    def is_met(self, found: Figure, reference: Figure | None) -> bool | None:
        """True if the worse end of the interval reaches the goal; None: there is none, or none that is known.

        An agent that leaves nothing to be measured (it never lets the user speak) misses it.
        """
        limit = self.limit(reference)
        if math.isnan(found.value):
            return None if self.goal is None else False
        if self.kind == "near":
            if self.goal is None or reference is None or math.isnan(reference.value):
                return None
            return max(abs(found.low - reference.value), abs(found.high - reference.value)) <= self.goal
        if limit is None:
            return None
        return found.low >= limit if self.kind == "high" else found.high <= limit


MEASURES: tuple[Measure, ...] = (
    Measure("answered", "high"),
    Measure("onset in the right unit", "high", 0.95),
    Measure("onset, median", "low", 40.0, "plus"),
    Measure("onset, p10"),
    Measure("onset, p90"),
    Measure("false starts in pauses", "low", 0.05),
    Measure("onset after pauses, median"),
    Measure("words after pauses, text"),
    Measure("interruptions: stopped", "high", 0.95),
    Measure("interruptions: stopped after, median", "low", 360.0),
    Measure("interruptions: stopped after, p90"),
    Measure("backchannels: talked through", "high", 0.90),
    Measure("side talk, balanced", "high", 0.90, chance=0.5),
    Measure("side talk: silent when not addressed"),
    Measure("side talk: answered when addressed"),
    Measure("raised hand, minus control", "high", 0.85, chance=0.0),
    Measure("raised hand: stopped"),
    Measure("stop button, minus control", "high", 0.85, chance=0.0),
    Measure("stop button: stopped"),
    Measure("card named, text", "high", 0.90, chance=0.25),
    Measure("card named, sound", chance=0.25, learned=True),
    Measure("question about the card right, text", chance=0.5),
    Measure("words, text", "high", 0.97, chance=0.1),
    Measure("words, sound", "high", 0.97, "times", 0.1, learned=True),
    Measure("turns, text", "high"),
    Measure("typed: words, text", "high"),
    Measure("flite: words, text", "high", 0.80, chance=0.1),
    Measure("flite: words, sound", learned=True),
    Measure("flite: onset in the right unit"),
    Measure("person: words, text", "high", 0.85, chance=0.1),
    Measure("person: words, sound", learned=True),
    Measure("person: onset in the right unit"),
    Measure("lips: sound behind mouth", "near", 20.0, "plus", learned=True),
    Measure("lips: correlation", "high", 0.97, "times", learned=True),
    Measure("blinks", "neutral", 0.25, "times", learned=True),
    Measure("nods", "neutral", 0.25, "times", learned=True),
    Measure("free: words, text"),
    Measure("free: speaks unasked"),
    Measure("persona: words by its rule, text"),
    Measure("persona: words of other rules, text"),
    Measure("persona: looks", chance=1 / 3, learned=True),
)


def judged(measure: Measure, found: Figure, reference: Figure | None) -> bool | None:
    """True if a goal is met; both ends of a rate of gestures must be within their share of the reference."""
    if measure.name in ("blinks", "nods"):
        if reference is None or math.isnan(reference.value) or measure.goal is None:
            return None
        worst = max(abs(end - reference.value) for end in (found.low, found.high))
        return worst <= measure.goal * reference.value
    return measure.is_met(found, reference)


OTHER_AGENTS = ("graph", "agent")
"""Rows of agents that may have any voice and any face."""
NOT_JUDGED = (
    "words in sound, lips, blinks and nods: they are read by what was learned from the shipped voices and faces, and "
    "say little of others"
)


def goal_met(row: str, measure: Measure, found: Figure, reference: Figure | None) -> bool | None:
    """Judgement of a row of the table, as `judged`; None, too, where the measure knows the shipped agents only."""
    return None if measure.learned and row in OTHER_AGENTS else judged(measure, found, reference)


def goal_text(measure: Measure) -> str:
    """``>= 0.95``, ``<= reference + 40``."""
    if measure.goal is None:
        return ""
    if measure.name in ("blinks", "nods"):
        return f"reference +- {measure.goal:.0%}"
    if measure.kind == "near":
        return f"reference +- {measure.goal:.0f}"
    sign = ">=" if measure.kind == "high" else "<="
    amount = f"{measure.goal:g}"
    return {
        "nothing": f"{sign} {amount}",
        "times": f"{sign} {amount} x reference",
        "plus": f"{sign} reference + {amount}",
    }[measure.over]


def as_table(rows: Mapping[str, Findings]) -> Table:
    """Measures down, rows across; the first row is the one that is judged."""

    from ...shared.tables import table

    names = list(rows)
    made = table("measure", "goal", *names, "chance", "met", right=("chance",))
    for measure in MEASURES:
        figures = [rows[name].figures.get(measure.name) for name in names]
        if figures[0] is None:
            continue
        reference = rows["reference"].figures.get(measure.name) if "reference" in rows else None
        met = goal_met(names[0], measure, figures[0], reference)
        made.add_row(
            measure.name,
            goal_text(measure),
            *(
                "" if f is None else f"{f.text()}{f'  n={f.n}' if index == 0 else ''}"
                for index, f in enumerate(figures)
            ),
            "" if measure.chance is None else f"{measure.chance:.2f}",
            {None: "", True: "yes", False: "no"}[met],
        )
    return made


def as_json(rows: Mapping[str, Findings], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that the table shows, and the facts of the evaluation."""
    names: Sequence[str] = list(rows)
    judged_row = rows[names[0]].figures
    reference = rows["reference"].figures if "reference" in rows else {}
    return {
        **facts,
        "rows": {name: {key: figure.plain() for key, figure in found.figures.items()} for name, found in rows.items()},
        "goals": {
            measure.name: {
                "goal": goal_text(measure),
                "met": goal_met(names[0], measure, judged_row[measure.name], reference.get(measure.name)),
            }
            for measure in MEASURES
            if measure.name in judged_row and measure.goal is not None
        },
    }


@contextmanager
def progress(total: int) -> Iterator[Callable[[str], None]]:
    """A bar on the error stream; where that is no terminal, a line for each part that is done."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    out = Console(stderr=True)
    if not out.is_terminal:
        yield _lines(total)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=out, transient=True) as bar:
        line = bar.add_task("dialogues", total=total)
        yield lambda done: bar.update(line, advance=1, description=done)


def _lines(total: int) -> Callable[[str], None]:
    began, numbers = time.monotonic(), itertools.count(1)

    def show(done: str) -> None:
        click.echo(f"{done} ({next(numbers)} of {total}, {time.monotonic() - began:.0f} s)", err=True)

    return show
