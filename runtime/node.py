"""The node author's API: a class with typed ports, typed parameters, and one method.

    class Blur(Node):
        '''Box blur of every frame.'''
        frames = Input("video", "F H W 3", "uint8")
        blurred = Output("video", "F H W 3", "uint8")
        radius_px: int = Param(2, min=0, max=64)

        def step(self, unit, frames):
            return {"blurred": box_blur(frames, self.radius_px)}

Life of a node, in order: ``__init__`` (parameters only), `open`, `warm`, then per session `new_state` and one call
per unit of `step`, `absorb` or `gap`, and `close`. All of them run in one thread, the node's lane. A live node (a
device, a browser) is told by `start` when unit 0 will begin. Between units, and in the lane too, `update` changes live
parameters and `receive` takes what the program that runs the graph sends. If `open` fails, `close` is not called; what
`NodeContext.on_close` was given is. A body never reads a clock: what time does to a unit (lateness, levels,
substitutes) is decided by the runtime and arrives through the arguments.
"""

from __future__ import annotations

import inspect
import logging
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol, dataclass_transform, get_type_hints

import msgspec
import numpy as np

from .errors import GraphError, UserError, did_you_mean, listing
from .packet import WHOLE, Array, Packet, Validity
from .parameters import Param as Param
from .parameters import Parameter as Parameter
from .parameters import type_name
from .ports import Input, Output
from .units import UnitClock

Outputs = Mapping[str, Any]
"""Values by output port: an array, a str (text), a dict of arrays (several tensors), an `Emission`, or None (empty)."""


class _End:
    """Type of `END`."""

    def __repr__(self) -> str:
        return "END"


END = _End()
"""What a source returns from ``step`` when there is nothing more: the unit it was called for does not exist."""


class Emission(msgspec.Struct, frozen=True):
    """An output value with more to say than "real": its validity, or where a source took it from."""

    value: Any
    validity: Validity = Validity.REAL
    source_time_ns: int | None = None
    capture_ns: int | None = None
    capture_clock: str = ""


class Unit(msgspec.Struct, frozen=True):
    """The unit a body is called for. Everything a body may know about time and chance is here.

    Attributes:
        index: unit number k.
        level: entry of the node's ladder chosen for this unit, for example ``{"steps": 2}``; empty without a ladder.
        packets: the packets behind the inputs, by port, for bodies that want validity or times.
    """

    index: int
    pts_ns: int
    duration_ns: int
    node: str = ""
    seed: int = 0
    session: int = 0
    level: Mapping[str, Any] = msgspec.field(default_factory=dict)
    packets: Mapping[str, Packet | None] = msgspec.field(default_factory=dict)

    def rng(self, stream: int = 0) -> np.random.Generator:
        """Counter-based random numbers: the same for the same (seed, session, node, unit), whatever ran before."""
        key = np.random.SeedSequence([self.seed, self.session, zlib.crc32(self.node.encode()), self.index, stream])
        return np.random.Generator(np.random.Philox(key))


@dataclass(frozen=True)
class Timebase:
    """Instants of a run's units, for nodes that exchange media with the world outside.

    Attributes:
        origin_ns: the beginning of unit 0 on the machine's monotonic clock (`time.monotonic_ns`).
        clock: the unit clock.
    """

    origin_ns: int
    clock: UnitClock

    def now(self) -> int:
        """Nanoseconds after the beginning of unit 0; negative before it."""
        return time.monotonic_ns() - self.origin_ns

    def unit_at(self, monotonic_ns: int) -> int:
        """The unit to which an instant of the monotonic clock belongs; negative before unit 0."""
        return (monotonic_ns - self.origin_ns) // self.clock.period_ns


class EmptySlot(Protocol):
    """Gives an array to write one of a port's tensors into."""

    def __call__(self, port: str, shape: tuple[int, ...], dtype: str, tensor: str = WHOLE) -> Array:
        """Memory for one tensor of one unit."""
        ...


def _plain_memory(port: str, shape: tuple[int, ...], dtype: str, tensor: str = WHOLE) -> Array:
    return np.empty(shape, dtype)


