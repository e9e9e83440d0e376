"""``wangraph train``: learn a preset from the synthetic world, from nothing, on a budget of hours."""

from __future__ import annotations

from pathlib import Path

import click

from ...runtime.errors import UserError
from ..shared.options import TRAINING_SEEDS, FiniteRange

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
STAGES = ("codecs", "eyes", "interact", "roll")


@click.command("train")
@click.argument("stage", type=click.Choice([*STAGES, "all"]))
@click.option("--preset", default="tiny", show_default=True, help="Shapes, and the plan that goes with them.")
@click.option("--hours", type=FiniteRange(0, 1e5, min_open=True), help="Of the whole training, all stages.")
@click.option("--voices", type=_FOLDER, metavar="DIR", help="Recorded people, too: WORD_PERSON_TAKE.wav")
@click.option("--life", type=_FOLDER, metavar="DIR", help="Photographs and recordings of real people and places, too.")
@click.option("--hold-out", multiple=True, metavar="NAME", help="Keep a speaker or synthesiser from training.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help="Where everything goes.")
@click.option("--seed", type=TRAINING_SEEDS, default=0, show_default=True, help="Of weights, batches and dialogues.")
@click.option("--from", "origin", default="", metavar="CHECKPOINT", help="Begin with these weights; codecs are kept.")
@click.option("--resume", is_flag=True, help="Go on from the last checkpoints in --out.")
@click.option("--threads", type=click.IntRange(min=1), default=2, show_default=True, help="Cores to use.")
@click.option("--device", help="cpu or cuda; the graphics card where there is one, if not given.")
@click.option("--steps", type=click.IntRange(min=1), help="Steps of every stage, instead of its share of the hours.")
@click.option("--checkpoint-steps", type=click.IntRange(min=1), help="Steps between checkpoints, instead of 2 minutes.")
def command(
    stage: str,
    preset: str,
    hours: float | None,
    voices: Path | None,
    life: Path | None,
    hold_out: tuple[str, ...],
    origin: str,
    out: Path | None,
    seed: int,
    resume: bool,
    threads: int,
    device: str | None,
    steps: int | None,
    checkpoint_steps: int | None,
) -> None:
    """Train a model that converses, on dialogues that the world makes up.

    \b
    wangraph train all --preset tiny                    from nothing, in about 3 hours on 2 cores
    wangraph train all --preset tiny --resume           go on after an interruption
    wangraph train all --hours 6 --resume               learn on; the codecs stay as they are
    wangraph train codecs --preset nano --out look       one stage, for a look
    wangraph train all --from tiny --voices MINE         teach the shipped model other voices

    Writes into DIR: the checkpoint PRESET.safetensors, and for each stage its state, curves and a contact sheet.
    """
    from ..lab.train.plan import plan_of
    from ..lab.train.stages import learn
    from ..lab.train.workshop import Workshop, device_of
    from ..shared.tables import console

    if stage == "eyes" and life is None:
        raise UserError("train eyes: no photographs (needed to learn to see people), name their folder: --life DIR")
    shop = Workshop(
        preset,
        plan_of(preset).hours if hours is None else hours,
        out or Path("training") / preset,
        console(),
        seed=seed,
        voices=str(voices.resolve()) if voices else "",
        hold_out=tuple(sorted(hold_out)),
        life=str(life.resolve()) if life else "",
        origin=origin,
        resume=resume,
        steps={} if steps is None else dict.fromkeys(plan_of(preset).shares, steps),
        checkpoint_steps=checkpoint_steps,
        threads=threads,
        device=device_of(device),
    )
    stages = STAGES[1:] if origin else STAGES
    learn(shop, stages if stage == "all" else (stage,))
