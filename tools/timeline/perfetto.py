"""Chrome-trace JSON, for ui.perfetto.dev and chrome://tracing.

One thread per node, named ``lane / node``, and one per stream that is sent: a body's bar, and before it a bar ``wait``
from ready to started (cut where the node was still busy with the unit before, since bars of a thread must nest;
``args.ready_ms`` keeps the whole). Arrows follow the edges, instants mark misses, counters hold the per-unit curves.

No thread has number 0, which is not shown, or the number of its process, which would stand first as the main thread.
Times are whole microseconds after the earliest record, since viewers round fractions and then drop bars that overlap
by a nanosecond; ``args`` count from the origin.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from ...runtime.plan.plan import NodePlan
from ...runtime.schedule.events import Firing
from .columns import by_place, level_name
from .facts import Run, lateness_ns, misses, model_latency_ns, skew_ns

Event = dict[str, Any]
RUN_PID = 1
RUN_TID = 100


def chrome_trace(run: Run) -> str:
    """The run as Chrome-trace JSON text."""
    writer = _Writer(run)
    events = [*writer.names(), *writer.bars(), *writer.sends(), *writer.arrows(), *writer.units(), *writer.curves()]
    whole = {
        "traceEvents": events,
        "displayTimeUnit": "ms",
        "otherData": {
            "graph": run.plan.name,
            "wangraph": run.header.wangraph,
            "started": run.header.started,
            "origin_us": writer.us(0),
        },
    }
    return msgspec.json.encode(whole).decode()


class _Writer:
    """Knows the ids of processes and threads, and the shift that makes all times positive."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.order = by_place(run.plan.nodes.values())
        processes = dict.fromkeys(node.process for node in self.order)
        self.pids = {name: RUN_PID + 1 + i for i, name in enumerate(processes)}
        sent = dict.fromkeys((t.stream, t.sender, t.reader) for t in run.sent if t.sender in self.pids)
        self.tids = {node.name: RUN_TID + 1 + i for i, node in enumerate(self.order)}
        self.send_tids = {edge: RUN_TID + 1 + len(self.order) + i for i, edge in enumerate(sent)}
        first = [min(f.ready_ns, f.started_ns) for fs in run.firings.values() for f in fs]
        first += [n.at_ns for n in run.notes]
        self.start_ns = min([0, *first])

    def us(self, ns: int) -> int:
        """Nanoseconds after the origin as the file's time."""
        return (ns - self.start_ns) // 1000

    def place(self, node: NodePlan) -> Event:
        return {"pid": self.pids[node.process], "tid": self.tids[node.name]}

    def names(self) -> Iterator[Event]:
        """Names and order of processes and threads."""
        yield _meta("process_name", RUN_PID, RUN_TID, name="units")
        yield _meta("process_sort_index", RUN_PID, RUN_TID, sort_index=0)
        yield _meta("thread_name", RUN_PID, RUN_TID, name="deadlines")
        for name, pid in self.pids.items():
            yield _meta("process_name", pid, RUN_TID, name=name)
            yield _meta("process_sort_index", pid, RUN_TID, sort_index=pid)
        threads = [(n.process, self.tids[n.name], f"{n.lane} / {n.name}") for n in self.order]
        threads += [(e[1], tid, f"send {e[0]} to {e[2]}") for e, tid in self.send_tids.items()]
        for process, tid, name in threads:
            yield _meta("thread_name", self.pids[process], tid, name=name)
            yield _meta("thread_sort_index", self.pids[process], tid, sort_index=tid)

    def bars(self) -> Iterator[Event]:
        """Waiting and computing of every firing."""
        for node in self.order:
            free_ns = self.start_ns
            for firing in self.run.firings[node.name]:
                wait_ns = max(firing.ready_ns, free_ns)
                if self.us(wait_ns) < self.us(firing.started_ns):
                    yield self._bar(node, firing, "wait", "waiting", wait_ns, firing.started_ns)
                name = f"{node.name} {_units(firing)}" if firing.mode == "step" else f"{firing.mode} {_units(firing)}"
                yield self._bar(node, firing, name, "computing", firing.started_ns, firing.finished_ns)
                free_ns = max(free_ns, firing.finished_ns)

    def _bar(self, node: NodePlan, firing: Firing, name: str, cat: str, start_ns: int, end_ns: int) -> Event:
        args: Event = {
            "unit": _units(firing),
            "mode": firing.mode,
            "verdict": firing.verdict,
            "ready_ms": firing.ready_ns / 1e6,
        }
        if firing.due_ns is not None:
            args |= {"due_ms": firing.due_ns / 1e6, "slack_ms": (firing.due_ns - firing.finished_ns) / 1e6}
        if node.ladder and firing.level < len(node.ladder):
            args["level"] = level_name(node.ladder[firing.level])
        times = {"ts": self.us(start_ns), "dur": self.us(max(start_ns, end_ns)) - self.us(start_ns)}
        return {"ph": "X", "name": name, "cat": cat, **self.place(node), **times, "args": args}

    def sends(self) -> Iterator[Event]:
        """Packets between processes, by stream; a bar begins where the one before has ended."""
        free_ns: dict[int, int] = {}
        for transfer in sorted(self.run.sent, key=lambda t: t.sent_ns):
            tid = self.send_tids.get((transfer.stream, transfer.sender, transfer.reader))
            if tid is None:
                continue
            start_ns = max(transfer.sent_ns, free_ns.get(tid, transfer.sent_ns))
            end_ns = free_ns[tid] = max(start_ns, transfer.arrived_ns)
            place = {"pid": self.pids[transfer.sender], "tid": tid}
            args: dict[str, Any] = {"unit": transfer.unit, "bytes": transfer.n_bytes, "carrier": transfer.carrier}
            args |= {"sent_ms": transfer.sent_ns / 1e6, "arrived_ms": transfer.arrived_ns / 1e6}
            times = {"ts": self.us(start_ns), "dur": self.us(end_ns) - self.us(start_ns)}
            yield {"ph": "X", "name": f"send {transfer.unit}", "cat": "sending", **place, **times, "args": args}

    def arrows(self) -> Iterator[Event]:
        """One arrow per edge and unit, from inside the producer's bar to the start of the consumer's."""
        steps = {name: {f.last: f for f in firings if f.mode != "skip"} for name, firings in self.run.firings.items()}
        number = 0
        for node in self.order:
            for inlet in node.inputs:
                for unit, firing in steps[node.name].items():
                    made = steps.get(self.run.source(inlet), {}).get(unit - inlet.delay)
                    if made is None or made.finished_ns > firing.started_ns:
                        continue
                    number += 1
                    within_ns = made.started_ns + (made.finished_ns - made.started_ns) * 9 // 10
                    common = {"name": f"unit {unit - inlet.delay}", "cat": "path", "id": number}
                    source = self.place(self.run.plan.nodes[self.run.source(inlet)])
                    yield {"ph": "s", **common, **source, "ts": self.us(within_ns)}
                    yield {"ph": "f", "bp": "e", **common, **self.place(node), "ts": self.us(firing.started_ns)}

    def units(self) -> Iterator[Event]:
        """Release and deadline of each unit, misses, notes."""
        lost = misses(self.run)
        for unit in self.run.units():
            yield self._instant(f"release {unit}", "p", self.run.release_ns(unit))
            if unit in lost:
                name, args = f"miss {unit}", {"unit": unit, "why": lost[unit]}
                yield self._instant(name, "g", self.run.deadline_ns(unit)) | {"args": args}
            else:
                yield self._instant(f"deadline {unit}", "t", self.run.deadline_ns(unit))
        for note in self.run.notes:
            yield self._instant(f"{note.kind}: {note.text}", "g", note.at_ns) | {"args": {"process": note.process}}

    def _instant(self, name: str, scope: str, at_ns: int) -> Event:
        return {
            "ph": "i",
            "name": name,
            "cat": "unit",
            "s": scope,
            "pid": RUN_PID,
            "tid": RUN_TID,
            "ts": self.us(at_ns),
        }

    def curves(self) -> Iterator[Event]:
        """Counters, one value per unit, at its deadline."""
        curves = {"model latency": model_latency_ns, "lateness": lateness_ns, "A/V skew": skew_ns}
        for name, values in curves.items():
            for unit, value in zip(self.run.units(), values(self.run), strict=False):
                if value is not None:
                    at = self.us(self.run.deadline_ns(unit))
                    yield {
                        "ph": "C",
                        "name": name,
                        "pid": RUN_PID,
                        "tid": RUN_TID,
                        "ts": at,
                        "args": {"ms": value / 1e6},
                    }


def _meta(name: str, pid: int, tid: int, /, **args: str | int) -> Event:
    return {"ph": "M", "name": name, "pid": pid, "tid": tid, "args": args}


def _units(firing: Firing) -> str:
    return str(firing.last) if firing.first == firing.last else f"{firing.first}-{firing.last}"
