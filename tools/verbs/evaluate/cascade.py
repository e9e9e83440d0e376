"""``wangraph evaluate cascade``."""

from __future__ import annotations

from pathlib import Path

import click

from . import options


@click.command("cascade", short_help="The agent that waits for silence, over its timeout.")
@options.checkpoint_argument
@options.people_options
@options.dialogues_option(48)
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
    """The voice agent that waits for a silence, at each of several timeouts, and CHECKPOINT beside it; else tiny.

    Of the cascade itself, 12 dialogues of each kind are held at most.

    \b
    wangraph evaluate cascade --plots out
    wangraph evaluate cascade mine.safetensors --dialogues 12
    """
    with options.user_errors():
        from ...lab.evaluate.rows import Setting
        from ...lab.evaluate.sweep import sweep

        solved, people = options.solved(steps, temperature, seed), options.people(voices, hold_out)
        setting = Setting(checkpoint, dialogues=dialogues, **people, **solved)
        options.check(setting, plots=plots)
        sweep(setting, processes, as_json, plots)
