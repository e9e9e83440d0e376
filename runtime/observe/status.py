"""A run as others see it while it goes on: a snapshot, its newest records, and the socket that gives them to who asks.

``?`` asks for a snapshot, ``records N`` for the records from number N on: answered as soon as there are any. Before
the question stands the token from the run's file.

Nothing is made and no process tells more than usual unless somebody has asked lately.
"""

from __future__ import annotations

import os
import secrets
import sys
import time
from pathlib import Path
from typing import Any, Protocol

import msgspec
import zmq

from ..errors import RunError
from ..plan.plan import Plan
from ..run_token import Strangers, is_token, new_token
from .distribution import RECENT, quantiles
from .follow import Newest, newest
from .last_miss import LastMiss
from .outcome import real_latencies_ns
from .records import Header, NodeStatus
from .run_file import RunFile, born, free_name, is_published, publish
from .statistics import Statistics

WATCH_MS = 3000
"""How long one question keeps processes telling where their nodes stand."""

PATIENCE_S = 1.0
"""How long an answer waits for all processes to have told it."""

LARGEST = 1024
"""Bytes of a question: beyond them it is not received."""

MOST_QUESTIONS = 1000
"""Taken in at one turn: a flood of them must not keep the run from its own work."""


class Watched(Protocol):
    """Interface of what runs the graph, for those who watch it."""

    @property
    def usage(self) -> dict[str, dict[str, float | int]]:
        """Per process: pid, CPU seconds, resident megabytes, restarts."""
        ...

    @property
    def statuses(self) -> list[NodeStatus]:
        """State of every node."""
        ...

    def watch(self, for_ms: int) -> None:
        """Have `statuses` told for so long."""
        ...


def snapshot(statistics: Statistics, engine: Watched, last_miss: dict[str, Any] | None = None) -> dict[str, Any]:
    """The run now; counts are of all units, quantiles of the last `RECENT` ones, in milliseconds.

    Args:
        last_miss: as `LastMiss` finds it.
    """
    plan, totals = statistics.plan, statistics.totals()
    statuses = {status.node: status for status in engine.statuses}
    recent = statistics.newest_outcomes()[-RECENT:]
    real = [outcome for outcome in recent if outcome.is_real]
    presented = sorted(o.presented_ns for o in recent if o.presented_ns is not None)
    span_ns = presented[-1] - presented[0] if presented else 0
    return {
        "graph": plan.name,
        "pid": os.getpid(),
        "unit": totals.units,
        **totals.counts(),
        "fps": round((len(presented) - 1) * plan.clock.unit_frames * 1e9 / span_ns, 2) if span_ns else 0.0,
        "expected_fps": float(plan.fps),
        "last_miss": last_miss,
        "late": sum(statistics.late.values()),
        "recent_real": len(real),
        "recent_units": len(recent),
        "latency_ms": quantiles([o.latency_ns for o in real if o.latency_ns is not None]),
        "model_latency_ms": quantiles(real_latencies_ns(real)),
        "deadline_ms": plan.latency_ns / 1e6,
        "av_skew_ms": max((o.skew_ns for o in recent if o.skew_ns is not None), default=0) / 1e6,
        "nodes": {name: _node(statistics, name, statuses.get(name), totals.missed_by[name]) for name in plan.nodes},
        "processes": engine.usage,
        "notes": [{"at_ms": round(n.at_ns / 1e6, 1), "kind": n.kind, "text": n.text} for n in statistics.notes[-5:]],
    }


def _node(statistics: Statistics, name: str, status: NodeStatus | None, misses: int) -> dict[str, Any]:
    node = statistics.plan.nodes[name]
    sent = [ns for port in node.outputs for ns in statistics.transfers[f"{name}.{port}"].recent]
    return {
        "process": node.process,
        "lane": node.lane,
        "unit": None if status is None else status.unit,
        "doing": "" if status is None else status.doing,
        "queued": None if status is None else status.queued,
        "fired": statistics.fired[name],
        "wait_ms": quantiles(statistics.wait[name].recent, with_max=False),
        "busy_ms": quantiles(statistics.busy[name].recent, with_max=False),
        "busy_s": statistics.busy_total_ns[name] / 1e9,
        "send_ms": quantiles(sent, with_max=False),
        "late": statistics.late[name],
        "lost": statistics.modes[name]["gap"] + statistics.modes[name]["skip"],
        "misses": misses,
    }


