"""Ordinary graphs by chance: chains, diamonds and loops over one to three processes, sources anywhere, lanes shared or
not, bodies of all kinds, deadlines tight and loose."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...runtime.errors import GraphError
from ...runtime.plan.graph import Graph, Vertex
from ...runtime.plan.plan import Plan
from ...runtime.plan.spec import Edge
from .bodies import EarlySource, Memory, Play, Source, Speed, Work

LOAD = 0.5
"""Share of a machine's cores that a graph may keep busy: beyond, it measures the machine's other users."""

HOP_MS = 2.0
"""What a way between two processes is taken to cost when the deadline is chosen."""

USUAL = Speed()

Body = Mapping[str, float]
"""What a body does, in milliseconds."""


@dataclass(frozen=True)
class Case:
    """A graph, and what its bodies do.

    Attributes:
        shape: in words: what it looks like.
        bodies: by node.
    """

    plan: Plan
    shape: str
    bodies: Mapping[str, Body]


def any_case(seed: int, cores: int = 2, speed: Speed = USUAL) -> Case:
    """The graph of this seed, with work that takes as long as it says on a machine of that speed."""
    chance = random.Random(seed)
    while True:
        try:
            return _any_case(chance, cores, speed)
        except GraphError:
            continue  # a stream would be decided in two places: draw again


def cost_ms(body: Body) -> float:
    """Length of a call on a machine with nothing else to do, without bursts."""
    return body.get("sleep_ms", 0) + body.get("compute_ms", 0) / body.get("threads", 1) + body.get("hold_ms", 0)


def _any_case(chance: random.Random, cores: int, speed: Speed) -> Case:
    kind = chance.choice(["chain", "diamond", "loop"])
    names = [f"work{i}" for i in range(chance.randint(2, 4) if kind != "diamond" else 4)]
    bodies = {name: _any_body(chance) for name in names}
    busy = sum(body.get("compute_ms", 0) + body.get("hold_ms", 0) for body in bodies.values())
    if busy > LOAD * 160 * cores:
        raise GraphError("too much for this machine")
    processes = [f"p{i}" for i in range(chance.randint(1, 3))]
    places = {name: chance.choice(processes) for name in ["source", *names, "play"]}
    is_shared = chance.random() < 0.3
    lanes = {name: "work" if is_shared and name in bodies else name for name in places}
    before = _inputs(kind, names)
    ready = _ready_ms(names, before, bodies, places)
    last = names[-1]
    is_tight = chance.random() < 0.4 and cost_ms(bodies[last]) >= 10
    # A tight deadline lies within the last body: every one before it answers, and can be measured.
    latency_ms = ready[last] - 0.5 * cost_ms(bodies[last]) if is_tight else 1.6 * ready[last] + 20
    graph = Graph("any", latency_ms=max(10.0, round(latency_ms, 1)))
    for process in dict.fromkeys(places.values()):
        graph.process(process, lanes=list(dict.fromkeys(lanes[n] for n in places if places[n] == process)), threads=1)

    def add(name: str, node: Any, **more: Any) -> Vertex:
        return graph.add(name, node, process=places[name], lane=lanes[name], **more)

    add("source", chance.choice([Source, EarlySource]))
    for name in names:
        inputs: dict[str, Any] = {port: f"{of}.out" for port, of in zip("ab", before[name], strict=False)}
        if kind == "loop" and name == names[0]:
            inputs["b"] = Edge(f"{names[-1]}.out", delay=chance.randint(1, 2), init="empty")
        add(name, chance.choice([Work, Memory]), inputs=inputs, **_work(bodies[name], speed))
    add("play", Play, inputs={"a": f"{last}.out"})
    count = len({*places.values()})
    shape = f"{kind} of {len(names)}, {count} process{'es' if count > 1 else ''}{', one lane' if is_shared else ''}"
    return Case(graph.plan(), f"{shape}, {'tight' if is_tight else 'loose'}", bodies)


def _work(body: Body, speed: Speed) -> dict[str, float]:
    """Parameters of `Work` that take so long."""
    same = {key: value for key, value in body.items() if key not in ("compute_ms", "hold_ms")}
    hashes = round(body.get("compute_ms", 0) * speed.hashes_per_ms)
    return {**same, "hashes": hashes, "counts": round(body.get("hold_ms", 0) * speed.counts_per_ms)}


def _any_body(chance: random.Random) -> dict[str, float]:
    ms = float(chance.choice([4, 10, 20, 35]))
    match chance.choice(["sleeps", "computes", "threads", "holds", "bursts"]):
        case "sleeps":
            return {"sleep_ms": ms}
        case "computes":
            return {"compute_ms": ms}
        case "threads":
            return {"compute_ms": ms, "threads": 2}
        case "holds":
            return {"hold_ms": ms}
        case _:
            return {"sleep_ms": ms, "burst_ms": float(chance.choice([5, 15])), "burst_every": 8}


def _inputs(kind: str, names: list[str]) -> dict[str, list[str]]:
    """By node, what it takes in within a unit."""
    if kind == "diamond":
        first, left, right, last = names
        return {first: ["source"], left: [first], right: [first], last: [left, right]}
    return {name: [before] for name, before in zip(names, ["source", *names], strict=False)}


def _ready_ms(
    names: list[str], before: Mapping[str, list[str]], bodies: Mapping[str, Body], places: Mapping[str, str]
) -> dict[str, float]:
    """Instants at which each node has answered, after release."""
    ready = {"source": 0.0}
    for name in names:
        start = max(ready[of] + HOP_MS * (places[of] != places[name]) for of in before[name])
        ready[name] = start + cost_ms(bodies[name])
    return ready
