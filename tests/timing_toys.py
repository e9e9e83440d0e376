"""A small agent whose nodes do nothing, and profiles of it: what tests of timing run on."""

from __future__ import annotations

from wangraph import Edge, Graph, Input, Node, Output
from wangraph.runtime.forecast.profile import Delay, NodeCost, Profile
from wangraph.runtime.plan.plan import Plan


class Source(Node):
    """A stateless source."""

    out = Output("tokens", "1", "int64")

    def step(self, unit):
        return {"out": unit.index}


class Work(Node):
    """Keeps something; told of gaps. The second inlet goes without."""

    a = Input("tokens", "1", "int64")
    b = Input("tokens", "1", "int64", late="empty", optional=True)
    out = Output("tokens", "1", "int64")

    def new_state(self):
        return []

    def step(self, state, unit, a, b=None):
        return {"out": a}

    def gap(self, state, units):
        return None


class Play(Node):
    """Plays out at the deadline."""

    paced = True
    a = Input("tokens", "1", "int64", late="empty")
    b = Input("tokens", "1", "int64", late="empty", optional=True)
    out = Output("tokens", "1", "int64")

    def step(self, unit, a, b=None):
        return {"out": a}


class Sink(Node):
    """Takes what it gets."""

    a = Input("tokens", "1", "int64", late="wait")

    def step(self, unit, a):
        return None


COSTS = {"user": 1.0, "see": 10.0, "think": 40.0, "act": 30.0, "show": 20.0, "play": 1.0}


def agent(
    *, far: bool = True, budgets: bool = True, latency_ms: float = 200, extra: bool = False, play_lane: str = "play"
) -> Plan:
    """user -> see -> think -> act -> show -> play, with what act did fed back to think; act in its own process."""
    graph = Graph("agent", latency_ms=latency_ms)
    graph.process("main", lanes=["loop", "io", "codecs", "play"], threads=1)
    graph.process("far", threads=1)
    cost = COSTS if budgets else {}
    place = {"process": "far"} if far else {}
    user = graph.add("user", Source, lane="io")
    see = graph.add("see", Work, inputs={"a": user["out"]}, lane="codecs", budget_ms=cost.get("see", 0))
    back = Edge("act.out", delay=1, init="empty")
    think = graph.add("think", Work, inputs={"a": see["out"], "b": back}, budget_ms=cost.get("think", 0))
    act = graph.add("act", Work, inputs={"a": think["out"]}, budget_ms=cost.get("act", 0), **place)
    show = graph.add("show", Work, inputs={"a": act["out"]}, lane="codecs", budget_ms=cost.get("show", 0))
    graph.add("play", Play, inputs={"a": show["out"]}, lane=play_lane)
    if extra:
        graph.add("aside", Work, inputs={"a": user["out"]}, lane="io")
    return graph.plan()


def profile(spread: float = 1.0, transfer_ms: float = 2.0, **costs: float) -> Profile:
    """What the agent costs; ``spread`` is p95 over the typical value."""
    all_costs = {**COSTS, "aside": 1.0, **costs}
    p95 = None if spread == 1.0 else spread
    nodes = {n: NodeCost(ms, "assumed", p95_ms=p95 and ms * p95) for n, ms in all_costs.items()}
    transfers = {key: Delay(transfer_ms, "assumed") for key in ("main->far", "far->main")}
    return Profile("toy", "assumed", nodes, transfers)
