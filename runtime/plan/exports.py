"""The ports of a graph to the outside: those that its ``exports`` name, held against the classes of their nodes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ..errors import did_you_mean, listing
from ..ports import Kind, Port
from .bind import Bound
from .marks import Problems
from .spec import End, GraphSpec


@dataclass(frozen=True)
class Exported:
    """A port of a graph to the outside.

    Attributes:
        kind: of what goes through it.
        ports: ``node.port`` inside; what is given to an input of a standalone node takes the place of its output.
    """

    kind: Kind
    ports: tuple[str, ...]


@dataclass(frozen=True)
class Exports:
    """Open ends of a graph by name, inputs and outputs, and the nodes that it can then do without."""

    inputs: Mapping[str, Exported] = field(default_factory=dict)
    outputs: Mapping[str, Exported] = field(default_factory=dict)
    standalone: tuple[str, ...] = ()


def check_exports(spec: GraphSpec, bound: Mapping[str, Bound], problems: Problems) -> Exports:
    """The graph's exports; what is wrong with them is noted."""
    given = spec.exports
    # A graph that is laid over another may leave nodes out, and need not say so again here.
    alone = tuple(name for name in given.standalone if name in spec.nodes)
    inputs = {
        name: _exported(f"exports: input '{name}'", [(end, end.node in alone) for end in ends], spec, bound, problems)
        for name, ends in given.inputs.items()
    }
    outputs = {}
    for name, ends in given.outputs.items():
        where = f"exports: output '{name}'"
        for end in ends:
            if end.node in alone:
                text = f"{where}: found {end} of a standalone node (expected one that is there in other graphs, too)"
                problems.add(end.mark, f"{text}, export another port")
        outputs[name] = _exported(where, [(end, True) for end in ends], spec, bound, problems)
    return Exports(inputs, outputs, alone)


def _exported(
    where: str, ends: Sequence[tuple[End, bool]], spec: GraphSpec, bound: Mapping[str, Bound], problems: Problems
) -> Exported:
    kinds = list(dict.fromkeys(port.kind for port in _ports(where, ends, spec, bound, problems)))
    certain = [kind for kind in kinds if kind != "any"]
    if len(certain) > 1:
        text = f"{where}: found ports of different kinds: {listing(certain)} (expected one kind), export them apart"
        problems.add(ends[0][0].mark, text)
    return Exported(next(iter([*certain, *kinds]), "any"), tuple(str(end) for end, _ in ends))


def _ports(
    where: str, ends: Sequence[tuple[End, bool]], spec: GraphSpec, bound: Mapping[str, Bound], problems: Problems
) -> Iterator[Port]:
    """The contracts of the ends, each with whether it is an output; those that are not there are noted."""
    for end, is_output in ends:
        if end.node not in spec.nodes:
            text = f"{where}: no node '{end.node}' (available: {listing(spec.nodes)})"
            problems.add(end.mark, text + did_you_mean(end.node, spec.nodes))
        elif end.node in bound:
            node = bound[end.node]
            known: Mapping[str, Port] = node.outputs if is_output else node.inputs
            if end.port in known:
                yield known[end.port]
                continue
            side = "output" if is_output else "input"
            text = f"{where}: no {side} '{end.port}' on '{end.node}' (it has: {listing(known)})"
            problems.add(end.mark, text + did_you_mean(end.port, known))
