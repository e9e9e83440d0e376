"""Finding the function that a graph file names."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..runtime.errors import GraphError, did_you_mean, listing
from ..runtime.places import raised
from ..runtime.user_file import load_file

WHERE = "flow.python"


def check_function(function: str, file: Path | str | None) -> None:
    """Raise `GraphError` unless the function is there; reads Python files without running them."""
    source, name = _split(function, file)
    if isinstance(source, str):
        return
    if not os.path.isfile(source):  # unlike Path's own, it takes any text for a name
        raise GraphError(f"{WHERE}: {source}: no such file (expected a Python file), set params.file")
    try:
        tree = ast.parse(source.read_bytes(), str(source))
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None) or 1
        raise GraphError(f"{WHERE}: {source}:{line}: {error.args[0]} (expected Python), correct it there") from error
    has = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    bound = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    imported = {(a.asname or a.name) for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom) for a in n.names}
    if name not in has | bound | imported:
        raise _no_function(str(source), name, has)


def load_function(function: str, file: Path | str | None) -> Callable[[Any], Any]:
    """The function itself.

    Raises:
        GraphError: no such file, module or function, or importing it raises.
    """
    check_function(function, file)
    source, name = _split(function, file)
    try:
        module = importlib.import_module(source) if isinstance(source, str) else load_file(source)
    except (Exception, SystemExit) as error:  # whatever the user's file does when it is run
        raise GraphError(f"{WHERE}: {source}: importing it raised {raised(error)}, correct it there") from error
    found = getattr(module, name, None)
    if not callable(found):
        raise _no_function(str(source), name, {n for n, v in vars(module).items() if callable(v)})
    return found  # type: ignore[no-any-return]


def _split(function: str, file: Path | str | None) -> tuple[Path | str, str]:
    """``(file or module, name)``."""
    if file:
        return Path(file), function
    source, _, name = function.rpartition(":")
    if not source or not name:
        raise GraphError(f"{WHERE}: found function '{function}' (expected file.py:name), or set params.file")
    return (Path(source).absolute(), name) if source.endswith(".py") else (source, name)


def _no_function(source: str, name: str, has: set[str]) -> GraphError:
    return GraphError(f"{WHERE}: {source}: no function '{name}' (it has: {listing(has)}){did_you_mean(name, has)}")
