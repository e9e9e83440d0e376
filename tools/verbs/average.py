"""``wangraph average``: one checkpoint out of several that were learned on from the same weights."""

from __future__ import annotations

from pathlib import Path

import click

from ...runtime.errors import UserError
from ..shared.options import force_option
from ..shared.targets import CHECKPOINT, Target, check_kind


@click.command()
@click.argument("checkpoints", nargs=-1, required=True, metavar="CHECKPOINT...")
@click.option(
    "-o", "--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="Ends in .safetensors."
)
@force_option
@click.option("--share", "shares", type=float, multiple=True, help="Of each, in order; the same if not given.")
def command(checkpoints: tuple[str, ...], out: Path, shares: tuple[float, ...]) -> None:
    """Write the average of CHECKPOINTs, files or shipped presets, which have their codecs in common.

    \b
    wangraph train all --from tiny --voices MINE --out mine
    wangraph average tiny mine/tiny.safetensors -o both.safetensors --share 1 --share 2
    wangraph evaluate model both.safetensors

    What was trained on from the same weights can be averaged, tensor by tensor: such a model often keeps what the first
    knew and has what the second learned. How much of each is a matter of trying.
    """
    from ...wan_core.average import average
    from ...wan_core.errors import ModelError

    check_kind(Target("-o", out, CHECKPOINT))
    try:
        average(checkpoints, out, shares)
    except ModelError as error:
        raise UserError(str(error)) from error
    click.echo(f"wrote {out}")
