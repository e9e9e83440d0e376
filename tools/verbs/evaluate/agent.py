"""``wangraph evaluate agent``."""

from __future__ import annotations

from pathlib import Path

import click

from . import options


@click.command("agent", short_help="An agent behind a WebSocket, in any language.")
@click.argument("url")
@options.codecs_option
@options.people_options
@options.dialogues_option(48)
@options.first_option
@options.only_option
@click.option(
    "--processes",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Dialogues side by side, each on a connection of its own.",
)
@options.json_option
@options.plots_option
def command(
    url: str,
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
    """An agent in any language, behind a WebSocket at URL: see docs/benchmark.md.

    \b
    wangraph evaluate agent ws://127.0.0.1:8765
    wangraph evaluate agent ws://127.0.0.1:8765 --only asks --only cards --dialogues 4
    """
    from ...lab.world.websocket import check_agent

    check_agent(url, processes)  # before voices and eyes are made, which takes a while
    with options.user_errors():
        from ...lab.evaluate.rows import Setting

        people = options.people(voices, hold_out)
        setting = Setting(checkpoint, dialogues=dialogues, first=first, agent=url, **people)
        options.check(setting, only, plots)
        options.show(setting, ("agent", "reference"), only, processes, as_json, plots)
