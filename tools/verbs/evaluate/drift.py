"""``wangraph evaluate drift``."""

from __future__ import annotations

from pathlib import Path

import click

from . import options


@click.command("drift", short_help="Five minutes at a stretch, the last against the first.")
@options.checkpoint_argument
@options.people_options
@options.dialogues_option(12)
@options.solver_options
@options.processes_option
@options.json_option
@options.plots_option
def command(
    checkpoint: str,
    voices: Path | None,
    hold_out: tuple[str, ...],
    dialogues: int,
    steps: int,
    temperature: float,
    seed: int,
    processes: int,
    as_json: bool,
    plots: Path | None,
) -> None:
    """Five minutes at a stretch: is the last one still like the first? Of CHECKPOINT, else of tiny.

    In half of the dialogues the agent is told who it is.

    \b
    wangraph evaluate drift
    wangraph evaluate drift mine.safetensors --dialogues 4 --plots out
    """
    with options.user_errors():
        from ...lab.evaluate.drift import evaluate_drift
        from ...lab.evaluate.rows import Setting

        solved, people = options.solved(steps, temperature, seed), options.people(voices, hold_out)
        setting = Setting(checkpoint, dialogues=dialogues, **people, **solved)
        options.check(setting, plots=plots)
        evaluate_drift(setting, processes, as_json, plots)
