"""From a node's type to its class. `runtime` knows no node: shipped types are handed in by the root package.

A type is a name in the catalogue (shipped, or a *plug-in*: from a package's entry-point group ``wangraph.nodes``),
``package.module:Class``, or ``file.py:Class`` with the file beside the graph. A *target* is what the name stands for,
``module:Class`` or ``/absolute/file.py:Class``: `resolve` finds the same class by it in every process.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import inspect
import logging
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType, ModuleType

from ..errors import GraphError, did_you_mean, listing
from ..node import Node
from ..places import raised
from ..user_file import load_file

GROUP = "wangraph.nodes"


@dataclass
class _Shipped:
    types: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    graphs: Path | None = None


_shipped = _Shipped()
_local: dict[str, type[Node]] = {}


def set_catalogue(types: Mapping[str, str], graphs: Path | None = None) -> None:
    """Hand in what is shipped: type name -> ``module:Class``, and the folder of graphs found by name."""
    _shipped.types = MappingProxyType(dict(types))
    _shipped.graphs = graphs


@dataclass(frozen=True)
class Plugin:
    """A node type that an installed package brings by an entry point."""

    name: str
    target: str
    package: str


def known_types() -> dict[str, str]:
    """Every type name -> target; `find_type` refuses those that two packages claim."""
    return {**{plugin.name: plugin.target for plugin in _plugins()}, **_shipped.types}


def own_types() -> dict[str, str]:
    """The types that come with wangraph, those of its parts that are plugged in included."""
    mine = {plugin.name: plugin.target for plugin in _plugins() if plugin.package == __name__.partition(".")[0]}
    return {**mine, **_shipped.types}


def load_types(names: Iterable[str]) -> tuple[dict[str, type[Node]], dict[str, GraphError]]:
    """The classes of these types, and what is wrong with the others: one broken package must not hide the rest."""
    classes, broken = {}, {}
    for name in names:
        try:
            classes[name] = find_type(name, Path())[1]
        except GraphError as error:
            broken[name] = error
    return classes, broken


def shipped_graphs() -> dict[str, Path]:
    """Graph files found by name."""
    return {} if _shipped.graphs is None else {path.stem: path for path in sorted(_shipped.graphs.glob("*.yaml"))}


def shipped_profiles() -> dict[str, Path]:
    """Profiles found by name: what the nodes of shipped graphs cost."""
    folder = _shipped.graphs
    return {} if folder is None else {path.stem: path for path in sorted((folder / "profiles").glob("*.yaml"))}


@functools.cache
def _plugins() -> tuple[Plugin, ...]:
    from importlib.metadata import entry_points  # takes a moment, which processes that only `resolve` need not wait

    found = entry_points(group=GROUP)
    return tuple(
        Plugin(entry.name, f"{entry.module}:{entry.attr}", entry.dist.name if entry.dist else "?") for entry in found
    )


def find_type(name: str, folder: Path) -> tuple[str, type[Node]]:
    """The target and class of a type as a graph file in ``folder`` names it.

    Raises:
        GraphError: no such type, file, module or class, or not a `Node`.
    """
    if name in _local:
        return name, _local[name]
    if ":" not in name:
        return _find_known(name)
    file, _, attribute = name.rpartition(":")
    if file.endswith(".py"):
        candidates = [(base / file).absolute() for base in (folder, Path.cwd())]
        path = next((path for path in candidates if os.path.isfile(path)), candidates[0])
        name = f"{path.resolve()}:{attribute}"
    return name, resolve(name)


def _find_known(name: str) -> tuple[str, type[Node]]:
    claims = [plugin for plugin in _plugins() if plugin.name == name]
    if name in _shipped.types and not claims:
        return _shipped.types[name], resolve(_shipped.types[name])
    if not claims:
        types = known_types()
        raise GraphError(
            f"no node type '{name}' (available: {listing(types)}; your own: file.py:Class or package.module:Class)"
            f"{did_you_mean(name, types)}"
        )
    packages = [f"package '{plugin.package}'" for plugin in claims]
    if name in _shipped.types or len(claims) > 1:
        both = ["wangraph", *packages] if name in _shipped.types else packages
        raise GraphError(
            f"node type '{name}': found it in {' and in '.join(both)} (expected one), uninstall {packages[-1]}, or "
            f"rename the type among its entry points in the group {GROUP}"
        )
    try:
        return claims[0].target, resolve(claims[0].target)
    except GraphError as error:
        raise GraphError(f"node type '{name}' of {packages[0]}: {error}") from error


def resolve(target: str) -> type[Node]:
    """The class that a target names; importable in every process of a run.

    Raises:
        GraphError: it cannot be imported or is not a `Node`.
    """
    if target in _local:
        return _local[target]
    source, _, attribute = target.rpartition(":")
    if "<locals>" in attribute or source == "__main__":
        raise GraphError(f"type '{target}': found a class that only one process can see, move it into a module")
    module = _load_file(Path(source)) if source.endswith(".py") else _load_module(source)
    found: object = module
    for name in attribute.split("."):
        found = getattr(found, name, None)
    if found is None:
        has = [name for name, value in vars(module).items() if _is_node(value)]
        raise GraphError(f"type '{target}': no '{attribute}' (it has: {listing(has)}){did_you_mean(attribute, has)}")
    if not _is_node(found):
        raise GraphError(f"type '{target}': found {_described(found)} (expected a class derived from wangraph.Node)")
    assert isinstance(found, type)
    return found


def target_of(cls: type[Node]) -> str:
    """The target of a class: by module where that can be imported, else by file.

    Classes that no other process can find (made inside a function, or in a notebook) are remembered here, so that
    graphs in one process can use them.
    """
    target = f"{cls.__module__}:{cls.__qualname__}"
    if is_portable(target) and _is_importable(cls.__module__):
        return target
    with contextlib.suppress(OSError, TypeError):  # a notebook cell has no file
        target = f"{Path(inspect.getfile(cls)).resolve()}:{cls.__qualname__}"
    _local[target] = cls
    return target


def is_portable(target: str) -> bool:
    """True if other processes can find it too."""
    return "<locals>" not in target and not target.startswith("__main__:")


def _is_node(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, Node) and value is not Node


def _described(value: object) -> str:
    return f"the class {value.__name__}" if isinstance(value, type) else f"a {type(value).__name__}"


def _is_importable(module: str) -> bool:
    """True if a fresh process would find it: what is in `sys.modules` may have got there by other ways."""
    top = module.partition(".")[0]
    spec = next(filter(None, (finder.find_spec(top, None) for finder in sys.meta_path)), None)
    return spec is not None and ("." in module or spec.origin == getattr(sys.modules[module], "__file__", None))


def _load_module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise GraphError(
                f"module '{name}': not found (expected an installed module), "
                "install it, or name the file: file.py:Class"
            ) from error
        raise GraphError(_import_failed(f"module '{name}'", error)) from error
    except (Exception, SystemExit) as error:  # whatever the user's module does when it is imported
        raise GraphError(_import_failed(f"module '{name}'", error)) from error


def _load_file(path: Path) -> ModuleType:
    if not os.path.isfile(path):
        raise GraphError(f"file '{path}': not found (expected a Python file), it is sought beside the graph file")
    try:
        return load_file(path)
    except (Exception, SystemExit) as error:  # whatever the user's file does when it is run
        raise GraphError(_import_failed(f"file '{path}'", error)) from error


def _import_failed(what: str, error: BaseException) -> str:
    logging.getLogger("wangraph.catalogue").debug("%s: importing it failed", what, exc_info=error)
    return f"{what}: importing it raised {raised(error)}, correct it there"
