"""``wangraph evaluate audio``."""

from __future__ import annotations

from pathlib import Path

import click

from . import options


@click.command("audio", short_help="A recording of somebody who says digits.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--checkpoint", default="tiny", show_default=True, help="Preset, .safetensors file or folder.")
@options.solver_options
@click.option("--json", "as_json", is_flag=True, help="What happened, as JSON.")
def command(file: Path, checkpoint: str, steps: int, temperature: float, seed: int, as_json: bool) -> None:
    """A recording of somebody who says digits: what a checkpoint understands, what it answers, and when.

    \b
    wangraph evaluate audio me.wav
    wangraph evaluate audio me.wav --checkpoint mine.safetensors
    """
    with options.user_errors():
        from ...lab.evaluate.recording import listen
        from ...lab.evaluate.rows import Setting

        listen(Setting(checkpoint, **options.solved(steps, temperature, seed)), file, as_json)
