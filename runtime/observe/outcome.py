"""Outcome of one unit, and the nodes that present it. Everything that counts misses or latencies reads these."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

import msgspec

from ..plan.plan import InputPlan, NodePlan, Plan

Status = Literal["real", "concealed", "missed"]
"""What was presented of a unit: the answer itself; something that a node made up for it and marked as made up
(`packet.Validity` REPEATED or CONCEALED); or not all of it, because it was not there in time."""


class UnitKey(NamedTuple):
    """Name of one unit of a run among all others."""

    unit: int


class MissingInput(NamedTuple):
    """An inlet ``port`` of a presenting ``node`` that got nothing from a stream; ``unit`` is the stream's."""

    node: str
    port: str
    stream: str
    unit: int


class Outcome(msgspec.Struct, frozen=True):
    """One presented unit. Durations count from its release; of several presenters the last one counts.

    Attributes:
        presenters: nodes that presented it.
        status: a unit of which anything was missing is missed, whatever was shown in its place; one with anything made
            up is concealed; the others are real, also where a node said that there is nothing (`Validity.EMPTY`).
        missing: what was not there; empty where a presenter was not run for another reason.
        concealed: streams that carried something made up.
        not_run: presenters that did not answer, with how they went through the unit instead.
        presented_ns: when it began to play, or a sink was done with it, after the origin; None if nothing was shown.
        latency_ns: until then.
        model_latency_ns: until the whole answer was there: where a paced node presents, before it waits for its due. Of
            a missed unit, until what was missing came after all; None if it never came.
        slack_ns: how long before its deadline the whole answer was there.
        late_ns: how long after its due it began to play, or a sink was done with it; 0 for one in time.
        skew_ns: how much older the picture was than the sound, see `RunView`; None without both.
    """

    key: UnitKey
    presenters: tuple[str, ...]
    status: Status
    missing: tuple[MissingInput, ...]
    concealed: tuple[str, ...]
    not_run: tuple[tuple[str, str], ...]
    presented_ns: int | None
    latency_ns: int | None
    model_latency_ns: int | None
    slack_ns: int | None
    late_ns: int
    skew_ns: int | None

    @property
    def unit(self) -> int:
        """Its number."""
        return self.key.unit

    @property
    def is_real(self) -> bool:
        """True if the answer itself was presented."""
        return self.status == "real"

    @property
    def is_missed(self) -> bool:
        """True if something was not there when it was presented."""
        return self.status == "missed"

    @property
    def kept_its_deadline(self) -> bool:
        """True if the answer itself was presented, and in time."""
        return self.is_real and not self.late_ns

    @property
    def lacking(self) -> frozenset[str]:
        """The presenters that did not present all of it."""
        return frozenset([*(lost.node for lost in self.missing), *(node for node, _ in self.not_run)])

    @property
    def reason(self) -> str:
        """In words, why it was missed; empty of one that was not."""
        lost = [f"{m.node} got no {m.port} from {m.stream}" for m in self.missing]
        explained = {m.node for m in self.missing}
        lost += [f"{node} did not run ({mode})" for node, mode in self.not_run if node not in explained]
        return "; ".join(lost)


def real_latencies_ns(outcomes: Iterable[Outcome]) -> list[int]:
    """Model latencies of the units that were real."""
    return [o.model_latency_ns for o in outcomes if o.is_real and o.model_latency_ns is not None]


def presenting(nodes: Mapping[str, tuple[bool, bool]]) -> list[str]:
    """The nodes where answers are presented: those that are paced, or where none is, those that give nothing out.

    Args:
        nodes: by name, whether it is paced and whether it is a sink.
    """
    paced = [name for name, (is_paced, _) in nodes.items() if is_paced]
    return paced or [name for name, (_, is_sink) in nodes.items() if is_sink]


def presenters(plan: Plan) -> list[NodePlan]:
    """The nodes of a plan where answers are presented."""
    names = presenting({name: (node.paced, node.is_sink) for name, node in plan.nodes.items()})
    return [plan.nodes[name] for name in names]


def presented_unit(inlet: InputPlan, unit: int) -> int:
    """The unit of the stream that a node presents as its own ``unit``; what it looks ahead at is no part of that."""
    return unit - inlet.delay


def awaited_unit(inlet: InputPlan, unit: int) -> int:
    """The last unit of the stream that a node waits for before its own ``unit``."""
    return unit - inlet.delay + inlet.look_ahead
