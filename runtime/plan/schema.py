"""JSON Schema of graph files, so that editors complete and check them as they are typed.

It follows from the declared keys (`spec`) and the catalogue.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import GraphError
from ..node import Node, Parameter
from ..ports import Input, Output, Port
from .keys import keys_of, schema
from .kinds import STAND_IN, Schema
from .spec import ClockSpec, Edge, ExportsSpec, GraphSpec, NodeSpec, ProcessSpec

SECTIONS = (ClockSpec, ProcessSpec, NodeSpec, Edge, ExportsSpec)
_KINDS = {
    int: "integer",
    float: "number",
    str: "string",
    bool: "boolean",
    list: "array",
    dict: "object",
    Path: "string",
}


def graph_schema(classes: Mapping[str, type[Node]], broken: Mapping[str, Exception] | None = None) -> Schema:
    """The schema of graph files whose nodes are of these types or the user's own.

    Args:
        classes: by type name.
        broken: types that cannot be used, and why: offered, and said to be broken.
    """
    sections = {section.noun: schema(section) for section in SECTIONS}
    sections[NodeSpec.noun] = _with_types(sections[NodeSpec.noun], classes, broken or {})
    stand_in = {
        "anyOf": [{"type": "string", "pattern": r"\$"}, {"type": "null"}],
        "description": "a parameter: $name or ${NAME:default}; null: as if it were not there",
    }
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "wangraph graph",
        **schema(GraphSpec),
        "definitions": {**sections, "stand_in": stand_in},
    }


def describe(param: Parameter) -> Schema:
    """The schema of one parameter's value."""
    described: Schema = {}
    if isinstance(param.type, type) and param.type in _KINDS:
        described["type"] = _KINDS[param.type]
    if param.choices is not None:
        described["enum"] = list(param.choices)
    for key, limit in (("minimum", param.min), ("maximum", param.max)):
        if limit is not None:
            described[key] = limit
    if not param.is_required and (param.default is None or isinstance(param.default, str | int | float | list | dict)):
        described["default"] = param.default
    if param.help:
        described["description"] = param.help
    return described


def summary(cls: type[Node]) -> str:
    """The first line of the class's docstring."""
    return (inspect.getdoc(cls) or "").partition("\n")[0] if cls.__doc__ else ""


def default_ports(cls: type[Node]) -> tuple[Mapping[str, Input], Mapping[str, Output]]:
    """Ports of a class when its parameters have their defaults; those of the class where it needs others."""
    try:
        return cls.ports({key: None if param.is_required else param.default for key, param in cls.params.items()})
    except (TypeError, KeyError, ValueError, AttributeError, GraphError):
        return cls.inputs, cls.outputs


def _with_types(node: Schema, classes: Mapping[str, type[Node]], broken: Mapping[str, Exception]) -> Schema:
    """The schema of a node, knowing the types: their names, parameters and input ports."""
    offered: list[Schema] = [{"const": name, "description": summary(cls)} for name, cls in sorted(classes.items())]
    offered += [{"const": name, "description": f"cannot be used: {error}"} for name, error in sorted(broken.items())]
    own = {"type": "string", "pattern": ":", "description": "file.py:Class or package.module:Class"}
    kind = {**node["properties"]["type"], "anyOf": [*offered, {"const": "graph"}, own, STAND_IN]}
    return {
        **node,
        "properties": {**node["properties"], "type": kind},
        "allOf": [
            {
                "if": {"properties": {"type": {"const": name}}, "required": ["type"]},
                "then": {"properties": {"params": _params(cls), "inputs": _inputs(cls)}},
            }
            for name, cls in sorted(classes.items())
        ],
    }


def _params(cls: type[Node]) -> Schema:
    known = {name: _or_stand_in(describe(param)) for name, param in cls.params.items()}
    return {"anyOf": [{"type": "object", "additionalProperties": False, "properties": known}, STAND_IN]}


def _inputs(cls: type[Node]) -> Schema:
    edge = keys_of(NodeSpec)["inputs"].kind.schema["additionalProperties"]
    known = {name: {"description": _port_text(port), **edge} for name, port in default_ports(cls)[0].items()}
    # Where ports depend on parameters, a name that is not there by default may be right.
    others = edge if cls.ports.__func__ is not Node.ports.__func__ else False  # type: ignore[attr-defined]
    return {"anyOf": [{"type": "object", "additionalProperties": others, "properties": known}, STAND_IN]}


def _port_text(port: Port) -> str:
    shapes = ", ".join(f"{name} {spec}".strip() for name, spec in port.specs.items())
    return ": ".join(part for part in (f"{port.kind} {shapes}", port.help) if part)


def _or_stand_in(described: Schema) -> Schema:
    about: dict[str, Any] = {key: described[key] for key in ("description", "default") if key in described}
    return {**about, "anyOf": [{key: value for key, value in described.items() if key not in about}, STAND_IN]}