@dataclass
class NodeContext:
    """Surroundings of a node, given to it when it is opened.

    Attributes:
        name: the node's name in the graph.
        clock: the unit clock.
        seed: the run's seed.
        device: ``cpu`` or ``cuda:0``.
        threads: torch threads of this process.
        input_shapes: per input port and tensor, the resolved shape per unit (maxima for dimensions that vary;
            None where nothing is known or the port is not connected).
        empty: ``empty("frames", shape, dtype)`` gives an array to write the tensor into: the outgoing shared-memory
            slot when the stream leaves the process, so that emitting it copies nothing. Emitting freezes it.
        report: ``report("weights", "random, seed 0")`` puts a line into the run's summary.
        fence: ``fence(["speak.samples"])`` is an interruption: it drops what these streams carry, was begun before, and
            has not settled yet, also what is being computed. From any thread; a unit number to begin at may follow.
        stop: ``stop("the visitor left")`` asks for the run's end, in order. From any thread.
        on_close: ``on_close(device.close)`` calls it when the node is closed, the last one first; also when `open`
            fails after it.
    """

    name: str
    clock: UnitClock
    seed: int = 0
    device: str = "cpu"
    threads: int = 1
    input_shapes: Mapping[str, Mapping[str, tuple[int, ...] | None]] = field(default_factory=dict)
    output_shapes: Mapping[str, Mapping[str, tuple[int, ...] | None]] = field(default_factory=dict)
    connected_inputs: frozenset[str] = frozenset()
    connected_outputs: frozenset[str] = frozenset()
    empty: EmptySlot = field(default_factory=lambda: _plain_memory)
    report: Callable[[str, str], None] = lambda key, text: None
    fence: Callable[..., None] = lambda streams, first_unit=0: None
    stop: Callable[[str], None] = lambda reason: None
    on_close: Callable[[Callable[[], object]], object] = lambda call: None
    log: logging.Logger = field(default_factory=lambda: logging.getLogger("wangraph.node"))


@dataclass_transform(kw_only_default=True, field_specifiers=(Param,))
class Node:
    """A vertex of the graph: code and weights. Subclass it, declare ports and parameters, write ``step``.

    A node is *stateful* when it overrides `new_state`; its methods then take the state first:

        def step(self, state, unit, **inputs) -> outputs      one unit in, its answer out
        def absorb(self, state, units) -> list[outputs]       several units at once, without answering
        def gap(self, state, units) -> list[outputs]          these units are lost

    A stateful node sees every unit exactly once, in order. ``absorb`` and ``gap`` return one mapping per unit with
    the *log* outputs only (kind ``context``), or None when the node has none.

    Class attributes:
        paced: fire at the unit's deadline with what has settled by then (playout), not as soon as it has.
        ahead_units: a source may be called up to this many units before release; what it returns is held until then.
        is_live: the node exchanges media with a device or a person: it is told when unit 0 begins, see `start`, and
            refuses the virtual clock.
    """

    inputs: ClassVar[Mapping[str, Input]] = {}
    outputs: ClassVar[Mapping[str, Output]] = {}
    params: ClassVar[Mapping[str, Parameter]] = {}

    paced: ClassVar[bool] = False
    ahead_units: ClassVar[int] = 0
    is_live: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        inputs, outputs, params = dict(cls.inputs), dict(cls.outputs), dict(cls.params)
        for name, value in list(vars(cls).items()):
            if isinstance(value, Input):
                inputs[name] = value
            elif isinstance(value, Output):
                outputs[name] = value
            elif isinstance(value, Parameter):
                kind = _annotation(cls, name)
                params[name] = Parameter(**{**_fields(value), "type": kind})
        cls.inputs, cls.outputs, cls.params = inputs, outputs, params

    def __init__(self, **values: Any) -> None:
        name = type(self).__name__
        for key in values:
            if key not in self.params:
                raise GraphError(
                    f"{name}: no parameter '{key}' (it has: {listing(self.params)}){did_you_mean(key, self.params)}"
                )
        for key, param in self.params.items():
            if key in values:
                setattr(self, key, param.checked(f"{name}.{key}", values[key]))
            elif param.is_required:
                raise GraphError(f"{name}: parameter '{key}' is missing (expected {type_name(param.type)})")
            else:
                setattr(self, key, param.default)

    @classmethod
    def ports(cls, params: Mapping[str, Any]) -> tuple[Mapping[str, Input], Mapping[str, Output]]:
        """Ports under these parameters; override when sizes or ports depend on them. Must not import torch."""
        return cls.inputs, cls.outputs

    @classmethod
    def check(cls, params: Mapping[str, Any]) -> None:
        """Look at the outside world before the run (does the file exist, is the output writable).

        Must not import torch, must not load or change anything; raises `UserError`.
        """

    @classmethod
    def facts(cls, params: Mapping[str, Any]) -> Mapping[str, int | float | str]:
        """Facts for ``wangraph check`` to tell in advance, memory above all: ``{"cache bytes per unit": 39168}``.

        Names are words and carry the unit. Must not import torch; empty where nothing is known.
        """
        return {}

    @classmethod
    def symbols(cls, params: Mapping[str, Any]) -> Mapping[str, Sequence[Sequence[str]]]:
        """Names for the numbers of outputs of kind ``tokens``, by port: a list of names for each number in turn.

        Must not import torch; empty where nothing is known.
        """
        return {}

    @classmethod
    def is_stateful(cls) -> bool:
        """True if the node keeps something between units."""
        return cls.new_state is not Node.new_state

    @property
    def values(self) -> dict[str, Any]:
        """Parameter values by name."""
        return {name: getattr(self, name) for name in self.params}

    def open(self, ctx: NodeContext) -> None:
        """Load weights, open devices, allocate. Called once, in the process and lane where the node will run."""

    def warm(self) -> None:
        """Run once on throw-away state, so that the first unit is as fast as the others."""

    def start(self, timebase: Timebase) -> None:
        """Learn when unit 0 will begin. Called once, after every node of the run is open and before the first unit;
        only where `is_live`."""

    def new_state(self) -> Any:
        """A fresh state for one session."""
        return None

    def update(self, *args: Any) -> None:
        """Take changes of live parameters: ``update(values)``, ``update(state, values)`` where stateful.

        Called between units, before the first one for which they hold; the values have passed the parameters' checks
        and `check`. By default, they become the node's attributes.
        """
        for name, value in args[-1].items():
            setattr(self, name, value)

    @classmethod
    def accept(cls, params: Mapping[str, Any], port: str, value: Any) -> Any:
        """Check what a program sends to an output port of this node, see `receive`; the value as it is to arrive.

        A node that takes nothing from outside refuses everything. Called where it is sent; must not import torch.

        Raises:
            UserError: the node takes no such value there.
        """
        raise UserError("takes nothing from outside (expected a node that does, such as capture.app)")

    def receive(self, port: str, value: Any) -> None:
        """Take a value (a string or an array) that `accept` let pass. Called in the lane, between units."""
        raise NotImplementedError(f"{type(self).__name__}.receive")

    def step(self, *args: Any, **inputs: Any) -> Any:
        """One unit in, a mapping from output port to value out (see `Outputs`).

        An output that is left out, or is None, is *empty* for this unit: its readers get None. ``{}`` leaves all of
        them empty. A node without outputs may return nothing; one with outputs that does has forgotten a ``return``,
        which is an error. A source that has no more returns `END`.
        """
        raise NotImplementedError(f"{type(self).__name__}.step")

    def absorb(self, state: Any, units: Sequence[tuple[Unit, Mapping[str, Any]]]) -> Sequence[Outputs] | None:
        """Take several units in without answering: by default, ``step`` on each, keeping only log outputs."""
        logs = [name for name, port in self.ports(self.values)[1].items() if port.is_log]
        results = [self.step(state, unit, **inputs) or {} for unit, inputs in units]
        return [{name: result[name] for name in logs if name in result} for result in results] if logs else None

    def gap(self, state: Any, units: Sequence[Unit]) -> Sequence[Outputs] | None:
        """These units are lost. A stateful node says here what its state becomes."""
        raise NotImplementedError(f"{type(self).__name__}.gap")

    def close(self) -> None:
        """Release devices and finish files. Called once, also after a failure, if `open` succeeded."""


