"""Several checkpoints, as the seeds of one training: each judged by itself, then their mean and spread."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ....runtime.errors import UserError
from .agents import Weights
from .figures import number
from .pace import facts_of
from .report import MEASURES, Measure, goal_text, judged
from .rows import Row, Setting, measured
from .tasks import Findings

if TYPE_CHECKING:
    from rich.table import Table

_ROWS: tuple[Row, ...] = ("model", "reference")

Found = Mapping[Row, Findings]


@dataclass(frozen=True)
class Spread:
    """A measure over several checkpoints.

    Attributes:
        mean: infinite if it never happened with one of them.
        deviation: of a sample; NaN where the mean is not finite, or of one alone.
        met: how many of them reach the goal; None: there is none.
        n: checkpoints.
        unit: as of a `Figure`.
    """

    mean: float
    deviation: float
    met: int | None
    n: int
    unit: str

    def text(self) -> str:
        """``0.962 +- 0.011``."""
        if math.isnan(self.mean):
            return "-"
        deviation = "-" if math.isnan(self.deviation) else number(self.deviation, self.unit)
        return f"{number(self.mean, self.unit)} +- {deviation}"

    def plain(self) -> dict[str, float | int | None]:
        """For JSON, which knows neither NaN nor infinity."""
        mean, deviation = (x if math.isfinite(x) else None for x in (self.mean, self.deviation))
        return {"mean": mean, "deviation": deviation, "met": self.met, "n": self.n}


def evaluate_seeds(
    setting: Setting, others: Sequence[str], tasks: Sequence[str], processes: int, as_json: bool
) -> None:
    """Put several checkpoints through the course and print them side by side.

    Raises:
        UserError: one of them is named twice.
        ModelError: one of them cannot be used.
    """
    names = labels((setting.checkpoint, *others))
    settings = {name: replace(setting, checkpoint=path) for name, path in names.items()}
    facts = {key: value for key, value in facts_of(setting).items() if key not in ("checkpoint", "weights")}
    weights = {name: Weights.load(one.checkpoint).description for name, one in settings.items()}
    results = measured(list(settings.values()), _ROWS, tasks, processes)
    found = {name: results[one] for name, one in settings.items()}
    if as_json:
        click.echo(json.dumps(_as_json(found, {**facts, "weights": weights}), indent=2))
        return

    from ...shared.tables import console

    out = console()
    out.print(_as_table(found))
    for key, value in {**weights, **facts}.items():
        out.print(f"{key}: {value}")


def labels(checkpoints: Sequence[str]) -> dict[str, str]:
    """Checkpoints by short names: ``tiny``, ``seed1/tiny``; by their paths where these are the same.

    Raises:
        UserError: one is there twice.
    """
    short = ["/".join(Path(path).parts[-2:]).removesuffix(".safetensors") for path in checkpoints]
    names = [name if short.count(name) == 1 else path for name, path in zip(short, checkpoints, strict=True)]
    twice = [path for path in checkpoints if checkpoints.count(path) > 1]
    if twice:
        raise UserError(f"evaluate seeds: found {twice[0]} twice (expected other checkpoints), leave one out")
    return dict(zip(names, checkpoints, strict=True))


def spread(measure: Measure, found: Sequence[Found]) -> Spread:
    """Spread of a measure over several checkpoints, each judged against its own reference."""
    figures = [rows["model"].figures[measure.name] for rows in found]
    met = [
        judged(measure, figure, rows["reference"].figures.get(measure.name))
        for figure, rows in zip(figures, found, strict=True)
    ]
    values = [figure.value for figure in figures]
    has_spread = len(values) > 1 and all(map(math.isfinite, values))
    return Spread(
        statistics.fmean(values),
        statistics.stdev(values) if has_spread else math.nan,
        None if None in met else sum(map(bool, met)),
        len(values),
        figures[0].unit,
    )


def _as_table(found: Mapping[str, Found]) -> Table:
    """Measures down, checkpoints across."""
    from ...shared.tables import table

    made = table("measure", "goal", *found, "mean +- deviation", "met")
    for measure, over in _spreads(found).items():
        texts = [rows["model"].figures[measure.name].text() for rows in found.values()]
        met = "" if over.met is None else f"{over.met} of {over.n}"
        made.add_row(measure.name, goal_text(measure), *texts, over.text(), met)
    return made


def _as_json(found: Mapping[str, Found], facts: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **facts,
        "checkpoints": {
            name: {row: {key: figure.plain() for key, figure in rows[row].figures.items()} for row in _ROWS}
            for name, rows in found.items()
        },
        "spread": {measure.name: over.plain() for measure, over in _spreads(found).items()},
    }


def _spreads(found: Mapping[str, Found]) -> dict[Measure, Spread]:
    """Spread of every measure; all checkpoints have the same ones."""
    rows = list(found.values())
    return {measure: spread(measure, rows) for measure in MEASURES if measure.name in rows[0]["model"].figures}
