"""``wangraph schema``: JSON Schema of graph files."""

from __future__ import annotations

import json
from pathlib import Path

import click

from ...runtime.errors import UserError
from ...runtime.output_file import claim
from ..shared.options import force_option
from ..shared.targets import JSON, Target, check_kind


@click.command()
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write it there.")
@force_option
@click.option("--shipped", is_flag=True, help="Only the node types that come with wangraph.")
def command(output: Path | None, shipped: bool) -> None:
    """JSON Schema of graph files, with every installed node type and its parameters.

    \b
    wangraph schema -o graph.schema.json
    and in a graph file, on the first line:
    # yaml-language-server: $schema=graph.schema.json
    """
    check_kind(Target("-o", output, JSON))
    from ...runtime.plan.catalogue import known_types, load_types, own_types
    from ...runtime.plan.schema import graph_schema

    classes, broken = load_types(own_types() if shipped else known_types())
    for error in broken.values():
        click.echo(f"warning: {error}", err=True)
    text = json.dumps(graph_schema(classes, broken), indent=1) + "\n"
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        claim(output)
        output.write_text(text)
    except OSError as error:
        raise UserError(f"{output}: {error.strerror} (expected a place to write to), choose another -o") from error
    click.echo(f"wrote {output}")