def _annotation(cls: type, name: str) -> Any:
    try:
        return get_type_hints(cls).get(name)
    except NameError:  # annotations that name things imported for type checkers only
        return {"int": int, "float": float, "str": str, "bool": bool, "list": list, "dict": dict, "Path": Path}.get(
            str(cls.__annotations__.get(name))
        )


def _fields(param: Parameter) -> dict[str, Any]:
    return {name: getattr(param, name) for name in Parameter.__dataclass_fields__}


def node(**ports: Input | Output) -> Callable[[Callable[..., Any]], type[Node]]:
    """Make a stateless node of a function.

        @node(frames=Input("video", "F H W 3", "uint8"), mirrored=Output("video", "F H W 3", "uint8"))
        def mirror(unit, frames):
            return {"mirrored": frames[:, :, ::-1]}

    Keyword-only arguments of the function become parameters: ``def louder(unit, samples, *, gain: float = 2.0)``.
    """

    def wrap(function: Callable[..., Any]) -> type[Node]:
        signature = inspect.signature(function)
        knobs = [p for p in signature.parameters.values() if p.kind is p.KEYWORD_ONLY and p.name not in ports]
        hints = get_type_hints(function)
        body: dict[str, Any] = dict(ports)
        for knob in knobs:
            body[knob.name] = Param(... if knob.default is knob.empty else knob.default)
        body["__annotations__"] = {knob.name: hints.get(knob.name, Any) for knob in knobs}
        body["__doc__"] = function.__doc__
        body["__module__"] = function.__module__

        def step(self: Node, unit: Unit, **inputs: Any) -> Any:
            return function(unit, **inputs, **{knob.name: getattr(self, knob.name) for knob in knobs})

        step.__wrapped__ = function  # type: ignore[attr-defined]  # whose place an error names
        body["step"] = step
        return type(function.__name__, (Node,), body)

    return wrap
