"""``wangraph adapters``: public weights from a local folder."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ...runtime.errors import CheckpointError, UserError
from ..shared.group import Group
from ..shared.options import force_option
from ..shared.tables import console, table
from ..shared.targets import CHECKPOINT, Target, check_kind

if TYPE_CHECKING:
    from ...wan_core.adapters.verify import Verified


@click.group("adapters", cls=Group)
def command() -> None:
    """Public models in the places of ours: Wan 2.1 and Mimi as codecs, Qwen2.5 and Qwen3 as language models.

    In a graph, nodes take public codecs by params: {codec: wan2.1, path: DIR} (encode.video, decode.video) and
    {codec: mimi, path: DIR} (encode.audio, decode.audio), and a language model's tokens by {tokenizer: DIR}
    (backbone.thinker, backbone.reference).

    \b
    wangraph adapters verify --path mimi
    """


@command.command()
@click.option("--path", required=True, metavar="DIR", help="Folder with config.json and .safetensors files.")
@click.option("--size", default="64x64", show_default=True, metavar="WxH", help="Of pictures, for a video codec.")
@click.option("--device", default="cpu", show_default=True, help="cpu or cuda:0.")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def verify(path: str, size: str, device: str, as_json: bool) -> int:
    """Do the weights in DIR load, stream, and agree with the model's own code? Exits with 1 when they do not agree.

    \b
    wangraph adapters verify --path Wan2.1-T2V-1.3B-Diffusers/vae
    wangraph adapters verify --path mimi
    wangraph adapters verify --path Qwen2.5-0.5B
    """
    from ...wan_core.errors import ModelError

    width, height = _parse_size(size)
    try:
        from ...wan_core.adapters.verify import verify as run

        found = run(path, height, width, device)
    except ModelError as error:
        raise CheckpointError(str(error)) from error
    if as_json:
        click.echo(json.dumps({**asdict(found), "is_right": found.is_right}, indent=1))
    else:
        _print(path, found)
    return 0 if found.is_right else 1


@command.command()
@click.option("--path", required=True, metavar="DIR", help="Folder of a language model, Qwen2.5 or Qwen3.")
@click.option("--preset", "name", default="paper-0.5b", show_default=True, help="Preset of the same shapes.")
@click.option("-o", "--output", required=True, metavar="FILE", help="A .safetensors file, for checkpoint: in graphs.")
@force_option
@click.option("--dtype", type=click.Choice(["bfloat16", "float16", "float32"]), default="bfloat16", show_default=True,
              help="On disk; models run in float32.")  # fmt: skip
@click.option("--seed", type=int, default=0, show_default=True, help="Of what the language model has no weights for.")
def convert(path: str, name: str, output: str, dtype: str, seed: int) -> None:
    """Write a checkpoint that begins as a language model: where training sets out from.

    
    wangraph adapters convert --path Qwen2.5-0.5B --preset paper-0.5b -o duplex.safetensors
    """
    from ...wan_core.errors import ModelError

    check_kind(Target("-o", Path(output), CHECKPOINT))
    try:
        from ...wan_core.adapters.convert import convert as run

        filled, total = run(path, name, output, dtype, seed)
    except ModelError as error:
        raise CheckpointError(str(error)) from error
    click.echo(f"{output}: {total:,} parameters, {filled:,} of them from {path}, the others random, seed {seed}")


def _parse_size(size: str) -> tuple[int, int]:
    width, cross, height = size.partition("x")
    if not (cross and width.isdecimal() and height.isdecimal()):
        raise UserError(f"--size: found '{size}' (expected WIDTHxHEIGHT, for example 336x192)")
    return int(width), int(height)


def _print(path: str, found: Verified) -> None:
    from rich.markup import escape

    out = console()
    out.print(f"[bold]{escape(path)}[/]: {found.kind}, {found.parameters:,} parameters, {found.sizes}")
    rows = table("compared", "difference", "ms per unit", "", right=("difference", "ms per unit"))
    for finding in found.findings:
        ms = "" if finding.ms_per_unit is None else f"{finding.ms_per_unit:.1f}"
        rows.add_row(finding.name, f"{finding.difference:.1e}", ms, "equal" if finding.is_equal else "DIFFERENT")
    out.print(rows)
    out.print("[green]ok[/]" if found.is_right else "[red]not as published[/]: the weights or the packages differ")
