"""``wangraph evaluate seeds``."""

from __future__ import annotations

from pathlib import Path

import click

from ....runtime.errors import UserError
from . import options


@click.command("seeds", short_help="Several checkpoints side by side, mean and spread.")
@click.argument("checkpoints", nargs=-1, metavar="CHECKPOINT...")
@options.people_options
@options.dialogues_option(48)
@options.first_option
@options.only_option
@options.solver_options
@options.processes_option
@options.json_option
def command(
    checkpoints: tuple[str, ...],
    voices: Path | None,
    hold_out: tuple[str, ...],
    dialogues: int,
    first: int,
    only: tuple[str, ...],
    steps: int,
    temperature: float,
    seed: int,
    processes: int,
    as_json: bool,
) -> None:
    """Several checkpoints side by side, as the seeds of one training: their figures, mean and spread.

    \b
    wangraph evaluate seeds tiny seed1.safetensors seed2.safetensors
    wangraph evaluate seeds tiny mine.safetensors --only asks --dialogues 12
    """
    if len(checkpoints) < 2:
        raise UserError(
            f"evaluate seeds: found {len(checkpoints)} checkpoint(s) (expected two or more), "
            "for one: wangraph evaluate model"
        )
    with options.user_errors():
        from ...lab.evaluate.rows import Setting
        from ...lab.evaluate.seeds import evaluate_seeds

        solved, people = options.solved(steps, temperature, seed), options.people(voices, hold_out)
        setting = Setting(checkpoints[0], dialogues=dialogues, first=first, **people, **solved)
        options.check(setting, only)
        evaluate_seeds(setting, checkpoints[1:], options.tasks(only), processes, as_json)
