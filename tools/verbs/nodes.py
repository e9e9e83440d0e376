"""``wangraph nodes``: the catalogue."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..shared.tables import console, table

if TYPE_CHECKING:
    from ...runtime.node import Node, Parameter
    from ...runtime.ports import Port


@click.command()
@click.argument("type_name", metavar="[TYPE]", required=False)
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def command(type_name: str | None, as_json: bool) -> None:
    """Node types; with TYPE its ports and parameters.

    \b
    wangraph nodes
    wangraph nodes capture.file
    wangraph nodes my_nodes.py:Blur
    """
    from ...runtime.plan.catalogue import find_type, known_types, load_types

    if type_name is not None:
        found = _described(type_name, find_type(type_name, Path.cwd())[1])
        click.echo(json.dumps(found, indent=1)) if as_json else _print_type(found)
        return
    classes, broken = load_types(known_types())
    rows = [_described(name, cls) for name, cls in classes.items()]
    rows += [{"type": name, "help": "", "error": str(error)} for name, error in broken.items()]
    rows.sort(key=lambda row: str(row["type"]))
    click.echo(json.dumps(rows, indent=1)) if as_json else _print_all(rows)


def _described(name: str, cls: type[Node]) -> dict[str, Any]:
    from ...runtime.plan.schema import default_ports

    inputs, outputs = default_ports(cls)
    return {
        "type": name,
        "help": inspect.cleandoc(cls.__doc__ or ""),
        "stateful": cls.is_stateful(),
        "paced": cls.paced,
        "inputs": {
            key: {**_port(port), "late": port.late, "look_ahead": port.look_ahead, "optional": port.optional}
            for key, port in inputs.items()
        },
        "outputs": {key: _port(port) for key, port in outputs.items()},
        "params": {key: _param(param) for key, param in cls.params.items()},
    }


def _port(port: Port) -> dict[str, Any]:
    tensors = {name: str(spec) for name, spec in port.specs.items()}
    return {"kind": port.kind, "tensors": tensors, "rate_hz": port.rate_hz, "help": port.help}


def _param(param: Parameter) -> dict[str, Any]:
    from ...runtime.plan.schema import describe

    described = describe(param)
    help_text = described.pop("description", "")
    return {**described, "required": param.is_required, "path": param.path, "help": help_text}


def _print_all(rows: list[dict[str, Any]]) -> None:
    from rich.markup import escape

    rows_table = table("type", "inputs", "outputs", "what it does")
    for row in rows:
        text = row.get("error") or row["help"].partition("\n")[0]
        rows_table.add_row(
            row["type"], ", ".join(row.get("inputs", ())), ", ".join(row.get("outputs", ())), escape(text)
        )
    console().print(rows_table)


def _print_type(found: dict[str, Any]) -> None:
    from rich.markup import escape

    out = console()
    out.print(f"[bold]{escape(found['type'])}[/]\n{escape(found['help'])}\n")
    ports = table("port", "", "kind", "per unit", "what it carries")
    for side in ("inputs", "outputs"):
        for name, port in found[side].items():
            shape = ", ".join(f"{key} {text}".strip() for key, text in port["tensors"].items())
            extras = ["optional"] if port.get("optional") else []
            extras += [f"late: {port['late']}"] if port.get("late", "gap") != "gap" else []
            extras += [f"{port['rate_hz']} Hz"] if port["rate_hz"] else []
            ports.add_row(name, side[:-1], port["kind"], escape(shape), escape("; ".join([*extras, port["help"]])))
    out.print(ports)
    if not found["params"]:
        return
    params = table("parameter", "type", "default", "allowed", "meaning")
    for name, param in found["params"].items():
        default = "required" if param["required"] else repr(param.get("default"))
        params.add_row(name, param.get("type", "any"), escape(default), escape(_allowed(param)), escape(param["help"]))
    out.print("")
    out.print(params)


def _allowed(param: dict[str, Any]) -> str:
    if "enum" in param:
        return ", ".join(map(str, param["enum"]))
    low, high = param.get("minimum"), param.get("maximum")
    if param["path"] is not None:
        return f"{param['path']} file"
    if low is not None and high is not None:
        return f"{low:g} to {high:g}"
    return f"{low:g} or more" if low is not None else f"{high:g} or less" if high is not None else ""
