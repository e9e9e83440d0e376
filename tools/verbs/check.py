"""``wangraph check``: everything that can be known of a graph before it runs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from ...runtime.errors import UserError
from ...runtime.units import MS
from ..shared.options import code_of, graph_argument, load_spec, no_code_option, set_option
from ..shared.tables import console, table, type_name
from ..shared.timing import judged, print_timing, print_warnings

if TYPE_CHECKING:
    from rich.console import Console

    from ...runtime.plan.check import Checked
    from ...runtime.plan.plan import NodePlan, Plan


BUDGETS = {
    "unproven": "fit on paper, unproven (--timing says more)",
    "no budgets": "none, costs are not known (--timing says more)",
}
"""What the sums of the budgets are worth."""


@click.command()
@graph_argument
@set_option
@no_code_option
@click.option("--timing", is_flag=True, help="Simulate it too: verdict, critical path, loads, room to grow.")
@click.option("--profile", "reference", metavar="FILE",
              help="With --timing: what nodes cost, a file or a shipped profile.  [default: the budgets]")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def command(
    graph: str, sets: tuple[str, ...], no_code: bool, timing: bool, reference: str | None, as_json: bool
) -> int:
    """Check GRAPH: wiring, shapes, parameters, files, placement, budgets. Exits with 2 when something is wrong; with 1
    when all is right, but by --timing it does not hold its clock.

    \b
    wangraph check hello
    wangraph check graphs/duplex.yaml --set latency_ms=200 --json
    wangraph check wan_streamer --timing --profile wan-streamer
    """
    from ...runtime.plan.check import check

    if reference is not None and not timing:
        raise UserError("--profile: found it without --timing (expected both), add --timing")
    spec = load_spec(graph, sets, no_code=no_code)
    if code := code_of(spec):
        click.echo(f"check: runs code that the graph names: {', '.join(code)} (--no-code refuses to)", err=True)
    checked = check(spec)
    report, has_failed = describe(checked), False
    if timing:
        from ...runtime.forecast.verdict import FAILED

        report["timing"] = judged(checked.plan, reference)
        has_failed = report["timing"]["verdict"] in FAILED
    if as_json:
        click.echo(json.dumps(report, indent=1))
    else:
        _print(report)
    return 1 if has_failed else 0


def describe(checked: Checked) -> dict[str, Any]:
    """Findings of `check`, as JSON holds them; times in milliseconds after release."""
    plan, timing = checked.plan, checked.timing
    return {
        "graph": plan.name,
        "path": plan.path,
        "fps": float(plan.fps),
        "unit_ms": float(plan.clock.period * 1000),
        "latency_ms": plan.latency_ns / MS,
        "verdict": "unproven" if timing.warnings or any(n.cost_ns for n in plan.nodes.values()) else "no budgets",
        "processes": {p.name: {"lanes": list(p.lanes), "threads": p.threads} for p in plan.processes.values()},
        "nodes": {name: _node(node, timing.earliest_ns[name]) for name, node in plan.nodes.items()},
        "facts": {name: facts for name, node in plan.nodes.items() if (facts := _facts(node))},
        "edges": _edges(plan),
        "loops": [
            {"nodes": list(x.nodes), "ms": x.cost_ns / MS, "of_ms": x.budget_ns / MS, "ratio": round(x.ratio, 3)}
            for x in timing.loops
        ],
        "lanes": {lane: round(load, 3) for lane, load in timing.loads.items()},
        "exports": {
            side: {name: {"kind": port.kind, "ports": list(port.ports)} for name, port in ports.items()}
            for side, ports in (("inputs", checked.exports.inputs), ("outputs", checked.exports.outputs))
        },
        "warnings": list(plan.warnings),
    }


def _node(node: NodePlan, earliest_ns: int) -> dict[str, Any]:
    due = None if node.due_ns is None else node.due_ns / MS
    return {
        "type": node.type,
        "process": node.process,
        "lane": node.lane,
        "device": node.device,
        "budget_ms": node.cost_ns / MS,
        "due_ms": due,
        "earliest_start_ms": earliest_ns / MS,
        "slack_ms": None if due is None else due - (node.cost_ns + earliest_ns) / MS,
        "enforced": node.enforced,
        "paced": node.paced,
        "stateful": node.stateful,
        "on_loop": node.on_loop,
        "levels": len(node.ladder),
    }


def _facts(node: NodePlan) -> dict[str, int | float | str]:
    """Facts that the node's class tells in advance."""
    from ...runtime.errors import GraphError
    from ...runtime.places import raised
    from ...runtime.plan.catalogue import resolve

    cls = resolve(node.target)
    try:
        return dict(cls.facts(node.params))
    except (Exception, SystemExit) as error:  # the node author's code: its mistakes are told like any other
        raise GraphError(f"node '{node.name}': facts() raised {raised(error, cls.facts)}") from error


