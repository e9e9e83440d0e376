"""``wangraph record``: runs a graph and keeps its packets and decisions."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from ..shared.options import force_option, graph_argument, load_plan, seed_option, set_option
from ..shared.running import duration_option, json_option, quiet_option, run_and_tell, units_of, units_option


@click.command()
@graph_argument
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), required=True, metavar="FILE.mcap",
              help="Where to write.")  # fmt: skip
@click.option("--edges", multiple=True, metavar="STREAM,...",
              help="What to record: NODE.PORT, NODE for all its outputs, or all. "
              "Without it, what enters and leaves the graph: sources, and what is presented.")  # fmt: skip
@set_option
@units_option
@duration_option
@click.option("--clock", type=click.Choice(["system", "virtual"]), default="system", show_default=True,
              help="As for wangraph run.")  # fmt: skip
@click.option("--trace", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Write every record of the run, too.")  # fmt: skip
@click.option("--inject", "faults", multiple=True, metavar="FAULT", help="Do harm on purpose: see wangraph run.")
@force_option
@json_option
@quiet_option
@seed_option
def command(
    graph: str,
    output: Path,
    edges: tuple[str, ...],
    sets: tuple[str, ...],
    units: int | None,
    duration: float | None,
    clock: Literal["system", "virtual"],
    trace: Path | None,
    faults: tuple[str, ...],
    json_to: str | None,
    quiet: bool,
    seed: int,
) -> int:
    """Run GRAPH and record packets and decisions as MCAP, for wangraph replay, Foxglove and other viewers.

    \b
    wangraph record hello -o hello.mcap
    wangraph record duplex -o duplex.mcap --edges user,perform,sync --units 100

    \b
    What lies where, in units of media time:
      /NODE/PORT            a packet per unit, CDR, with the tensors that are not pictures
      /NODE/PORT/pictures   sensor_msgs/msg/Image, before the packet that they belong to
      /wangraph/...         the decision log as JSON: firing, settled, fence
    A thread writes: up to 256 MB wait for a disk that stalls, what comes then is counted as lost and named.
    A run that is killed leaves a recording up to the last second.
    """
    from ...runtime.engine.faults import parse_fault
    from ...runtime.engine.options import Options
    from ...runtime.recording.recorder import check_mcap

    check_mcap()
    plan = load_plan(graph, sets, seed)
    chosen = tuple(name.strip() for text in edges for name in text.split(",") if name.strip())
    options = Options(
        units=units_of(plan, units, duration),
        clock=clock,
        trace=trace,
        faults=tuple(map(parse_fault, faults)),
        record=output,
        record_edges=chosen,
        keep_log=False,
    )
    return run_and_tell(plan, options, json_to, quiet)[1]
