"""Processes of a run as the supervisor knows them: their lives, and where each listens and has its memory."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping

import zmq

from ..channel.layout import layouts
from ..channel.segment import SegmentFile, create_segments, life_name
from ..channel.transport import local_address
from ..errors import WangraphError
from ..observe.records import NodeStatus, Unfinished
from ..plan.plan import Plan, to_plain
from .calls import CallBoard, room_for
from .condition import ThreadStates
from .control import Change, PeerUp, Setup, SupervisorEnd, ToProcess
from .engine import Usage
from .launcher import Launched, Launcher
from .options import Options

START_DEADLINE_S = 120.0
"""How long a process may take to open and warm its nodes."""


class Child:
    """One life of a process. Those that die before they take part have a number here, and no incarnation.

    Attributes:
        name: of the process.
        life: 0, and one more each time that it is started again.
        late_at: when it has to be ready.
        is_greeted: it has its setup. What is sent before would be taken for that.
        key: by which its messages are told apart from those of its other lives.
        verdict: why it was killed, or is about to end; None: nothing is wrong with it.
        has_begun: the others know of it.
        takes_part: all have agreed on the unit that it begins with.
        sign_at: when it last gave a sign of life.
        suspected: what it looked like when it was a little late with that.
    """

    def __init__(self, name: str, life: int, launched: Launched) -> None:
        self.name = name
        self.life = life
        self.key = life_name(name, life)
        self.launched = launched
        self.late_at = time.monotonic() + START_DEADLINE_S
        self.is_greeted = False
        self.doing = "starting"
        self.verdict: WangraphError | None = None
        self.is_ready = False
        self.is_finished = False
        self.is_killed = False
        self.has_begun = self.takes_part = False
        self.hands_out = False
        self.sign_at = time.monotonic()
        self.reported_s = 0.0
        self.suspected: ThreadStates | None = None
        self.cpu_s = 0.0
        self.rss_mb = 0.0
        self.statuses: list[NodeStatus] = []


class Children:
    """See the module.

    Args:
        plan: the checked graph.
        options: how it runs.
        run: unique among the runs of this machine.
        control: reaches the processes, which find it at ``address``.
        launcher: starts them.
        poller: rings when one of them has ended.

    Attributes:
        current: by process, the life that takes part or is to.
        standbys: by process, the next life, kept warm.
        taps: streams that later lives hand out from the first packet on.
        tap_address: where to.
    """

    def __init__(
        self,
        plan: Plan,
        options: Options,
        run: str,
        control: SupervisorEnd,
        address: str,
        launcher: Launcher,
        poller: zmq.Poller,
    ) -> None:
        self.current: dict[str, Child] = {}
        self.standbys: dict[str, Child] = {}
        self.taps: list[str] = []
        self.tap_address = f"{address}-taps"
        self._updates: dict[str, dict[str, object]] = {}
        self._plan, self._plain = plan, to_plain(plan)
        self._options, self._run, self._launcher = options, run, launcher
        self._control, self._address, self._poller = control, address, poller
        self._known: dict[str, Child] = {}
        self._layouts = layouts(plan)
        self._calls_file: SegmentFile | None = None
        self._calls: CallBoard | None = None
        self._segments: dict[str, SegmentFile] = {}

    def start_all(self) -> None:
        """Start every process that has nodes.

        Raises:
            UserError: too little shared memory.
            StartError: one cannot be started.
        """
        self._segments.update(create_segments(self._run, self._layouts))
        self._calls_file = SegmentFile(self._run, room_for(self._plan))
        self._calls = CallBoard(self._plan, self._calls_file.path)
        for name in self._plan.processes:
            if self._plan.nodes_in(name):
                self.current[name] = self._launch(name, 0)

    def start_next(self, name: str) -> None:
        """Start a process again, or let its standby take its place.

        Raises:
            UserError: too little shared memory.
            StartError: it cannot be started.
        """
        life = self.current[name].life + 1
        standby = self.standbys.pop(name) if name in self.standbys else None
        self.current[name] = standby or self._start_life(name, life)
        for old in [key for key in self._segments if key in (life_name(name, before) for before in range(life))]:
            self._segments.pop(old).close()  # who has it mapped keeps it

    def start_standby(self, name: str) -> None:
        """Start the next life of a process ahead of time; raises as `start_next`."""
        self.standbys[name] = self._start_life(name, self.current[name].life + 1)

    def _start_life(self, name: str, life: int) -> Child:
        if (layout := self._layouts.get(name)) is not None:
            self._segments[life_name(name, life)] = SegmentFile(self._run, layout, life=life)
        return self._launch(name, life)

    def _launch(self, name: str, life: int) -> Child:
        arguments = (life_name(name, life), self._address, str(os.getpid()))
        child = Child(name, life, self._launcher.start(self._plan.processes[name], arguments, self._control.token))
        self._known[child.key] = child
        self._poller.register(child.launched.fileno(), zmq.POLLIN)
        return child

    def _setup_of(self, child: Child) -> Setup:
        lives = {name: other.life for name, other in self.current.items()} | {child.name: child.life}
        keys = {name: life_name(name, life) for name, life in lives.items()}
        return Setup(
            process=child.name,
            plan=self._plain,
            segments={name: self._segments[keys[name]].path for name in self._layouts},
            addresses={name: self._address_of(key) for name, key in keys.items()},
            limit=self._options.units,
            taps=self.taps,
            tap_address=self.tap_address,
            faults=list(self._options.faults),
            life=child.life,
            lives=lives,
            calls=self._calls_file.path if self._calls_file is not None else "",
            token=self._control.token,
        )

    def introduction(self, child: Child) -> PeerUp:
        """The message by which the others learn of a life that takes part from now on."""
        segment = self._segments.get(child.key)
        path = "" if segment is None else segment.path
        return PeerUp(child.name, child.life, path, self._address_of(child.key))

    def _address_of(self, key: str) -> str:
        return local_address(self._run, key, self._options.link)

    def of(self, key: str) -> Child | None:
        """The life that a message comes from; None of who is no process of this run."""
        return self._known.get(key)

    def __iter__(self) -> Iterator[Child]:
        """Lives that take part or are to, then the standby ones."""
        return iter([*self.current.values(), *self.standbys.values()])

    def calls_of(self, child: Child, now_ns: int) -> list[Unfinished]:
        """The calls that go on in a process, the oldest first."""
        return self._calls.of(child.name, now_ns) if self._calls is not None and child.has_begun else []

    def lived_at(self, child: Child) -> float:
        """Time at which a life was last seen to run, in seconds of the monotonic clock."""
        return self._calls.lived_at(child.name, child.life) if self._calls is not None else 0.0

    def leaves(self, child: Child) -> bool:
        """True if what a life said last may be on its way: it ends in order, or has not come far enough to say so."""
        return not child.is_ready or (self._calls is not None and self._calls.leaves(child.name, child.life))

    def send(self, name: str, message: ToProcess, payload: bytes = b"") -> None:
        """Send to the current life of a process."""
        self._control.send(self.current[name].key, message, payload)

    def update(self, node: str, values: Mapping[str, object], first_unit: int) -> None:
        """Change live parameters of a node, in every life of its process."""
        self._updates.setdefault(node, {}).update(values)
        for child in self:
            if child.is_greeted and child.name == self._plan.nodes[node].process:
                self._control.send(child.key, Change(node, dict(values), first_unit))

    def greet(self, child: Child) -> None:
        """Give a process that has started its setup, and the live parameters as they are now."""
        child.is_greeted = True
        self._control.send(child.key, self._setup_of(child))
        for node, values in self._updates.items():
            if child.life and self._plan.nodes[node].process == child.name:
                self._control.send(child.key, Change(node, values, 0))

    def tell_all(self, message: ToProcess) -> None:
        """Send to every life of every process; those that have no setup yet learn of it with that, or as they begin."""
        for child in self:
            if child.is_greeted:
                self._control.send(child.key, message)

    @property
    def usage(self) -> Usage:
        """Per process: pid, CPU seconds, resident megabytes, restarts."""
        return {
            c.name: {
                "pid": c.launched.pid,
                "cpu_s": round(c.cpu_s, 3),
                "rss_mb": round(c.rss_mb, 1),
                "restarts": c.life,
            }
            for c in self.current.values()
        }

    def hide_memory(self) -> None:
        """Take the names of the memory away. With a name left, a killed run would leave it behind."""
        for file in self._files():
            file.unlink()

    def end(self, within_s: float) -> list[Child]:
        """Wait for all to have ended, kill those that have not in time, and forget them; gives the killed."""
        # one deadline for all: one after the other, each stuck process would cost its own
        deadline, killed = time.monotonic() + within_s, []
        for child in self:
            if child.launched.wait(max(0.0, deadline - time.monotonic())) is None:
                child.launched.kill()
                child.launched.wait()
                killed.append(child)
        for child in self._known.values():
            child.launched.close()
        return killed

    def close(self) -> None:
        """Free the memory. Call it when all have ended."""
        if self._calls is not None:
            self._calls.close()
        for file in self._files():
            file.close()

    def _files(self) -> list[SegmentFile]:
        return [*self._segments.values(), *([self._calls_file] if self._calls_file is not None else [])]
