"""A node where it runs: its instance and state, the values it gets, and the contract of what it gives."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from ..errors import NodeError, WangraphError, listing
from ..node import END, Emission, Node, NodeContext, Outputs, Timebase, Unit
from ..packet import WHOLE, Array, Packet, Validity
from ..payload import Payload
from ..places import message_of, place_of, raised
from ..plan.catalogue import resolve
from ..plan.plan import NodePlan, Plan
from ..schedule.decide import Fire, Given
from ..schedule.scheduler import Result
from .guards import Notice, guards_of, no_notice
from .moves import Moves
from .requests import NO_REQUESTS, Requests
from .values import Contract, text_of, value_of

Empty = Callable[[str, str, tuple[int, ...], str], Array]
"""``empty(stream, tensor, shape, dtype)``: an array to write a stream's tensor into."""


class Body:
    """One node of a run. Made, opened, warmed, run and closed in one thread, except that `close` may be called last
    from another one.

    Args:
        node: the instance (parameters only).
        plan: its entry in the plan.
        graph: the plan of the whole graph, for times and contracts.
        notice: takes notes: of what was found in the node's outputs.
    """

    def __init__(self, node: Node, plan: NodePlan, graph: Plan, notice: Notice = no_notice) -> None:
        self.node = node
        self.plan = plan
        self.graph = graph
        self.reports: list[tuple[str, str]] = []
        self._state: Any = None
        self._ports = node.ports(node.values)
        self._stateful = node.is_stateful()
        self._is_open = False
        self._on_close = ExitStack()
        streams = {port: graph.streams[f"{plan.name}.{port}"] for port in self._ports[1]}
        self._streams = {port: stream.name for port, stream in streams.items()}
        self._contracts = {port: Contract(self._ports[1][port], stream) for port, stream in streams.items()}
        self._guards = guards_of(streams, notice)
        self._moves = Moves(plan, graph)

    def open(self, threads: int = 1, empty: Empty | None = None, requests: Requests = NO_REQUESTS) -> None:
        """Open and warm the node, make its state.

        Args:
            threads: torch threads of the process.
            empty: gives memory to write outputs into.
            requests: takes what the node asks of the run.

        Raises:
            UserError: as the node words it.
            NodeError: anything else that it raised.
        """
        name = self.plan.name
        wanted = {i.port for i in self.plan.inputs}
        read = {f"{name}.{port}" for port in self.plan.outputs}
        consumed = {i.stream for n in self.graph.nodes.values() for i in n.inputs}
        ctx = NodeContext(
            name=name,
            clock=self.graph.clock,
            seed=self.graph.seed,
            device=self.plan.device,
            threads=threads,
            input_shapes={i.port: self.graph.streams[i.stream].shapes for i in self.plan.inputs},
            output_shapes={p: self.graph.streams[f"{name}.{p}"].shapes for p in self.plan.outputs},
            connected_inputs=frozenset(wanted),
            connected_outputs=frozenset(s.removeprefix(f"{name}.") for s in read & consumed),
            report=lambda key, text: self.reports.append((key, text)),
            fence=requests.fence,
            stop=lambda reason: requests.stop(f"node '{name}': {reason}"),
            on_close=self._on_close.callback,
            log=logging.getLogger(f"wangraph.node.{name}"),
        )
        if empty is not None:
            ctx.empty = lambda port, shape, dtype, tensor=WHOLE: empty(f"{name}.{port}", tensor, shape, dtype)
        with self._named("opening"):
            self.node.open(ctx)
            self._is_open = True  # from here on `close` is owed, also when warming fails
            self.node.warm()
            self._state = self.node.new_state()

    @property
    def wants_start(self) -> bool:
        """True if the node is to learn when unit 0 begins."""
        return self.node.is_live

    def start(self, timebase: Timebase) -> None:
        """Tell a live node when unit 0 begins.

        Raises:
            NodeError: it raised.
        """
        with self._named("starting"):
            self.node.start(timebase)

    def receive(self, port: str, value: Any) -> None:
        """Hand a value from outside to the node.

        Raises:
            NodeError: it raised.
        """
        with self._named(f"receiving for '{port}'"):
            self.node.receive(port, value)

    def run(self, fire: Fire) -> Result:
        """Call the body as ``fire`` says.

        Raises:
            NodeError: it raised, or returned what its contract forbids; names node, unit, port.
        """
        where = f"node '{self.plan.name}', unit {fire.first}" + (f"..{fire.last}" if fire.last > fire.first else "")
        inputs: Sequence[Mapping[str, Given]] = fire.inputs or [{}] * len(fire.units)
        units, values = [], []
        for unit, given in zip(fire.units, inputs, strict=True):
            units.append(self._unit(unit, fire, given))
            values.append(self._values(given))
        state = (self._state,) if self._stateful else ()
        # with the call that they hold for: made when they were set, a replay could not make them at the same unit
        for change in fire.updates:
            with self._named(f"updating {listing(change)} before unit {fire.first}"):
                self.node.update(*state, change)
        try:
            if fire.mode == "step":
                given = self.node.step(*state, units[0], **values[0])
                if given is END:
                    return Result(ended=True)
                return Result(self._packets(where, units[0], self._outputs(where, given)))
            if fire.mode == "absorb":
                logs = self.node.absorb(self._state, list(zip(units, values, strict=True)))
            else:
                # a skip fires no body: only stateful nodes get here
                logs = self.node.gap(self._state, units)
        except WangraphError as error:
            if isinstance(error, NodeError):
                raise
            raise NodeError(f"{where}: {error}") from error
        except BaseException as error:  # a sys.exit in a body too: it must not take a lane along in silence
            raise NodeError(f"{where}: {raised(error, getattr(self.node, fire.mode))}") from error
        return Result(self._logs(where, fire.mode, units, logs))

    def close(self) -> None:
        """Close the node if it was opened, and what it gave `NodeContext.on_close`, the last one first.

        Raises:
            NodeError: it raised; everything was closed all the same.
        """
        with self._named("closing"), self._on_close:
            if self._is_open:
                self._is_open = False
                self.reports += [("copied", text) for text in self._moves.reports]
                self.reports += [("guard", guard.report) for guard in self._guards.values() if guard.report]
                self.node.close()

    @contextmanager
    def _named(self, doing: str) -> Iterator[None]:
        """Errors of the node name it, and what it was doing."""
        try:
            yield
        except WangraphError:
            raise
        except BaseException as error:
            what = f"{type(error).__name__} while {doing}: {message_of(error)}{place_of(error)}"
            raise NodeError(f"node '{self.plan.name}': {what}") from error

    # In

    def _unit(self, unit: int, fire: Fire, given: Mapping[str, Given]) -> Unit:
        clock = self.graph.clock
        level = self.plan.ladder[fire.level] if self.plan.ladder else {}
        packets = {port: g[0] if isinstance(g, tuple) else g for port, g in given.items()}
        begins = clock.pts_ns(unit)
        lasts = clock.pts_ns(unit + 1) - begins
        return Unit(unit, begins, lasts, self.plan.name, self.graph.seed, fire.session, level, packets)

    def _values(self, given: Mapping[str, Given]) -> dict[str, Any]:
        values = {}
        for port, g in given.items():
            values[port] = tuple([self._value(port, p) for p in g]) if isinstance(g, tuple) else self._value(port, g)
        return values

    def _value(self, port: str, packet: Packet | None) -> Any:
        contract = self._ports[0][port]
        if contract.kind == "any" and packet is not None and self.graph.streams[packet.stream].kind == "text":
            return text_of(packet)
        value = value_of(contract, packet)
        return self._moves.value(port, value) if port in self._moves else value

    # Out

    def _outputs(self, where: str, given: Outputs | None) -> Outputs:
        """Outputs that ``step`` returned; None only of a node without outputs: elsewhere it is a forgotten return."""
        if given is None and self._ports[1]:
            raise NodeError(f"{where}: step returned None (expected a mapping of outputs, {{}} for none), add a return")
        return {} if given is None else given

    def _packets(self, where: str, unit: Unit, outputs: Outputs) -> dict[tuple[str, int], Packet]:
        if type(outputs) is not dict and not isinstance(outputs, Mapping):
            raise NodeError(f"{where}: found {type(outputs).__name__} (expected a mapping from output port to value)")
        contract = self._contracts
        if not outputs.keys() <= contract.keys():
            unknown = next(port for port in outputs if port not in contract)
            raise NodeError(f"{where}: no output '{unknown}' (it has: {listing(contract)})")
        packets = {}
        for port, value in outputs.items():
            if value is not None:
                packets[port, unit.index] = self._packet(f"{where}, output '{port}'", port, unit, value)
        return packets

    def _packet(self, where: str, port: str, unit: Unit, value: Any) -> Packet:
        emission = value if isinstance(value, Emission) else Emission(value)
        if emission.value is None:
            tensors: dict[str, Payload] = {}
        else:
            tensors = self._tensors(where, port, unit, emission.value)
        validity = emission.validity
        guard = self._guards.get(port)
        if guard is not None and (found := guard.fault_in(tensors)):
            if guard.policy == "fail":
                raise NodeError(f"{where}: found {found} (expected finite), mend the node, or write guard: conceal")
            guard.strike(unit.index, found)
            if guard.policy == "conceal":
                tensors, validity = {}, Validity.MISSING
        if not tensors and validity is Validity.REAL:
            validity = Validity.EMPTY
        return Packet(
            self._streams[port], unit.index, 0, unit.pts_ns, unit.duration_ns, validity, tensors, unit.session,
            0, emission.capture_ns, emission.capture_clock, emission.source_time_ns,
        )  # fmt: skip

    def _tensors(self, where: str, port: str, unit: Unit, value: Any) -> dict[str, Payload]:
        return self._contracts[port].tensors_of(where, value)

    def _logs(
        self, where: str, mode: str, units: Sequence[Unit], logs: Sequence[Outputs] | None
    ) -> dict[tuple[str, int], Packet]:
        if logs is None:
            return {}
        if isinstance(logs, Mapping) or not isinstance(logs, Sequence):
            raise NodeError(f"{where}: {mode} returned {type(logs).__name__} (expected a list of mappings, or None)")
        if len(logs) != len(units):
            raise NodeError(
                f"{where}: {mode} returned {len(logs)} mappings (expected one for each of {len(units)} units)"
            )
        packets: dict[tuple[str, int], Packet] = {}
        for unit, outputs in zip(units, logs, strict=True):
            if not isinstance(outputs, Mapping):
                raise NodeError(
                    f"{where}: {mode} returned a list with {type(outputs).__name__} (expected mappings, one per unit)"
                )
            kept = {p: v for p, v in outputs.items() if p not in self._ports[1] or self._ports[1][p].is_log}
            packets.update(self._packets(where, unit, kept))
        return packets


def make_node(plan: NodePlan) -> Node:
    """The instance of a node's class, made in the process that runs it.

    Raises:
        WangraphError: as the node words it.
        NodeError: anything else that it raised.
    """
    cls = resolve(plan.target)
    try:
        return cls(**plan.params)
    except WangraphError:
        raise
    except BaseException as error:  # a sys.exit, too: the process would be gone without a word
        text = f"{type(error).__name__} while it was made: {message_of(error)}{place_of(error, cls.__init__)}"
        raise NodeError(f"node '{plan.name}': {text}") from error
