"""``wangraph explain``: where a unit's time went along its critical path, and who made a unit miss."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...runtime.errors import UserError
from ...runtime.units import MS
from ..shared.tables import console, table

if TYPE_CHECKING:
    from rich.console import Console

    from ...runtime.observe.explain import Explanation
    from ...runtime.observe.history import History

SHOWN = 10
"""Misses told one by one; the others are counted."""

NOTES = 8
"""Notes of the run told: stalls, faults, warnings."""


@click.command()
@click.argument("trace", type=click.Path(path_type=Path))
@click.option("--unit", type=int, metavar="K", help="This unit.")
@click.option("--worst", type=click.IntRange(min=1), metavar="N", help="The N units with the largest latency.")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def command(trace: Path, unit: int | None, worst: int | None, as_json: bool) -> None:
    """Explain the units of TRACE: without options every miss, and the first unit that a run which failed did not
    finish; where there was neither, those presented late, the latest first, or else the slowest unit.

    \b
    wangraph run duplex --trace run.trace
    wangraph explain run.trace
    wangraph explain run.trace --unit 57
    wangraph explain run.trace --worst 3 --json
    """
    from ...runtime.observe.explain import explain
    from ...runtime.observe.explain import worst as worst_units
    from ...runtime.observe.history import read_history

    if unit is not None and worst is not None:
        raise UserError("--unit and --worst: found both (expected one of them), leave one out")
    history = read_history(trace)
    if unit is not None:
        units = [unit]
    elif worst is not None:
        units = worst_units(history, worst)
    else:
        ended = history.unpresented[:1] if history.failure is not None else []
        late = sorted(history.presented_late, key=lambda u: -history.presented_late[u])
        units = [*history.missed, *ended] or late or worst_units(history, 1)
    found = [explain(history, u) for u in units]
    if as_json:
        click.echo(json.dumps({"graph": history.plan.name, "units": [describe(history, e) for e in found]}, indent=1))
        return
    out = console()
    _headline(out, history)
    for explanation in found if unit is not None or worst is not None else found[:SHOWN]:
        _print(out, history, explanation)
    if unit is None and worst is None and len(found) > SHOWN:
        _print_rest(out, found[SHOWN:])


def describe(history: History, explanation: Explanation) -> dict[str, Any]:
    """An explanation as JSON holds it; milliseconds, steps after the unit's release."""
    release, outcome = history.plan.release_ns(explanation.unit), explanation.outcome
    return {
        "unit": explanation.unit,
        "status": "never presented" if outcome is None else outcome.status,
        "latency_ms": None if outcome is None else _ms(outcome.model_latency_ns),
        "usual_ms": _ms(explanation.usual_ns),
        "due_ms": history.plan.latency_ns / MS,
        "late_ms": _ms(outcome.late_ns) if outcome is not None and outcome.late_ns else None,
        "steps": [
            {
                "part": s.part,
                "node": s.node,
                "unit": s.unit,
                "from_ms": round((s.from_ns - release) / MS, 3),
                "to_ms": round((s.to_ns - release) / MS, 3),
                "usual_ms": round(s.usual_ns / MS, 3),
                "text": s.text,
            }
            for s in explanation.steps
        ],
        "culprits": [
            {"kind": c.kind, "node": c.node, "unit": c.unit, "text": c.text, "because": list(c.because)}
            for c in explanation.culprits
        ],
    }


def _headline(out: Console, history: History) -> None:
    concealed = sum(outcome.status == "concealed" for outcome in history.outcomes.values())
    counts = [f"{len(history.missed)} missed"]
    counts += [f"{concealed} concealed"] if concealed else []
    counts += [f"{len(history.presented_late)} presented late"] if history.presented_late else []
    usual_ns = history.usual_latency_ns
    usual = "no unit was real" if usual_ns is None else f"model latency usually {usual_ns / MS:.1f} ms"
    text = f"{history.plan.name}: {history.n_units} units, {', '.join(counts)}; {usual}"
    out.print(f"{text}, due {history.plan.latency_ns / MS:g} ms", markup=False)
    notes = [note for note in history.notes if note is not history.failure]
    for note in notes[:NOTES]:
        out.print(f"  {note.kind} at {note.at_ns / MS:.0f} ms: {note.text}", markup=False, soft_wrap=True)
    if len(notes) > NOTES:
        out.print(f"  and {len(notes) - NOTES} more notes")
    if history.failure is not None:
        text = f"  failed at {history.failure.at_ns / MS:.0f} ms: {history.failure.text}"
        out.print(text, style="red", markup=False, soft_wrap=True)


def _print(out: Console, history: History, explanation: Explanation) -> None:
    found = describe(history, explanation)
    late = "" if found["late_ms"] is None else f", presented {found['late_ms']:.1f} ms after its due"
    usual = "" if found["usual_ms"] is None else f"usually {found['usual_ms']:.1f}, "
    text = f"{_presented(found)} ({usual}due {found['due_ms']:g}){late}"
    out.print(f"\n[bold]unit {explanation.unit}[/]: {text}", soft_wrap=True)
    for culprit in found["culprits"]:
        out.print(f"  missed: {culprit['text']}", style="red", markup=False, soft_wrap=True)
        for line in culprit["because"]:
            out.print(f"    because {line}", markup=False, soft_wrap=True)
    if not found["steps"]:
        return
    numbers = ("from", "to", "took", "usually")
    rows = table(*numbers, "", "unit", right=(*numbers, "unit"))
    for step in found["steps"]:
        took = step["to_ms"] - step["from_ms"]
        figures = (step["from_ms"], step["to_ms"], took, step["usual_ms"])
        rows.add_row(*(f"{value:.1f}" for value in figures), step["text"], str(step["unit"]))
    out.print(rows)
    longest = max(explanation.steps, key=lambda s: s.excess_ns if s.part != "due" else -1.0)
    if longest.part != "due" and longest.excess_ns > 1e6:
        text = f"  most of what is unusual: {longest.text}, {longest.excess_ns / MS:.1f} ms longer than usual"
        out.print(text, markup=False, soft_wrap=True)


def _presented(found: dict[str, Any]) -> str:
    """Words for whether a unit was there, and when: what stood in for a missed one was there at once."""
    if found["status"] == "missed":
        latency = found["latency_ms"]
        return "missed, its answer " + ("never came" if latency is None else f"came {latency:.1f} ms after release")
    if found["status"] == "never presented":
        return "never presented"
    concealed = ", concealed" if found["status"] == "concealed" else ""
    return f"{found['latency_ms']:.1f} ms after release{concealed}"


def _print_rest(out: Console, rest: list[Explanation]) -> None:
    """The other units, counted by who made them miss."""
    counts: dict[str, list[int]] = {}
    for explanation in rest:
        for culprit in explanation.culprits:
            counts.setdefault(f"{culprit.node} ({culprit.kind})", []).append(explanation.unit)
    out.print(f"\n{len(rest)} more units {'missed:' if counts else 'presented late'}")
    for name, units in sorted(counts.items(), key=lambda pair: -len(pair[1])):
        out.print(f"  {name}: {len(units)}, for example unit {units[0]}", markup=False)


def _ms(ns: float | None) -> float | None:
    return None if ns is None else round(ns / MS, 3)
