"""From a graph's path or name to one tree: ``extends``, ``--set``, parameters and sub-graphs.

All of it works on `Item` trees, so that everything still knows where it was written.

``extends: other.yaml``   this file laid over another: mappings merge key by key, anything else replaces,
                          null removes what the other file says.
``--set key=value``       ``key`` is a parameter of the graph, or a path: ``nodes.think.budget_ms``,
                          ``think.budget_ms``, ``clock.fps``, ``latency_ms``.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import GraphError, did_you_mean, listing
from .catalogue import find_type, shipped_graphs
from .document import kind_name, parse_text, read_document
from .keys import keys_of, read_keys
from .marks import Item, Mark, Problems, item_of, shown
from .params import resolve_params, substitute
from .spec import GraphSpec, NodeSpec
from .subgraph import Expanded, expand

NODE_KEYS = keys_of(NodeSpec)
MAX_NODES = 5_000
"""Nodes of a graph, with those of its sub-graphs: a few small files that contain each other ten times make millions."""

SETTABLE = [name for name, key in keys_of(GraphSpec).items() if key.field]
"""Keys of the graph that are there once it is extended and its parameters are known."""


class Size:
    """Counts what a graph is put together from, while it is: a sub-graph's nodes each time that it is put in."""

    def __init__(self) -> None:
        self._n_nodes = 0

    def add(self, tree: Item) -> None:
        """Count one file.

        Raises:
            GraphError: all together are too many.
        """
        self._n_nodes += max(1, len(tree.below("nodes")))  # one without nodes takes its time, too
        if self._n_nodes > MAX_NODES:
            raise GraphError(
                f"{tree.mark.file}: found more than {MAX_NODES} nodes, counting those of sub-graphs as often as they "
                "are put in (expected a graph that a machine can run), leave some out"
            )


def find_graph(reference: str | Path, beside: Path | None = None) -> Path:
    """The file of a graph given by path (from the folder ``beside``, else the current one) or by shipped name.

    Raises:
        GraphError: neither a file nor a shipped name.
    """
    path = (beside or Path()) / reference
    if os.path.isfile(path):  # unlike Path's own, it takes any text for a name
        return path
    shipped = shipped_graphs()
    name = str(reference)
    for known in (name, name.removeprefix("graphs/").removesuffix(".yaml")):
        if known in shipped:
            return shipped[known]
    files = [str(Path(name).with_name(file.name)) for file in _folder_of(path).glob("*.y*ml")]
    hint = did_you_mean(name, [*files, *shipped])
    raise GraphError(f"{name}: no such graph (expected a file, or one of: {listing(shipped)}){hint}")


def _folder_of(path: Path) -> Path:
    """Path of a file that would be there, in a folder that can be searched."""
    return path.parent if os.path.isdir(path.parent) else Path()


def parse_sets(sets: Mapping[str, Any]) -> dict[str, Item]:
    """``--set`` values as items: strings are read as YAML, other Python values taken as they are."""
    items = {}
    for key, value in sets.items():
        mark = Mark(f"--set {key}={value}")
        parsed = parse_text(value, mark) if isinstance(value, str) else item_of(value, mark)
        items[key] = replace(parsed or Item(None, mark), key_mark=mark)
    return items


def read_tree(path: Path, chain: tuple[Path, ...] = ()) -> Item:
    """A graph file with everything it extends already under it."""
    if path.resolve() in chain:
        names = " -> ".join(p.name for p in (*chain, path))
        raise GraphError(f"{shown(path)}: found a circle: {names} (expected extends to end), remove one of them")
    tree = read_document(path)
    extends = tree.get("extends")
    if extends is None:
        return tree
    if not isinstance(extends.value, str) or "$" in extends.value:
        found = kind_name(extends.value)
        raise GraphError(
            f"{extends.mark}: extends: found {found} (expected a graph file, by a name that needs no parameters)"
        )
    base = read_tree(_find_from(extends, path.parent), (*chain, path.resolve()))
    return _merge(base, tree.without("extends"))


