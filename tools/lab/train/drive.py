"""Driving a loop: a budget of time, a line of progress, curves, and checkpoints to go on from."""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ....runtime.errors import MediaError
from ....runtime.output_file import claim
from ....wan_core.train.loop import Loop
from ....wan_core.train.state import load_state, save_state

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

LOG_STEPS = 20
"""Steps that one row of the curves is the mean of; after each it is asked how many steps the time will allow."""
FIRST_STEPS = 4
"""After so many steps it is asked for the first time."""
PACE_ROWS = 10
"""Last rows that the pace is measured on."""
REPLAN = 0.1
"""Share by which the time may be missed before the number of steps is changed."""
PRINT_EVERY_S = 20.0
DRAWN_EVERY = 5
"""Checkpoints between two pictures of the curves."""


@dataclass(frozen=True)
class Budget:
    """Length of a training: ``steps`` when given, else as many as fit into ``seconds``."""

    seconds: float
    steps: int | None = None


@dataclass
class Drive:
    """One stage being learned.

    Attributes:
        name: of the stage, and of its files.
        loop: what takes the steps.
        folder: where ``NAME.state`` and ``NAME.csv`` go.
        budget: how long.
        identity: what the state must be of to be gone on with.
        begun_with: digest of the weights that another stage left it to begin with; empty where none did.
        checkpoint_s: seconds between two checkpoints.
        checkpoint_steps: steps between two, instead.
        on_checkpoint: called after each, with the step.
    """

    name: str
    loop: Loop
    folder: Path
    budget: Budget
    identity: Mapping[str, str | int]
    console: Console
    begun_with: str = ""
    checkpoint_s: float = 120.0
    checkpoint_steps: int | None = None
    on_checkpoint: Callable[[int], None] | None = None
    elapsed_s: float = 0.0
    rows: list[dict[str, float]] = field(default_factory=list)
    _written: int = 0
    _is_planned: bool = False
    _waiting: list[dict[str, float]] = field(default_factory=list)

    @property
    def state_path(self) -> Path:
        """Path of the state."""
        return self.folder / f"{self.name}.state"

    @property
    def curve_path(self) -> Path:
        """Path of the curves."""
        return self.folder / f"{self.name}.csv"

    def resume(self) -> bool:
        """Go on from the last checkpoint; False, with nothing changed, where that was begun with other weights.

        Raises:
            ModelError: there is none, or it is of another training.
        """
        # a state of before these were kept is taken to have begun with these weights, on another budget
        state = load_state(self.state_path, self.identity)
        if state.get("begun_with", self.begun_with) != self.begun_with:
            return False
        self.loop.restore(state["loop"])
        self.elapsed_s = state["elapsed_s"]
        self.rows, self._waiting = state["rows"], state["waiting"]
        self._is_planned = state.get("budget") == asdict(self.budget)
        return True

    def run(self) -> None:
        """Take all steps; the last checkpoint holds the end.

        Gone on with on the same budget, the plan of steps stays as it was, so that the very same steps are taken; on
        another one it is made anew, whether the stage was done or not.

        Raises:
            ModelError: the loss is not a number, or a checkpoint cannot be written (the one before is intact).
        """
        loop = self.loop
        if self.budget.steps is not None:
            loop.total = self.budget.steps
        elif loop.step_count and not self._is_planned:
            self._replan(0.0)
        saved_at, saved_step, printed_at = time.monotonic(), loop.step_count, 0.0
        with progress(self.console) as bar:
            line = bar.add_task(self.name, total=None)
            while not loop.is_done:
                self._step()
                bar.update(line, completed=loop.step_count, total=loop.total)
                if not self._waiting and (time.monotonic() - printed_at > PRINT_EVERY_S or loop.is_done):
                    printed_at = time.monotonic()
                    bar.console.print(self._progress_line(), soft_wrap=True)
                if self._is_due(time.monotonic() - saved_at, loop.step_count - saved_step):
                    self.checkpoint()
                    saved_at, saved_step = time.monotonic(), loop.step_count
        self.checkpoint()

    def checkpoint(self) -> None:
        """Write state and curves.

        Raises:
            ModelError: the state cannot be written.
            MediaError: the curves cannot be written.
        """
        state = {
            "loop": self.loop.state(),
            "elapsed_s": self.elapsed_s,
            "rows": self.rows,
            "waiting": self._waiting,
            "budget": asdict(self.budget),
            "begun_with": self.begun_with,
        }
        save_state(self.state_path, state, self.identity)
        write_curves(self.curve_path, self.rows)
        self._written += 1
        if self._written % DRAWN_EVERY == 0 and self.rows:
            draw_curves(self.curve_path.with_suffix(".png"), self.rows)
        if self.on_checkpoint is not None:
            self.on_checkpoint(self.loop.step_count)

    def _step(self) -> None:
        """One step, and a row of the curves where it is due."""
        began = time.monotonic()
        self._waiting.append(self.loop.step())
        self.elapsed_s += time.monotonic() - began
        if self.loop.step_count == FIRST_STEPS:
            self._replan(0.0)
        if len(self._waiting) == LOG_STEPS or self.loop.is_done:
            clock = {"step": float(self.loop.step_count), "seconds": self.elapsed_s}
            self.rows.append({**clock, **_means(self._waiting)})
            self._waiting = []
            self._replan(0.0 if len(self.rows) < PACE_ROWS else REPLAN)

    def _is_due(self, seconds: float, steps: int) -> bool:
        return seconds >= self.checkpoint_s if self.checkpoint_steps is None else steps >= self.checkpoint_steps

    def _replan(self, tolerance: float) -> None:
        """Let the number of steps follow the time, as the last rows took it."""
        if self.budget.steps is not None:
            return
        loop, since = self.loop, self.rows[-PACE_ROWS:]
        steps, seconds = float(loop.step_count), self.elapsed_s
        if len(since) > 1:
            steps, seconds = steps - since[0]["step"], seconds - since[0]["seconds"]
        left = max(0.0, self.budget.seconds - self.elapsed_s) * steps / seconds
        planned = loop.total - loop.step_count
        if abs(left - planned) > tolerance * planned:
            loop.total = loop.step_count + round(left)

    def _progress_line(self) -> str:
        row = self.rows[-1]
        skipped = ("step", "seconds", "gradient", "rate")
        parts = "  ".join(f"{name} {value:.4g}" for name, value in row.items() if name not in skipped)
        share = self.loop.step_count / max(1, self.loop.total)
        return f"{self.name} {share:4.0%}  step {self.loop.step_count}  {self.elapsed_s:.0f} s  {parts}"


