"""Shared hardware of a simulation: the interpreter of a process, a device, the cores of a machine."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

from ..plan.plan import NodePlan, Plan
from .profile import Profile
from .sampling import Draws


@dataclass
class _Server:
    """Something that several bodies need, ``n`` of them at a time."""

    n: int = 1
    free_at: list[int] = field(default_factory=list)

    def done_at(self, now: int, work_ns: int) -> int:
        """Instant at which work that comes now will be done."""
        if not self.free_at:
            self.free_at = [0] * self.n
        done = max(now, self.free_at[0]) + work_ns
        heapq.heapreplace(self.free_at, done)
        return done


class Hardware:
    """Servers that bodies share, as a profile describes them; each serves first what came first."""

    def __init__(self, plan: Plan, profile: Profile, draws: Draws) -> None:
        self._plan = plan
        self._profile = profile
        self._draws = draws
        self._servers: dict[str, _Server] = {}

    def end_ns(self, node: NodePlan, cost_ns: int, now: int) -> int:
        """Instant at which a body that starts now and costs so much will be done."""
        ends = [now + cost_ns]
        if hold := self._draws.hold_ns(node, cost_ns):
            ends.append(self._server(f"interpreter {node.process}").done_at(now, hold))
        if node.name in self._profile.columns:
            return max(ends)  # measured beside the others: what it waited for a core or a device is in its cost
        machine = self._profile.machine_of(node.process)
        if node.device != "cpu":
            ends.append(self._server(f"{machine} {node.device}").done_at(now, cost_ns))
        known = self._profile.machines.get(machine)
        if known is not None and known.cores is not None:
            cores = self._server(f"cores {machine}", known.cores)
            cost = self._profile.nodes[node.name]
            threads = min(known.cores, round(cost.threads))
            busy_ns = round(cost_ns * cost.load_ms / cost.cost_ms / cost.threads) if cost.cost_ms else cost_ns
            ends += [cores.done_at(now, busy_ns) for _ in range(threads)]
        return max(ends)

    def _server(self, name: str, n: int = 1) -> _Server:
        return self._servers.setdefault(name, _Server(n))
