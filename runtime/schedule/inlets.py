"""Inputs of a node for one unit: settled or not, ended, lost, substituted."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..packet import Packet, Validity
from ..plan.plan import InputPlan, NodePlan
from .decide import Given
from .window import Settled, StreamWindow

Lookup = Callable[[str, int], Settled | None]
"""The outcome of (stream, unit); None while it is open."""

Blank = Callable[[str, int, Validity], Packet]
"""A packet of (stream, unit) without payload."""


class Inlets:
    """Reads the windows for the nodes of one process.

    Args:
        windows: by stream.
        lookup: how to find an outcome.
        blank: makes what stands before a stream begins.
        initial: what delayed inlets get before the first unit, by (stream, init).
        first_unit: the first unit of every stream here; those before it are `initial`, whatever they were elsewhere.
        begins_ns: when it begins.
    """

    def __init__(
        self,
        windows: Mapping[str, StreamWindow],
        lookup: Lookup,
        blank: Blank,
        initial: Mapping[tuple[str, str], Packet],
        first_unit: int = 0,
        begins_ns: int = 0,
    ) -> None:
        self._windows = windows
        self._lookup = lookup
        self._blank = blank
        self._initial = initial
        self._first_unit = first_unit
        self._begins_ns = begins_ns

    def given(self, node: NodePlan, unit: int) -> dict[str, Given] | None:
        """Settled packets of every inlet; None while one is open."""
        given: dict[str, Given] = dict.fromkeys(node.optional_inputs)
        for inlet in node.inputs:
            first = unit - inlet.delay
            if (packet := self._packet(inlet, first)) is None:
                return None
            given[inlet.port] = packet
            if inlet.look_ahead:
                packets = [packet]
                for later in range(first + 1, first + inlet.look_ahead + 1):
                    if (packet := self._packet(inlet, later)) is None:
                        return None
                    packets.append(packet)
                given[inlet.port] = tuple(packets)
        return given

    def ready_ns(self, node: NodePlan, unit: int) -> int | None:
        """Instant at which the last inlet of a unit settled; None for a node without inlets."""
        latest = None
        for inlet in node.inputs:
            settled = self._lookup(inlet.stream, unit - inlet.delay + inlet.look_ahead)
            at = self._begins_ns if settled is None else settled.at_ns
            if latest is None or at > latest:
                latest = at
        return latest

    def open_inlets(self, node: NodePlan, unit: int) -> list[InputPlan]:
        """Inlets that wait for something."""
        return [inlet for inlet in node.inputs if self._is_open(inlet, unit)]

    def n_open(self, node: NodePlan, unit: int) -> int:
        """Number of packets that a unit takes in and that have not settled."""
        n_open = 0
        for inlet in node.inputs:
            window, first = self._windows[inlet.stream], unit - inlet.delay
            for needed in range(max(self._first_unit, first), first + inlet.look_ahead + 1):
                n_open += window.get(needed) is None
        return n_open

    def settled_until(self, node: NodePlan) -> int:
        """The first unit for which something has not settled; those beyond an end have not."""
        return min(self._windows[i.stream].head + i.delay - i.look_ahead for i in node.inputs)

    def ends_at(self, node: NodePlan) -> int | None:
        """The first unit for which nothing comes any more: all inlets without delay (all inlets, when each has one)
        have ended by then. None while one has not."""
        # an input over the node's own loop ends only after the node does: waited for, neither would ever end
        direct = [i for i in node.inputs if not i.delay] or node.inputs
        ends = [(self._windows[i.stream].ended_at, i.delay) for i in direct]
        known = [end + delay for end, delay in ends if end is not None]
        return max(known) if known and len(known) == len(ends) else None

    def substituted(self, node: NodePlan, given: Mapping[str, Given], unit: int) -> Mapping[str, Given]:
        """The inputs as the body gets them: what ``hold`` says stands in for what is missing."""
        result = given
        for inlet in node.inputs:
            if inlet.late == "hold" and not inlet.look_ahead and _first(given[inlet.port]).validity is Validity.MISSING:
                held = self._windows[inlet.stream].last_real_before(unit - inlet.delay)
                if held is None:  # nothing real has come yet: what stands before unit 0 is the last there was
                    held = self._initial.get((inlet.stream, inlet.init or "empty"))
                if held is not None:
                    result = {**result, inlet.port: held.marked(Validity.REPEATED)}
        return result

    def _packet(self, inlet: InputPlan, unit: int) -> Packet | None:
        if unit < self._first_unit:
            start = self._initial.get((inlet.stream, inlet.init or "empty"))
            return start if start is not None else self._blank(inlet.stream, unit, Validity.EMPTY)
        settled = self._lookup(inlet.stream, unit)
        return None if settled is None else settled.packet

    def _is_open(self, inlet: InputPlan, unit: int) -> bool:
        last = unit - inlet.delay + inlet.look_ahead
        return last >= self._first_unit and self._lookup(inlet.stream, last) is None


def is_lost(node: NodePlan, given: Mapping[str, Given]) -> bool:
    """True if a required input is missing: one for which nothing may stand in."""
    for inlet in node.inputs:
        if inlet.late in ("gap", "wait") and _first(given[inlet.port]).validity is Validity.MISSING:
            return True
    return False


def _first(given: Given) -> Packet:
    packet = given[0] if isinstance(given, tuple) else given
    assert packet is not None
    return packet
