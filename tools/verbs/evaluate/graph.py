"""``wangraph evaluate graph``."""

from __future__ import annotations

from pathlib import Path

import click

from ...shared.options import graph_argument, parse_sets, set_option
from . import options


@click.command("graph", short_help="Any graph that takes a user in.")
@graph_argument
@set_option
@options.codecs_option
@options.people_options
@options.dialogues_option(48)
@options.first_option
@options.only_option
@options.processes_option
@options.json_option
@options.plots_option
def command(
    graph: str,
    sets: tuple[str, ...],
    checkpoint: str,
    voices: Path | None,
    hold_out: tuple[str, ...],
    dialogues: int,
    first: int,
    only: tuple[str, ...],
    processes: int,
    as_json: bool,
    plots: Path | None,
) -> None:
    """A graph, by path or shipped name, that takes a user in and answers: see docs/benchmark.md.

    \b
    wangraph evaluate graph cascade --set timeout_ms=400
    wangraph evaluate graph my_graph.yaml --only asks --only cards --dialogues 4
    """
    from ...lab.world.against import check_graph

    settings = parse_sets(sets)
    check_graph(graph, settings=settings)  # before voices and eyes are made, which takes a while
    with options.user_errors():
        from ...lab.evaluate.rows import Setting

        people = options.people(voices, hold_out)
        chosen = tuple(settings.items())
        setting = Setting(checkpoint, dialogues=dialogues, first=first, graph=graph, sets=chosen, **people)
        options.check(setting, only, plots)
        options.show(setting, ("graph", "reference"), only, processes, as_json, plots)
