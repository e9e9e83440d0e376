"""A small graph of shipped nodes in two processes, and what a run of it leaves: what valid inputs are made of."""

from __future__ import annotations

from pathlib import Path

from ...runtime.engine.faults import parse_fault
from ...runtime.engine.options import Options
from ...runtime.engine.run import Run
from ...runtime.plan.graph import Graph
from ...runtime.plan.spec import Edge

UNITS = 8


def example() -> Graph:
    """pattern -> mix -> sync -> end, where the sound is mixed with what was played a unit ago."""
    graph = Graph("example", latency_ms=160)
    graph.process("main", lanes=["io", "play"])
    graph.process("far")
    pattern = graph.add("pattern", "capture.pattern", lane="io", seconds=2, width=64, height=64)
    words = graph.add("words", "flow.delay", inputs={"value": pattern["text"]}, process="far")
    back = Edge("sync.audio", delay=1, init="zeros")
    mix = graph.add("mix", "flow.mix", inputs={"a": pattern["audio"], "b": back}, process="far")
    sync = graph.add("sync", "sync.playout", inputs={"audio": mix["mixed"], "text": words["delayed"]}, lane="play")
    graph.add("end", "sink.null", inputs={"value": sync["audio"]}, lane="io")
    return graph


def leave_files(folder: Path) -> tuple[Path, Path]:
    """Run the example with a fault in it; its trace and its recording."""
    trace, recording = folder / "example.trace", folder / "example.mcap"
    options = Options(
        units=UNITS,
        clock="virtual",
        trace=trace,
        record=recording,
        record_edges=("all",),
        faults=(parse_fault("mix: stall=400ms at=3"),),
    )
    Run(example().plan(), options).start().wait()
    return trace, recording
