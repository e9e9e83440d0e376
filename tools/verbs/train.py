"""``wangraph train``: learn a preset from the synthetic world, from nothing, on a budget of hours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from ..shared.group import Group
from ..shared.options import TRAINING_SEEDS, FiniteRange, force_option

F = TypeVar("F", bound=Callable[..., Any])

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
_MORE = (
    click.option("--preset", default="tiny", show_default=True, help="Shapes, and the plan that goes with them."),
    click.option("--hours", type=FiniteRange(0, 1e5, min_open=True), help="Of the whole training, all stages."),
    click.option("--voices", type=_FOLDER, metavar="DIR", help="Recorded people, too: WORD_PERSON_TAKE.wav"),
    click.option("--hold-out", multiple=True, metavar="NAME", help="Keep a speaker or synthesiser from training."),
    click.option(
        "--out", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help="Where everything goes."
    ),
    click.option(
        "--seed", type=TRAINING_SEEDS, default=0, show_default=True, help="Of weights, batches and dialogues."
    ),
    click.option("--resume", is_flag=True, help="Go on from the last checkpoints in --out."),
    click.option("--threads", type=click.IntRange(min=1), default=2, show_default=True, help="Cores to use."),
    click.option("--device", help="cpu or cuda; the graphics card where there is one, if not given."),
    click.option(
        "--steps", type=click.IntRange(min=1), help="Steps of every stage, instead of its share of the hours."
    ),
    click.option(
        "--checkpoint-steps", type=click.IntRange(min=1), help="Steps between checkpoints, instead of 2 minutes."
    ),
)


def _options(function: F) -> F:
    """Options of every stage."""
    for option in reversed(_MORE):
        function = option(function)
    return force_option(function)


_life_option = click.option(
    "--life", type=_FOLDER, metavar="DIR", help="Photographs and recordings of real people and places, too."
)
_from_option = click.option(
    "--from", "origin", default="", metavar="CHECKPOINT", help="Begin with these weights; codecs are kept."
)


@click.group("train", cls=Group)
def command() -> None:
    """Train a model that converses, on dialogues that the world makes up.

    \b
    wangraph train all --preset tiny                    from nothing, in about 3 hours on 2 cores
    wangraph train all --preset tiny --resume           go on after an interruption
    wangraph train all --hours 6 --resume               learn on; the codecs stay as they are
    wangraph train codecs --preset nano --out look       one stage, for a look
    wangraph train all --from tiny --voices MINE         teach the shipped model other voices

    Writes into DIR: the checkpoint PRESET.safetensors, and for each stage its state, curves and a contact sheet.
    """


@command.command("all", short_help="All stages in their order.")
@_options
@_life_option
@_from_option
def everything(origin: str, **options: Any) -> None:
    """All stages in their order; with --from, those after the codecs.

    \b
    wangraph train all --preset tiny
    wangraph train all --from tiny --voices MINE
    """
    _learn(("eyes", "interact", "roll") if origin else ("codecs", "eyes", "interact", "roll"), origin, **options)


@command.command("codecs", short_help="The audio codec and the video codec.")
@_options
@_life_option
def codecs(**options: Any) -> None:
    """The audio codec and the video codec, on dialogues as sound and pictures.

    \b
    wangraph train codecs --preset nano --out look
    """
    _learn(("codecs",), "", **options)


@command.command("eyes", short_help="What sees users, on photographs of people.")
@_options
@click.option(
    "--life",
    type=_FOLDER,
    required=True,
    metavar="DIR",
    help="Photographs and recordings of real people and places.",
)
@_from_option
def eyes(origin: str, **options: Any) -> None:
    """Train what sees users, on people before cameras; without photographs the video codec does.

    \b
    wangraph train eyes --preset tiny --life DIR --resume
    """
    _learn(("eyes",), origin, **options)


@command.command("interact", short_help="The model, on dialogues of the ideal agent.")
@_options
@_life_option
@_from_option
def interact(origin: str, **options: Any) -> None:
    """The model, on dialogues that the ideal agent has held.

    \b
    wangraph train interact --preset tiny --resume
    """
    _learn(("interact",), origin, **options)


@command.command("roll", short_help="The model, on dialogues that it holds by itself.")
@_options
@_life_option
@_from_option
def roll(origin: str, **options: Any) -> None:
    """The model, on dialogues that it holds by itself, corrected by the ideal agent.

    \b
    wangraph train roll --preset tiny --resume
    """
    _learn(("roll",), origin, **options)


def _learn(
    stages: Sequence[str],
    origin: str,
    *,
    preset: str,
    hours: float | None,
    voices: Path | None,
    hold_out: tuple[str, ...],
    life: Path | None,
    out: Path | None,
    seed: int,
    resume: bool,
    threads: int,
    device: str | None,
    steps: int | None,
    checkpoint_steps: int | None,
) -> None:
    from ..lab.train.context import TrainingContext, device_of
    from ..lab.train.plan import plan_of
    from ..lab.train.stages import learn
    from ..shared.tables import console

    plan = plan_of(preset)
    context = TrainingContext(
        preset,
        plan.hours if hours is None else hours,
        out or Path("training") / preset,
        console(),
        seed=seed,
        voices=str(voices.resolve()) if voices else "",
        hold_out=tuple(sorted(hold_out)),
        life=str(life.resolve()) if life else "",
        origin=origin,
        resume=resume,
        steps={} if steps is None else dict.fromkeys(plan.shares, steps),
        checkpoint_steps=checkpoint_steps,
        threads=threads,
        device=device_of(device),
    )
    learn(context, stages)
