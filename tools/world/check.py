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
from dataclasses import dataclass, field

import numpy as np

from .cues import AgentUnit, UserUnit
from .evidence import Evidence, evidence
from .oracle import REACTION_MS, YIELD_MS, Oracle
from .script import Act, Scenario, drawn
from .signal import MS, UNIT
from .user import World
from .voices import Bank


@dataclass
class Report:
    """What was checked, and every way in which the world was found unfair."""

    dialogues: int = 0
    units: int = 0
    changes: dict[str, int] = field(default_factory=dict)
    youngest_ms: dict[str, float] = field(default_factory=dict)
    evidence: list[Evidence] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @property
    def is_fair(self) -> bool:
        """Whether nothing was found."""
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
        heard, said, oracle = _talk(World(seed, bank, scenario, size=0), seed, units, bank)
        report.dialogues += 1
        report.units += units
        _check_ages(report, seed, oracle)
        _check_late(report, seed, heard, said, bank)
        _check_fork(report, seed, units, bank, scenario)
    _check_evidence(report, bank)
    return report


def _talk(
    world: World, seed: int, units: int, bank: Bank, oracle: Oracle | None = None
) -> tuple[list[UserUnit], list[AgentUnit], Oracle]:
    agent = oracle or Oracle(seed, bank)
    heard: list[UserUnit] = []
    said: list[AgentUnit] = []
    for _ in range(units):
        heard.append(world.step(said[-1].samples if said else None))
        said.append(agent.step(heard[-1].cues))
    return heard, said, agent


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


def _check_late(report: Report, seed: int, heard: list[UserUnit], said: list[AgentUnit], bank: Bank) -> None:
    """Replay with each cue held back until it is old enough."""
    cues = [cue for unit in heard for cue in unit.cues]
    late = Oracle(seed, bank)
    for unit, was in enumerate(said):
        ripe = tuple(cue for cue in cues if cue.at <= unit * UNIT - REACTION_MS * MS)
        cues = [cue for cue in cues if cue.at > unit * UNIT - REACTION_MS * MS]
        if not _same(late.step(ripe), was):
            report.faults.append(f"seed {seed}, unit {unit}: the agent used a cue younger than {REACTION_MS} ms")
            return


def _check_fork(report: Report, seed: int, units: int, bank: Bank, scenario: Scenario) -> None:
    """Two users who are one up to some act, and another one after it."""
    probe = World(seed, bank, scenario, size=0)
    one, two = (drawn(scenario, s, bank.takes(probe.person.speaker)) for s in (seed, seed + 1_000_003))
    fork = 1 + seed % 4

    def forked(number: int) -> Act | None:
        return one(number) if number < fork else two(number)

    worlds = [World(seed, bank, scenario, script=script, size=0) for script in (one, forked)]
    (heard_one, said_one, _), (heard_two, said_two, _) = (_talk(world, seed, units, bank) for world in worlds)
    for unit in range(units):
        if not _same_user(heard_one[unit], heard_two[unit]):
            return
        if not _same(said_one[unit], said_two[unit]):
            report.faults.append(f"seed {seed}, unit {unit}: two futures of one past (the user did not differ yet)")
            return


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
