"""Small nodes, made-up costs and graphs of any shape, for tests of the scheduler."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from wangraph import Edge, Graph, Input, Node, Output
from wangraph.runtime.engine.drivers import SerialExecutor, run_virtual
from wangraph.runtime.errors import GraphError
from wangraph.runtime.packet import WHOLE, Packet, Validity
from wangraph.runtime.plan.graph import Vertex
from wangraph.runtime.plan.plan import Plan
from wangraph.runtime.schedule.decide import Fire
from wangraph.runtime.schedule.events import Firing, Settlement
from wangraph.runtime.schedule.scheduler import Result, Scheduler

MS = 1_000_000
T = 160 * MS


class Source(Node):
    """A stateless source."""

    out = Output()

    def step(self, unit):
        return {"out": unit.index}


class Early(Source):
    """A source that can be asked two units ahead."""

    ahead_units = 2


class Stateful(Node):
    """Keeps something; told of gaps."""

    a = Input()
    out = Output()

    def new_state(self):
        return []

    def step(self, state, unit, a):
        return {"out": a}

    def gap(self, state, units):
        return None


class Join(Stateful):
    """Two inlets; the second one goes without."""

    b = Input(late="empty", optional=True)

    def step(self, state, unit, a, b):
        return {"out": a}


class Held(Stateful):
    """Sees the last real unit where one is missing."""

    a = Input(late="hold")


class Log(Stateful):
    """Writes a log."""

    context = Output("context", "1", "int64")


class Reader(Stateful):
    """Reads a log."""

    a = Input("context", "1", "int64", late="wait")


class Stateless(Node):
    """Keeps nothing."""

    a = Input()
    out = Output()

    def step(self, unit, a):
        return {"out": a}


class Ahead(Stateless):
    """Looks one unit ahead."""

    a = Input(look_ahead=1)


class Paced(Node):
    """Plays out at the deadline."""

    paced = True
    a = Input(late="empty")
    b = Input(late="empty", optional=True)
    out = Output()

    def step(self, unit, a, b):
        return {"out": a}


class Sink(Node):
    """The end."""

    a = Input(late="wait")

    def new_state(self):
        return []

    def step(self, state, unit, a):
        return None

    def gap(self, state, units):
        return None


@dataclass
class FakeBody:
    """Answers every call with one real packet per port that may answer; keeps the calls."""

    plan: Plan
    node: str
    fires: list[Fire] = field(default_factory=list)

    def run(self, fire: Fire) -> Result:
        self.fires.append(fire)
        node = self.plan.nodes[self.node]
        ports = [p for p in node.outputs if fire.mode == "step" or self.plan.streams[f"{self.node}.{p}"].is_log]
        return Result({(p, u): self._packet(p, u) for p in ports for u in fire.units})

    def _packet(self, port: str, unit: int) -> Packet:
        data = {WHOLE: np.array([unit])}
        return Packet(f"{self.node}.{port}", unit, 0, unit * T, T, Validity.REAL, data)


@dataclass
class Outcome:
    """What a simulated run did."""

    bodies: dict[str, FakeBody]
    scheduler: Scheduler
    log: list[Any]
    packets: list[Packet]

    def fires(self, node: str) -> list[tuple[str, int, int]]:
        return [(f.mode, f.first, f.last) for f in self.bodies[node].fires]

    def firings(self, node: str) -> list[Firing]:
        return [e for e in self.log if isinstance(e, Firing) and e.node == node]

    def outcomes(self, stream: str) -> dict[int, Validity]:
        return {e.unit: Validity(e.validity) for e in self.log if isinstance(e, Settlement) and e.stream == stream}


Costs = Mapping[tuple[str, int], int]


def simulate(
    plan: Plan,
    units: int,
    costs: Costs | None = None,
    scheduler: Scheduler | None = None,
    stop_ns: int | None = None,
) -> Outcome:
    """Run with these costs (ms) of (node, first unit); what is not named costs the node's budget.

    ``stop_ns``: from then on the sources are told to end where they are.
    """
    costs = costs or {}
    packets: list[Packet] = []
    scheduler = scheduler or Scheduler(plan, limit=units, tap=packets.append)
    bodies = {name: FakeBody(plan, name) for name in plan.nodes}

    def tick(now: int) -> None:
        if stop_ns is not None and now >= stop_ns:
            scheduler.stop_at(0)

    run_virtual(
        plan, bodies, scheduler, SerialExecutor(), tick=tick,  # type: ignore[arg-type]
        cost=lambda node, fire: costs.get((node.name, fire.first), node.cost_ns / MS) * MS,  # type: ignore[return-value]
    )  # fmt: skip
    return Outcome(bodies, scheduler, scheduler.take_events(), packets)


def chain(*kinds: tuple[str, type[Node], float], latency_ms: float = 200, one_lane: bool = False) -> Plan:
    """source -> kinds in a row -> paced -> sink, every node in a lane of its own unless ``one_lane``."""
    graph = Graph("chain", latency_ms=latency_ms)
    names = ["source", *(name for name, _, _ in kinds), "paced", "sink"]
    graph.process("main", lanes=["loop"] if one_lane else names)
    lane = (lambda name: "loop") if one_lane else (lambda name: name)
    before = graph.add("source", Source, lane=lane("source"))["out"]
    for name, kind, budget in kinds:
        before = graph.add(name, kind, inputs={"a": before}, lane=lane(name), budget_ms=budget)["out"]
    before = graph.add("paced", Paced, inputs={"a": before}, lane=lane("paced"))["out"]
    graph.add("sink", Sink, inputs={"a": before}, lane=lane("sink"))
    return graph.plan()


def modes(units: int, mode: str = "step") -> list[tuple[str, int, int]]:
    return [(mode, u, u) for u in range(units)]


def any_graph(seed: int, processes: int = 1, busy: bool = False) -> tuple[Plan, int, dict[tuple[str, int], float]]:
    """Any graph of nodes that keep something or nothing, hold, log, read logs, look ahead and run ahead, in so many
    processes, with any costs, for some units. ``busy``: of more nodes, so that many read the same."""
    chance = random.Random(seed)
    while True:
        try:
            return _any_graph(chance, processes, chance.randint(3, 9) if busy else chance.randint(1, 5))
        except GraphError:
            continue  # a stream would be decided in two places, or a look-ahead comes too late: draw again


def _any_graph(chance: random.Random, processes: int, work: int) -> tuple[Plan, int, dict[tuple[str, int], float]]:
    places = [(f"p{i}", f"lane{j}") for i in range(processes) for j in range(chance.randint(1, 3))]
    graph = Graph("any", latency_ms=chance.choice([120, 200, 340, 500]))
    for process in dict.fromkeys(process for process, _ in places):
        graph.process(process, lanes=[lane for home, lane in places if home == process])

    def add(name: str, kind: type[Node], **where: Any) -> Vertex:
        process, lane = chance.choice(places)
        return graph.add(name, kind, process=process, lane=lane, **where)

    sources = [add(f"source{i}", chance.choice([Source, Source, Early]))["out"] for i in range(chance.randint(1, 2))]
    streams, logs = list(sources), []
    names = [f"work{i}" for i in range(work)]
    for name in names:
        kind = chance.choice([Stateful, Stateless, Held, Join, Log, Ahead, *([Reader] if logs else [])])
        inputs: dict[str, Any] = {"a": chance.choice(logs) if kind is Reader else chance.choice(streams)}
        if kind is Join and chance.random() < 0.6:
            delayed = chance.choice([*streams, f"{name}.out"])
            inputs["b"] = Edge(delayed, delay=chance.randint(1, 3), init="empty")
        vertex = add(name, kind, inputs=inputs, budget_ms=chance.choice([0, 1, 5, 15]))
        streams.append(vertex["out"])
        if kind is Log:
            logs.append(vertex["context"])
    paced = add("paced", Paced, inputs={"a": streams[-1], "b": chance.choice(streams)})
    add("sink", Sink, inputs={"a": paced["out"]})
    units = chance.randint(1, 24)
    costs = {
        (name, unit): chance.choice([0, 3, 30, 90, 170, 700])
        for name in names
        for unit in range(units)
        if chance.random() < 0.35
    }
    return graph.plan(), units, costs
