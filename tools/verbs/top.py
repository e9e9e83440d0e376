"""``wangraph top``: looks at a graph that runs in another terminal."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from ...runtime.errors import UserError
from ..shared.tables import console, table

if TYPE_CHECKING:
    from rich.console import RenderableType

    from ...runtime.observe.run_file import RunFile
    from ...runtime.observe.status import StatusClient

EVERY_S = 0.5

ALARMS = ("late", "lost", "misses")


@click.command()
@click.argument("run", required=False)
@click.option("--json", "as_json", is_flag=True, help="One snapshot, for machines.")
def command(run: str | None, as_json: bool) -> None:
    """Look at RUN while it goes on: a run's name, its graph's name or its pid; without it, the only one.

    \b
    wangraph top
    wangraph top duplex
    wangraph top duplex-4711 --json

    \b
    unit      the first unit that the node has not taken
    wait      from all inputs being there to its start (p95 of the last 50 units)
    busy      in the body (p50 and p95)
    send      its packets' way to other processes (p95)
    queue     settled units of its inputs that it has not taken
    late      calls that finished after their due, presentations that began after it
    lost      units not computed; misses: units that were not there when presented
    last miss who made it, and why: of the last seconds; wangraph explain tells it of any unit of a trace
    """
    from ...runtime.observe.run_file import find_run, running
    from ...runtime.observe.status import StatusClient

    runs = running()
    if run is None and not runs:
        raise UserError("top: no run found (expected one that goes on), start one with: wangraph run GRAPH")
    if run is None and len(runs) > 1:
        _list(runs, as_json)
        return
    client = StatusClient(runs[0] if run is None else find_run(run, runs))
    try:
        if as_json:
            click.echo(json.dumps(client.snapshot(), indent=1))
        elif sys.stdout.isatty():
            _watch(client)
        elif (now := client.snapshot()) is not None:
            console().print(view(now))
    finally:
        client.close()


def _list(runs: list[RunFile], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps([{"name": r.name, "graph": r.graph, "pid": r.pid, "started": r.started} for r in runs]))
        return
    rows = table("run", "graph", "pid", "started", right=("pid",))
    for run in runs:
        rows.add_row(run.name, run.graph, str(run.pid), run.started)
    console().print(rows)
    click.echo("look at one of them with: wangraph top RUN")


def _watch(client: StatusClient) -> None:
    from rich.live import Live

    with Live(console=console(), screen=False, auto_refresh=False) as live:
        while (now := client.snapshot()) is not None:
            live.update(view(now), refresh=True)
            time.sleep(EVERY_S)
    click.echo("the run has ended")


def view(now: dict[str, Any]) -> RenderableType:
    """A snapshot as it is shown."""
    from rich.console import Group
    from rich.text import Text

    notes = [Text(f"{note['kind']}: {note['text']}", "yellow") for note in now["notes"][-3:]]
    if (miss := now["last_miss"]) is not None:
        notes.insert(0, Text(f"last miss, unit {miss['unit']}: {miss['text']}", "red"))
    return Group(_headline(now), _nodes(now), _processes(now), *notes)


def _headline(now: dict[str, Any]) -> RenderableType:
    from rich.text import Text

    text = Text()
    text.append(now["graph"], "bold")
    text.append(f"  unit {now['unit']}", "cyan")
    text.append(f"  {now['fps']:.1f} of {now['expected_fps']:g} fps")
    if now["model_latency_ms"]:
        latency = now["model_latency_ms"]
        text.append(f"  model latency {latency['p50']:.0f}, p95 {latency['p95']:.0f} of {now['deadline_ms']:.0f} ms")
    if now["recent_real"] < now["recent_units"]:
        text.append(f"  {now['recent_real']} of the last {now['recent_units']} units real", "bold red")
    text.append(f"  misses {now['misses']}", "bold red" if now["misses"] else "green")
    if now["concealed"]:
        text.append(f"  concealed {now['concealed']}", "yellow")
    text.append(f"  late {now['late']}  A/V skew {now['av_skew_ms']:.0f} ms")
    return text


def _nodes(now: dict[str, Any]) -> RenderableType:
    """A row per node; columns that hold nothing are left out, so that what a node waits for has room."""
    from rich.text import Text

    shown: dict[str, list[str]] = {
        "node": list(now["nodes"]),
        "process/lane": [f"{node['process']}/{node['lane']}" for node in now["nodes"].values()],
        "unit": [_count(node["unit"], zero="0") for node in now["nodes"].values()],
        "wait": [_ms(node["wait_ms"], "p95") for node in now["nodes"].values()],
        "busy": [_ms(node["busy_ms"], "p50") for node in now["nodes"].values()],
        "p95": [_ms(node["busy_ms"], "p95") for node in now["nodes"].values()],
        "send": [_ms(node["send_ms"], "p95") for node in now["nodes"].values()],
        "queue": [_count(node["queued"]) for node in now["nodes"].values()],
        **{key: [_count(node[key]) for node in now["nodes"].values()] for key in ALARMS},
        "now": [_doing(node) for node in now["nodes"].values()],
    }
    columns = {title: cells for title, cells in shown.items() if any(cells)}
    rows = table(*columns, right=tuple(set(columns) - {"node", "process/lane", "now"}))
    for title, column in zip(columns, rows.columns, strict=True):
        column.no_wrap = title != "now"  # what may wrap is what is made narrow first
    for cells in zip(*columns.values(), strict=True):
        marks = [Text(cell, "bold red" if title in ALARMS else "") for title, cell in zip(columns, cells, strict=True)]
        marks[-1].no_wrap, marks[-1].overflow = True, "ellipsis"
        rows.add_row(*marks)
    return rows


def _doing(node: dict[str, Any]) -> str:
    """Words for what a node does or waits for; its own unit has a column already."""
    doing: str = node["doing"]
    return doing.removeprefix(f"unit {node['unit']} ").replace(f" of unit {node['unit']}", "")


def _count(number: int | None, zero: str = "") -> str:
    return "" if number is None else str(number) if number else zero


def _processes(now: dict[str, Any]) -> RenderableType:
    from rich.text import Text

    used = (f"{n} {p['cpu_s']:.1f} s CPU {p['rss_mb']:.0f} MB (pid {p['pid']})" for n, p in now["processes"].items())
    return Text("  ".join(used), "dim")


def _ms(figures: dict[str, float], key: str) -> str:
    return f"{figures[key]:.1f}" if key in figures else ""
