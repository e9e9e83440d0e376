"""``wangraph simulate``: a graph by its profile, without bodies, models or the hardware."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...runtime.errors import UserError
from ..shared.figures import quantiles_line
from ..shared.options import force_option, graph_argument, load_plan, no_code_option, seed_option, set_option
from ..shared.slo import exit_code_of_goals, held_against, parse_goals, print_goals, slo_option
from ..shared.tables import console, table
from ..shared.targets import TRACE, Target, check_targets
from ..shared.timing import print_verdict, print_warnings, warnings

if TYPE_CHECKING:
    from ...runtime.forecast.profile import Profile
    from ...runtime.forecast.verdict import Verdict
    from ...runtime.plan.plan import Plan

UNITS = 375
"""A minute of units of 160 ms."""


@click.command()
@graph_argument
@set_option
@no_code_option
@click.option("--profile", "reference", required=True, metavar="FILE",
              help="What nodes cost: a file, or the name of a shipped profile.")  # fmt: skip
@click.option("--units", type=click.IntRange(1, 1_000_000), default=UNITS, show_default=True, metavar="N",
              help="Units to simulate.")  # fmt: skip
@seed_option
@force_option
@click.option("--trace", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Write every record, for timeline and explain.")  # fmt: skip
@click.option("--inject", "injected", multiple=True, metavar="'NODE: stall=300ms at=UNIT'",
              help="Let calls take longer; also slow=2.5, at=12..20.")  # fmt: skip
@click.option("--sweep", metavar="KEY=FROM:TO:STEP", help="Try a range of a figure: profile.NODE.cost_ms=20:200:10.")
@slo_option
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def command(
    graph: str,
    sets: tuple[str, ...],
    no_code: bool,
    reference: str,
    units: int,
    seed: int,
    trace: Path | None,
    injected: tuple[str, ...],
    sweep: str | None,
    slo: str | None,
    as_json: bool,
) -> int:
    """Simulate GRAPH: the scheduler that would run it, with bodies that cost what PROFILE says. Exits with 1
    when it does not hold its clock.

    \b
    wangraph simulate wan_streamer --profile wan-streamer
    wangraph simulate duplex --profile mine.yaml --units 3750 --trace sim.trace
    wangraph simulate wan_streamer --profile wan-streamer --sweep profile.perform.cost_ms=20:120:10
    """
    from ...runtime.forecast.profile_file import find_profile, load_profile

    goals = parse_goals(slo) if slo is not None else []
    plan = load_plan(graph, sets, seed, no_code=no_code)
    check_targets(plan, [Target("--trace", trace, TRACE)], {"the profile": find_profile(reference)})
    profile = load_profile(reference)
    profile.check(plan)
    if sweep is not None:
        if trace is not None or injected or goals:
            other = "--trace" if trace is not None else "--inject" if injected else "--slo"
            raise UserError(f"--sweep and {other}: found both (expected one of them), leave one out")
        _sweep(plan, profile, sweep, units, seed, as_json)
        return 0
    from ...runtime.engine.faults import parse_fault
    from ...runtime.forecast.verdict import FAILED, judge

    verdict = judge(plan, profile, units, seed, [parse_fault(text) for text in injected])
    held = held_against(goals, verdict.simulated.summary) if goals else None
    if trace is not None:
        _write_trace(trace, plan, verdict, seed)
    if as_json:
        described = {**describe(verdict, units, seed), "warnings": warnings(plan, profile)}
        click.echo(json.dumps({**described, "slo": held} if held else described, indent=1))
    else:
        print_warnings(console(), warnings(plan, profile))
        _print(plan, verdict, units, seed)
        if held:
            print_goals(held)
        if trace is not None:
            click.echo(f"  wrote {trace}")
    return exit_code_of_goals(held) or (1 if verdict.word in FAILED else 0)


def describe(verdict: Verdict, units: int, seed: int) -> dict[str, Any]:
    """A simulated run as JSON holds it: the summary of a run, and what was simulated."""
    return {
        **verdict.simulated.summary,
        "clock": "simulated",
        "verdict": verdict.word,
        "reasons": list(verdict.reasons),
        "profile": {"name": verdict.profile.name, "file": verdict.profile.where, "source": verdict.profile.source},
        "simulated_units": units,
        "seed": seed,
    }


def _print(plan: Plan, verdict: Verdict, units: int, seed: int) -> None:
    out, summary = console(), verdict.simulated.summary
    print_verdict(out, verdict.word, verdict.reasons)
    out.print(
        f"{plan.name} by '{verdict.profile.name}' ({verdict.profile.source}): {units} units, seed {seed}, "
        f"{summary['misses']} misses, {summary['late']} late, due {plan.latency_ns / 1e6:g} ms after release",
        markup=False,
        soft_wrap=True,
    )
    out.print(f"  model latency  {quantiles_line(summary['model_latency_ms'], summary)}", soft_wrap=True)
    numbers = ("units", "busy p50", "p95", "wait p95", "slack p5", "late", "absorbed", "lost")
    rows = table("node", "process/lane", *numbers, right=numbers)
    for name, node in summary["nodes"].items():
        rows.add_row(
            name,
            f"{node['process']}/{node['lane']}",
            str(node["fired"]),
            *(_ms(node["busy_ms"], key) for key in ("p50", "p95")),
            _ms(node["wait_ms"], "p95"),
            _ms(node.get("slack_ms", {}), "p5"),
            str(node["late"] or ""),
            str(node.get("absorb", "")),
            str(node.get("gap", 0) + node.get("skip", 0) or ""),
        )
    out.print(rows)


def _sweep(plan: Plan, profile: Profile, text: str, units: int, seed: int, as_json: bool) -> None:
    from ..shared.sweep import parse_sweep, plot, run_sweep

    sweep = parse_sweep(text)
    found = list(run_sweep(plan, profile, sweep, units, seed))
    due_ms = plan.latency_ns / 1e6
    if as_json:
        report = {
            "key": sweep.key,
            "due_ms": due_ms,
            "seed": seed,
            "points": found,
            "warnings": warnings(plan, profile),
        }
        click.echo(json.dumps(report, indent=1))
        return
    print_warnings(console(), warnings(plan, profile))
    numbers = (sweep.key, "p50", "p95", "misses", "late")
    rows = table(*numbers, f"model latency: # p50, + p95, | due at {due_ms:g} ms", "verdict", right=numbers)
    for row, bar in zip(found, plot(found, due_ms), strict=True):
        latency = row["model_latency_ms"]
        counts = (str(row["misses"] or ""), str(row["late"] or ""))
        rows.add_row(f"{row['value']:g}", _ms(latency, "p50"), _ms(latency, "p95"), *counts, bar, row["verdict"])
    console().print(rows)


def _write_trace(path: Path, plan: Plan, verdict: Verdict, seed: int) -> None:
    from ..._version import __version__
    from ...runtime.observe.records import TRACE_VERSION, Footer, Header, TraceWriter
    from ...runtime.plan.plan import redacted, to_plain

    machine = {"cpu": f"simulated by '{verdict.profile.name}' ({verdict.profile.source})", "seed": seed}
    try:
        writer = TraceWriter(path)
    except OSError as error:
        raise UserError(f"--trace: {path}: {error.strerror} (expected a writable file), name another") from error
    # No date: the same simulation writes the same file.
    header = Header(TRACE_VERSION, __version__, "", to_plain(redacted(plan)), machine, "simulated", "simulated")
    writer.write([header, *verdict.simulated.records, Footer(verdict.simulated.summary)])
    writer.close()


def _ms(figures: dict[str, float], key: str) -> str:
    return f"{figures[key]:.2f}" if key in figures else ""
