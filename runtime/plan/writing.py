"""`GraphSpec` -> YAML that reads back to the same graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from ..errors import GraphError
from .bind import Bound, bind, find_input
from .catalogue import is_portable
from .document import RESOLVERS
from .marks import Problems
from .spec import GraphSpec, InputSpec, ProcessSpec


class _Dumper(yaml.SafeDumper):
    """Quotes what our own reader would not read as a string, besides what PyYAML's would not."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


for _kind, _pattern in RESOLVERS.items():
    _Dumper.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", _pattern, None)


def write_yaml(spec: GraphSpec) -> str:
    """The graph as YAML, everything filled in; input files by absolute path.

    Raises:
        GraphError: a class that no other process can find, or a value that YAML cannot hold.
    """
    problems = Problems()
    bound = bind(spec, problems)
    problems.raise_any()
    fps = spec.clock.fps
    document: dict[str, Any] = {
        "name": spec.name,
        "version": 1,
        "clock": {"fps": int(fps) if fps.denominator == 1 else str(fps), "unit_frames": spec.clock.unit_frames},
        "latency_ms": _number(spec.latency_ms),
    }
    if spec.processes:
        document["processes"] = {name: _process(process) for name, process in spec.processes.items()}
    document["nodes"] = {name: _node(node, spec.folder) for name, node in bound.items()}
    try:
        return yaml.dump(_escaped(document), Dumper=_Dumper, sort_keys=False, default_flow_style=None, width=120)
    except yaml.representer.RepresenterError as error:
        raise GraphError(
            f"graph '{spec.name}': found {error.args[-1]!r} (expected numbers, strings, lists and mappings), "
            "give parameters that a file can hold"
        ) from error


def _process(process: ProcessSpec) -> dict[str, Any]:
    written: dict[str, Any] = {"lanes": list(process.lanes)}
    if process.threads is not None:
        written["threads"] = process.threads
    return written


def _node(node: Bound, folder: Path) -> dict[str, Any]:
    given = node.spec
    if not is_portable(node.target):
        raise GraphError(
            f"{given.mark}: node '{given.name}': found the class {node.target} (expected one in a module or file), "
            "move it to the top level of a .py file"
        )
    written: dict[str, Any] = {"type": node.target if ":" in given.type else given.type}
    if given.params:
        written["params"] = {key: _param(node, key, value.value) for key, value in given.params.items()}
    if given.inputs:
        written["inputs"] = {port: _input(edge, folder) for port, edge in given.inputs.items()}
    if given.process is not None:
        written["process"] = given.process
    if given.lane is not None:
        written["lane"] = given.lane
    if given.device != "cpu":
        written["device"] = given.device
    if given.budget_ms is not None:
        written["budget_ms"] = _number(given.budget_ms)
    if given.ladder:
        written["ladder"] = [dict(level) for level in given.ladder]
    return written


def _param(node: Bound, key: str, value: Any) -> Any:
    if node.cls.params[key].path == "input" and node.params[key] is not None:
        return str(node.params[key])
    return str(value) if isinstance(value, Path) else value


def _input(edge: InputSpec, folder: Path) -> str | dict[str, Any]:
    written: dict[str, Any] = {"from": edge.source}
    if edge.delay:
        written["delay"] = edge.delay
    if edge.init is not None:
        is_word = edge.init in ("empty", "zeros")
        written["init"] = edge.init if is_word else find_input(edge.init, edge.folder, folder)
    if edge.memory != "auto":
        written["memory"] = edge.memory
    if edge.late is not None:
        written["late"] = edge.late
    return written if len(written) > 1 else edge.source


def _number(value: float) -> int | float:
    return int(value) if float(value).is_integer() else value


def _escaped(value: Any) -> Any:
    """Dollar signs doubled, so that reading does not take them for parameters."""
    if isinstance(value, dict):
        return {key: _escaped(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_escaped(item) for item in value]
    return value.replace("$", "$$") if isinstance(value, str) else value
