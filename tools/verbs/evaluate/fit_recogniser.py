"""``wangraph evaluate fit-recogniser``."""

from __future__ import annotations

from pathlib import Path

import click

from ...shared.options import force_option


@click.command("fit-recogniser", short_help="Train anew what recognises the agents' words.")
@force_option
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def command(file: Path) -> None:
    """Train anew what recognises the agents' words in their sound, and write it to FILE.

    The one that is used is shipped; it is needed again when the voices of the agents change.

    \b
    wangraph evaluate fit-recogniser recogniser.safetensors
    """
    from ...lab.evaluate.recogniser import fit
    from ...lab.world.voices import Bank

    click.echo(f"{file}: {fit(Bank(), file):.1%} of clips without a mistake")
