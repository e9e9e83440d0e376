"""Arrows point down only, in code and in YAML; no files import each other in a circle; checking a graph loads no model."""

from __future__ import annotations

import ast
import configparser
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import yaml
from gpu_toys import WITHOUT_GPU

from wangraph.nodes import CATALOGUE

ROOT = Path(__file__).parents[1]

AUTHOR_API = {
    "node", "packet", "parameters", "payload", "places", "ports", "output_file", "units", "user_file", "errors",
}  # fmt: skip
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
    "plan": {""},
    "schedule": {"", "plan"},
    "channel": {"", "plan"},
    "observe": {"", "plan", "schedule"},
    "recording": {"", "plan", "schedule", "channel", "observe"},
    "engine": {"", "plan", "schedule", "channel", "observe", "recording"},
    "forecast": {"", "plan", "schedule", "observe", "engine"},
}
"""What each room of runtime may import besides itself; ``""`` is the files of runtime itself."""

OVER_THE_ENGINE = {"api.py", "node_runner.py"}
"""Files of runtime that stand above its rooms: what Python users call."""

TOOLS = {
    "": {""},
    "shared": {""},
    "timeline": {"", "shared"},
    "serve": {"", "shared", "timeline"},
    "talk": {"", "shared", "serve"},
    "bench": {"", "shared", "timeline", "serve", "talk"},
    "lab": {"", "shared"},
    "fuzz": {"", "shared", "timeline", "serve", "lab"},
    "verbs": {"", "shared", "timeline", "serve", "talk", "bench", "lab", "fuzz"},
}
"""What each room of tools may import besides itself; `cli` finds verbs by their names."""

LAB = {
    "": {"world", "train", "evaluate"},
    "world": set(),
    "cascade": {"world"},
    "train": {"world"},
    "evaluate": {"world", "train"},
}
"""The same inside the laboratory."""

MODEL = {
    "": {"backbone", "cache", "media"},
    "backbone": {""},
    "cache": {"", "backbone"},
    "cost": {""},
    "media": {""},
    "adapters": {"", "backbone", "media"},
    "train": {"", "cache", "media"},
}
"""The same inside the model; ``""`` has the basics of all rooms, and what is made of them."""


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


def room(parts: tuple[str, ...], rooms: dict[str, set[str]]) -> str:
    """The room that a dotted path inside a folder is in; "" for what lies in the folder itself."""
    return parts[0] if parts and parts[0] in rooms else ""


def offence(path: Path, target: str) -> bool:
    own, theirs = path.relative_to(ROOT).with_suffix("").parts, tuple(target.split("."))
    if target == "_version":
        return False
    if theirs[0] not in MAY_IMPORT[own[0]]:
        return True
    if own[0] == "nodes" and theirs[0] == "runtime":
        return theirs[1] not in AUTHOR_API
    if own[0] != theirs[0]:
        return False
    if own[0] == "runtime" and not (len(own) == 2 and path.name in OVER_THE_ENGINE):
        return not may_enter(own[1:], theirs[1:], RUNTIME)
    if own[0] == "wan_core":
        return not may_enter(own[1:], theirs[1:], MODEL)
    if own[0] == "tools":
        if own[1] == theirs[1] == "lab":
            return not may_enter(own[2:], theirs[2:], LAB)
        return not may_enter(own[1:], theirs[1:], TOOLS)
    return False


def may_enter(own: tuple[str, ...], theirs: tuple[str, ...], rooms: dict[str, set[str]]) -> bool:
    here, there = room(own, rooms), room(theirs, rooms)
    return here == there or there in rooms[here]


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
    assert offence(ROOT / "runtime" / "observe" / "status.py", "runtime.engine.control")
    assert offence(ROOT / "runtime" / "engine" / "run.py", "runtime.forecast.verdict")
    assert offence(ROOT / "nodes" / "sync.py", "runtime.schedule.window")
    assert offence(ROOT / "runtime" / "packet.py", "nodes.sync")
    assert offence(ROOT / "wan_core" / "media" / "audio.py", "wan_core.cache.kvcache")
    assert offence(ROOT / "tools" / "shared" / "live.py", "tools.verbs.run")
    assert offence(ROOT / "tools" / "lab" / "world" / "user.py", "tools.lab.evaluate.talk")
    assert not offence(ROOT / "nodes" / "sync.py", "runtime.packet")


# Circles


def modules() -> dict[str, Path]:
    """Every file of ours by its dotted path below the root."""
    found = {}
    for layer in MAY_IMPORT:
        for path in files(layer):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def circles(arrows: dict[str, set[str]]) -> list[list[str]]:
    """Groups of two or more that reach each other, and those that name themselves (Tarjan 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(one: str) -> None:
        index[one] = low[one] = len(index)
        stack.append(one)
        for other in arrows.get(one, ()):
            if other not in index:
                visit(other)
                low[one] = min(low[one], low[other])
            elif other in stack:
                low[one] = min(low[one], index[other])
        if low[one] == index[one]:
            group = stack[stack.index(one) :]
            del stack[stack.index(one) :]
            if len(group) > 1 or one in arrows.get(one, ()):
                found.append(sorted(group))

    for one in arrows:
        if one not in index:
            visit(one)
    return sorted(found)


def all_arrows() -> dict[str, set[str]]:
    """Who imports whom, imports for type checkers and inside functions counted too."""
    known = modules()
    return {name: {t for _, t in targets(path, known) if t != name} for name, path in known.items()}


def targets(path: Path, known: dict[str, Path]) -> list[tuple[int, str]]:
    """The files that a file imports: of ``from package import name``, the file if the name is one."""
    package = path.relative_to(ROOT).parent.parts
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = ".".join((*package[: len(package) - node.level + 1], *(node.module or "").split("."))).strip(".")
            for alias in node.names:
                named = f"{base}.{alias.name}"
                found.append((node.lineno, named if named in known else base))
    return [(line, name) for line, name in found if name in known]


def test_no_files_import_each_other_in_a_circle():
    assert circles(all_arrows()) == []


def test_a_circle_is_found():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]
    assert circles({"a": {"b"}, "b": {"c"}, "c": set()}) == []


# YAML


def types_in(document: object) -> list[str]:
    """Every ``type:`` of a graph file, of sub-graphs too."""
    if isinstance(document, dict):
        own = [document["type"]] if isinstance(document.get("type"), str) else []
        return own + [name for value in document.values() for name in types_in(value)]
    return [name for value in document for name in types_in(value)] if isinstance(document, list) else []


@pytest.mark.parametrize("graph", sorted(p.name for p in (ROOT / "graphs").glob("*.yaml")))
def test_a_shipped_graph_names_types_of_the_catalogue_only(graph):
    plugged = {entry.name for entry in entry_points(group="wangraph.nodes")}
    document = yaml.safe_load((ROOT / "graphs" / graph).read_text())
    unknown = [name for name in types_in(document) if name not in CATALOGUE and name not in plugged]
    assert unknown == [], "a module's path in YAML is an arrow that nobody sees: register a name"


# Weight


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
        "import sys; from wangraph.tools.shared.options import load_plan; "
        f"load_plan({graph!r}, {WITHOUT_GPU.get(graph, [])!r}); sys.exit('torch' in sys.modules)"
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


def test_every_package_is_in_the_wheel():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    named = set(config["options"]["packages"].split())
    found = {
        ".".join(("wangraph", *path.parent.relative_to(ROOT).parts))
        for layer in MAY_IMPORT
        for path in files(layer)
        if path.name == "__init__.py"
    }
    assert found <= named