def _edges(plan: Plan) -> list[dict[str, Any]]:
    from ...runtime.plan.devices import ANY

    edges = []
    for node in plan.nodes.values():
        for inlet in node.inputs:
            stream = plan.streams[inlet.stream]
            edges.append(
                {
                    "from": stream.name,
                    "to": f"{node.name}.{inlet.port}",
                    "kind": stream.kind,
                    "delay": inlet.delay,
                    "carrier": stream.carrier if node.process != stream.process else "reference",
                    "device": stream.device,
                    "copied_to": None if inlet.device in (stream.device, ANY) else inlet.device,
                    "bytes": stream.max_bytes,
                    "shape": {t.name: None if t.shape is None else list(t.shape) for t in stream.tensors},
                    "window": stream.window,
                }
            )
    return edges


def _print(report: dict[str, Any]) -> None:
    out = console()
    out.print(
        f"[bold]{report['graph']}[/]: {report['fps']:g} fps, units of {report['unit_ms']:g} ms, "
        f"latency {report['latency_ms']:g} ms"
    )
    _print_nodes(out, report)
    _print_edges(out, report)
    for name, facts in report["facts"].items():
        line = ", ".join(f"{fact} {x if isinstance(x, str) else format(x, ',')}" for fact, x in facts.items())
        out.print(f"{name}: {line}", markup=False)
    takes, gives = report["exports"]["inputs"], report["exports"]["outputs"]
    if takes or gives:
        out.print(
            f"exports: takes {', '.join(takes) or 'nothing'}; gives {', '.join(gives) or 'nothing'}", markup=False
        )
    lanes = ", ".join(f"{lane} {load:.0%}" for lane, load in report["lanes"].items())
    out.print(f"\nlanes busy: {lanes}")
    for loop in report["loops"]:
        ring = " -> ".join([*loop["nodes"], loop["nodes"][0]])
        out.print(f"loop {ring}: {loop['ms']:g} of {loop['of_ms']:g} ms ({loop['ratio']:.0%})")
    print_warnings(out, report["warnings"])
    wired = f"{len(report['nodes'])} nodes, {len(report['edges'])} edges, {len(report['processes'])} process(es)"
    out.print(f"[green]ok[/]: {wired}; budgets: {BUDGETS[report['verdict']]}")
    if "timing" in report:
        print_timing(out, report["timing"])


def _print_nodes(out: Console, report: dict[str, Any]) -> None:
    from rich.markup import escape

    numbers = ("budget ms", "due ms", "slack ms")
    rows = table("node", "type", "runs in", *numbers, "", right=numbers)
    for name, node in report["nodes"].items():
        marks = [word for word in ("paced", "stateful") if node[word]] + (["on a loop"] if node["on_loop"] else [])
        marks += [f"{node['levels']} levels"] if node["levels"] else []
        rows.add_row(
            name,
            escape(type_name(node["type"])),
            f"{node['process']}/{node['lane']}" + ("" if node["device"] == "cpu" else f" {node['device']}"),
            f"{node['budget_ms']:g}" if node["budget_ms"] else "-",
            "-" if node["due_ms"] is None else f"{node['due_ms']:g}{'' if node['enforced'] else ' (counted)'}",
            "-" if node["slack_ms"] is None else f"{node['slack_ms']:g}",
            ", ".join(marks),
        )
    out.print(rows)


def _print_edges(out: Console, report: dict[str, Any]) -> None:
    from ...runtime.plan.devices import HOST

    rows = table("\nedge", "\nkind", "\ncarrier", "\nbytes", right=("\nbytes",))
    for edge in report["edges"]:
        delay = f" (delay {edge['delay']})" if edge["delay"] else ""
        size = "not known" if edge["bytes"] is None else f"{edge['bytes']:,}"
        way = edge["carrier"] + ("" if edge["device"] == HOST else f", on {edge['device']}")
        way += f", copied to {edge['copied_to']}" if edge["copied_to"] else ""
        rows.add_row(f"{edge['from']} -> {edge['to']}{delay}", edge["kind"], way, size)
    out.print(rows)
