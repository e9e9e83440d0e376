"""Run one node alone on a few units, without a graph: in tests, in notebooks, and while writing it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from fractions import Fraction
from types import TracebackType
from typing import Any, cast

from .engine.body import Body
from .engine.values import Contract, value_of
from .errors import GraphError, listing
from .node import END, Node
from .packet import Packet, Validity
from .plan.plan import InputPlan, Mode, NodePlan, Plan, ProcessPlan, StreamPlan, TensorPlan
from .ports import Dim, Port
from .schedule.decide import Fire, Given
from .units import UnitClock


class NodeRunner:
    """Opens a node, calls it unit by unit under its contract, closes it.

        with NodeRunner(Blur(radius_px=3)) as blur:
            blurred = blur.step(frames=frames)["blurred"]

    Args:
        node: an instance with its parameters.
        clock: units; 4 frames at 25 fps when not given.
        seed: the run's seed.
        level: the ladder entry that steps get, for example ``{"steps": 2}``.
    """

    def __init__(
        self,
        node: Node,
        *,
        clock: UnitClock | None = None,
        seed: int = 0,
        level: Mapping[str, Any] | None = None,
    ) -> None:
        self.node = node
        self.clock = clock or UnitClock(Fraction(25), 4)
        self.unit = 0
        self._inputs, self._outputs = node.ports(node.values)
        self._plan = self._graph(seed, dict(level or {}))
        self._contracts = {
            name: Contract(port, self._plan.streams[f"given.{name}"], "give what the port declares")
            for name, port in self._inputs.items()
        }
        self._body = Body(node, self._plan.nodes["node"], self._plan)

    def __enter__(self) -> NodeRunner:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def open(self) -> None:
        """Open and warm the node, make its state."""
        self._body.open()

    def close(self) -> None:
        """Close it."""
        self._body.close()

    @property
    def reports(self) -> dict[str, str]:
        """Reports that the node made through its context."""
        return dict(self._body.reports)

    def step(self, **inputs: Any) -> Any:
        """One unit; gives values by output port (None: empty), or `END`.

        Raises:
            NodeError: an input is not what its port declares; and all that a run would raise.
        """
        result = self._call("step", [inputs])
        return END if result is None else result[0]

    def absorb(self, units: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Several units at once, without answering; gives the log outputs of each."""
        return cast("list[dict[str, Any]]", self._call("absorb", units))

    def gap(self, n_units: int = 1) -> list[dict[str, Any]]:
        """The next ``n_units`` are lost; gives the log outputs of each."""
        return cast("list[dict[str, Any]]", self._call("gap", [{}] * n_units))

    def _call(self, mode: Mode, units: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]] | None:
        first, last = self.unit, self.unit + len(units) - 1
        given = [self._given(first + i, values) for i, values in enumerate(units)]
        result = self._body.run(Fire("node", mode, first, last, tuple(given) if mode != "gap" else ({},) * len(units)))
        if result.ended:
            return None
        self.unit = last + 1
        outputs = [name for name, port in self._outputs.items() if mode == "step" or port.is_log]
        return [
            {name: value_of(self._outputs[name], result.packets.get((name, unit))) for name in outputs}
            for unit in range(first, last + 1)
        ]

    def _given(self, unit: int, values: Mapping[str, Any]) -> dict[str, Given]:
        for name in values:
            if name not in self._inputs:
                raise GraphError(f"{type(self.node).__name__}: no input '{name}' (it has: {listing(self._inputs)})")
        given: dict[str, Given] = {}
        for name in self._inputs:
            value = values.get(name)
            given[name] = (
                tuple(self._packet(name, unit + i, v) for i, v in enumerate(value))
                if isinstance(value, tuple)
                else self._packet(name, unit, value)
            )
        return given

    def _packet(self, port: str, unit: int, value: Any) -> Packet:
        times = (self.clock.pts_ns(max(unit, 0)), self.clock.duration_ns(max(unit, 0)))
        if value is None:
            return Packet(f"given.{port}", unit, 0, *times, Validity.EMPTY)
        where = f"{type(self.node).__name__}, unit {unit}, input '{port}'"
        tensors = self._contracts[port].tensors_of(where, deepcopy(value))  # the caller's array stays writable
        return Packet(f"given.{port}", unit, 0, *times, Validity.REAL, tensors)

    def _graph(self, seed: int, level: dict[str, Any]) -> Plan:
        node = self.node
        inlets = tuple(
            InputPlan(name, f"given.{name}", late=port.late, look_ahead=port.look_ahead, kind=port.kind)
            for name, port in self._inputs.items()
        )
        plan = NodePlan(
            "node", type(node).__name__, "", {}, "main", "loop", inlets, tuple(self._outputs),
            stateful=node.is_stateful(), paced=node.paced, ladder=(level,) if level else (),
        )  # fmt: skip
        streams = {f"given.{name}": self._stream("given", name, port) for name, port in self._inputs.items()}
        streams |= {f"node.{name}": self._stream("node", name, port) for name, port in self._outputs.items()}
        reader = NodePlan("reader", "reader", "", {}, "main", "loop",
                          tuple(InputPlan(name, f"node.{name}") for name in self._outputs))  # fmt: skip
        return Plan("alone", self.clock, self.clock.period_ns, {"node": plan, "reader": reader}, streams,
                    {"main": ProcessPlan("main")}, seed=seed)  # fmt: skip

    def _stream(self, owner: str, name: str, port: Port) -> StreamPlan:
        tensors = tuple(
            TensorPlan(
                tensor, spec.dtype, None if spec.shape is None else tuple(map(self._size(port), spec.shape)), None
            )
            for tensor, spec in port.specs.items()
        )
        return StreamPlan(f"{owner}.{name}", owner, name, port.kind, tensors, port.is_log, "main", "main", None, 1)

    def _size(self, port: Port) -> Any:
        def size(dim: Dim) -> int | None:
            if dim.symbol == "F":
                return self.clock.unit_frames
            if dim.symbol == "S" and port.rate_hz:
                return self.clock.samples(port.rate_hz)
            return dim.size

        return size
