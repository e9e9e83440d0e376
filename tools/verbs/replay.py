"""``wangraph replay``: feeds a recording into a graph."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from ...runtime.errors import RunError, UserError, listing
from ..shared.options import force_option, graph_argument, load_plan, set_option
from ..shared.running import json_option, quiet_option, run_and_tell

if TYPE_CHECKING:
    from ...runtime.engine.collector import Listener
    from ...runtime.engine.run import Run
    from ...runtime.recording.compare import Expectation
    from ...runtime.recording.replay import Replay


@click.command()
@click.argument("recording", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE.mcap")
@graph_argument
@click.option("--from", "start", metavar="NODE",
              help="Replace NODE, and what is above it, by the recording; recorded sources always are.")  # fmt: skip
@click.option("--clock", type=click.Choice(["system", "virtual"]), default="virtual", show_default=True,
              help="virtual: as fast as it goes, by the recorded decisions where the graph is the same. "
              "system: in real time, decided anew.")  # fmt: skip
@click.option("--expect", is_flag=True,
              help="Compare with the recording; name the first packet that differs and exit with 1.")  # fmt: skip
@set_option
@force_option
@json_option
@quiet_option
def command(
    recording: Path,
    graph: str,
    start: str | None,
    clock: Literal["system", "virtual"],
    expect: bool,
    sets: tuple[str, ...],
    json_to: str | None,
    quiet: bool,
) -> int:
    """Feed the packets in FILE.mcap into GRAPH.

    A replay of the recorded graph follows the recorded decisions (who fired, at which level, what was missing) and is
    equal to the recorded run, bit for bit. A graph that differs decides anew. Files that the graph writes are written
    again: name others with --set.

    \b
    wangraph replay hello.mcap hello --set output=again.mp4 --expect
    wangraph replay duplex.mcap mine.yaml --from perform --clock system
    """
    from ...runtime.engine.options import Options
    from ...runtime.recording.compare import Expectation
    from ...runtime.recording.reader import open_recording
    from ...runtime.recording.replay import make_replay

    found = open_recording(recording)
    replay = make_replay(found, load_plan(graph, sets, found.plan.seed), start)
    expectation = Expectation(found, replay) if expect else None
    if expectation is not None and not expectation.streams:
        raise UserError(
            f"--expect: {recording} holds nothing that the graph makes again (recorded: {listing(found.units)}), "
            "record more with --edges, or start further up"
        )
    if not quiet and json_to != "-":
        click.echo(_introduction(replay, clock, found.is_whole))
    options = Options(clock=clock, log=replay.log if clock == "virtual" else None)
    played = {"the recording": recording}
    run, code = run_and_tell(replay.plan, options, json_to, quiet, _listening(expectation), played)
    if expectation is not None and not code:
        _judge(expectation, run)
        if not quiet:
            click.echo(f"as recorded: {expectation.n_equal} packets are equal, bit for bit", err=json_to == "-")
    return code


def _listening(expectation: Expectation | None) -> Listener | None:
    return None if expectation is None else (expectation.streams, expectation.take)


def _introduction(replay: Replay, clock: str, is_whole: bool) -> str:
    how = "decides anew, in real time" if clock == "system" else f"decides anew: {replay.why}"
    if clock == "virtual" and replay.log is not None:
        how = "follows the recorded decisions"
    cut = "" if is_whole else "; the recording was cut, it ends where it does"
    return f"playing back {', '.join(replay.played)}; the rest {how}{cut}"


def _judge(expectation: Expectation, run: Run) -> None:
    change = expectation.first_change(run.log)
    if change is not None:
        raise RunError(f"replay: {change}, the first of what differs from the recording")
    if not expectation.n_equal:
        raise RunError(
            "--expect: found no packet to compare (expected one at least): the recording was cut before the graph "
            "answered, record it again"
        )
