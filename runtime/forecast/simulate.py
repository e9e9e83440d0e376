"""A run without bodies: the real scheduler of every process, on hardware that a profile describes.

One event queue holds everything that happens: bodies end, packets arrive, clocks wake (`simulation`). Each process has
its own `Scheduler`, as in a run, one for each session; between two of them packets travel for as long as the profile
says. Bodies are replaced by what they cost. What a run would have recorded is recorded, so that summary, timeline and
explanation read it alike. Processes may die and come back, sessions join and leave (`incidents`).

A body ends when its own time is over and the interpreter of its process, its device and a core of its machine have
done their share of it, each serving first what came first. Equal seeds give equal runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..engine.faults import Fault, check_faults
from ..errors import UserError
from ..observe.history import History
from ..observe.lateness import LATE_NS, is_late
from ..observe.records import Record
from ..observe.statistics import Statistics
from ..plan.plan import Plan
from ..schedule.events import Firing
from ..schedule.scheduler import Scheduler
from .incidents import Incident, Session
from .profile import Profile
from .simulation import Simulation


@dataclass(frozen=True)
class Simulated:
    """Outcome of a simulated run: its records in order of time, and its summary as ``--json`` prints it."""

    records: list[Record]
    summary: dict[str, Any]
    statistics: Statistics

    @property
    def holds(self) -> bool:
        """True if every unit was there in time, and every due was kept, as far as the graph can keep it."""
        return not self.first_late and not self.summary["misses"]

    @cached_property
    def first_late(self) -> Firing | None:
        """The first body that finished after its due, or presentation that its lane held up: not the clock alone."""
        nodes, history = self.statistics.plan.nodes, None
        for record in self.records:
            if not isinstance(record, Firing):
                continue
            if record.verdict == "late":
                return record
            if nodes[record.node].paced and is_late(nodes[record.node], record):
                history = history or History(self.statistics.plan, self.records)
                if history.kept_ns(nodes[record.node], record) > LATE_NS:
                    return record
        return None


def simulate(
    plan: Plan,
    profile: Profile,
    units: int,
    seed: int = 0,
    faults: Sequence[Fault] = (),
    *,
    sessions: Sequence[Session] = (),
    incidents: Sequence[Incident] = (),
    shares_lanes: bool = True,
    make_scheduler: Callable[..., Scheduler] = Scheduler,
) -> Simulated:
    """Run so many units of a graph by its profile.

    Args:
        faults: calls that take longer than the profile says; recorded as in a run.
        sessions: instead of the one of ``units`` units that begins with unit 0. The summary is of the first of them.
        incidents: what happens to processes and sessions meanwhile.
        shares_lanes: the bodies of all sessions take turns in a lane; else each session has lanes of its own.
        make_scheduler: makes the schedulers.

    Raises:
        UserError: the profile lacks a node of the graph, or a fault is of a kind that takes a body.
        RunError: the graph came to a stop.
    """
    profile.check(plan)
    _check_faults(plan, faults)
    sessions = sessions or (Session(0, 0, units),)
    simulation = Simulation(plan, profile, seed, faults, sessions, incidents, shares_lanes, make_scheduler)
    records = simulation.run()
    statistics = Statistics(plan)
    statistics.add([record for record in records if getattr(record, "session", None) in (None, sessions[0].number)])
    return Simulated(records, statistics.summary(), statistics)


def _check_faults(plan: Plan, faults: Sequence[Fault]) -> None:
    check_faults(faults, plan, in_processes=True)
    for fault in faults:
        if fault.kind not in ("stall", "slow"):
            raise UserError(
                f"--inject '{fault}': found {fault.kind} in a simulation, which has no bodies "
                "(expected stall or slow), inject it into a run"
            )