def build_tree(
    path: Path,
    sets: Mapping[str, Item],
    problems: Problems,
    given: Mapping[str, Item] | None = None,
    chain: tuple[Path, ...] = (),
    size: Size | None = None,
) -> Expanded:
    """A graph file as one tree: extended, set, its parameters put in, its sub-graphs spliced in as ``name/inner``.

    Args:
        sets: by key, as `parse_sets` makes them.
        given: values for the graph's own parameters, which a sub-graph gets from its node.
        chain: the files this one is a sub-graph of.
        size: of what they are put together from.
    """
    size = size or Size()
    if path.resolve() in chain:
        raise GraphError(f"{shown(path)}: found a graph that contains itself (expected sub-graphs to end), remove it")
    tree = read_tree(path)
    size.add(tree)
    inside = {key: item for key, item in sets.items() if "/" in key}
    for key, item in sets.items():
        if key not in inside:
            tree = _set_path(tree, key, item, problems)
    values = resolve_params(tree, given or {}, problems)
    tree = substitute(tree.without("params"), values, problems)
    if chain:
        read_keys(GraphSpec, tree, "graph", problems, leave=("nodes", "processes"))
    elif tree.get("clock") is None:
        tree = tree.having("clock", Item({}, tree.mark))  # sub-graphs are held against the clock that there is

    graph = expand_beside(tree, path.parent, problems, (*chain, path.resolve()), size)
    for key, item in inside.items():
        graph = replace(graph, tree=_set_path(graph.tree, key, substitute(item, values, problems), problems))
    return graph


def expand_beside(
    tree: Item, folder: Path, problems: Problems, chain: tuple[Path, ...] = (), size: Size | None = None
) -> Expanded:
    """A tree with its sub-graphs spliced in, whose files are sought from the folder where they are named."""
    size = size or Size()

    def open_inner(file: Item, params: Mapping[str, Item]) -> Expanded:
        return build_tree(_find_from(file, file.folder or folder), {}, problems, params, chain, size)

    return expand(tree, open_inner, problems)


def _find_from(reference: Item, folder: Path) -> Path:
    try:
        return find_graph(str(reference.value), folder)
    except GraphError as error:
        raise GraphError(f"{reference.mark}: {error}") from error


def _merge(base: Item, over: Item) -> Item:
    if not (base.is_mapping and over.is_mapping):
        return over
    merged = dict(base.value)
    for key, item in over.value.items():
        if key in merged and item.value is None:
            del merged[key]
        elif key in merged:
            merged[key] = _merge(merged[key], item)
        else:
            merged[key] = item
    return replace(over, value=merged)


def _set_path(tree: Item, key: str, item: Item, problems: Problems) -> Item:
    params, nodes = tree.below("params"), tree.below("nodes")
    parts = key.split(".")
    if parts[0] in params and len(parts) == 1:
        return _put(tree, ["params", key], item, problems)
    if parts[0] == "params" and len(parts) == 2 and parts[1] in params:
        return _put(tree, parts, item, problems)
    if parts[0] in nodes and len(parts) > 1:
        parts = ["nodes", *parts]
    if parts[0] == "nodes" and len(parts) > 2 and parts[1] in nodes:
        looks_like_key = did_you_mean(parts[2], NODE_KEYS) and parts[2] not in _params_of(nodes[parts[1]])
        if parts[2] not in NODE_KEYS and not looks_like_key:
            parts.insert(2, "params")  # NODE.NAME is a parameter unless it is, or looks like, a key of the node
        return _put(tree, parts, item, problems)
    if parts[0] == "nodes" or parts[0] not in SETTABLE:
        return _unknown_set(tree, parts, params, nodes, item, problems)
    return _put(tree, parts, item, problems)


def _params_of(node: Item) -> Collection[str]:
    """The parameters of a node's class, also those that the file does not write; none where the class is not known."""
    kind = node.get("type")
    if kind is None or not isinstance(kind.value, str):
        return ()
    try:
        return find_type(kind.value, kind.folder or Path())[1].params
    except GraphError:  # noted when the node is bound, with its place
        return ()


def _unknown_set(
    tree: Item, parts: list[str], params: Mapping[str, Item], nodes: Mapping[str, Item], item: Item, problems: Problems
) -> Item:
    word = next((p for p in parts if p not in ("nodes", "params")), parts[0])
    hint = did_you_mean(word, [*params, *nodes, *SETTABLE])
    problems.add(
        item.mark,
        f"found '{'.'.join(parts)}' (available parameters: {listing(params)}; nodes: {listing(nodes)}, "
        f"as NODE.KEY or NODE.PARAMETER; the graph's own keys: {listing(SETTABLE)}){hint}",
    )
    return tree


def _put(tree: Item, parts: list[str], item: Item, problems: Problems) -> Item:
    """The tree with ``item`` at the end of a path; mappings on the way are made where there are none."""
    if not parts:
        return item
    if not tree.is_mapping and tree.value is not None:
        problems.add(item.mark, f"found {kind_name(tree.value)} at {tree.mark} (expected a mapping), end the key there")
        return tree
    below = tree.get(parts[0]) or Item({}, item.mark, item.key_mark)
    return tree.having(parts[0], _put(below, parts[1:], item, problems))
