"""Text of ``wangraph run`` at the end."""

from __future__ import annotations

import sys
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ...runtime.engine.run import Run
from .figures import percent, quantiles_line


def print_summary(run: Run) -> None:
    """Rates, latencies, a line per node, and what was written."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    summary = run.summary
    console.print(_headline(summary))
    if summary["clock"] == "virtual" and summary["unbudgeted"]:
        console.print(_unbudgeted(summary), soft_wrap=True)
    if summary["deadline_attainment"] is not None:
        for line in _timing(summary):
            console.print(line, soft_wrap=True)
    console.print(_nodes(summary))
    for node, text in summary["weights"].items():
        console.print(f"  weights: {escape(node)}: {escape(text)}")
    for node, key, text in run.reports:
        if key not in ("weights", "wrote"):
            console.print(f"  {escape(node)}: {escape(key)}: {escape(text)}")
    for call in summary["unfinished"]:
        text = f"node '{call['node']}', unit {call['unit']}: stuck since {call['since_ms']:.0f} ms"
        console.print(f"  [red]unfinished[/] {escape(text)}, for {call['for_ms'] / 1000:.1f} s", soft_wrap=True)
    for note in [note for note in summary["notes"] if note["kind"] != "failed"][:10]:  # the error is told after this
        console.print(f"  [yellow]{note['kind']}[/] at {note['at_ms']:.0f} ms: {escape(note['text'])}", soft_wrap=True)
    for path in summary["wrote"]:
        console.print(f"  wrote {escape(path)}", soft_wrap=True)


def _timing(summary: dict[str, Any]) -> list[str]:
    """Lines on how well the clock was kept, and the latencies of the units that were real."""
    first_ms = summary["time_to_first_unit_ms"]
    first = "" if first_ms is None else f", time to first unit {first_ms:.0f} ms"
    names = {"latency_ms": "latency", "model_latency_ms": "model latency", "slack_ms": "slack"}
    return [
        f"  deadline attainment {percent(summary['deadline_attainment'])}{first}",
        *(f"  {name:<14} {quantiles_line(summary[key], summary)}" for key, name in names.items()),
    ]


def _headline(summary: dict[str, Any]) -> str:
    misses, underruns = summary["misses"], summary["underruns"]
    in_runs = f" in {underruns} underrun{'' if underruns == 1 else 's'}" if misses else ""
    colour = "red" if misses else "green"
    if summary["clock"] == "recorded":
        rate, how = "", f"{summary['wall_s']:.1f} s (by recorded decisions, no clock)"
    else:
        rate = f"{summary['fps']:.2f} fps, "
        how = f"{summary['wall_s']:.1f} s ({summary['realtime_factor']:.2f} x real time, {summary['clock']} clock)"
    return (
        f"[bold]{escape(summary['graph'])}[/]: {summary['units']} units, {rate}"
        f"[{colour}]{misses} misses{in_runs}[/], {summary['late']} late, {summary['concealed']} concealed, "
        f"A/V skew max {summary['av_skew_ms'].get('max', 0.0):.0f} ms, "
        f"{how}"
    )


def _unbudgeted(summary: dict[str, Any]) -> str:
    """Warning that a punctual run does not give: that nothing was known of its costs."""
    costless, n = len(summary["unbudgeted"]), len(summary["nodes"])
    have = "has no budget and costs 0" if costless == 1 else "have no budget and cost 0"
    return f"  [yellow]virtual clock[/]: {costless} of {n} nodes {have}"


def _nodes(summary: dict[str, Any]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("  node")
    table.add_column("process/lane")
    for title in ("units", "busy p50", "p95", "wait p95", "late", "absorbed", "lost", "levels"):
        table.add_column(title, justify="right")
    for name, node in summary["nodes"].items():
        table.add_row(
            f"  {name}",
            f"{node['process']}/{node['lane']}",
            str(node["fired"]),
            _ms(node["busy_ms"], "p50"),
            _ms(node["busy_ms"], "p95"),
            _ms(node["wait_ms"], "p95"),
            str(node["late"] or ""),
            str(node.get("absorb", "")),
            str(node.get("gap", 0) + node.get("skip", 0) or ""),
            " ".join(f"{level}:{n}" for level, n in node["levels"].items()),
        )
    return table


def _ms(figures: dict[str, float], key: str) -> str:
    return f"{figures[key]:.2f}" if key in figures else ""
