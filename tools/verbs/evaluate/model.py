"""``wangraph evaluate model``."""

from __future__ import annotations

from pathlib import Path

import click

from . import options


@click.command("model", short_help="A checkpoint, beside the ideal agent and chance.")
@options.checkpoint_argument
@options.people_options
@options.dialogues_option(48)
@options.first_option
@options.only_option
@options.solver_options
@click.option("--no-floors", is_flag=True, help="Leave out untrained weights and other users' pictures.")
@options.processes_option
@options.json_option
@options.plots_option
@options.export_option
def command(
    checkpoint: str,
    voices: Path | None,
    hold_out: tuple[str, ...],
    dialogues: int,
    first: int,
    only: tuple[str, ...],
    steps: int,
    temperature: float,
    seed: int,
    no_floors: bool,
    processes: int,
    as_json: bool,
    plots: Path | None,
    export: Path | None,
) -> None:
    """A checkpoint, beside the ideal agent and what chance reaches. CHECKPOINT: preset, file or folder; else tiny.

    \b
    wangraph evaluate model                                 all measures
    wangraph evaluate model --voices DIR --plots out        with recorded people, and pictures
    wangraph evaluate model --only hands --only cards       some kinds of dialogues
    wangraph evaluate model mine.safetensors --first 48     other dialogues than those by which it was chosen
    wangraph evaluate model --only asks --export out        for other benchmarks to measure
    """
    with options.user_errors():
        from ...lab.evaluate.rows import Setting

        solved, people = options.solved(steps, temperature, seed), options.people(voices, hold_out)
        setting = Setting(checkpoint, dialogues=dialogues, first=first, export=export, **people, **solved)
        options.check(setting, only, plots)
        floors = () if no_floors else ("ablated vision", "random")
        options.show(setting, ("model", "reference", *floors), only, processes, as_json, plots)
