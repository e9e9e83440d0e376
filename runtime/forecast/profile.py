"""A profile: what the nodes of a graph cost, how long packets travel, how late the clock is. Pure data, in YAML.

    name: mine
    source: measured            # where figures come from that do not say it themselves; or: assumed, or a paper
    nodes:
      think:   {cost_ms: 45, p95_ms: 52, per_unit_ms: 0.002, hold_ms: 6, cpu_ms: 80, threads: 2, source: measured}
      perform: {cost_ms: 75, level_ms: [75, 45, 30]}
    transfers:                  # by stream and reader, by stream, by processes; the first of them that is there counts
      think.context: {ms: 4}
      client->main:  {ms: 175, p95_ms: 190}
    clock: {late_ms: 0.2}
    machines:
      server: {processes: [main], cores: 8}
    rows:                       # joint measurements: what happened in one unit stays together
      columns: [think, perform, think.context->performer, clock]
      ms: [[44.1, 75.0, 3.9, 0.1], ...]

A node's call costs ``cost_ms + per_unit_ms * history`` with ``history`` the units before it; ``p95_ms`` says how it
spreads when there are no rows; ``hold_ms`` of it hold the interpreter; ``cpu_ms`` is the processor time of all its
threads, as long as the call when not known, and ``threads`` of them compute at a time: the rest of the call waits, for
a device, a network or on purpose, and loads no core; ``level_ms`` is by entry of its ladder;
``absorb_ms`` is per unit taken in without an answer. Values in rows have the history taken out.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any

from ..errors import UserError, did_you_mean, listing
from ..plan.plan import Plan, StreamPlan

CLOCK = "clock"
"""Name of the clock's lateness among the columns of rows."""

DEFAULT_TRANSFER_MS = 1.0
"""What a hop between two processes is taken to cost when a profile does not say: as ``check`` takes it."""


LONGEST_MS = 60_000
"""What anything may take. A body of a minute keeps no clock: to simulate it is to invent what was missed meanwhile."""


@dataclass(frozen=True)
class NodeCost:
    """Cost of one node, in milliseconds; see the module. ``source`` says where the figures come from."""

    cost_ms: float
    source: str
    p95_ms: float | None = None
    per_unit_ms: float = 0.0
    hold_ms: float = 0.0
    level_ms: tuple[float, ...] = ()
    absorb_ms: float | None = None
    cpu_ms: float | None = None
    threads: float = 1.0

    @property
    def load_ms(self) -> float:
        """Time for which it keeps one core busy, or several of them together."""
        return self.cost_ms * self.threads if self.cpu_ms is None else self.cpu_ms

    @property
    def wait_ms(self) -> float:
        """Part of it in which no thread computes."""
        return max(0.0, self.cost_ms - self.load_ms / self.threads)

    def at_level(self, level: int) -> float:
        """Cost of a ladder entry relative to the best one."""
        if not self.level_ms or not self.level_ms[0]:
            return 1.0
        return self.level_ms[min(level, len(self.level_ms) - 1)] / self.level_ms[0]


@dataclass(frozen=True)
class Delay:
    """Time that something takes on its way, in milliseconds."""

    ms: float
    source: str
    p95_ms: float | None = None


@dataclass(frozen=True)
class Lateness:
    """Delay with which the clock wakes a process, in milliseconds."""

    late_ms: float = 0.0
    source: str = "assumed"
    p95_ms: float | None = None


@dataclass(frozen=True)
class Machine:
    """A machine: which processes run on it, and how many bodies it runs at a time (None: as many as want to)."""

    processes: tuple[str, ...]
    cores: int | None
    source: str


