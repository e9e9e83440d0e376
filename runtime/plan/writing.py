"""`GraphSpec` -> YAML that reads back to the same graph."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from ..errors import GraphError
from .bind import Bound, bind, find_init
from .catalogue import is_portable
from .document import RESOLVERS
from .keys import written
from .marks import Problems
from .spec import GraphSpec, NodeSpec


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
    nodes = {name: _portable(node, spec.folder) for name, node in bound.items()}
    document = written(GraphSpec, replace(spec, nodes=nodes))
    try:
        return yaml.dump(_escaped(document), Dumper=_Dumper, sort_keys=False, default_flow_style=None, width=120)
    except yaml.representer.RepresenterError as error:
        raise GraphError(
            f"graph '{spec.name}': found {error.args[-1]!r} (expected numbers, strings, lists and mappings), "
            "give parameters that a file can hold"
        ) from error


def _portable(node: Bound, folder: Path) -> NodeSpec:
    """The node as a file in any folder may say it."""
    given = node.spec
    if not is_portable(node.target):
        raise GraphError(
            f"{given.mark}: node '{given.name}': found the class {node.target} (expected one in a module or file), "
            "move it to the top level of a .py file"
        )
    return replace(
        given,
        type=node.target if ":" in given.type else given.type,
        params={key: replace(value, value=_param(node, key, value.value)) for key, value in given.params.items()},
        inputs={
            port: replace(edge, init=find_init(edge, folder)) if edge.init is not None else edge
            for port, edge in given.inputs.items()
        },
    )


def _param(node: Bound, key: str, value: Any) -> Any:
    if node.cls.params[key].path == "input" and node.params[key] is not None:
        return str(node.params[key])
    return str(value) if isinstance(value, Path) else value


def _escaped(value: Any) -> Any:
    """Dollar signs doubled, so that reading does not take them for parameters."""
    if isinstance(value, dict):
        return {key: _escaped(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_escaped(item) for item in value]
    return value.replace("$", "$$") if isinstance(value, str) else value
