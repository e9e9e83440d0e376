"""What `wangraph` exports is what exists, what the documents use, and the whole exception tree."""

from __future__ import annotations

import ast
import re
import types
from pathlib import Path

import pytest

import wangraph
from wangraph.runtime import errors

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SUBMODULES = {"graphs", "nodes", "runtime", "tools", "wan_core"}
"""What importing parts of the package leaves in it."""


def test_every_exported_name_exists():
    assert [name for name in wangraph.__all__ if not hasattr(wangraph, name)] == []


def test_every_public_name_is_exported():
    public = {
        name
        for name, value in vars(wangraph).items()
        if not name.startswith("_")
        and not isinstance(value, types.ModuleType)
        and name not in ("annotations", *SUBMODULES)
    }
    internal = {"CATALOGUE", "Any", "Path", "TYPE_CHECKING", "import_module", "set_catalogue"}
    assert public - internal <= set(wangraph.__all__)
    assert sorted(wangraph.__all__) == sorted(set(wangraph.__all__))


def test_the_whole_exception_tree_is_exported():
    tree = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}
    assert tree <= set(wangraph.__all__)


def test_an_error_of_another_process_keeps_its_class():
    assert type(errors.error_of("NodeError", "x")) is wangraph.NodeError
    assert type(errors.error_of("Unheard", "x")) is wangraph.RunError


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_documents_import_exported_names_only(document):
    used = set()
    for block in re.findall(r"```python\n(.*?)```", document.read_text(), re.S):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and node.module == "wangraph":
                used |= {alias.name for alias in node.names}
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "wangraph":
                used.add(node.attr)
    assert used <= set(wangraph.__all__) | SUBMODULES