@dataclass(frozen=True)
class Profile:
    """See the module.

    Attributes:
        where: how messages name it: its file.
        graph: the graph it was made for; others that have the same nodes may use it, and are warned (`foreign_to`).
        history_units: history after which costs grow no more; None: for ever.
        columns: what the values of each row belong to: nodes, transfers, the clock.
        rows: one per measured unit, in order; milliseconds.
    """

    name: str
    source: str
    nodes: Mapping[str, NodeCost]
    transfers: Mapping[str, Delay] = field(default_factory=dict)
    clock: Lateness = field(default_factory=Lateness)
    machines: Mapping[str, Machine] = field(default_factory=dict)
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[float, ...], ...] = ()
    graph: str = ""
    history_units: int | None = None
    where: str = "profile"

    @cached_property
    def typical(self) -> dict[str, float]:
        """Median of each column."""
        return {name: statistics.median(row[i] for row in self.rows) for i, name in enumerate(self.columns)}

    def transfer_key(self, stream: StreamPlan, reader: str) -> str | None:
        """The entry that says how long a stream's packets travel to a process; None when none does."""
        keys = (f"{stream.name}->{reader}", stream.name, f"{stream.process}->{reader}")
        return next((key for key in keys if key in self.transfers), None)

    def transfer_ms(self, stream: StreamPlan, reader: str) -> float:
        """The typical time of a stream's packets on their way to a process."""
        key = self.transfer_key(stream, reader)
        return DEFAULT_TRANSFER_MS if key is None else self.transfers[key].ms

    def machine_of(self, process: str) -> str:
        """The machine a process runs on; those that are not named share one."""
        return next((name for name, machine in self.machines.items() if process in machine.processes), "this machine")

    def check(self, plan: Plan) -> None:
        """See that every node of the graph has figures.

        Raises:
            UserError: it names those that have none.
        """
        lacking = [name for name in plan.nodes if name not in self.nodes]
        if lacking:
            first = lacking[0]
            raise UserError(
                f"{self.where}: nodes: found no figures for {', '.join(lacking)} of graph '{plan.name}' "
                f"(it has: {listing(self.nodes)}), add {first}: {{cost_ms: 5, source: assumed}}, "
                f"or measure them: wangraph profile GRAPH -o FILE"
            )

    def foreign_to(self, plan: Plan) -> str:
        """In words, that it was made of another graph, whose nodes only have the same names; empty when it was not."""
        if self.graph in ("", plan.name):
            return ""
        return (
            f"{self.where}: found a profile of graph '{self.graph}' (expected '{plan.name}'), its costs may be those "
            "of other nodes, measure them: wangraph profile GRAPH -o FILE"
        )

    def having(self, key: str, value: float) -> Profile:
        """The profile with one figure changed: ``NODE.cost_ms``, ``TRANSFER.ms``, ``clock.late_ms``.

        Raises:
            UserError: no such figure.
        """
        name, _, figure = key.rpartition(".")
        if name == CLOCK:
            return replace(self, clock=self._changed(self.clock, key, figure, value))
        if name in self.nodes:
            return replace(self, nodes={**self.nodes, name: self._changed(self.nodes[name], key, figure, value)})
        if name in self.transfers:
            changed = self._changed(self.transfers[name], key, figure, value)
            return replace(self, transfers={**self.transfers, name: changed})
        names = [*self.nodes, *self.transfers, CLOCK]
        raise UserError(
            f"profile.{key}: no node or transfer '{name}' in {self.where} (it has: {listing(names)})"
            f"{did_you_mean(name, names)}"
        )

    def _changed(self, entry: Any, key: str, figure: str, value: float) -> Any:
        figures = [f.name for f in fields(entry) if f.name not in ("source", "level_ms")]
        if figure not in figures:
            raise UserError(
                f"profile.{key}: no figure '{figure}' (available: {listing(figures)}){did_you_mean(figure, figures)}"
            )
        main = "cost_ms" if isinstance(entry, NodeCost) else figures[0]
        changes: dict[str, Any] = {figure: value}
        if figure == main and entry.p95_ms is not None and getattr(entry, main):
            changes["p95_ms"] = entry.p95_ms * value / getattr(entry, main)  # spreads as it did
        return replace(entry, **changes)
