"""``wangraph show``: a graph drawn as a tree, or for mermaid or graphviz."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from ..shared.options import graph_argument, load_plan, no_code_option, set_option
from ..shared.tables import type_name

if TYPE_CHECKING:
    from ...runtime.plan.plan import InputPlan, NodePlan, Plan


@click.command()
@graph_argument
@set_option
@no_code_option
@click.option("--format", "style", type=click.Choice(["tree", "mermaid", "dot"]), default="tree", show_default=True)
def command(graph: str, sets: tuple[str, ...], no_code: bool, style: str) -> None:
    """Draw GRAPH in the order in which data flows.

    \b
    wangraph show duplex
    wangraph show duplex --format dot | dot -Tsvg > duplex.svg
    """
    styles: dict[str, Callable[[Plan], str]] = {"tree": as_tree, "mermaid": as_mermaid, "dot": as_dot}
    click.echo(styles[style](load_plan(graph, sets, no_code=no_code)))


def as_tree(plan: Plan) -> str:
    """Nodes by process in flow order, each with what it takes in."""
    lines = [f"{plan.name}  {float(plan.fps):g} fps, latency {plan.latency_ns / 1e6:g} ms"]
    for process in plan.processes:
        lines.append(f"{process}")
        nodes = plan.nodes_in(process)
        for index, node in enumerate(nodes):
            is_last = index == len(nodes) - 1
            lines.append(f"{'└─' if is_last else '├─'} {node.name}  ({type_name(node.type)}, {node.lane})")
            for number, inlet in enumerate(node.inputs):
                end = "└─" if number == len(node.inputs) - 1 else "├─"
                lines.append(f"{'   ' if is_last else '│  '}{end} {inlet.port} <- {inlet.stream}{_note(inlet)}")
    return "\n".join(lines)


def as_mermaid(plan: Plan) -> str:
    """A mermaid flow chart: processes as boxes, feedback dotted, logs thick."""
    lines = ["flowchart LR"]
    for process in plan.processes:
        lines.append(f'  subgraph {_key(process, "p")}["{process}"]')
        lines += [
            f'    {_key(node.name)}["{node.name}<br/><small>{type_name(node.type)}</small>"]'
            for node in plan.nodes_in(process)
        ]
        lines.append("  end")
    for node, inlet in _edges(plan):
        producer, _, port = inlet.stream.rpartition(".")
        arrow = "-.->" if inlet.delay else "==>" if inlet.is_log else "-->"
        lines.append(f'  {_key(producer)} {arrow}|"{port}{_note(inlet)}"| {_key(node.name)}')
    return "\n".join(lines)


def as_dot(plan: Plan) -> str:
    """A graphviz digraph: processes as clusters, feedback dashed, logs bold."""
    lines = [f"digraph {_quoted(plan.name)} {{", "  rankdir=LR; node [shape=box, fontname=sans]; edge [fontname=sans];"]
    for process in plan.processes:
        lines.append(f"  subgraph {_quoted('cluster_' + process)} {{ label={_quoted(process)};")
        lines += [_dot_node(node) for node in plan.nodes_in(process)]
        lines.append("  }")
    for node, inlet in _edges(plan):
        producer, _, port = inlet.stream.rpartition(".")
        style = ", style=dashed, constraint=false" if inlet.delay else ", style=bold" if inlet.is_log else ""
        label = _quoted(f"{port}{_note(inlet)}")
        lines.append(f"  {_quoted(producer)} -> {_quoted(node.name)} [label={label}{style}];")
    return "\n".join([*lines, "}"])


def _dot_node(node: NodePlan) -> str:
    label = _quoted(f"{node.name}\n{type_name(node.type)}").replace("\n", "\\n")
    return f"    {_quoted(node.name)} [label={label}];"


def _edges(plan: Plan) -> list[tuple[NodePlan, InputPlan]]:
    return [(node, inlet) for node in plan.nodes.values() for inlet in node.inputs]


def _note(inlet: InputPlan) -> str:
    return f" (k-{inlet.delay})" if inlet.delay else f" (k..k+{inlet.look_ahead})" if inlet.look_ahead else ""


def _key(name: str, prefix: str = "n") -> str:
    return f"{prefix}_{re.sub(r'[^0-9A-Za-z_]', '_', name)}"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
