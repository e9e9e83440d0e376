"""Simulated runs in which processes die and come back and sessions join and leave, with everything that was taken in."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from schedule_toys import MS, T, any_graph

from wangraph.runtime.forecast.incidents import Dies, Fences, Incident, Leaves, Returns, Session
from wangraph.runtime.forecast.profile import Delay, NodeCost, Profile
from wangraph.runtime.forecast.simulate import simulate
from wangraph.runtime.packet import Packet
from wangraph.runtime.plan.plan import Plan
from wangraph.runtime.schedule.decide import Fire
from wangraph.runtime.schedule.events import Settlement
from wangraph.runtime.schedule.scheduler import Scheduler


@dataclass
class Case:
    """A graph, what it costs, and what is done to it."""

    plan: Plan
    profile: Profile
    sessions: list[Session]
    incidents: list[Incident] = field(default_factory=list)
    shares_lanes: bool = True


@dataclass
class Seen:
    """What one scheduler took in: one session, one life of one process."""

    scheduler: Scheduler
    deaths: tuple[int, ...] = ()
    outcomes: dict[tuple[str, int], Packet] = field(default_factory=dict)
    times: dict[tuple[str, int], int] = field(default_factory=dict)
    fires: list[Fire] = field(default_factory=list)
    fences: list[tuple[str, int, int]] = field(default_factory=list)
    stale: list[Packet] = field(default_factory=list)

    def stands(self, key: tuple[str, int]) -> bool:
        """Whether others must have taken in the same: not what it took in just before it died, even if it was done."""
        return not any(self.times[key] <= at < self.times[key] + 3 * T for at in self.deaths)


@dataclass
class Lived:
    """What came of a case."""

    case: Case
    records: list[Any]
    seen: list[Seen]

    def settlements(self, session: int, stream: str) -> list[Settlement]:
        return [r for r in self.records if isinstance(r, Settlement) and (r.session, r.stream) == (session, stream)]

    def of(self, session: int) -> list[Seen]:
        return [seen for seen in self.seen if seen.scheduler.session == session]


def live(case: Case, kind: type[Scheduler] = Scheduler, seed: int = 0) -> Lived:
    """Simulate, and keep what every scheduler takes in."""
    all_seen: list[Seen] = []

    class Watched(kind):  # type: ignore[misc, valid-type]
        def __init__(self, *args, **kwargs):
            self.seen = None
            super().__init__(*args, **kwargs)
            deaths = [i.at_ns for i in case.incidents if isinstance(i, Dies) and i.process == self.process]
            self.seen = Seen(self, tuple(deaths))
            self.seen.fences += [(s, g, first) for streams, g, first in kwargs["fences"] for s in streams]
            all_seen.append(self.seen)

        def _count_down(self, packet, now):
            self.seen.outcomes[packet.stream, packet.unit] = packet
            self.seen.times[packet.stream, packet.unit] = now
            for stream, generation, first in self.seen.fences:
                if stream == packet.stream and packet.unit >= first and packet.generation < generation:
                    self.seen.stale.append(packet)
            super()._count_down(packet, now)

        def fence(self, streams, generation, first_unit, now):
            super().fence(streams, generation, first_unit, now)
            self.seen.fences += [(s, generation, first_unit) for s in streams]

        def finish(self, fire, result, now):
            super().finish(fire, result, now)
            self.seen.fires.append(fire)

    run = simulate(
        case.plan, case.profile, 0, seed, sessions=case.sessions, incidents=case.incidents,
        shares_lanes=case.shares_lanes, make_scheduler=Watched,
    )  # fmt: skip
    return Lived(case, run.records, all_seen)


def any_profile(plan: Plan, chance: random.Random) -> Profile:
    """Any costs, and ways of any length: to one reader at once, to another after two units."""
    nodes = {
        name: NodeCost(ms := chance.choice([0, 1, 5, 30, 90]), "assumed", p95_ms=chance.choice([None, 2.5 * ms]))
        for name in plan.nodes
    }
    ways = [f"{a}->{b}" for a in plan.processes for b in plan.processes if a != b]
    transfers = {
        way: Delay(ms := chance.choice([0, 1, 20, 80, 300]), "assumed", chance.choice([None, 1.5 * ms])) for way in ways
    }
    return Profile("any", "assumed", nodes, transfers)


def any_case(seed: int, *, deaths: int = 4, sessions: int = 3, fences: int = 2) -> Case:
    """Any graph in two to four processes; deaths and returns at any instants, many close together; sessions that join
    and leave."""
    chance = random.Random(seed)
    plan, _, _ = any_graph(chance.getrandbits(32), chance.randint(2, 4), busy=True)
    names = [name for name in plan.processes if plan.nodes_in(name)]
    case = Case(plan, any_profile(plan, chance), [], shares_lanes=chance.random() < 0.7)
    for number in range(chance.randint(1, sessions)):
        first = 0 if number == 0 else chance.randint(0, 30)
        joins = None if number == 0 or chance.random() < 0.5 else chance.randint(0, 30 * 160) * MS
        case.sessions.append(Session(number, first, chance.randint(1, 40), joins))
        if chance.random() < 0.3:
            case.incidents.append(Leaves(number, chance.randint(0, 40 * 160) * MS, chance.randint(0, 40)))
    moment = chance.randint(-160, 40 * 160) * MS
    for _ in range(chance.randint(0, deaths)):
        if chance.random() < 0.4:
            moment = chance.randint(-160, 40 * 160) * MS
        process, at = chance.choice(names), moment + chance.randint(0, 320) * MS
        noticed, silent = chance.choice([0, 0, 5, 160, 800]) * MS, chance.choice([0, 0, 100, 320]) * MS
        case.incidents.append(Dies(process, at, noticed, silent))
        if chance.random() < 0.8:
            case.incidents.append(Returns(process, at + chance.choice([0, 1, 3, 10]) * chance.randint(0, 160) * MS))
    for _ in range(chance.randint(0, fences)):
        streams = tuple(chance.sample(sorted(plan.streams), k=min(2, len(plan.streams))))
        number = chance.choice(case.sessions).number
        case.incidents.append(Fences(number, chance.randint(0, 40 * 160) * MS, streams, chance.randint(0, 40)))
    return case
