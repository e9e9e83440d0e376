"""Devices in a plan: where payloads are made and wanted, which edges stay on a device, and where they are copied."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from .. import payload
from ..errors import listing
from ..ports import Input, Output
from .marks import Problems
from .plan import NodePlan, Plan, StreamPlan
from .spec import GraphSpec, NodeSpec
from .wiring import BoundEdge

HOST = payload.HOST.name
ANY = "any"
"""Wanted of a payload: wherever it is."""


def find_device(node: NodeSpec, problems: Problems) -> str:
    """``cpu``, ``cuda:N`` where that is on this machine, or the stand-in ``fake:N``."""
    kind, _, index = node.device.partition(":")
    if kind == HOST:
        return HOST
    index = index or "0"
    if kind == "cuda" and not (Path(f"/dev/nvidia{index}").exists() or Path("/dev/dxg").exists()):
        problems.add(
            node.at("device"),
            f"node '{node.name}': device: found '{node.device}' (available on this machine: cpu), write device: cpu",
        )
    return f"{kind}:{index}"


def made_on(output: Output, node: NodePlan) -> str:
    """The device that an output's payloads are made on."""
    return node.device if output.device == "node" else HOST


def wanted_on(port: Input, device: str) -> str:
    """The device that a node on ``device`` wants an input's payloads on."""
    return {"host": HOST, "node": device, "any": ANY}[port.device]


def stays_on_device(
    stream: StreamPlan,
    crossing: Sequence[BoundEdge],
    nodes: Mapping[str, NodePlan],
    spec: GraphSpec,
    problems: Problems,
) -> bool:
    """True if a stream's packets go from process to process in the memory of its device."""
    insists = next((edge for edge in crossing if edge.spec.memory == "device"), None)
    why = _why_not(stream, crossing, nodes, spec)
    if insists is not None and why:
        problems.add(insists.mark, f"stream {stream.name}: found memory: device, but {why}, write memory: auto")
    return not why and all(edge.spec.memory in ("auto", "device") for edge in crossing)


def _why_not(
    stream: StreamPlan, crossing: Sequence[BoundEdge], nodes: Mapping[str, NodePlan], spec: GraphSpec
) -> str:  # fmt: skip
    if stream.device == HOST:
        return "its payloads are made on the host (expected an output of a node on a device that declares device: node)"
    if stream.max_bytes is None:
        return "its size is not known (expected shape and dtype of the port)"
    away = [e.consumer for e in crossing if wanted_on(e.input, nodes[e.consumer].device) not in (stream.device, ANY)]
    if away:
        return f"not all of its readers take it on {stream.device}: {listing(away)}"
    makes = spec.processes.get(stream.process)
    if makes is not None and makes.on_crash != "end":
        # memory of a device dies with its process, under those that go on; the host's is owned by the supervisor
        return f"the run goes on without process '{stream.process}' (expected on_crash: end, its memory dies with it)"
    return ""


def copies(plan: Plan) -> Iterator[tuple[str, str, str, str]]:
    """Payloads that are copied between devices: stream, input that wants it, from, to."""
    for node in plan.nodes.values():
        for given in node.inputs:
            stream = plan.streams[given.stream]
            if given.device not in (stream.device, ANY):
                yield given.stream, f"{node.name}.{given.port}", stream.device, given.device
