"""A graph as it is served: its exported ends, and the graph around it that a visitor takes part in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ...runtime.errors import GraphError, listing
from ...runtime.packet import WHOLE
from ...runtime.plan.catalogue import resolve
from ...runtime.plan.check import check
from ...runtime.plan.exports import Exported
from ...runtime.plan.graph import Graph
from ...runtime.plan.plan import Plan
from .protocol import AudioFormat, EndFormats, LiveParam, VideoFormat

VISITOR, SERVED = "visitor", "graph"
"""Names in the graph around: the visitor's node, and the served graph, whose nodes are ``graph/NAME`` there."""

KINDS = {"video": "video", "audio": "audio", "text": "text", "event": "tokens", "played": "tokens"}
"""Exports that a visitor takes part in, by name, and what must go through them."""

DEFAULT_SIZE, DEFAULT_RATE_HZ = (320, 240), 16000
"""Of an end of which the graph does not say."""


@dataclass(frozen=True)
class Recording:
    """Folder of a recorded visit: ``visit.mp4``, ``visit.mcap``, ``visit.trace``, and the graph to replay it with."""

    folder: Path

    def path(self, suffix: str) -> Path:
        """One of its files."""
        return self.folder / f"visit{suffix}"


class ServedGraph:
    """A graph whose ends are exported, for visitors.

    Args:
        reference: path or shipped name.
        settings: as ``--set`` on the command line.

    Attributes:
        name: the graph's.
        takes: what the visitor's node feeds, of `KINDS`.
        streams: of the graph around, by what comes out, of `KINDS`.
        inputs, outputs: the same as clients are told of it.
        params: what can be changed while it runs; nodes by the names that they have in the graph around.

    Raises:
        GraphError: it cannot be planned, or it exports nothing that a visitor could see, hear or read.
    """

    def __init__(self, reference: str, settings: Mapping[str, Any] | None = None) -> None:
        self._graph = Graph.load(reference, settings)
        checked = check(self._graph.spec)
        self._alone = checked.plan
        self.name = checked.plan.name
        takes = {name: end for name, end in checked.exports.inputs.items() if KINDS.get(name) == end.kind}
        gives = {name: end for name, end in checked.exports.outputs.items() if KINDS.get(name) == end.kind}
        if not {"video", "audio", "text"} & set(gives):
            raise GraphError(
                f"serve: graph '{self.name}': found the exported outputs: {listing(checked.exports.outputs)} "
                "(expected video, audio or text), name its ends: exports: {inputs: {video: NODE.PORT}, "
                "outputs: {video: NODE.PORT}}"
            )
        self.takes = tuple(takes)
        self.streams = {name: f"{SERVED}/{end.ports[0]}" for name, end in gives.items()}
        self.inputs, self.outputs = self._formats(takes), self._formats(gives)
        self.params = list(self._live_params())

    def plan(self, recording: Recording | None = None, seed: int = 0) -> Plan:
        """The graph with a visitor's node around it, and what writes the visit down.

        Raises:
            GraphError: it cannot be planned in this way, or a file of the recording not be written.
        """
        clock = self._alone.clock
        around = Graph(self.name, fps=clock.fps, unit_frames=clock.unit_frames, latency_ms=self._alone.latency_ns / 1e6)
        around.process("main", lanes=["loop", VISITOR, "record"])
        if self.takes:  # a visitor who only watches is no source: the graph ends when its own have
            self._add_visitor(around)
        with TemporaryDirectory() as folder:  # the file has its parameters filled in, so that settings hold in it
            path = Path(folder, "served.yaml")
            path.write_text(self._graph.to_yaml(), encoding="utf-8")
            around.add(SERVED, graph=str(path), inputs={name: f"{VISITOR}.{name}" for name in self.takes})
            if recording is not None:
                recording.path(".yaml").write_text(around.to_yaml(), encoding="utf-8")
                self._record(around, recording)
            return around.plan(seed)

    def _add_visitor(self, around: Graph) -> None:
        width, height = (self.inputs.video.width, self.inputs.video.height) if self.inputs.video else DEFAULT_SIZE
        around.add(
            VISITOR,
            "capture.app",
            lane=VISITOR,
            width=width,
            height=height,
            rate_hz=self.inputs.audio.rate_hz if self.inputs.audio else DEFAULT_RATE_HZ,
            backlog_s=float(self._alone.clock.period),  # what came too late for its unit would stay as delay
        )

    def _record(self, around: Graph, recording: Recording) -> None:
        """Add the video of both sides: pictures beside each other, voices in one."""
        video = _both(self.takes, self.streams, "video")
        audio = _both(self.takes, self.streams, "audio")
        if len(video) == 2:
            pair = {"main": video[0], "inset": video[1]}
            video = [around.add("both", "flow.pip", lane="record", layout="side_by_side", inputs=pair)["video"]]
        if len(audio) == 2:
            rate_hz = self.outputs.audio.rate_hz if self.outputs.audio else DEFAULT_RATE_HZ
            if self.inputs.audio == self.outputs.audio:
                voices = {"a": audio[0], "b": audio[1]}
                audio = [around.add("voices", "flow.mix", lane="record", rate_hz=rate_hz, inputs=voices)["mixed"]]
            else:
                audio = audio[1:]  # two rates make no sum: the graph's own voice is kept
        inputs = {"video": video[:1], "audio": audio[:1], "text": _both((), self.streams, "text")}
        around.add(
            "mp4",
            "sink.mp4",
            lane="record",
            path=str(recording.path(".mp4")),
            inputs={port: streams[0] for port, streams in inputs.items() if streams},
        )

    def _formats(self, ends: Mapping[str, Exported]) -> EndFormats:
        shapes = {name: self._shape(end) for name, end in ends.items() if end.kind in ("video", "audio")}
        video = audio = None
        if "video" in shapes:
            found = shapes["video"]
            width, height = (found[2], found[1]) if found else DEFAULT_SIZE
            video = VideoFormat(width, height, float(self._alone.clock.fps))
        if "audio" in shapes:
            found = shapes["audio"]
            audio = AudioFormat(round(found[0] / self._alone.clock.period) if found else DEFAULT_RATE_HZ)
        return EndFormats(video, audio, "text" in ends, "event" in ends)

    def _shape(self, end: Exported) -> tuple[int, ...] | None:
        """The shape per unit of what goes through an end; None where the graph alone leaves it open."""
        for port in end.ports:
            stream = self._alone.streams.get(port) or self._fed(port)
            shape = next((t.shape for t in stream.tensors if t.name == WHOLE), None) if stream else None
            if shape is not None and all(shape):
                return tuple(n for n in shape if n is not None)
        return None

    def _fed(self, port: str) -> Any:
        """The stream that feeds an input of the graph alone."""
        name, _, inlet = port.rpartition(".")
        node = self._alone.nodes.get(name)
        fed = next((i.stream for i in node.inputs if i.port == inlet), None) if node else None
        return self._alone.streams.get(fed) if fed else None

    def _live_params(self) -> Iterator[LiveParam]:
        for node in self._alone.nodes.values():
            if node.name in self._graph.spec.exports.standalone:
                continue
            for name, param in resolve(node.target).params.items():
                if param.live:
                    choices = list(param.choices) if param.choices else None
                    yield LiveParam(f"{SERVED}/{node.name}", name, node.params[name], param.help, choices)


def _both(takes: Sequence[str], streams: Mapping[str, str], kind: str) -> list[str]:
    """The visitor's and the graph's stream of a kind, as far as there are any; as edges of the graph around."""
    visitor = [f"{VISITOR}.{kind}"] if kind in takes else []
    return [*visitor, *([f"{SERVED}.{kind}"] if kind in streams else [])]
