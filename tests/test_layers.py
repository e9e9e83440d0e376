"""Arrows point down only, and looking at a graph loads no model."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "cupy", "av", "matplotlib")

AUTHOR_API = {"node", "packet", "ports", "units", "errors"}
"""What node files may import from runtime."""

MAY_IMPORT = {
    "wan_core": {"wan_core"},
    "nodes": {"nodes", "wan_core", "runtime"},
    "runtime": {"runtime"},
    "graphs": {"graphs"},
    "tools": {"tools", "nodes", "wan_core", "runtime", "graphs"},
}

RUNTIME = {
    "": set(),
    "plan": {"", "plan"},
    "schedule": {"", "plan", "schedule"},
    "channel": {"", "plan", "channel"},
    "engine": {"", "plan", "schedule", "channel", "engine"},
}
"""What each part of runtime may import; ``""`` is the files of runtime itself."""

OVER_THE_ENGINE = {"api.py", "node_runner.py"}
"""Files of runtime that stand above its parts: what Python users call."""


def imported(path: Path) -> list[tuple[int, str]]:
    """(line, dotted path below the root) of every import of ours in a file, relative ones resolved."""
    package = path.relative_to(ROOT).parent.parts
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            names = [node.module] if node.module else [alias.name for alias in node.names]
            found += [(node.lineno, ".".join((*base, *name.split(".")))) for name in names]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("wangraph."):
            found.append((node.lineno, (node.module or "").removeprefix("wangraph.")))
        elif isinstance(node, ast.Import):
            found += [
                (node.lineno, a.name.removeprefix("wangraph.")) for a in node.names if a.name.startswith("wangraph.")
            ]
    return found


def files(folder: str) -> list[Path]:
    return [p for p in sorted((ROOT / folder).rglob("*.py")) if "__pycache__" not in p.parts]


def offence(path: Path, target: str) -> bool:
    layer, parts = path.relative_to(ROOT).parts[0], target.split(".")
    if target == "_version":
        return False
    if parts[0] not in MAY_IMPORT[layer]:
        return True
    if layer == "nodes" and parts[0] == "runtime":
        return parts[1] not in AUTHOR_API
    if layer == "runtime":
        inside = path.relative_to(ROOT / "runtime").parts
        own = inside[0] if len(inside) > 1 else ""
        theirs = parts[1] if len(parts) > 1 and parts[1] in RUNTIME else ""
        return not (own == "" and path.name in OVER_THE_ENGINE) and theirs not in RUNTIME[own] and theirs != own
    return False


def test_arrows_point_down_only():
    offences = [
        f"{path.relative_to(ROOT)}:{line}: imports {target}"
        for layer in MAY_IMPORT
        for path in files(layer)
        for line, target in imported(path)
        if offence(path, target)
    ]
    assert offences == []


def test_the_rule_catches_an_arrow_that_points_up(tmp_path):
    assert offence(ROOT / "wan_core" / "model.py", "runtime.errors")
    assert offence(ROOT / "runtime" / "plan" / "check.py", "runtime.engine.run")
    assert offence(ROOT / "nodes" / "sync.py", "runtime.schedule.window")
    assert offence(ROOT / "runtime" / "packet.py", "nodes.sync")
    assert not offence(ROOT / "nodes" / "sync.py", "runtime.packet")


def module_level_imports(path: Path) -> set[str]:
    names = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            names.add(node.module.split(".")[0])
    return names


def test_nodes_and_runtime_import_nothing_heavy_at_module_level():
    torch_free = [
        *files("nodes"),
        *files("runtime"),
        ROOT / "wan_core" / "__init__.py",
        ROOT / "wan_core" / "config.py",
    ]
    heavy = {str(p.relative_to(ROOT)): module_level_imports(p) & {"torch", "cupy"} for p in torch_free}
    assert {name: found for name, found in heavy.items() if found} == {}


@pytest.mark.parametrize("graph", sorted(p.stem for p in (ROOT / "graphs").glob("*.yaml")))
def test_checking_a_shipped_graph_loads_no_torch(graph, tmp_path):
    code = (
        "import sys; from wangraph.tools.options import load_plan; "
        f"load_plan({graph!r}); sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)


def test_modules_import_our_own_names_relatively():
    absolute = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for layer in MAY_IMPORT
        for path in files(layer)
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.ImportFrom) and not node.level and (node.module or "").split(".")[0] == "wangraph")
    ]
    assert absolute == []
