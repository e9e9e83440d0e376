"""Part of a process in a session: from which unit on, in which life, and what it does when another process dies.

In a run's first life every process takes part from unit 0 on, without a word. One that comes back is told its first
unit, keeps what arrives meanwhile, and goes when all have agreed on that (`schedule/takeover`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..channel.wire import Handed
from ..packet import Packet
from ..plan.plan import Plan
from ..schedule.duty import Answer, Begin, Go, Message, Withdraw
from ..schedule.scheduler import Scheduler
from ..schedule.takeover import KEEP_UNITS


class Membership:
    """See the module. Called with the process's lock held.

    Args:
        plan: the checked graph.
        process: whose part.
        initial: packets of delayed inputs before their stream begins.
        tap: takes every packet that settles here.

    Attributes:
        scheduler: of the session, once it goes on here.
        is_over: the session ended before this life of the process could take part.
    """

    def __init__(
        self, plan: Plan, process: str, initial: Mapping[tuple[str, str], Packet], tap: Callable[[Packet], None]
    ) -> None:
        self.scheduler: Scheduler | None = None
        self.is_over = False
        self._plan, self._process, self._initial, self._tap = plan, process, initial, tap
        self._coming: Scheduler | None = None
        self._waiting: list[Callable[[Scheduler], None]] = []

    def apply(self, change: Callable[[Scheduler], None]) -> None:
        """Make a change of the scheduler, now or as soon as it goes."""
        # what comes before is kept: dropped, a fence raised while starting would hold everywhere but here
        if self.scheduler is None:
            self._waiting.append(change)
        else:
            change(self.scheduler)

    def arrive(self, packet: Packet | Handed, now: int) -> None:
        """Take in what another process sent."""
        if isinstance(packet, Handed):
            self.apply(lambda s: s.adopt(packet.packet, packet.sender, packet.incarnation, now))
        elif self.scheduler is not None:
            self.scheduler.arrive(packet, now)
        else:
            self._waiting.append(lambda s: s.arrive(packet, now))

    def answer(self, message: Message, now: int) -> Answer:
        """Do what whoever watches the processes says; gives what it asks."""
        if isinstance(message, Begin):
            self.begin(message)
        elif isinstance(message, Go):
            self.go()
        elif isinstance(message, Withdraw):
            self.is_over = True
        elif (scheduler := self.scheduler or self._coming) is not None:
            return scheduler.answer(message, now)
        return {}

    def begin(self, begin: Begin) -> None:
        """Make the scheduler; it goes when all agree, and may begin at a later unit until then."""
        processes = self._plan.processes.values()
        keep_ns = KEEP_UNITS * self._plan.clock.period_ns if any(p.on_crash != "end" for p in processes) else 0
        self._coming = Scheduler(
            self._plan, self._process, initial=self._initial, limit=begin.limit, tap=self._tap, session=begin.session,
            first_unit=begin.first_unit, incarnation=begin.incarnation, lives=begin.lives, fences=begin.fences,
            keep_ns=keep_ns,
        )  # fmt: skip

    def go(self) -> None:
        """From now on things fire; what came before comes first."""
        assert self._coming is not None
        self.scheduler, self._coming = self._coming, None
        waiting, self._waiting = self._waiting, []
        for change in waiting:
            change(self.scheduler)
