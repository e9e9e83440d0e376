"""Budgets written into a graph file, from a profile: its text stays as it is, comments and all."""

from __future__ import annotations

import math
import os
import tempfile
from pathlib import Path

import yaml

from ...runtime.errors import UserError
from ...runtime.forecast.profile import NodeCost, Profile
from ...runtime.plan.check import load, make_plan
from ...runtime.plan.plan import Plan


def write_budgets(path: Path, plan: Plan, profile: Profile) -> dict[str, float]:
    """Give every node of a graph file that has no budget the one that it needs; what was written, by node.

    Nodes that the file does not name (of a file that it extends, or inside a sub-graph) are left alone, and paced ones,
    which wait for their due.

    Raises:
        UserError: the graph does not hold with these budgets; nothing is written then.
    """
    text = path.read_text()
    found: dict[str, float] = {}
    places: list[tuple[int, str]] = []
    for name, keys in _nodes(text):
        node = plan.nodes.get(name)
        if node is not None and not node.paced and not any(key.value == "budget_ms" for key, _ in keys.value):
            found[name] = budget_ms(profile.nodes[name])
            places.append(_place(text, keys, f"budget_ms: {found[name]:g}"))
    for index, insertion in sorted(places, reverse=True):
        text = text[:index] + insertion + text[index:]
    _replace(path, text)
    return found


def budget_ms(cost: NodeCost) -> float:
    """Time that a node needs in 19 of 20 units, rounded up to two digits."""
    needed = max(0.1, cost.cost_ms if cost.p95_ms is None else cost.p95_ms)
    step = 10.0 ** (math.floor(math.log10(needed)) - 1)
    return round(math.ceil(needed / step - 1e-9) * step, 6)


def _nodes(text: str) -> list[tuple[str, yaml.MappingNode]]:
    """The mappings under ``nodes``, by name."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    assert isinstance(root, yaml.MappingNode)
    nodes = next(value for key, value in root.value if key.value == "nodes")
    return [(key.value, value) for key, value in nodes.value if isinstance(value, yaml.MappingNode)]


def _place(text: str, keys: yaml.MappingNode, entry: str) -> tuple[int, str]:
    """Place of an entry, and the text that is inserted there: the end of ``{...}``, or a line before the second key."""
    if keys.flow_style:
        index = keys.end_mark.index - 1
        while text[index - 1].isspace():
            index -= 1
        return index, f", {entry}" if keys.value else entry
    key = keys.value[min(1, len(keys.value) - 1)][0]
    return key.start_mark.index, f"{entry}\n{' ' * key.start_mark.column}"


def _replace(path: Path, text: str) -> None:
    """Write the file, if it is still a graph; beside it first, so that what it names by relative paths is found."""
    fd, beside = tempfile.mkstemp(suffix=".yaml", prefix=f".{path.stem}-", dir=path.parent)
    try:
        with os.fdopen(fd, "w") as file:
            file.write(text)
        try:
            make_plan(load(beside))
        except UserError as error:
            found = str(error).replace(beside, str(path))
            raise UserError(f"--write-budgets: with the measured budgets: {found}; nothing was written") from error
        os.chmod(beside, path.stat().st_mode)
        os.replace(beside, path)
    finally:
        Path(beside).unlink(missing_ok=True)
