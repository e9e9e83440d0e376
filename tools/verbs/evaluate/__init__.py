"""``wangraph evaluate``: dialogues that an agent holds by itself, and how good they were."""

from __future__ import annotations

import click

from ...shared.group import Group
from . import agent, audio, cascade, drift, fit_recogniser, graph, model, real, seeds


@click.group("evaluate", cls=Group)
def command() -> None:
    """Measure how an agent converses: with users who were never part of its training, and who react to it.

    \b
    wangraph evaluate model                                 the shipped checkpoint, all measures
    wangraph evaluate model mine.safetensors --only cards   another one, some kinds of dialogues
    wangraph evaluate graph cascade --set timeout_ms=400    any graph that takes a user in
    wangraph evaluate agent ws://127.0.0.1:8765             docs/benchmark.md: what users expect of it
    wangraph evaluate audio me.wav                          what a checkpoint makes of a recording
    wangraph evaluate real videos                            videos of people, with what was said when
    """


for module in (model, seeds, graph, agent, cascade, drift, audio, real, fit_recogniser):
    command.add_command(module.command)
