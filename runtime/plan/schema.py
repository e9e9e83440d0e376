"""JSON Schema of graph files, made from the catalogue, so that editors complete and check them as they are typed."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from ..node import Node, Parameter
from ..ports import LATES, Port
from .catalogue import resolve
from .spec import MEMORIES, OnCrash

Schema = dict[str, Any]

_REFERENCE: Schema = {"type": "string", "pattern": r"\$", "description": "a parameter: $name or ${NAME:default}"}
_KINDS = {
    int: "integer",
    float: "number",
    str: "string",
    bool: "boolean",
    list: "array",
    dict: "object",
    Path: "string",
}


def graph_schema(types: Mapping[str, str]) -> Schema:
    """The schema for graph files whose nodes are of these types (name -> target) or the user's own.

    Raises:
        GraphError: a type cannot be imported.
    """
    classes = {name: resolve(target) for name, target in sorted(types.items())}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "wangraph graph",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "version": {"const": 1, "description": "version of the graph file format"},
            "name": {"type": "string", "description": "how views and messages call the graph"},
            "extends": {"type": "string", "description": "a graph file that this one is laid over; null removes a key"},
            "clock": _object(
                "the unit: unit_frames pictures at fps",
                fps={"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "string"}], "default": 25},
                unit_frames=_or_reference({"type": "integer", "minimum": 1, "default": 4}),
            ),
            "latency_ms": _or_reference(
                {
                    "type": "number",
                    "exclusiveMinimum": 0,
                    "description": "from the end of a unit to when its answer begins to play; one unit by default",
                }
            ),
            "params": {"type": "object", "description": "parameters of the graph: name and default; see --set"},
            "processes": {"type": "object", "additionalProperties": _process()},
            "nodes": {"type": "object", "additionalProperties": _node(classes)},
            "exports": _object(
                "ports seen from outside, when another graph uses this one",
                inputs={"type": "object"},
                outputs={"type": "object", "additionalProperties": {"type": "string"}},
            ),
        },
    }


def describe(param: Parameter) -> Schema:
    """The schema of one parameter's value."""
    schema: Schema = {}
    if isinstance(param.type, type) and param.type in _KINDS:
        schema["type"] = _KINDS[param.type]
    if param.choices is not None:
        schema["enum"] = list(param.choices)
    for key, limit in (("minimum", param.min), ("maximum", param.max)):
        if limit is not None:
            schema[key] = limit
    if not param.is_required and (param.default is None or isinstance(param.default, str | int | float | list | dict)):
        schema["default"] = param.default
    if param.help:
        schema["description"] = param.help
    return schema


def summary(cls: type[Node]) -> str:
    """The first line of the class's docstring."""
    return (inspect.getdoc(cls) or "").partition("\n")[0] if cls.__doc__ else ""


def _node(classes: Mapping[str, type[Node]]) -> Schema:
    names: list[Schema] = [{"const": name, "description": summary(cls)} for name, cls in classes.items()]
    own = {"type": "string", "pattern": ":", "description": "file.py:Class or package.module:Class"}
    schema = _object(
        "a node of the graph",
        type={"anyOf": [*names, {"const": "graph"}, own]},
        graph={"type": "string", "description": "the sub-graph's file"},
        params={"type": "object"},
        inputs={"type": "object", "additionalProperties": _input()},
        process={"type": "string", "description": "where it runs; main by default"},
        lane={"type": "string", "description": "the thread it runs in; loop by default"},
        device={"type": "string", "description": "cpu, cuda or cuda:0", "default": "cpu"},
        budget_ms=_or_reference({"type": "number", "minimum": 0, "description": "time it takes for one unit"}),
        ladder={"type": "array", "items": {"type": "object"}, "description": "levels of effort, from best to cheapest"},
    )
    schema["anyOf"] = [{"required": ["type"]}, {"required": ["graph"]}, {"description": "laid over by extends"}]
    schema["allOf"] = [
        {
            "if": {"properties": {"type": {"const": name}}, "required": ["type"]},
            "then": {"properties": {"params": _params(cls), "inputs": _inputs(cls)}},
        }
        for name, cls in classes.items()
    ]
    return schema


def _params(cls: type[Node]) -> Schema:
    return _object("", **{name: _or_reference(describe(param)) for name, param in cls.params.items()})


def _inputs(cls: type[Node]) -> Schema:
    known = {name: {**_input(), "description": _port_text(port)} for name, port in cls.inputs.items()}
    # Ports may depend on parameters, so a name that the class does not declare is not called wrong here.
    return {"type": "object", "properties": known, "additionalProperties": _input()}


def _port_text(port: Port) -> str:
    shapes = ", ".join(f"{name} {spec}".strip() for name, spec in port.specs.items())
    return ": ".join(part for part in (f"{port.kind} {shapes}", port.help) if part)


def _input() -> Schema:
    full = _object(
        "an edge with more to say",
        **{"from": {"type": "string", "description": "NODE.PORT"}},
        delay=_or_reference({"type": "integer", "minimum": 0, "description": "units; unit k takes unit k - delay"}),
        init={"type": "string", "description": "what comes before unit 0: empty, zeros or a file"},
        memory={"enum": list(MEMORIES), "description": "how packets travel between processes"},
        late={"enum": list(LATES), "description": "what stands in for a late unit"},
    )
    return {"anyOf": [{"type": "string", "description": "NODE.PORT"}, full]}


def _process() -> Schema:
    schema = _object(
        "an operating-system process that runs some of the nodes",
        lanes={"type": "array", "items": {"type": "string"}, "minItems": 1, "description": "its threads"},
        threads=_or_reference({"type": "integer", "minimum": 1, "description": "torch threads; cores / processes"}),
        on_crash={"enum": list(get_args(OnCrash)), "description": "what happens when it dies: the run stops in order"},
    )
    return {**schema, "type": ["object", "null"]}


def _object(description: str, **properties: Any) -> Schema:
    schema: Schema = {"type": "object", "additionalProperties": False, "properties": properties}
    return {"description": description, **schema} if description else schema


def _or_reference(schema: Schema) -> Schema:
    """The schema, or a parameter that stands for the value."""
    described: Schema = {key: schema[key] for key in ("description", "default") if key in schema}
    rest = {key: value for key, value in schema.items() if key not in described}
    return {**described, "anyOf": [rest, _REFERENCE]} if rest else described
