"""The plan: everything the engine and the scheduler need to know of a graph, as plain data.

Made by ``check`` from a `GraphSpec`, sent to every process, kept in the trace. Times ending in ``_ns`` are
nanoseconds *after release(k)* unless said otherwise: ``due_ns=240_000_000`` means release(k) + 240 ms.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import msgspec

from ..errors import GraphError
from ..ports import Guard, Kind, Late
from ..units import NS, UnitClock

Carrier = Literal["reference", "shared", "inline", "device"]
Mode = Literal["step", "absorb", "gap", "skip"]
OnCrash = Literal["end", "restart", "bypass"]
"""How a node goes through units: answers one, takes several in, is told that they are lost, or is not run."""

LONGEST_UNIT_S = 10_000
"""Of a plan that is read from a file: times of a few units that are damaged would not be numbers of 64 bits."""

REDACTED = "(secret)"
"""Stands for the value of a secret parameter."""


@dataclass(frozen=True)
class TensorPlan:
    """One tensor of a stream: its resolved contract. ``shape`` holds sizes or maxima; None where unknown."""

    name: str
    dtype: str | None
    shape: tuple[int | None, ...] | None
    max_bytes: int | None


@dataclass(frozen=True)
class StreamPlan:
    """One output port.

    Attributes:
        name: ``node.port``.
        process: where it is produced.
        settler: the process that decides the one outcome of each unit.
        settle_ns: when the settler stops waiting (the smallest latest start of its enforced consumers, delays
            counted in); None: it waits for ever (logs, and streams off the paced path).
        window: units kept, ``ceil(latency / T) + largest delay + largest look-ahead + 2``.
        readers: processes other than ``process`` in which it is consumed.
        carrier: how it reaches them; ``reference`` when it stays at home.
        guard: what is done about numbers that are not finite: the strictest that its readers ask for.
        device: where its payloads are made: ``cpu``, or the device of its node.
    """

    name: str
    node: str
    port: str
    kind: Kind
    tensors: tuple[TensorPlan, ...]
    is_log: bool
    process: str
    settler: str
    settle_ns: int | None
    window: int
    readers: tuple[str, ...] = ()
    carrier: Carrier = "reference"
    guard: Guard = "off"
    device: str = "cpu"

    @property
    def max_bytes(self) -> int | None:
        """Payload bound in bytes, None when a shape is unknown."""
        sizes = [t.max_bytes for t in self.tensors]
        return None if any(s is None for s in sizes) else sum(s or 0 for s in sizes)

    @property
    def shapes(self) -> dict[str, tuple[int, ...] | None]:
        """Resolved shape per unit, by tensor; None where it is not known."""
        result: dict[str, tuple[int, ...] | None] = {}
        for tensor in self.tensors:
            sizes = [n for n in tensor.shape or () if n is not None]
            is_known = tensor.shape is not None and len(sizes) == len(tensor.shape)
            result[tensor.name] = tuple(sizes) if is_known else None
        return result


@dataclass(frozen=True)
class InputPlan:
    """One connected input port: unit k of the node takes unit ``k - delay`` of the stream (and ``look_ahead`` more)."""

    port: str
    stream: str
    delay: int = 0
    init: str | None = None
    late: Late = "gap"
    look_ahead: int = 0
    kind: Kind = "any"
    is_log: bool = False
    device: str = "cpu"


@dataclass(frozen=True)
class NodePlan:
    """One node.

    Attributes:
        type: name in the catalogue, or ``module:Class``, or ``file.py:Class``.
        target: ``module:Class`` or absolute ``file.py:Class``, importable in every process.
        depth: longest way from a source over edges without delay.
        on_loop: lies on a feedback loop.
        cost_ns: budget, 0 when none is declared.
        due_ns: when it must have finished unit k; None when no paced node or sink follows.
        enforced: whether missing the due costs the unit (ancestors of a paced node) or is only counted.
        ladder: levels from the best to the cheapest; empty when the node has none.
        backlog: units that may wait for it, off the paced path; None: all. Of more it loses the oldest.
        stall_ns: a call that goes on for longer ends the run.
        secrets: parameters that nothing repeats, see `redacted`.
    """

    name: str
    type: str
    target: str
    params: dict[str, Any]
    process: str
    lane: str
    inputs: tuple[InputPlan, ...] = ()
    outputs: tuple[str, ...] = ()
    optional_inputs: tuple[str, ...] = ()
    device: str = "cpu"
    stateful: bool = False
    paced: bool = False
    ahead_units: int = 0
    depth: int = 0
    on_loop: bool = False
    cost_ns: int = 0
    due_ns: int | None = None
    enforced: bool = False
    ladder: tuple[dict[str, Any], ...] = ()
    backlog: int | None = None
    stall_ns: int = 30 * NS
    secrets: tuple[str, ...] = ()

    @property
    def is_source(self) -> bool:
        """True if it takes nothing in: fires at release."""
        return not self.inputs

    @property
    def is_sink(self) -> bool:
        """True if it gives nothing out: a run is complete when every sink has ended."""
        return not self.outputs

    @property
    def latest_start_ns(self) -> int | None:
        """Last instant at which unit k may start; None when the due is not enforced."""
        return self.due_ns - self.cost_ns if self.enforced and self.due_ns is not None else None


@dataclass(frozen=True)
class ProcessPlan:
    """One operating-system process of the run.

    Attributes:
        lanes: its threads.
        threads: of numeric libraries.
        cpus: the only processors that its threads run on; None: any.
        priority: real-time priority of its threads; None: the ordinary one.
        on_crash: what its death does: it ends the run, it begins another life, or the run goes on without it.
        restarts: so many lives more it may begin within ``restart_window_s``.
        restart_delay_s: how long it waits before it begins the second one, twice as long each time.
        standby: its next life is kept open and warm beside it.
    """

    name: str
    lanes: tuple[str, ...] = ("loop",)
    threads: int = 1
    cpus: tuple[int, ...] | None = None
    priority: int | None = None
    on_crash: OnCrash = "end"
    restarts: int = 5
    restart_window_s: float = 60.0
    restart_delay_s: float = 0.5
    standby: bool = False


@dataclass(frozen=True)
class Plan:
    """A checked graph. ``nodes`` stand in an order in which data flows (delayed edges left out)."""

    name: str
    clock: UnitClock
    latency_ns: int
    nodes: dict[str, NodePlan]
    streams: dict[str, StreamPlan]
    processes: dict[str, ProcessPlan]
    seed: int = 0
    path: str | None = None
    warnings: tuple[str, ...] = ()

    def release_ns(self, unit: int) -> int:
        """Time after the origin at which ``unit`` is complete."""
        scaled, parts = self._period
        return (unit + 1) * scaled // parts if unit >= 0 else self.clock.release_ns(unit)

    def nodes_in(self, process: str) -> list[NodePlan]:
        """Nodes of one process, in data-flow order."""
        return [n for n in self.nodes.values() if n.process == process]

    @property
    def unbudgeted(self) -> list[str]:
        """Nodes without a budget, which cost nothing where costs are taken from budgets."""
        return [name for name, node in self.nodes.items() if not node.cost_ns]

    @property
    def fps(self) -> Fraction:
        """Pictures per second."""
        return self.clock.fps

    @cached_property
    def _period(self) -> tuple[int, int]:
        """T in nanoseconds as a ratio: the scheduler asks for release times some hundred times a unit."""
        period = self.clock.period * NS
        return period.numerator, period.denominator


def to_plain(plan: Plan) -> dict[str, Any]:
    """The plan as JSON can hold it: what processes get and traces keep."""
    plain = msgspec.to_builtins(plan, enc_hook=_encode)
    assert isinstance(plain, dict)
    return plain


def redacted(plan: Plan) -> Plan:
    """The plan as files and other programs get it: without the values of secret parameters."""
    nodes = {
        name: replace(node, params={**node.params, **{key: REDACTED for key in node.secrets if key in node.params}})
        for name, node in plan.nodes.items()
    }
    return replace(plan, nodes=nodes)


def from_plain(plain: dict[str, Any]) -> Plan:
    """The plan that `to_plain` wrote.

    Raises:
        GraphError: it was written by another version.
    """
    try:
        plan = msgspec.convert(plain, Plan, dec_hook=_decode)
    except msgspec.ValidationError as error:
        raise GraphError(f"plan: {error} (expected the plan of this version of wangraph), make it again") from error
    if found := _torn(plan):
        raise GraphError(f"plan: found {found} (expected a whole plan), make it again")
    return plan


def _torn(plan: Plan) -> str:
    """In words, what a plan refers to and does not have; empty where it is whole."""
    if plan.clock.period > LONGEST_UNIT_S:
        return f"units of more than {LONGEST_UNIT_S} s"
    for name, node in plan.nodes.items():
        if node.name != name or node.process not in plan.processes:
            return f"node '{name}' under another name or without its process '{node.process}'"
        for stream in [*(i.stream for i in node.inputs), *(f"{name}.{port}" for port in node.outputs)]:
            if stream not in plan.streams:
                return f"node '{name}' without its stream '{stream}'"
    for name, made in plan.streams.items():
        if made.name != name or made.node not in plan.nodes:
            return f"stream '{name}' under another name or without its node '{made.node}'"
        for process in [made.process, made.settler, *made.readers]:
            if process not in plan.processes:
                return f"stream '{name}' without its process '{process}'"
    for name, process_plan in plan.processes.items():
        if process_plan.name != name:
            return f"process '{name}' under another name"
    return ""


def _encode(value: Any) -> Any:
    if isinstance(value, Fraction | Path):
        return str(value)
    if isinstance(value, tuple):
        return list(value)
    raise NotImplementedError(type(value))


def _decode(kind: type, value: Any) -> Any:
    try:
        return Fraction(value) if kind is Fraction else value
    except ZeroDivisionError as error:
        raise ValueError(f"found {value!r} (expected a fraction)") from error
