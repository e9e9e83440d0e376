"""A made-up run of the duplex graph: what a trace looks like when a performer stumbles.

Not a test: `trace_of` places every body in its lane at the earliest free moment, with seeded costs and a few scripted
accidents, in whole microseconds as the page counts them. Tests load this file with ``runpy``, since test files are no package.
"""

import random
from bisect import insort

from wangraph.runtime.observe.records import TRACE_VERSION, Fenced, Firing, Footer, Header, Note, Settlement, Transfer
from wangraph.runtime.packet import Validity

MS = 1_000_000
UNIT_NS = 160 * MS
LATENCY_NS = 240 * MS

NODES = {
    # name: (type, process, lane, cost_ms, due_ms, {port: (stream, delay)}, outputs)
    "user": ("capture.file", "main", "io", 2.0, 100, {}, {"video": "video", "audio": "audio", "text": "text"}),
    "see": ("encode.video", "main", "codecs", 6.0, 120, {"frames": ("user.video", 0)}, {"latents": "latent"}),
    "hear": ("encode.mel", "main", "codecs", 2.5, 120, {"samples": ("user.audio", 0)}, {"mel": "latent"}),
    "think": (
        "backbone.thinker", "main", "loop", 36.0, 165,
        {"video": ("see.latents", 0), "audio": ("hear.mel", 0), "response_video": ("perform.video", 1),
         "response_audio": ("perform.audio", 1), "played": ("sync.played", 2)},
        {"context": "context", "text": "text"},
    ),
    "perform": (
        "backbone.performer", "performer", "loop", 44.0, 215, {"context": ("think.context", 0)},
        {"video": "latent", "audio": "latent"},
    ),
    "show": ("decode.video", "main", "codecs", 8.0, 235, {"latents": ("perform.video", 0)}, {"frames": "video"}),
    "speak": ("decode.audio", "main", "codecs", 4.0, 235, {"latents": ("perform.audio", 0)}, {"samples": "audio"}),
    "sync": (
        "sync.playout", "main", "loop", 0.3, 240,
        {"video": ("show.frames", 0), "audio": ("speak.samples", 0), "text": ("think.text", 0)},
        {"video": "video", "audio": "audio", "text": "text", "played": "any"},
    ),
    "side": ("flow.pip", "main", "io", 1.2, None, {"main": ("user.video", 0), "inset": ("sync.video", 0)},
             {"video": "video"}),
    "file": ("sink.mp4", "main", "io", 5.0, 400,
             {"video": ("side.video", 0), "audio": ("sync.audio", 0), "text": ("sync.text", 0)}, {}),
}  # fmt: skip
TRAILING = ("side", "file")
LADDER = [{"steps": 4}, {"steps": 2}, {"steps": 1}]
LEVEL_COST = (1.0, 0.6, 0.35)


def plan(extra=None):
    """The duplex plan as plain data."""
    nodes, streams = {}, {}
    for name, (kind, process, lane, cost, due, inputs, outputs) in NODES.items():
        kinds = {s: NODES[s.split(".")[0]][6][s.split(".")[1]] for s, _ in inputs.values()}
        nodes[name] = {
            "name": name, "type": kind, "target": "made:Up", "params": {}, "process": process, "lane": lane,
            "cost_ns": int(cost * MS), "due_ns": None if due is None else due * MS, "enforced": name not in TRAILING,
            "paced": name == "sync", "stateful": True,
            "inputs": [
                {"port": p, "stream": s, "delay": d, "late": "hold" if d else "gap", "kind": kinds[s]}
                for p, (s, d) in inputs.items()
            ],
            "outputs": list(outputs),
            "ladder": LADDER if name == "perform" else [],
        }  # fmt: skip
        for port, stream_kind in outputs.items():
            stream = f"{name}.{port}"
            readers = {NODES[n][1] for n in NODES if any(s == stream for s, _ in NODES[n][5].values())}
            streams[stream] = {
                "name": stream, "node": name, "port": port, "kind": stream_kind, "tensors": [],
                "is_log": stream_kind == "context", "process": process, "settler": process, "settle_ns": None,
                "window": 3, "readers": sorted(readers - {process}),
                "carrier": "shared" if readers - {process} else "reference",
            }  # fmt: skip
    return {
        "name": "duplex", "clock": {"fps": "25", "unit_frames": 4}, "latency_ns": LATENCY_NS, "seed": 0,
        "nodes": nodes, "streams": streams, "processes": {p: {"name": p} for p in ("main", "performer")},
        **(extra or {}),
    }  # fmt: skip


def header(**changes):
    values = {
        "version": TRACE_VERSION, "wangraph": "0.1.0", "started": "2026-01-05T10:00:00+00:00", "plan": plan(),
        "machine": {"cpu": "Intel Xeon 2.10GHz", "cores": 2}, "clock": "system", "engine": "parallel",
    }  # fmt: skip
    return Header(**(values | changes))


def trace_of(units=150, seed=0, accidents=True):
    """All records of a run of ``units`` units; with ``accidents``: one late body, a stall with absorb, levels."""
    return _Simulation(units, seed, accidents).run()


