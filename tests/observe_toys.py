"""Runs of any graph with any faults, as records, and what became of their units, worked out the slow way."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from schedule_toys import MS, Held, Join, Sink, Source, Stateful, Stateless, T

from wangraph import Edge, Graph, Input, Node, Output
from wangraph.runtime.engine.drivers import SerialExecutor, run_virtual
from wangraph.runtime.observe.records import Record, Transfer, at_ns
from wangraph.runtime.packet import WHOLE, Packet, Validity
from wangraph.runtime.plan.plan import Plan
from wangraph.runtime.schedule.decide import Fire
from wangraph.runtime.schedule.events import Firing, Settlement
from wangraph.runtime.schedule.scheduler import Result, Scheduler


class Player(Node):
    """Plays out at the deadline, picture and sound."""

    paced = True
    a = Input(late="empty")
    b = Input(late="hold", optional=True)
    picture = Output("video")
    sound = Output("audio")

    def step(self, unit, a, b):
        return {}


class Looks(Sink):
    """A sink that sees the unit to come."""

    a = Input(look_ahead=1)


@dataclass
class Faulty:
    """Answers with packets that may be lost, made up or left out, by (node, unit); a source may also end there."""

    plan: Plan
    node: str
    faults: Mapping[tuple[str, int], Validity]

    def run(self, fire: Fire) -> Result:
        if fire.mode != "step":
            return Result()
        validity, unit = self.faults.get((self.node, fire.first), Validity.REAL), fire.first
        if validity is Validity.END:
            return Result(ended=True)
        if validity is Validity.EMPTY:
            return Result()
        tensors = {} if validity is Validity.MISSING else {WHOLE: np.array([unit])}
        ports = self.plan.nodes[self.node].outputs
        return Result({(p, unit): Packet(f"{self.node}.{p}", unit, 0, unit * T, T, validity, tensors) for p in ports})


def any_plan(chance: random.Random) -> Plan:
    """Sources, some work, and one or two nodes that present: paced ones, or sinks alone."""
    graph = Graph("any", latency_ms=chance.choice([120, 200, 340]))
    lanes = [f"lane{i}" for i in range(chance.randint(1, 3))]
    graph.process("main", lanes=lanes)
    streams = [graph.add(f"source{i}", Source, lane=chance.choice(lanes))["out"] for i in range(chance.randint(1, 2))]
    for name in [f"work{i}" for i in range(chance.randint(1, 4))]:
        kind = chance.choice([Stateful, Stateless, Held, Join])
        inputs: dict[str, Any] = {"a": chance.choice(streams)}
        if kind is Join and chance.random() < 0.6:
            inputs["b"] = Edge(f"{name}.out", delay=chance.randint(1, 2), init="empty")
        where: dict[str, Any] = {"lane": chance.choice(lanes), "budget_ms": chance.choice([0, 1, 5, 15])}
        streams.append(graph.add(name, kind, inputs=inputs, **where)["out"])
    is_paced = chance.random() < 0.7
    for i in range(chance.randint(1, 2)):
        kind = Player if is_paced else chance.choice([Sink, Looks])
        inputs = {"a": streams[-1 - i]}
        if is_paced and chance.random() < 0.7:
            stream, delay = chance.choice(streams), chance.randint(0, 3)
            inputs["b"] = Edge(stream, delay=delay, init="empty") if delay else stream
        graph.add(f"end{i}", kind, inputs=inputs, lane=chance.choice(lanes))
    return graph.plan()


def any_run(seed: int, max_units: int = 24) -> tuple[Plan, list[Record]]:
    """The records of any graph, any costs and any faults, in order of time."""
    chance = random.Random(seed)
    plan, units = any_plan(chance), chance.randint(1, max_units)
    names = [name for name, node in plan.nodes.items() if node.outputs]
    costs = {(n, u): chance.choice([3, 30, 170, 700]) for n in names for u in range(units) if chance.random() < 0.1}
    kinds = (Validity.MISSING, Validity.CONCEALED, Validity.REPEATED, Validity.EMPTY)
    faults = {(n, u): chance.choice(kinds) for n in names for u in range(units) if chance.random() < 0.15}
    if chance.random() < 0.3:
        faults["source0", chance.randrange(units)] = Validity.END
    return plan, recorded(plan, units, costs, faults)


def recorded(
    plan: Plan,
    units: int,
    costs: Mapping[tuple[str, int], float] | None = None,
    faults: Mapping[tuple[str, int], Validity] | None = None,
) -> list[Record]:
    """Run a plan in virtual time, with these costs (ms) and answers of (node, unit)."""
    scheduler = Scheduler(plan, limit=units)
    bodies = {name: Faulty(plan, name, faults or {}) for name in plan.nodes}
    run_virtual(
        plan, bodies, scheduler, SerialExecutor(),  # type: ignore[arg-type]
        cost=lambda node, fire: int((costs or {}).get((node.name, fire.first), node.cost_ns / MS) * MS),
    )  # fmt: skip
    return list(scheduler.take_events())


def in_batches(plan: Plan, records: Sequence[Record], seed: int, lag_ms: float = 600) -> list[Record]:
    """The same records as a supervisor gets them from three processes: each sends what it has a few times a second, in
    order, and some later than others."""
    chance = random.Random(seed)
    home = {name: chance.randrange(3) for name in plan.nodes}
    phase, lag = ([chance.uniform(0, ms) for _ in range(3)] for ms in (320, lag_ms))
    queues: list[list[tuple[float, int, Record]]] = [[], [], []]
    for i, record in enumerate(records):
        process = home[record.node if isinstance(record, Firing) else getattr(record, "stream", "x.y").split(".")[0]]
        sent = (at_ns(record) / MS - phase[process]) // 320 * 320 + 320 + phase[process] + lag[process]
        last = queues[process][-1][0] if queues[process] else sent
        queues[process].append((max(sent, last), i, record))
    return [record for _, _, record in sorted((e for queue in queues for e in queue), key=lambda e: e[:2])]


@dataclass(frozen=True)
class Expected:
    """What became of a unit: its status, and how long until its whole answer was there (of a real one)."""

    status: str
    model_latency_ns: int | None


def expected(plan: Plan, records: Sequence[Record]) -> dict[int, Expected]:
    """Every unit that was presented, looked up in all records at once."""
    settled = {(r.stream, r.unit): r.validity for r in records if isinstance(r, Settlement)}
    ends = [n for n in plan.nodes.values() if n.paced] or [n for n in plan.nodes.values() if not n.outputs]
    fired = {(r.node, unit): r for r in records if isinstance(r, Firing) for unit in range(r.first, r.last + 1)}
    found = {}
    for unit in sorted({u for n in ends for name, u in fired if name == n.name}):
        own = [(n, fired[n.name, unit]) for n in ends if (n.name, unit) in fired]
        given = [settled.get((i.stream, unit - i.delay), 0) for n in ends for i in n.inputs]
        shown = [settled.get((f"{n.name}.{port}", unit), 0) for n, _ in own for port in n.outputs]
        if Validity.MISSING in given or any(f.mode != "step" for _, f in own):
            status = "missed"
        else:
            made_up = {Validity.REPEATED, Validity.CONCEALED} & {*given, *shown}
            status = "concealed" if made_up else "real"
        ready = max(f.ready_ns if n.paced else f.finished_ns for n, f in own) - plan.release_ns(unit)
        found[unit] = Expected(status, ready if status == "real" else None)
    return found


def sent_to(plan: Plan, stream: str, unit: int, after_ms: float) -> Transfer:
    """A packet that arrived in the main process so long after its unit's release."""
    at = plan.release_ns(unit) + round(after_ms * MS)
    return Transfer(stream, unit, "far", "main", at - MS, at, 8, "shared")
