"""Do both ends of every edge mean the same thing: kind, rate, tensors, dtypes, and shapes by unification.

A size is *exact* or a *maximum*. Symbols are a node's own; an edge makes an unknown symbol equal to what stands at
its other end, in either direction, so that sizes travel through the whole graph.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..errors import GraphError, listing
from ..ports import DTYPE_BYTES, Dim, Output, Port, TensorSpec
from ..units import UnitClock
from .bind import Bound
from .marks import Problems
from .plan import TensorPlan
from .wiring import BoundEdge

Symbol = tuple[str, str]
"""(node, symbol)"""


@dataclass(frozen=True)
class Size:
    """A known size: exact, or the largest that may come."""

    n: int
    is_max: bool = False

    def __str__(self) -> str:
        return f"up to {self.n}" if self.is_max else str(self.n)


class Shapes:
    """Solutions for every symbol of a graph; `unify` in flow order, then ask `tensors`."""

    def __init__(self, clock: UnitClock, bound: Mapping[str, Bound], problems: Problems) -> None:
        self._clock = clock
        self._problems = problems
        self._parent: dict[Symbol, Symbol] = {}
        self._sizes: dict[Symbol, Size] = {}
        for node in bound.values():
            for name, port in (*node.inputs.items(), *node.outputs.items()):
                self._enter(node, name, port)

    def unify(self, edge: BoundEdge) -> None:
        """Make both ends of an edge agree, or note why they cannot."""
        give, take = edge.output, edge.input
        if "any" not in (give.kind, take.kind) and give.kind != take.kind:
            self._differ(edge, f"found kind {give.kind} (expected {take.kind}), connect another port")
        elif give.rate_hz is not None and take.rate_hz is not None and give.rate_hz != take.rate_hz:
            self._differ(edge, f"found {give.rate_hz} Hz (expected {take.rate_hz} Hz), set the same rate at both ends")
        elif any(spec != TensorSpec() for spec in take.specs.values()):
            self._unify_tensors(edge)

    def tensors(self, node: str, output: Output) -> tuple[TensorPlan, ...]:
        """The resolved contract of an output port."""
        return tuple(self._tensor(node, output, name, spec) for name, spec in output.specs.items())

    def _enter(self, node: Bound, name: str, port: Port) -> None:
        """Note the maxima a port declares, and that samples per unit are whole."""
        if port.rate_hz is not None:
            try:
                self._clock.samples(port.rate_hz)
            except GraphError as error:
                self._problems.add(node.spec.mark, f"node '{node.name}': port '{name}': {error}")
        for spec in port.specs.values():
            for dim in spec.shape or ():
                if dim.is_max and dim.symbol is not None and dim.size is not None:
                    self._sizes[node.name, dim.symbol] = Size(dim.size, is_max=True)

    def _unify_tensors(self, edge: BoundEdge) -> None:
        for name, take in edge.input.specs.items():
            give = edge.output.specs.get(name)
            if give is None:
                has = [n or "a single one" for n in edge.output.specs]
                self._differ(edge, f"no tensor '{name}' (it has: {listing(has)}), connect another port")
                continue
            if give.dtype is not None and take.dtype is not None and give.dtype != take.dtype:
                self._differ(edge, f"found dtype {give.dtype} (expected {take.dtype}), convert it between", name)
            if give.shape is None or take.shape is None:
                continue
            if len(give.shape) != len(take.shape):
                self._differ(
                    edge, f"found {len(give.shape)} dimensions (expected {len(take.shape)}), connect another port", name
                )
                continue
            for out_dim, in_dim in zip(give.shape, take.shape, strict=True):
                self._unify_dim(edge, name, out_dim, in_dim)

    def _unify_dim(self, edge: BoundEdge, tensor: str, out_dim: Dim, in_dim: Dim) -> None:
        give = self._known(edge.producer, edge.output, out_dim)
        take = self._known(edge.consumer, edge.input, in_dim)
        if give is not None and take is not None:
            fits = give.n <= take.n if take.is_max else give == take
            if not fits:
                label = f"{in_dim.symbol}: " if in_dim.symbol else ""
                self._differ(edge, f"{label}found {give} (expected {take}), make both ends agree", tensor)
            return
        # An unknown symbol at either end becomes what the other end is.
        out_key, in_key = (
            self._root((edge.producer, str(out_dim.symbol))),
            self._root((edge.consumer, str(in_dim.symbol))),
        )
        if give is None and take is None:
            if in_key != out_key:
                self._parent[in_key] = out_key
        elif give is not None:
            self._sizes[in_key] = give
        elif take is not None:
            self._sizes[out_key] = take

    def _known(self, node: str, port: Port, dim: Dim) -> Size | None:
        if dim.size is not None:
            return Size(dim.size, dim.is_max)
        if dim.symbol == "F":
            return Size(self._clock.unit_frames)
        if dim.symbol == "S" and port.rate_hz is not None:
            exact = self._clock.period * port.rate_hz
            return Size(int(exact))
        return self._sizes.get(self._root((node, str(dim.symbol))))

    def _root(self, symbol: Symbol) -> Symbol:
        while (parent := self._parent.get(symbol, symbol)) != symbol:
            symbol = parent
        return symbol

    def _tensor(self, node: str, port: Port, name: str, spec: TensorSpec) -> TensorPlan:
        if spec.shape is None:
            return TensorPlan(name, spec.dtype, None, None)
        known = [self._known(node, port, dim) for dim in spec.shape]
        shape = tuple(None if size is None else size.n for size in known)
        n_bytes = DTYPE_BYTES.get(spec.dtype or "")
        for n in shape:
            n_bytes = None if n is None or n_bytes is None else n_bytes * n
        return TensorPlan(name, spec.dtype, shape, n_bytes)

    def _differ(self, edge: BoundEdge, text: str, tensor: str = "") -> None:
        label = f" tensor '{tensor}'" if tensor else ""
        give = self._text(edge.producer, edge.output, tensor)
        take = self._text(edge.consumer, edge.input, tensor)
        self._problems.add(
            edge.mark,
            f"node '{edge.consumer}': input '{edge.input_name}'{label} {take} cannot take {edge.stream} {give}: {text}",
        )

    def _text(self, node: str, port: Port, tensor: str) -> str:
        spec = port.specs.get(tensor)
        if spec is None:
            return f"[{port.kind}]"
        if spec.shape is None:
            return str(spec)
        sizes = [self._known(node, port, dim) for dim in spec.shape]
        words = [
            str(dim) if dim.is_max or size is None else str(size.n) for dim, size in zip(spec.shape, sizes, strict=True)
        ]
        return f"[{' '.join(words)}] {spec.dtype or 'any dtype'}"


def resolve_shapes(
    clock: UnitClock, bound: Mapping[str, Bound], order: Sequence[str], edges: Sequence[BoundEdge], problems: Problems
) -> Shapes:
    """Unify every edge: in the order in which data flows, then the delayed ones."""
    shapes = Shapes(clock, bound, problems)
    place = {name: index for index, name in enumerate(order)}
    for edge in sorted(edges, key=lambda e: (bool(e.delay), place[e.producer], place[e.consumer])):
        shapes.unify(edge)
    return shapes
