"""Shares of a body's time: it holds the interpreter, computes, or waits.

What holds the interpreter shuts out every other lane of its process. What computes keeps a core busy, or several. What
waits, for a device, a network or on purpose, loads nothing.

Alone, the processor time of the process is the body's, that of its numeric libraries' threads included. Beside the body
a thread counts in plain Python, which it can do only while it has the interpreter. What it computes while nobody else
wants the interpreter says how much it could; what it lacks of that beside the body, the body held. A body that only
computes inside libraries that let the interpreter go holds next to nothing.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from ..engine.body import Body, make_node
from ..engine.drivers import run_virtual
from ..engine.initial import initial_packets
from ..plan.catalogue import resolve
from ..plan.plan import NodePlan, Plan
from ..schedule.decide import Fire
from ..schedule.scheduler import Result, Scheduler

SWITCH_INTERVAL_S = 0.0002
"""How soon the counting thread gets the interpreter from a body that runs Python: short, so that little is unclear."""

CALIBRATION_S = 0.005
"""How long the thread counts undisturbed before each call: other programs take their share of the machine from both."""


@dataclass(frozen=True)
class Share:
    """Shares of the time that a call of a body takes.

    Attributes:
        hold: with the interpreter held.
        cpu: processor time, of all its threads: above 1 where several compute.
        threads: how many compute while it does.
    """

    hold: float
    cpu: float = 1.0
    threads: float = 1.0


def body_shares(plan: Plan, units: int) -> dict[str, Share]:
    """Shares of each node's time, by running the graph here, one body at a time.

    Files that nodes write go to a folder that is removed again.

    Raises:
        WangraphError: a body failed.
    """
    with tempfile.TemporaryDirectory(prefix="wangraph-") as folder:
        nodes = {name: _elsewhere(node, Path(folder)) for name, node in plan.nodes.items()}
        quiet = replace(plan, nodes=nodes)
        bodies = {name: Body(make_node(n), n, quiet) for name, n in nodes.items()}
        scheduler = Scheduler(quiet, initial=initial_packets(quiet), limit=units)
        meter = _Meter()
        try:
            for body in bodies.values():
                body.open(max(p.threads for p in plan.processes.values()))
            run_virtual(quiet, bodies, scheduler, meter, cost=lambda node, fire: 0)
        finally:
            meter.close()
            for body in bodies.values():
                body.close()
    return meter.shares()


def _elsewhere(node: NodePlan, folder: Path) -> NodePlan:
    """The node, writing into ``folder``."""
    outputs = {key for key, p in resolve(node.target).params.items() if p.path == "output" and node.params.get(key)}
    given = {key: type(node.params[key])(folder / Path(node.params[key]).name) for key in outputs}
    return replace(node, params={**node.params, **given})


class _Meter:
    """Runs bodies where they are called, beside a thread that wants the interpreter all the time."""

    def __init__(self) -> None:
        self._alone: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
        self._beside: dict[str, list[tuple[float, float]]] = defaultdict(list)
        self._free: list[tuple[float, float]] = []
        self._leaving = False
        self._before = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        self._running = threading.Event()
        self._thread = threading.Thread(target=self._count, name="meter", daemon=True)
        self._thread.start()
        assert self._thread.ident is not None
        self._clock = time.pthread_getcpuclockid(self._thread.ident)

    def begin(self, body: Body, lane: str, fire: Fire) -> object:
        """Run it now: in odd units alone, in even ones beside the thread, to see how long that was shut out."""
        if fire.last % 2:
            began, process, thread = time.perf_counter(), time.process_time(), time.thread_time()
            result = body.run(fire)
            used = (time.process_time() - process, time.thread_time() - thread)
            self._alone[fire.node].append((time.perf_counter() - began, *used))
            return result
        self._running.set()
        free = self._watch(lambda: time.sleep(CALIBRATION_S))
        made: list[Result] = []
        beside = self._watch(lambda: made.append(body.run(fire)))
        self._running.clear()
        self._free.append(free)
        self._beside[fire.node].append(beside)
        return made[0]

    def _watch(self, call: Callable[[], object]) -> tuple[float, float]:
        """Seconds that a call took, and that the thread computed meanwhile."""
        counted, began = time.clock_gettime(self._clock), time.perf_counter()
        call()
        return time.perf_counter() - began, time.clock_gettime(self._clock) - counted

    def post(self, lane: str, call: Callable[[], None]) -> None:
        """Make it now."""
        call()

    def end(self, begun: object) -> Result:
        """Stop the measurement; give what it returned."""
        assert isinstance(begun, Result)
        return begun

    def shares(self) -> dict[str, Share]:
        """By node, where it ran in even units and in odd ones."""
        free = sum(counted for _, counted in self._free) / max(sum(wall for wall, _ in self._free), 1e-9)
        found = {}
        for name, calls in self._beside.items():
            if name not in self._alone:
                continue
            wall, counted = sum(w for w, _ in calls), sum(c for _, c in calls)
            held = max(0.0, 1 - counted / max(wall * free, 1e-9)) * statistics.median(w for w, _ in calls)
            alone, process, thread = (max(statistics.median(c), 1e-9) for c in zip(*self._alone[name], strict=True))
            found[name] = Share(min(1.0, held / alone), process / alone, max(1.0, process / thread))
        return found

    def close(self) -> None:
        """End the thread."""
        self._leaving = True
        self._running.set()
        self._thread.join()
        sys.setswitchinterval(self._before)

    def _count(self) -> None:
        n = 0
        while not self._leaving:
            self._running.wait()
            while self._running.is_set() and not self._leaving:
                n += 1