class _Simulation:
    def __init__(self, units, seed, accidents):
        self.units, self.random = units, random.Random(seed)
        self.late = {units // 5, units // 2 + 7} if accidents else set()
        self.stall = units // 3 if accidents else -9
        self.busy = {}
        self.done = {}  # (node, unit) -> finished_ns, real ones
        self.records = []

    def run(self):
        for unit in range(self.units):
            for name in NODES:
                self.fire(name, unit)
        if self.stall > 0:
            stall_at = (self.stall + 1) * UNIT_NS + 330 * MS
            self.records.append(Note(stall_at, "performer", "stall", f"perform: computing unit {self.stall}"))
            self.records.append(Fenced(["sync.video", "sync.audio"], 1, self.stall + 30, stall_at + 30 * UNIT_NS))
        summary = {
            "graph": "duplex",
            "units": self.units,
            "weights": {
                "think": "model: random, seed 0",
                "perform": "model: random, seed 0",
                "see": "video_codec: random, seed 0",
                "speak": "audio_codec: tiny",
            },
        }
        return [header(), *sorted(self.records, key=_when), Footer(summary)]

    def cost_ns(self, name, unit, level):
        cost = NODES[name][3] * self.random.lognormvariate(0, 0.07) * LEVEL_COST[level]
        if name == "perform" and unit in self.late:
            cost = 138.0
        if name == "file" and unit in self.late:
            cost = 172.0
        if name == "perform" and unit == self.stall:
            cost = 520.0
        return int(cost * 1000) * 1000

    def place(self, lane, ready, cost):
        """Earliest start at or after ``ready`` in which the lane is free for ``cost``."""
        intervals = self.busy.setdefault(lane, [])
        start = ready
        for begin, end in intervals:
            if start + cost <= begin:
                break
            start = max(start, end)
        insort(intervals, (start, start + cost))
        del intervals[:-40]
        return start

    def fire(self, name, unit):
        _, process, lane, _, due_ms, inputs, _ = NODES[name]
        release = (unit + 1) * UNIT_NS
        due = None if due_ms is None else release + due_ms * MS
        arrivals, lost = [release], False
        for stream, delay in inputs.values():
            source = stream.split(".")[0]
            at = self.done.get((source, unit - delay))
            if at is not None:
                arrivals.append(at + self.hop(source, process))
            elif unit >= delay:
                arrivals.append(release if delay else release + 236 * MS)
                lost = lost or delay == 0
        ready, mode, verdict, last = max(arrivals), "step", "real", unit
        level = self.level(unit) if name == "perform" else 0
        if name == "perform" and self.stall < unit <= self.stall + 2:
            if unit == self.stall + 1:
                return  # taken in by the absorb of the next
            mode = "absorb"
        elif name == "sync":
            ready, arrivals = min(ready, due), [due]
        elif lost and name in ("show", "speak"):
            mode = "gap"
        cost = int(0.3 * MS) if mode == "gap" else self.cost_ns(name, unit, level)
        wake = int(self.random.expovariate(8) * 1000) * 1000
        start = wake + self.place((process, lane), max(ready, max(arrivals)) if name != "sync" else due, wake + cost)
        finish = start + cost
        if due is not None and finish > due and name != "sync" and mode == "step":
            verdict = "late"
        first = unit - 1 if mode == "absorb" else unit
        self.records.append(Firing(name, first, last, mode, level, ready, start, finish, due, verdict))
        real = mode == "step" and (verdict == "real" or name == "file")
        if real:
            self.done[name, unit] = finish
        for covered in range(first, last + 1):
            self.settle(name, covered, real, finish, process)

    def settle(self, name, unit, real, finish, process):
        release = (unit + 1) * UNIT_NS
        for port, kind in NODES[name][6].items():
            stream, size = f"{name}.{port}", {"video": 49152, "audio": 5120, "text": 0}.get(kind, 4096)
            validity = Validity.REAL if real or kind == "context" else Validity.MISSING
            if kind == "text" and real:
                validity = Validity.EMPTY
            if name == "sync" and port in ("video", "audio") and ("show", unit) not in self.done:
                validity = Validity.REPEATED if port == "video" else Validity.CONCEALED
            at = finish if real else min(finish, release + (NODES[name][4] or 240) * MS)
            self.records.append(Settlement(stream, unit, validity, at, size))
            readers = {NODES[n][1] for n in NODES if any(s == stream for s, _ in NODES[n][5].values())}
            for reader in readers - {process}:
                arrived = finish + self.hop(name, reader)
                self.records.append(Transfer(stream, unit, process, reader, finish, arrived, size, "shared"))

    def level(self, unit):
        after = [unit - late for late in (*self.late, self.stall + 2) if 0 < unit - late <= 9]
        if not after:
            return 0
        return 2 if min(after) <= 4 and 0 < unit - self.stall - 2 <= 4 else 1

    def hop(self, source, reader):
        return 0 if NODES[source][1] == reader else int(1.4 * MS)


def _when(record):
    return next(getattr(record, k) for k in ("started_ns", "at_ns", "sent_ns") if hasattr(record, k))
