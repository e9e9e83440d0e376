"""Stages that are known by what was published of them, and by nothing else: they have ports and no body.

A graph of them can be checked and simulated, never run. They let an architecture that exists elsewhere be put beside
one's own, on the same clock and by the same scheduler.
"""

from __future__ import annotations

from typing import Any

from ..runtime.errors import UserError
from ..runtime.node import Node, NodeContext, Unit
from ..runtime.ports import Input, Output


class SimulatedStage(Node):
    """Refuses to be opened."""

    def open(self, ctx: NodeContext) -> None:
        """There is nothing to open.

        Raises:
            UserError: always.
        """
        raise UserError(
            f"node '{ctx.name}': found a published stage, which has figures and no body (expected a node that runs), "
            "simulate the graph instead: wangraph simulate GRAPH --profile FILE"
        )

    def step(self, unit: Unit, **inputs: Any) -> Any:
        """Never called: `open` comes first."""
        raise NotImplementedError(type(self).__name__)


class Detect(SimulatedStage):
    """Voice activity detection: waits out the silence that ends a turn."""

    samples = Input("audio", "S", "float32", rate_hz=16000)
    turn = Output("tokens", "1", "int64", help="where the turn ended, in samples")


class Transcribe(SimulatedStage):
    """Speech to text, final once the turn has ended."""

    samples = Input("audio", "S", "float32", rate_hz=16000)
    turn = Input("tokens", "1", "int64")
    text = Output("text")


class Reply(SimulatedStage):
    """A language model's answer, streamed; its cost is the time to the first words."""

    text = Input("text")
    reply = Output("text")


class Speak(SimulatedStage):
    """Text to speech, streamed; its cost is the time to the first samples."""

    text = Input("text")
    samples = Output("audio", "S", "float32", rate_hz=16000)


class Animate(SimulatedStage):
    """A talking face driven by speech, streamed; its cost is the time to the first frame."""

    samples = Input("audio", "S", "float32", rate_hz=16000)
    frames = Output("video", "F 256 256 3", "uint8")
