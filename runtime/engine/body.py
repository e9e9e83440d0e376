"""A node where it runs: its instance and state, the values it gets, and the contract of what it gives."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import NodeError, UserError, WangraphError, listing, place_of, raised
from ..node import END, Emission, Node, NodeContext, Outputs, Unit
from ..packet import WHOLE, Array, Packet, Validity, frozen
from ..plan.plan import NodePlan, Plan
from ..ports import DTYPE_BYTES, Output, Port, TensorSpec
from ..schedule.decide import Fire, Given
from ..schedule.scheduler import Result

Empty = Callable[[str, str, tuple[int, ...], str], Array]
"""``empty(stream, tensor, shape, dtype)``: an array to write a stream's tensor into."""


class Body:
    """One node of a run. Made, opened, warmed, run and closed in one thread, except that `close` may be called last
    from another one.

    Args:
        node: the instance (parameters only).
        plan: its entry in the plan.
        clock: the graph's plan, for times and contracts.
    """

    def __init__(self, node: Node, plan: NodePlan, graph: Plan) -> None:
        self.node = node
        self.plan = plan
        self.graph = graph
        self.reports: list[tuple[str, str]] = []
        self._state: Any = None
        self._ports = node.ports(node.values)
        self._stateful = node.is_stateful()
        self._is_open = False
        self._exact = self._exact_tensors()

    def open(self, threads: int = 1, empty: Empty | None = None) -> None:
        """Open and warm the node, make its state.

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
            input_shapes={i.port: self._shapes(i.stream) for i in self.plan.inputs},
            output_shapes={p: self._shapes(f"{name}.{p}") for p in self.plan.outputs},
            connected_inputs=frozenset(wanted),
            connected_outputs=frozenset(s.removeprefix(f"{name}.") for s in read & consumed),
            report=lambda key, text: self.reports.append((key, text)),
            log=logging.getLogger(f"wangraph.node.{name}"),
        )
        if empty is not None:
            ctx.empty = lambda port, shape, dtype, tensor=WHOLE: empty(f"{name}.{port}", tensor, shape, dtype)
        try:
            self._is_open = True
            self.node.open(ctx)
            self.node.warm()
            self._state = self.node.new_state()
        except WangraphError:
            raise
        except Exception as error:
            what = f"{type(error).__name__} while opening: {error}{place_of(error)}"
            raise NodeError(f"node '{name}': {what}") from error

    def run(self, fire: Fire) -> Result:
        """Call the body as ``fire`` says.

        Raises:
            NodeError: it raised, or returned what its contract forbids; names node, unit, port.
        """
        where = f"node '{self.plan.name}', unit {fire.first}" + (f"..{fire.last}" if fire.last > fire.first else "")
        units = [
            self._unit(u, fire, given)
            for u, given in zip(fire.units, fire.inputs or [{}] * len(fire.units), strict=True)
        ]
        values = [self._values(given) for given in fire.inputs] or [{} for _ in units]
        state = (self._state,) if self._stateful else ()
        try:
            if fire.mode == "step":
                given = self.node.step(*state, units[0], **values[0])
                if given is END:
                    return Result(ended=True)
                return Result(self._packets(where, units[0], self._outputs(where, given)))
            if fire.mode == "absorb":
                logs = self.node.absorb(self._state, list(zip(units, values, strict=True)))
            else:
                logs = self.node.gap(self._state, units)
        except WangraphError as error:
            if isinstance(error, NodeError):
                raise
            raise NodeError(f"{where}: {error}") from error
        except Exception as error:
            raise NodeError(f"{where}: {raised(error, getattr(self.node, fire.mode))}") from error
        return Result(self._logs(where, fire.mode, units, logs))

    def close(self) -> None:
        """Close the node if it was opened; an error of its own is a `NodeError`."""
        if not self._is_open:
            return
        self._is_open = False
        try:
            self.node.close()
        except WangraphError:
            raise
        except Exception as error:
            what = f"{type(error).__name__} while closing: {error}{place_of(error)}"
            raise NodeError(f"node '{self.plan.name}': {what}") from error

    # In

    def _unit(self, unit: int, fire: Fire, given: Mapping[str, Given]) -> Unit:
        clock = self.graph.clock
        level = self.plan.ladder[fire.level] if self.plan.ladder else {}
        packets = {port: g[0] if isinstance(g, tuple) else g for port, g in given.items()}
        return Unit(
            unit, clock.pts_ns(unit), clock.duration_ns(unit), self.plan.name, self.graph.seed, 0, level, packets
        )

    def _values(self, given: Mapping[str, Given]) -> dict[str, Any]:
        return {
            port: tuple(self._value(port, p) for p in g) if isinstance(g, tuple) else self._value(port, g)
            for port, g in given.items()
        }

    def _value(self, port: str, packet: Packet | None) -> Any:
        contract = self._ports[0][port]
        if contract.kind == "any" and packet is not None and self.graph.streams[packet.stream].kind == "text":
            return text_of(packet)
        return value_of(contract, packet)

    # Out

    def _outputs(self, where: str, given: Outputs | None) -> Outputs:
        """What ``step`` returned; None only from a node that has no outputs, where it is not a forgotten return."""
        if given is None and self._ports[1]:
            raise NodeError(f"{where}: step returned None (expected a mapping of outputs, {{}} for none), add a return")
        return {} if given is None else given

    def _packets(self, where: str, unit: Unit, outputs: Outputs) -> dict[tuple[str, int], Packet]:
        if not isinstance(outputs, Mapping):
            raise NodeError(f"{where}: found {type(outputs).__name__} (expected a mapping from output port to value)")
        contract = self._ports[1]
        for port in outputs:
            if port not in contract:
                raise NodeError(f"{where}: no output '{port}' (it has: {listing(contract)})")
        return {
            (port, unit.index): self._packet(f"{where}, output '{port}'", port, unit, value)
            for port, value in outputs.items()
            if value is not None
        }

    def _packet(self, where: str, port: str, unit: Unit, value: Any) -> Packet:
        emission = value if isinstance(value, Emission) else Emission(value)
        contract = self._ports[1][port]
        if emission.value is None:
            tensors: dict[str, Array] = {}
        else:
            raw = _as_tensors(where, contract, emission.value)
            tensors = {name: self._checked(where, contract, name, array) for name, array in raw.items()}
        validity = emission.validity
        if not tensors and validity is Validity.REAL:
            validity = Validity.EMPTY
        return Packet(
            f"{self.plan.name}.{port}", unit.index, 0, unit.pts_ns, unit.duration_ns, validity, tensors, unit.session,
            0, emission.capture_ns, emission.capture_clock, emission.source_time_ns,
        )  # fmt: skip

    def _checked(self, where: str, contract: Output, name: str, array: Array) -> Array:
        if type(array) is np.ndarray and (array.dtype, array.shape) == self._exact.get((id(contract), name)):
            return frozen(array if array.flags.c_contiguous else np.ascontiguousarray(array))
        spec = contract.specs.get(name)
        if spec is None:
            raise NodeError(f"{where}: no tensor '{name}' (it has: {listing(contract.specs)})")
        resolved = self._resolved(contract, name)
        if not _fits(array, spec, resolved):
            found = f"[{' '.join(map(str, array.shape))}] {array.dtype}"
            shape = (
                "..."
                if spec.shape is None
                else " ".join(
                    str(d) if d.is_max or r is None else str(r)
                    for d, r in zip(spec.shape, resolved or spec.shape, strict=True)
                )
            )
            raise NodeError(
                f"{where}: found {found} (expected [{shape}] {spec.dtype or 'any dtype'}), "
                "return what the port declares"
            )
        return frozen(np.ascontiguousarray(array))

    def _exact_tensors(self) -> dict[tuple[int, str], tuple[np.dtype[Any], tuple[int, ...]]]:
        """By (output, tensor): the one dtype and shape that fit. What has them needs no closer look."""
        exact = {}
        for port, contract in self._ports[1].items():
            for tensor in self.graph.streams[f"{self.plan.name}.{port}"].tensors:
                spec = contract.specs.get(tensor.name)
                sizes = tensor.shape
                if spec is None or spec.dtype is None or spec.shape is None or sizes is None:
                    continue
                if None in sizes or any(dim.is_max for dim in spec.shape):
                    continue
                dtype = "uint16" if spec.dtype == "bfloat16" else spec.dtype
                exact[id(contract), tensor.name] = (np.dtype(dtype), tuple(size or 0 for size in sizes))
        return exact

    def _resolved(self, contract: Output, name: str) -> tuple[int | None, ...] | None:
        for port, own in self._ports[1].items():
            if own is contract:
                for tensor in self.graph.streams[f"{self.plan.name}.{port}"].tensors:
                    if tensor.name == name:
                        return tensor.shape
        return None

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

    def _shapes(self, stream: str) -> dict[str, tuple[int, ...] | None]:
        result: dict[str, tuple[int, ...] | None] = {}
        for tensor in self.graph.streams[stream].tensors:
            known = tensor.shape is not None and all(d is not None for d in tensor.shape)
            result[tensor.name] = tuple(d or 0 for d in tensor.shape or ()) if known else None
        return result


def value_of(contract: Port, packet: Packet | None) -> Any:
    """What a body sees of a packet: an array, a str, tensors by name, or None where there is no payload."""
    if packet is None or not packet.is_payload:
        return None
    if contract.kind == "text":
        return text_of(packet)
    return packet.tensors if contract.tensors is not None else packet.tensors.get(WHOLE, packet.tensors)


def text_of(packet: Packet) -> str | None:
    """The text that a packet carries; None where there is none."""
    return packet.array.tobytes().decode("utf-8", "replace") if packet.is_payload else None


def _as_tensors(where: str, contract: Output, value: Any) -> Mapping[str, Array]:
    if isinstance(value, str):
        return {WHOLE: np.frombuffer(value.encode("utf-8"), np.uint8)}
    if contract.tensors is not None:
        if not isinstance(value, Mapping):
            raise NodeError(f"{where}: found {type(value).__name__} (expected tensors: {listing(contract.specs)})")
        return {name: np.asarray(array) for name, array in value.items()}
    if isinstance(value, Mapping):
        if contract.kind == "any":
            return {name: np.asarray(array) for name, array in value.items()}
        raise NodeError(f"{where}: found a mapping (expected one array)")
    array = np.asarray(value)
    if array.dtype == object:
        raise NodeError(f"{where}: found {type(value).__name__} (expected an array)")
    return {WHOLE: array}


def _fits(array: Array, spec: TensorSpec, resolved: tuple[int | None, ...] | None) -> bool:
    if spec.dtype is not None:
        want = "uint16" if spec.dtype == "bfloat16" else spec.dtype
        if array.dtype.name != want:
            return False
    elif array.dtype.name not in DTYPE_BYTES:
        return False
    if spec.shape is None:
        return True
    if array.ndim != len(spec.shape):
        return False
    sizes = resolved if resolved is not None else tuple(d.size for d in spec.shape)
    return all(
        size is None or found == size or (dim.is_max and found <= size)
        for found, dim, size in zip(array.shape, spec.shape, sizes, strict=True)
    )


def initial_packets(graph: Plan) -> dict[tuple[str, str], Packet]:
    """What delayed inlets get before their stream begins: zeros, or the tensors of a ``.npy``/``.npz`` file.

    Raises:
        UserError: a file that is missing or has another shape than the stream.
    """
    packets: dict[tuple[str, str], Packet] = {}
    for node in graph.nodes.values():
        for inlet in node.inputs:
            if not inlet.delay or inlet.init in (None, "empty"):
                continue
            stream, init = graph.streams[inlet.stream], inlet.init or ""
            where = f"node '{node.name}', input '{inlet.port}', init"
            tensors = {}
            loaded = _load_initial(where, init) if init != "zeros" else {}
            for tensor in stream.tensors:
                if tensor.shape is None or any(d is None for d in tensor.shape) or tensor.dtype is None:
                    raise UserError(
                        f"{where}: the shape of '{inlet.stream}' is unknown (expected a full contract), use init: empty"
                    )
                shape = tuple(d or 0 for d in tensor.shape)
                dtype = "uint16" if tensor.dtype == "bfloat16" else tensor.dtype
                array = loaded.get(tensor.name) if loaded else np.zeros(shape, dtype)
                if array is None or array.shape != shape or array.dtype.name != dtype:
                    found = "nothing" if array is None else f"{array.shape} {array.dtype}"
                    raise UserError(
                        f"{where}: {init}: found {found} for tensor '{tensor.name}' (expected {shape} {dtype})"
                    )
                tensors[tensor.name] = frozen(array)
            packets[inlet.stream, init] = Packet(inlet.stream, -1, 0, 0, 0, Validity.REAL, tensors)
    return packets


def _load_initial(where: str, path: str) -> dict[str, Array]:
    try:
        loaded = np.load(Path(path), allow_pickle=False)
    except (OSError, ValueError) as error:
        raise UserError(f"{where}: {path}: {error} (expected empty, zeros, or a .npy or .npz file)") from error
    return {WHOLE: loaded} if isinstance(loaded, np.ndarray) else {name: loaded[name] for name in loaded.files}