def progress(console: Console) -> Progress:
    """A bar with the time left; nothing where the output is not a terminal."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal)


def _means(rows: list[dict[str, float]]) -> dict[str, float]:
    """Mean of each part, those that are not a number left out."""
    means = {}
    for name in rows[0]:
        values = [row[name] for row in rows if not math.isnan(row[name])]
        means[name] = sum(values) / len(values) if values else math.nan
    return means


def write_curves(path: Path, rows: list[dict[str, float]]) -> None:
    """Rows as CSV; where matplotlib is there, also as a picture beside it.

    Raises:
        MediaError: it cannot be written.
    """
    if not rows:
        return
    try:
        claim(path)
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows({name: f"{value:.6g}" for name, value in row.items()} for row in rows)
    except OSError as error:
        raise MediaError(f"{path}: cannot be written ({error.strerror}), make room and --resume") from error


def draw_curves(path: Path, rows: list[dict[str, float]]) -> bool:
    """Each part over the steps, as PNG; False where matplotlib is not installed (extra ``train``)."""
    try:
        import matplotlib
    except ImportError:
        return False
    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = [name for name in rows[0] if name not in ("step", "seconds")]
    columns = min(4, len(names))
    lines = -(-len(names) // columns)
    figure, axes = pyplot.subplots(lines, columns, figsize=(3.6 * columns, 2.4 * lines), squeeze=False)
    for axis, name in zip(axes.flat, names, strict=False):
        axis.plot([row["step"] for row in rows], [row[name] for row in rows], linewidth=1)
        axis.set_title(name, fontsize=9)
        axis.grid(alpha=0.3)
    for axis in axes.flat[len(names) :]:
        axis.remove()
    figure.tight_layout()
    try:
        claim(path)
        figure.savefig(path, dpi=90)
    except OSError as error:
        raise MediaError(f"{path}: cannot be written ({error.strerror}), make room and --resume") from error
    finally:
        pyplot.close(figure)
    return True
