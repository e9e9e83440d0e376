"""Sub-graphs: a node with ``graph: FILE`` is replaced by the nodes of that file, named ``node/inner``.

The file says at its top level which of its ports are to be seen from outside, and which nodes stay behind:

    exports:
      inputs:  {video: user.video, text: think.text}    or a list: one input may feed several ports
      outputs: {video: sync.video}
      standalone: [user, file]

An input is an input port inside, or an output of a standalone node: whatever reads it reads what is given instead.
``params`` of the node are the sub-graph's parameters; its ``process``, ``lane`` and ``device`` hold for all inside.

While graphs are put together, what is to be given to one comes from the *outside*: the node ``<``, which is no node's
name, with a port for each exported input.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from ..errors import GraphError, did_you_mean, listing
from ..units import UnitClock
from .keys import keys_of
from .marks import Item, Problems
from .spec import MAIN, ClockSpec, End, Entrance, ExportsSpec, NodeSpec

TAKES = {name: key.on_subgraph for name, key in keys_of(NodeSpec).items() if key.on_subgraph != "refused"}
"""The keys that a node which is a sub-graph may have."""

OUTSIDE = "<"
"""Where what is given to a graph comes from, while graphs are put together."""


@dataclass(frozen=True)
class Expanded:
    """A graph with its sub-graphs spliced in.

    Attributes:
        clock: what it, or a sub-graph of it, says of the clock; None: it runs under any.
        exits: outputs of its sub-graphs by ``node.output``: the port inside.
        entrances: inputs of its sub-graphs that nothing is given to, by the ``node/<.input`` that edges come from.
    """

    tree: Item
    clock: UnitClock | None = None
    exits: Mapping[str, str] = field(default_factory=dict)
    entrances: Mapping[str, Entrance] = field(default_factory=dict)


OpenInner = Callable[[Item, Mapping[str, Item]], Expanded]
"""(the item that names the file, values of its parameters) -> the graph in it."""


@dataclass(frozen=True)
class _Inner:
    """A graph made ready to be put into another: without its standalone nodes, inputs coming from the outside."""

    graph: Expanded
    nodes: Mapping[str, Item]
    inputs: frozenset[str]
    outputs: Mapping[str, str]


def expand(tree: Item, open_inner: OpenInner, problems: Problems) -> Expanded:
    """The tree with every sub-graph spliced in."""
    graph, flat = Expanded(tree, _clock(tree)), dict[str, Item]()
    outputs: dict[str, Mapping[str, str]] = {}
    for name, node in tree.below("nodes").items():
        if not _is_graph(node):
            flat[name] = node
            continue
        inner = _inner(_open(name, node, open_inner, problems), problems)
        outputs[name] = inner.outputs
        flat |= _spliced(name, node, inner, problems)
        graph = _joined(graph, name, node, inner, problems)
    if not outputs:
        return graph

    def connected(port: str, edge: Item) -> Item:
        node, _, output = _source(edge).rpartition(".")
        if node in outputs and output not in outputs[node]:
            has = outputs[node]
            text = f"no output '{output}' exported by '{node}' (it has: {listing(has)}){did_you_mean(output, has)}"
            problems.add((edge.get("from") or edge).mark, text)
        return _from(edge, graph.exits.get(_source(edge), _source(edge)))

    return replace(graph, tree=_with_nodes(graph.tree, flat, connected))


def close(graph: Expanded) -> tuple[Item, dict[str, Entrance]]:
    """The tree of a graph that is put into no other: less the edges that nothing was given to.

    Also, by ``node.port`` of the port that such an edge led to, the input that was left open.
    """
    if not graph.entrances:
        return graph.tree, {}
    nodes = graph.tree.below("nodes")
    lost = {
        f"{name}.{port}": graph.entrances[_source(edge)]
        for name, node in nodes.items()
        for port, edge in node.below("inputs").items()
        if _source(edge) in graph.entrances
    }
    return _with_nodes(graph.tree, nodes, lambda _, edge: None if _source(edge) in graph.entrances else edge), lost


def real_ends(exports: ExportsSpec, graph: Expanded, lost: Mapping[str, Entrance]) -> ExportsSpec:
    """Exports that name ports of sub-graphs, naming the ports inside."""

    def given(end: End) -> list[End]:
        ports = [port for port, entrance in lost.items() if (entrance.node, entrance.port) == (end.node, end.port)]
        if not ports:
            return [taken(end) if end.node in exports.standalone else end]
        return [End.of(port, end.mark) for port in ports]

    def taken(end: End) -> End:
        return End.of(graph.exits.get(str(end), str(end)), end.mark)

    nodes = graph.tree.below("nodes")
    return ExportsSpec(
        {name: tuple(port for end in ends for port in given(end)) for name, ends in exports.inputs.items()},
        {name: tuple(map(taken, ends)) for name, ends in exports.outputs.items()},
        tuple(name for alone in exports.standalone for name in _all_of(alone, nodes)),
    )


# A graph that is put into another


def _is_graph(node: Item) -> bool:
    kind = node.get("type")
    return node.get("graph") is not None or (kind is not None and kind.value == "graph")


def _open(name: str, node: Item, open_inner: OpenInner, problems: Problems) -> Expanded:
    for key, item in node.children().items():
        if key not in TAKES:
            problems.add(
                item.key_mark or item.mark,
                f"node '{name}': found '{key}' (a sub-graph takes: {listing(TAKES)}), set it inside the sub-graph",
            )
    file, params = node.get("graph"), node.below("params")
    if file is None or not isinstance(file.value, str):
        raise GraphError(f"{node.mark}: node '{name}': found no file (expected graph: FILE), name the sub-graph")
    return open_inner(file, params)


def _inner(graph: Expanded, problems: Problems) -> _Inner:
    """Part of a graph that goes into another one, as it is seen there."""
    exports = ExportsSpec.parse(graph.tree.get("exports") or Item({}, graph.tree.mark), "exports", problems)
    all_nodes = graph.tree.below("nodes")
    alone = {name for named in exports.standalone for name in _all_of(named, all_nodes)}
    nodes = {name: node for name, node in all_nodes.items() if name not in alone}
    sources, ports = _given_ends(exports, graph, nodes, problems)

    def connected(name: str, port: str, edge: Item) -> Item:
        source = _source(edge)
        if source in sources:
            return _from(edge, f"{OUTSIDE}.{sources[source]}")
        if source.rpartition(".")[0] in alone:
            problems.add(
                edge.mark,
                f"node '{name}': input '{port}': found {source} of a standalone node (expected a port that is there "
                f"inside another graph, too), export it: inputs: {{NAME: {source}}}",
            )
        return edge

    made = {}
    for name, node in nodes.items():
        made[name] = _with_edges(node, partial(connected, name))
        for port, export in ports.get(name, {}).items():
            made[name] = _with_edge(made[name], port, Item(f"{OUTSIDE}.{export}", node.mark))
    return _Inner(graph, made, frozenset(exports.inputs), _given_out(exports, graph, nodes, problems))


def _given_ends(
    exports: ExportsSpec, graph: Expanded, nodes: Mapping[str, Item], problems: Problems
) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """Exported inputs by the source that they replace, and by the port, of a node, that they feed."""
    sources: dict[str, str] = {}
    ports: dict[str, dict[str, str]] = {}
    for export, ends in exports.inputs.items():
        for end in ends:
            deeper = f"{end.node}/{OUTSIDE}.{end.port}"
            if deeper in graph.entrances:
                sources[deeper] = export
            elif end.node in exports.standalone:
                sources[graph.exits.get(str(end), str(end))] = export
            elif end.node in nodes:
                ports.setdefault(end.node, {})[end.port] = export
            else:
                _no_node(end, nodes, problems)
    return sources, ports


def _given_out(exports: ExportsSpec, graph: Expanded, nodes: Mapping[str, Item], problems: Problems) -> dict[str, str]:
    outputs = {}
    for export, ends in exports.outputs.items():
        for end in ends:
            outputs[export] = graph.exits.get(str(end), str(end))
            if outputs[export].rpartition(".")[0] not in nodes:
                _no_node(end, nodes, problems)
    return outputs


def _no_node(end: End, nodes: Mapping[str, Item], problems: Problems) -> None:
    hint = did_you_mean(end.node, nodes)
    problems.add(end.mark, f"exports: no node '{end.node}' (those that are not standalone: {listing(nodes)}){hint}")


def _spliced(name: str, node: Item, inner: _Inner, problems: Problems) -> dict[str, Item]:
    """The nodes of a sub-graph by their names outside, connected to what the node is given."""
    given = node.below("inputs")
    for port, edge in given.items():
        if port not in inner.inputs:
            known = inner.inputs
            problems.add(
                edge.key_mark or edge.mark,
                f"node '{name}': no input '{port}' exported (it has: {listing(known)}){did_you_mean(port, known)}",
            )
    placement = {key: item for key, item in node.children().items() if TAKES.get(key) == "all"}

    def connected(port: str, edge: Item) -> Item:
        source, _, export = _source(edge).rpartition(".")
        if source == OUTSIDE and export in given:
            return _over(edge, given[export])
        return _from(edge, f"{name}/{_source(edge)}")

    flat = {}
    for key, made in inner.nodes.items():
        moved = _with_edges(made, connected)
        flat[f"{name}/{key}"] = replace(moved, value={**moved.children(), **placement})
    return flat


def _joined(graph: Expanded, name: str, node: Item, inner: _Inner, problems: Problems) -> Expanded:
    """The graph around, with what else a sub-graph brings: its clock, its processes, and its ends."""
    own, its = graph.clock, inner.graph.clock
    if own is not None and its is not None and own != its:
        problems.add(
            node.value["graph"].mark,
            f"node '{name}': found the clock {_shown(its)} in {inner.graph.tree.mark.file} (expected {_shown(own)}, "
            "as here), give both graphs the same clock",
        )
    at = node.key_mark or node.mark
    given = node.below("inputs")
    open_ = {f"{name}/{OUTSIDE}.{port}": Entrance(name, port, at) for port in inner.inputs if port not in given}
    deeper = {
        f"{name}/{source}": replace(entrance, node=f"{name}/{entrance.node}")
        for source, entrance in inner.graph.entrances.items()
    }
    return Expanded(
        _with_processes(graph.tree, node, inner),
        own or its,
        {**graph.exits, **{f"{name}.{port}": f"{name}/{end}" for port, end in inner.outputs.items()}},
        {**graph.entrances, **open_, **deeper},
    )


def _with_processes(tree: Item, node: Item, inner: _Inner) -> Item:
    """The tree with a sub-graph's processes: one that both graphs have gets the lanes of both, else stays as it is.

    A node that says its process brings none, only the lanes that its nodes are in.
    """
    known = tree.get("processes") or Item({}, inner.graph.tree.mark)
    home = node.get("process")
    for name, process in inner.graph.tree.below("processes").items():
        target = name if home is None else str(home.value)
        own = known.get(target) or (Item({}, node.mark) if home is not None and target == MAIN else None)
        if own is not None and node.get("lane") is None:
            known = known.having(target, _with_lanes(own, process))
        elif own is None and home is None:
            known = known.having(target, process)
    return tree.having("processes", known) if known.value else tree


def _with_lanes(own: Item, other: Item) -> Item:
    mine, its = own.get("lanes"), other.get("lanes")
    if its is None or not its.is_list or (mine is not None and not mine.is_list):
        return own
    lanes = [Item("loop", own.mark)] if mine is None else list(mine.value)
    names = [lane.value for lane in lanes]
    return own.having("lanes", Item([*lanes, *(lane for lane in its.value if lane.value not in names)], own.mark))


def _clock(tree: Item) -> UnitClock | None:
    """Clock of a graph; its mistakes are noted when it is read."""
    item = tree.get("clock")
    return None if item is None or item.value is None else ClockSpec.parse(item, "clock", Problems()).unit_clock()


def _shown(clock: UnitClock) -> str:
    return f"{clock.unit_frames} frames at {float(clock.fps):g} fps"


def _all_of(name: str, nodes: Mapping[str, Item]) -> list[str]:
    """A node, or all that a sub-graph of this name became."""
    return [node for node in nodes if node == name or node.startswith(f"{name}/")]


# Edges as items


def _source(edge: Item) -> str:
    source = edge.get("from") if edge.is_mapping else edge
    return source.value if source is not None and isinstance(source.value, str) else ""


def _from(edge: Item, source: str) -> Item:
    """The edge, coming from another port; one that comes from nowhere stays as it is."""
    if source == _source(edge) or not _source(edge):
        return edge
    if edge.is_mapping:
        return edge.having("from", replace(edge.value["from"], value=source))
    return replace(edge, value=source)


def _over(inside: Item, given: Item) -> Item:
    """An edge inside a sub-graph, coming from what is given: both delays count, else what is said outside."""
    if not inside.is_mapping:
        return given
    outer = given if given.is_mapping else Item({"from": given}, given.mark, given.key_mark)
    merged = replace(outer, value={**inside.children(), **outer.children()})
    delays = [edge.value["delay"] for edge in (inside, outer) if edge.get("delay") is not None]
    if len(delays) == 2 and all(isinstance(delay.value, int) for delay in delays):
        merged = merged.having("delay", replace(delays[1], value=delays[0].value + delays[1].value))
    return merged


def _with_edge(node: Item, port: str, edge: Item) -> Item:
    inputs = node.get("inputs") or Item({}, node.mark)
    return node.having("inputs", inputs.having(port, edge)) if inputs.is_mapping else node


def _with_edges(node: Item, change: Callable[[str, Item], Item | None]) -> Item:
    """The node with ``change`` applied to each of its edges; those that become None are left out."""
    inputs = node.get("inputs")
    if inputs is None or not inputs.is_mapping:
        return node
    changed = {port: change(port, edge) for port, edge in inputs.children().items()}
    kept = {port: edge for port, edge in changed.items() if edge is not None}
    return node.having("inputs", replace(inputs, value=kept))


def _with_nodes(tree: Item, nodes: Mapping[str, Item], change: Callable[[str, Item], Item | None]) -> Item:
    changed = {name: _with_edges(node, change) for name, node in nodes.items()}
    return tree.having("nodes", replace(tree.value["nodes"], value=changed))
