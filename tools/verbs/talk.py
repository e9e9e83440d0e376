"""``wangraph talk``: a visitor of a served graph without a browser."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ...runtime.errors import MissingExtra, UserError, WangraphError
from ..shared.json_file import STANDARD_OUTPUT, check_json, output_kept_for_json, write_json
from ..shared.options import FiniteRange, force_option
from ..shared.tables import console, table

if TYPE_CHECKING:
    from ..talk.client import TalkOptions
    from ..talk.measures import TalkFigures

APART_S = 0.1
"""Between two visitors' arrivals: people do not come in the same millisecond."""


@click.command()
@click.argument("link")
@click.option("--source", type=click.Path(path_type=Path), metavar="FILE",
              help="Its picture and sound are sent; without it camera and microphone are absent.")  # fmt: skip
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Write what comes back as MP4, the captions of both sides in it and beside it.")  # fmt: skip
@click.option("--seconds", type=FiniteRange(0, 86_400, min_open=True), metavar="S",
              help="Stay so long; the source begins again at its end.  [default: as long as the source]")  # fmt: skip
@click.option("--text", default="", metavar="WORDS", help="Type this at the beginning.")
@click.option("--interrupt", "interrupt_s", type=FiniteRange(0, 86_400), metavar="S",
              help="Interrupt the agent after so long, and measure when it is silent.")  # fmt: skip
@click.option("--clock-ppm", type=FiniteRange(-1000, 1000), default=0.0, metavar="PPM",
              help="Let the source's clock run faster than the machine's, as devices do.")  # fmt: skip
@click.option("--visitors", type=click.IntRange(1, 100), default=1, show_default=True, metavar="N",
              help="So many at once: a load. The first one's output is written.")  # fmt: skip
@force_option
@click.option("--json", "json_to", metavar="FILE", help="Write the figures as JSON; - for standard output.")
def command(
    link: str,
    source: Path | None,
    output: Path | None,
    seconds: float | None,
    text: str,
    interrupt_s: float | None,
    clock_ppm: float,
    visitors: int,
    json_to: str | None,
) -> int:
    """Visit the graph that wangraph serve serves at LINK: send a file in real time, keep and measure what comes back.

    \b
    wangraph talk 'http://127.0.0.1:8080/#token=...' --source me.mp4 --output agent.mp4
    wangraph talk LINK --source me.mp4 --visitors 8 --seconds 60 --json -

    \b
    shown      pictures that came, of those due since the first one
    underruns  how often the sound ran dry
    skew       by how much the sound was ahead of the picture: p50; and the p95 of its size
    echo       from sending a sound to hearing it, where the graph mirrors it
    answer     from the end of a unit to its answer, p50 and p95
    """
    check_json(json_to)
    options = replace(_options(link, source, output, seconds, text, interrupt_s), clock_ppm=clock_ppm)
    is_quiet = json_to == STANDARD_OUTPUT or visitors > 1
    with output_kept_for_json(json_to):
        figures, failures = asyncio.run(_all(options, visitors, is_quiet))
    if json_to is not None:
        write_json({"visitors": [asdict(f) for f in figures], "failures": [str(e) for e in failures]}, json_to)
    if json_to != STANDARD_OUTPUT:
        _print(figures, output)
    if failures and visitors == 1:
        raise failures[0]
    for failure in failures:
        click.echo(f"error: {failure}", err=True)
    return max((failure.exit_code for failure in failures), default=0)


def _options(
    link: str, source: Path | None, output: Path | None, seconds: float | None, text: str, interrupt_s: float | None
) -> TalkOptions:
    try:
        from ..talk.client import TalkOptions
    except ImportError as error:
        raise MissingExtra(
            f"talk: found no package '{error.name}' (expected the extra 'live'), "
            "install it: pip install 'wangraph[live]'"
        ) from error
    if source is None and seconds is None:
        raise UserError("talk: found neither --source nor --seconds (expected one of them), say how long to stay")
    if source is not None and output is not None and source.resolve() == output.resolve():
        raise UserError(f"talk: --output {output}: is the source (expected another file), name one")
    return TalkOptions(link, source, output, seconds, text, interrupt_s)


async def _all(options: TalkOptions, visitors: int, is_quiet: bool) -> tuple[list[TalkFigures], list[WangraphError]]:
    from ..talk.client import Clips, talk

    clips: Clips = {}

    async def one(number: int) -> TalkFigures:
        await asyncio.sleep(number * APART_S)
        own = options if number == 0 else replace(options, output=None)
        return await talk(own, _silent if is_quiet else _tell, clips)

    results = await asyncio.gather(*(one(n) for n in range(visitors)), return_exceptions=True)
    for clip in clips.values():
        clip.close()
    failures = [result for result in results if isinstance(result, WangraphError)]
    for result in results:
        if isinstance(result, BaseException) and not isinstance(result, WangraphError):
            raise result
    return [result for result in results if not isinstance(result, BaseException)], failures


def _tell(who: str, words: str) -> None:
    click.echo(f"{who}: {words}")


def _silent(who: str, words: str) -> None:
    pass


def _print(figures: Sequence[TalkFigures], output: Path | None) -> None:
    if not figures:
        return
    right = ("talked", "first", "shown", "underruns", "skew", "echo", "answer", "network")
    rows = table("visit", *right, "units", right=right)
    for visit in figures:
        outcomes = ", ".join(f"{n} {name}" for name, n in sorted(visit.outcomes.items(), key=lambda one: -one[1]))
        rows.add_row(
            visit.visit[:8],
            f"{visit.talked_s:.1f} s",
            "-" if visit.first_picture_s is None else f"{visit.first_picture_s:.2f} s",
            f"{visit.shown}/{visit.due}",
            str(visit.underruns),
            _pair(visit.skew_ms),
            _one(visit.echo_ms),
            _pair(visit.answered_ms),
            _one(visit.network_ms),
            outcomes,
        )
    console().print(rows)
    for visit in figures:
        if visit.silence_ms is not None:
            click.echo(f"silent {visit.silence_ms:.0f} ms after the interruption")
    if output is not None:
        click.echo(f"wrote {output}")


def _one(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f} ms"


def _pair(values: tuple[float, float] | None) -> str:
    return "-" if values is None else f"{values[0]:.0f} / {values[1]:.0f} ms"
