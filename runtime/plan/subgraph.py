"""Sub-graphs: a node with ``graph: FILE`` is replaced by the nodes of that file, named ``node/inner``.

The file says at its top level which of its ports are to be seen from outside:

    exports:
      inputs:  {frames: blur.frames}            or a list: one inlet may feed several
      outputs: {blurred: blur.blurred}

``params`` of the node are the sub-graph's parameters; its ``process``, ``lane`` and ``device`` hold for all inside.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from ..errors import GraphError, did_you_mean, listing
from .marks import Item, Problems

OpenInner = Callable[[Item, Mapping[str, Item]], Item]
"""(the item that names the file, values of its parameters) -> its tree."""

TAKES = ("type", "graph", "params", "inputs", "process", "lane", "device")


def expand(tree: Item, open_inner: OpenInner, problems: Problems) -> Item:
    """The tree with every sub-graph spliced in."""
    nodes = tree.get("nodes")
    if nodes is None or not any(_is_graph(node) for node in nodes.children().values()):
        return tree
    flat: dict[str, Item] = {}
    outputs: dict[str, dict[str, str]] = {}
    inlets: dict[str, dict[str, Item]] = {}
    for name, node in nodes.children().items():
        if not _is_graph(node):
            flat[name] = node
            continue
        inner = _open(name, node, tree, open_inner, problems)
        outputs[name] = {port: f"{name}/{item.value}" for port, item in _exported(inner, "outputs").items()}
        inlets[name] = {port: _moved_ends(name, item) for port, item in _exported(inner, "inputs").items()}
        flat |= _spliced(name, node, inner, problems)
        tree = _with_processes(tree, inner)

    def outer(source: Item) -> Item:
        return _resolve_export(source, outputs, problems)

    tree = tree.having("nodes", replace(nodes, value={name: _map_sources(n, outer) for name, n in flat.items()}))
    return _with_own_exports(tree, outer, inlets)


def _with_own_exports(tree: Item, outer: Callable[[Item], Item], inlets: Mapping[str, Mapping[str, Item]]) -> Item:
    """The tree with its own exports naming the spliced nodes, where they named a sub-graph's ports."""
    exports = tree.get("exports")
    if exports is None:
        return tree
    taken = {}
    for port, item in exports.below("inputs").items():
        ends: list[Item] = []
        for end in item.value if item.is_list else [item]:
            name, _, inlet = str(end.value).rpartition(".")
            known = inlets.get(name, {}).get(inlet)
            ends += [end] if known is None else known.value
        taken[port] = replace(item, value=ends)
    given = {port: outer(item) for port, item in exports.below("outputs").items()}
    for side, items in (("inputs", taken), ("outputs", given)):
        exports = exports.having(side, Item(items, exports.mark, exports.key_mark)) if items else exports
    return tree.having("exports", exports)


def _moved_ends(name: str, item: Item) -> Item:
    """``node.port``, or a list of them, as a list that names the spliced nodes."""
    return replace(
        item, value=[replace(e, value=f"{name}/{e.value}") for e in (item.value if item.is_list else [item])]
    )


def _is_graph(node: Item) -> bool:
    kind = node.get("type")
    return node.get("graph") is not None or (kind is not None and kind.value == "graph")


def _open(name: str, node: Item, outer: Item, open_inner: OpenInner, problems: Problems) -> Item:
    for key, item in node.children().items():
        if key not in TAKES:
            problems.add(
                item.key_mark or item.mark,
                f"node '{name}': found '{key}' (a sub-graph takes: {listing(TAKES)}), set it inside the sub-graph",
            )
    file, params = node.get("graph"), node.below("params")
    if file is None or not isinstance(file.value, str):
        raise GraphError(f"{node.mark}: node '{name}': found no file (expected graph: FILE), name the sub-graph")
    inner = open_inner(file, params)
    mine, its = outer.get("clock"), inner.get("clock")
    here = None if mine is None else mine.plain()
    if its is not None and its.plain() != here:
        problems.add(
            file.mark,
            f"node '{name}': found the clock {its.plain()} in {inner.mark.file} (expected {here or 'none'}, as here), "
            "give both graphs the same clock",
        )
    return inner


def _with_processes(tree: Item, inner: Item) -> Item:
    """The tree with the processes that only the sub-graph declares."""
    known = tree.get("processes") or Item({}, inner.mark)
    added = {name: item for name, item in inner.below("processes").items() if name not in known.children()}
    return tree.having("processes", replace(known, value={**known.children(), **added})) if added else tree


def _exported(inner: Item, side: str) -> dict[str, Item]:
    exports = inner.get("exports")
    return {} if exports is None else exports.below(side)


def _spliced(name: str, node: Item, inner: Item, problems: Problems) -> dict[str, Item]:
    placement = {key: item for key, item in node.children().items() if key in ("process", "lane", "device")}
    flat = {}
    for key, item in inner.below("nodes").items():
        moved = _map_sources(item, lambda s: replace(s, value=f"{name}/{s.value}"))
        flat[f"{name}/{key}"] = replace(moved, value={**moved.children(), **placement})
    known = _exported(inner, "inputs")
    for port, source in node.below("inputs").items():
        if port not in known:
            problems.add(
                source.key_mark or source.mark,
                f"node '{name}': no input '{port}' exported (it has: {listing(known)}){did_you_mean(port, known)}",
            )
            continue
        ends = known[port].value if known[port].is_list else [known[port]]
        for end in ends:
            target, _, inlet = str(end.value).rpartition(".")
            if f"{name}/{target}" not in flat:
                problems.add(end.mark, f"exports: no node '{target}' (it has: {listing(inner.below('nodes'))})")
                continue
            owner = flat[f"{name}/{target}"]
            inputs = owner.get("inputs") or Item({}, owner.mark)
            flat[f"{name}/{target}"] = owner.having("inputs", inputs.having(inlet, source))
    return flat


def _map_sources(node: Item, change: Callable[[Item], Item]) -> Item:
    """The node with ``change`` applied to the ``node.port`` of each input."""
    inputs = node.get("inputs")
    if inputs is None or not inputs.is_mapping:
        return node
    mapped = {}
    for port, item in inputs.children().items():
        source = item.get("from") if item.is_mapping else item
        if source is None or not isinstance(source.value, str):
            mapped[port] = item
        elif item.is_mapping:
            mapped[port] = item.having("from", change(source))
        else:
            mapped[port] = change(item)
    return node.having("inputs", replace(inputs, value=mapped))


def _resolve_export(source: Item, outputs: Mapping[str, Mapping[str, str]], problems: Problems) -> Item:
    name, _, port = str(source.value).rpartition(".")
    if name not in outputs:
        return source
    if port not in outputs[name]:
        problems.add(
            source.mark,
            f"no output '{port}' exported by '{name}' (it has: {listing(outputs[name])})"
            f"{did_you_mean(port, outputs[name])}",
        )
        return source
    return replace(source, value=outputs[name][port])
