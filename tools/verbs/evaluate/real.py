"""``wangraph evaluate real``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from ...shared.options import force_option
from . import options


@click.command("real", short_help="Videos of real people, with what was said when.")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--checkpoint", default="tiny", show_default=True, help="Preset, .safetensors file or folder.")
@options.solver_options
@options.export_option
@force_option
@click.option("--json", "as_json", is_flag=True, help="Figures as JSON, with their intervals.")
def command(
    folder: Path, checkpoint: str, steps: int, temperature: float, seed: int, export: Path | None, as_json: bool
) -> None:
    """Videos of real people: how many words and turns are answered rightly, what nobody asked for, what is cut off.

    FOLDER has videos, each with its cues beside it: NAME.mp4 and NAME.json (docs/benchmark.md).

    \b
    wangraph world compose me.mp4 --voices DIR --person anna -o videos/anna.mp4
    wangraph evaluate real videos --checkpoint mine.safetensors --export out
    """
    with options.user_errors():
        from ...lab.evaluate import real
        from ...lab.evaluate.agents import Weights
        from ...lab.evaluate.export import export as write
        from ...lab.evaluate.rows import Setting
        from ...shared.tables import console

        setting = Setting(checkpoint, **options.solved(steps, temperature, seed))
        weights = Weights.load(checkpoint)
        videos = real.read_videos(folder, weights.size)
        talks = real.watch(weights, videos, setting)
        figures = real.figures_of(talks)
        if export is not None:
            write(talks, [video.name for video in videos], export)
        if as_json:
            click.echo(json.dumps({name: figure.plain() for name, figure in figures.items()}, indent=2))
            return
        out = console()
        for line in real.summary(talks, videos):
            out.print(line, soft_wrap=True, markup=False)
        for name, figure in figures.items():
            out.print(f"{name:32} {figure.text()}  n={figure.n}", soft_wrap=True, markup=False)