class StatusServer:
    """Answers, in the thread that calls `serve`, who asks with `snapshot`.

    Raises:
        RunError: the run file cannot be written.
    """

    def __init__(self, plan: Plan, header: Header) -> None:
        self._header = header
        self._statistics = Statistics(plan)
        self._following: dict[bytes, tuple[list[bytes], int]] = {}
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket: zmq.Socket[bytes] = self._context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.LINGER, 100)
        self._socket.setsockopt(zmq.MAXMSGSIZE, LARGEST)
        self._waiting: list[tuple[float, list[bytes]]] = []
        self.strangers = Strangers("status socket")
        self._token = new_token()
        self._path: Path | None = None
        self._last_miss = LastMiss()
        if sys.platform == "linux":
            self._socket.setsockopt(zmq.IPC_FILTER_UID, os.getuid())
        try:
            name = free_name(plan.name)
            is_linux = sys.platform == "linux"
            self._socket.bind(f"ipc://@wangraph-{name}-{secrets.token_hex(4)}" if is_linux else "tcp://127.0.0.1:*")
            where = self._socket.getsockopt(zmq.LAST_ENDPOINT)
            assert isinstance(where, bytes)
            address = where.rstrip(b"\0").decode()
            pid, started = os.getpid(), header.started
            self._path = publish(RunFile(name, plan.name, pid, born(pid), address, started, self._token))
        except (RunError, zmq.ZMQError):
            self.close()
            raise

    def serve(self, statistics: Statistics, engine: Watched) -> None:
        """Answer who has asked. Costs a look at a socket when nobody has."""
        self._statistics = statistics
        if self._read():
            engine.watch(WATCH_MS)
        self._tell_followers()
        if not self._waiting:
            return
        all_reported = len(engine.statuses) == len(statistics.plan.nodes)
        due = [route for until, route in self._waiting if all_reported or time.monotonic() >= until]
        if due:
            answer = msgspec.json.encode(snapshot(statistics, engine, self._last_miss.poll(statistics)))
            for route in due:
                self._socket.send_multipart([*route, answer])
            self._waiting = [(until, route) for until, route in self._waiting if route not in due]

    def _read(self) -> bool:
        """Take in questions; whether somebody asked for a snapshot."""
        n_waiting = len(self._waiting)
        for _ in range(MOST_QUESTIONS):
            if not self._socket.poll(0):
                break
            frames = self._socket.recv_multipart()
            if len(frames) < 3 or not is_token(frames[-2], self._token):
                self.strangers.drop()
                continue
            *route, _, question = frames
            word, _, since = question.partition(b" ")
            if word == b"records":
                self._following[route[0]] = (route, int(since) if since.isdigit() else 0)
            else:
                self._waiting.append((time.monotonic() + PATIENCE_S, route))
        return len(self._waiting) > n_waiting

    def _tell_followers(self, *, has_ended: bool = False) -> None:
        """Those who wait for records get them, if there are any."""
        for follower, (route, since) in list(self._following.items()):
            if has_ended or since < self._statistics.n_records:
                news = newest(self._statistics, self._header, since, has_ended=has_ended)
                self._socket.send_multipart([*route, msgspec.json.encode(news)])
                del self._following[follower]

    def close(self) -> None:
        """Nobody finds the run any more; those who follow it get its last records."""
        self._read()
        self._tell_followers(has_ended=True)
        if self._path is not None:
            self._path.unlink(missing_ok=True)
        self._socket.close()
        self._context.term()


class StatusClient:
    """The other end: asks a run for snapshots or records. ``who`` asks, for messages."""

    def __init__(self, run: RunFile, who: str = "top") -> None:
        self._run, self._who = run, who
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket: zmq.Socket[bytes] = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.connect(run.address)

    def snapshot(self, timeout_s: float = 5.0) -> dict[str, Any] | None:
        """A snapshot; None when the run has ended.

        Raises:
            RunError: it goes on, but does not answer.
        """
        answer = self._answer(b"?", timeout_s)
        if answer is None:
            return None
        found: dict[str, Any] = msgspec.json.decode(answer)
        return found

    def records(self, since: int) -> Newest | None:
        """Records from number ``since`` on, waited for as long as the run lives; None when it is gone."""
        answer = self._answer(b"records %d" % since, float("inf"))
        return None if answer is None else msgspec.json.decode(answer, type=Newest)

    def _answer(self, question: bytes, timeout_s: float) -> bytes | None:
        self._socket.send_multipart([b"", self._run.token.encode(), question])
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            if self._socket.poll(100):
                return self._socket.recv_multipart()[-1]
            if born(self._run.pid) != self._run.born or not is_published(self._run):
                return None
        raise RunError(f"{self._who}: run '{self._run.name}' does not answer for {timeout_s:g} s (expected a snapshot)")

    def close(self) -> None:
        """Hang up."""
        self._socket.close()
        self._context.term()
