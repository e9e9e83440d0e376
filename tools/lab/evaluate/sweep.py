"""The cascade that waits for silence, over its timeout: soon means into pauses, safe means late."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import click

from ....runtime.errors import MediaError
from ....runtime.output_file import claim
from .plots import pyplot
from .report import progress
from .rows import Job, Setting, run
from .tasks import Findings

GRAPH, PARAMETER = "cascade", "timeout_ms"
TIMEOUTS_MS = (160, 320, 480, 640, 800, 1000, 1300)
TASKS = ("asks", "pauses")
PRINTED = ("onset, median", "onset, p90", "false starts in pauses", "words, text", "words after pauses, text")
_DIALOGUES = 12


def sweep(setting: Setting, processes: int, as_json: bool, plots: Path | None) -> None:
    """Print, and draw, what the cascade does at each timeout, and the checkpoint beside it."""
    rows = swept(setting, processes)
    if as_json:
        figures = {
            name: {key: f.plain() for key, f in found.figures.items() if key in PRINTED} for name, found in rows.items()
        }
        click.echo(json.dumps(figures, indent=2))
    else:
        _print(rows)
    if plots is not None:
        _draw(rows, plots)


def _print(rows: Mapping[str, Findings]) -> None:
    from rich.text import Text

    from ...shared.tables import console, table

    made = table("agent", *PRINTED)
    for name, found in rows.items():
        made.add_row(name, *(Text(found.figures[key].text()) for key in PRINTED))
    console().print(made)


def swept(setting: Setting, processes: int) -> dict[str, Findings]:
    """Findings by the cascade's timeout, and of the checkpoint and the ideal agent."""
    few = replace(setting, dialogues=min(setting.dialogues, _DIALOGUES))
    names: dict[Job, str] = {}
    for timeout in TIMEOUTS_MS:
        at = replace(few, graph=GRAPH, sets=((PARAMETER, str(timeout)),))
        names |= {(at, "graph", task): f"cascade, {timeout} ms" for task in TASKS}
    names |= {(setting, row, task): row for row in ("model", "reference") for task in TASKS}
    rows = {name: Findings() for name in names.values()}
    with progress(len(names)) as advance:
        for job, found in run(list(names), processes):
            rows[names[job]].add(found)
            advance(names[job])
    return rows


def _draw(rows: Mapping[str, Findings], folder: Path) -> None:
    """False starts over the time to answer: the lower left is better."""
    plt = pyplot()
    points = {
        name: (found.figures["onset, median"].value, found.figures["false starts in pauses"])
        for name, found in rows.items()
    }
    figure, axis = plt.subplots(figsize=(6.4, 4))
    curve = [(x, y.value) for name, (x, y) in points.items() if name.startswith("cascade")]
    axis.plot(*zip(*curve, strict=True), "o-", color="#c26a00", label="cascade, by its timeout")
    for name, (x, y) in points.items():
        if name.startswith("cascade"):
            axis.annotate(
                name.removeprefix("cascade, "), (x, y.value), textcoords="offset points", xytext=(5, 5), size=7
            )
        else:
            colour, mark = ("#0063a6", "*") if name == "model" else ("#666666", "D")
            axis.errorbar([x], [y.value], [[y.value - y.low], [y.high - y.value]], fmt=mark, color=colour, label=name,
                          markersize=11 if name == "model" else 7)  # fmt: skip
    axis.set(xlabel="median from the end of a turn to the answer, ms (index time)", ylabel="false starts in pauses")
    axis.set(xlim=(0, None), ylim=(-0.03, 1.03))
    axis.grid(alpha=0.3)
    axis.legend()
    figure.tight_layout()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        claim(folder / "cascade.png")
        figure.savefig(folder / "cascade.png", dpi=100)
    except OSError as error:
        raise MediaError(f"{folder}: cannot be written ({error.strerror}), choose another --plots") from error
    plt.close(figure)
