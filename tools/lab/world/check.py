"""The proof that the world is fair: the ideal agent can be imitated by somebody who only hears and sees.

Four things are shown on many dialogues:

* every change of the agent has a cue that is at least 80 ms old (240 ms for yielding to an interruption);
* the agent given its cues only once they are that old is, bit for bit, the same agent: it used nothing newer;
* two dialogues that are alike up to a unit and differ afterwards have the same agent up to that unit: no past has two
  futures but those that the agent's seed draws;
* what the agent must tell apart is different in the user's unit itself: a turn's end from a pause, side talk from a
  question, an interruption from a backchannel, a hand and a card from none.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np

from .cues import AgentUnit, UserUnit
from .evidence import Evidence, evidence
from .oracle import REACTION_MS, YIELD_MS, Oracle
from .script import Act, Scenario, drawn
from .signal import MS, UNIT
from .user import World
from .voices import Bank

Talk: TypeAlias = tuple[list[UserUnit], list[AgentUnit], Oracle]


@dataclass
class Report:
    """Report of what was checked, and every way in which the world was found unfair."""

    dialogues: int = 0
    units: int = 0
    changes: dict[str, int] = field(default_factory=dict)
    youngest_ms: dict[str, float] = field(default_factory=dict)
    evidence: list[Evidence] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @property
    def is_fair(self) -> bool:
        """True if nothing was found."""
        return not self.faults

    def text(self) -> str:
        """The report, a line each."""
        lines = [f"{self.dialogues} dialogues, {self.units} units"]
        lines += [
            f"  {what:9} {count:5} changes, the youngest cue was {self.youngest_ms[what]:.0f} ms old"
            for what, count in sorted(self.changes.items())
        ]
        lines += [f"  {found.text()}" for found in self.evidence]
        lines += [f"unfair: {fault}" for fault in self.faults]
        return "\n".join([*lines, "fair" if self.is_fair else f"unfair in {len(self.faults)} ways"])


def check_world(seeds: Iterable[int], units: int, bank: Bank, scenario: Scenario) -> Report:
    """Check ``units`` of the dialogue of each seed, then the evidence of each kind of cue."""
    report = Report()
    for seed in seeds:
        users, agents, oracle = _talk(World(seed, bank, scenario, size=0), seed, units, bank)
        report.dialogues += 1
        report.units += units
        _check_ages(report, seed, oracle)
        _check_late(report, seed, users, agents, bank)
        _check_fork(report, seed, units, bank, scenario)
    _check_evidence(report, bank)
    return report


def _talk(world: World, seed: int, units: int, bank: Bank) -> Talk:
    agent = Oracle(seed, bank)
    users: list[UserUnit] = []
    agents: list[AgentUnit] = []
    for _ in range(units):
        users.append(world.step(agents[-1].samples if agents else None))
        agents.append(agent.step(users[-1].cues))
    return users, agents, agent


def _check_ages(report: Report, seed: int, oracle: Oracle) -> None:
    for change in oracle.changes:
        needed = YIELD_MS if change.what == "stop" and change.cue.kind == "speech" else REACTION_MS
        age = change.age / MS
        report.changes[change.what] = report.changes.get(change.what, 0) + 1
        report.youngest_ms[change.what] = min(report.youngest_ms.get(change.what, np.inf), age)
        if age < needed:
            report.faults.append(
                f"seed {seed}, unit {change.unit}: '{change.what}' {age:.0f} ms after '{change.cue.kind}' "
                f"(expected {needed} ms or more)"
            )


def _check_late(report: Report, seed: int, users: list[UserUnit], agents: list[AgentUnit], bank: Bank) -> None:
    """Replay with each cue held back until it is old enough."""
    cues = [cue for unit in users for cue in unit.cues]
    late = Oracle(seed, bank)
    for unit, was in enumerate(agents):
        ripe = tuple(cue for cue in cues if cue.at <= unit * UNIT - REACTION_MS * MS)
        cues = [cue for cue in cues if cue.at > unit * UNIT - REACTION_MS * MS]
        if not _same(late.step(ripe), was):
            report.faults.append(f"seed {seed}, unit {unit}: the agent used a cue younger than {REACTION_MS} ms")
            return


def _check_fork(report: Report, seed: int, units: int, bank: Bank, scenario: Scenario) -> None:
    """Users who are one up to a point, and then another: by other acts, or by going on where the first one ends."""
    words = bank.takes(World(seed, bank, scenario, size=0).person.speaker)
    one, two = drawn(scenario, seed, words), drawn(scenario, seed + 1_000_003, words)
    fork = seed % 4

    def others(number: int) -> Act | None:
        return one(number) if number <= fork else two(number)

    def goes_on(number: int) -> Act | None:
        act = one(number)
        if act is None or number < fork or act.kind not in ("ask", "aside"):
            return act
        return replace(act, phrases=(*act.phrases, ("seven",)))

    first = _talk(World(seed, bank, scenario, script=one, size=0), seed, units, bank)
    for script in (others, goes_on):
        second = _talk(World(seed, bank, scenario, script=script, size=0), seed, units, bank)
        unit = _diverges(first, second)
        if unit is not None:
            report.faults.append(f"seed {seed}, unit {unit}: two futures of one past (the user did not differ yet)")


def _diverges(first: Talk, second: Talk) -> int | None:
    """The unit in which the agents differ although the users have not; None where there is none."""
    for unit, (users, other) in enumerate(zip(first[0], second[0], strict=True)):
        if not _same_user(users, other):
            return None
        if not _same(first[1][unit], second[1][unit]):
            return unit
    return None


def _same(one: AgentUnit, two: AgentUnit) -> bool:
    alike = (one.text, one.state, one.gesture) == (two.text, two.state, two.gesture)
    return alike and np.array_equal(one.samples, two.samples) and np.array_equal(one.pose.mouth, two.pose.mouth)


def _same_user(one: UserUnit, two: UserUnit) -> bool:
    return (
        np.array_equal(one.samples, two.samples)
        and one.text == two.text
        and all(np.array_equal(getattr(one.pose, name), getattr(two.pose, name)) for name in vars(one.pose))
    )


def _check_evidence(report: Report, bank: Bank) -> None:
    for found in evidence(bank):
        report.evidence.append(found)
        if found.value < found.least:
            report.faults.append(f"evidence: {found.text()}")
