"""``wangraph ablate``: what each decision of the model is worth, one training after the other."""

from __future__ import annotations

from pathlib import Path

import click

from ...runtime.errors import UserError
from ..shared.options import TRAINING_SEEDS, FiniteRange, force_option

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command("ablate")
@click.option("--preset", default="tiny", show_default=True, help="Shapes, and the plan that goes with them.")
@click.option("--hours", type=FiniteRange(0, 1e5, min_open=True), default=3.0, show_default=True,
              help="Of all variants together, as they are counted in a whole training.")  # fmt: skip
@click.option("--voices", type=_FOLDER, metavar="DIR", help="Recorded people, as in the training of the codecs.")
@click.option("--hold-out", multiple=True, metavar="NAME", help="The same.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, metavar="DIR",
              help="Of a training whose codecs are learned; any folder with --from.")  # fmt: skip
@force_option
@click.option("--seed", type=TRAINING_SEEDS, default=0, show_default=True, help="As in that training.")
@click.option("--from", "origin", default="", metavar="CHECKPOINT", help="Every variant goes on from these weights.")
@click.option("--resume", is_flag=True, help="Go on from the last checkpoints.")
@click.option("--threads", type=click.IntRange(min=1), default=2, show_default=True, help="Cores to use.")
@click.option("--device", help="cpu or cuda; the graphics card where there is one, if not given.")
@click.option("--dialogues", type=click.IntRange(min=2), default=32, show_default=True, help="Measured, of each kind.")
@click.option("--steps", type=click.IntRange(min=1), help="Steps of each variant, instead of its share of the hours.")
def command(
    preset: str,
    hours: float,
    voices: Path | None,
    hold_out: tuple[str, ...],
    out: Path,
    seed: int,
    origin: str,
    resume: bool,
    threads: int,
    device: str | None,
    dialogues: int,
    steps: int | None,
) -> None:
    """Train variants of the model that lack one thing each, on codecs that are learned, and compare them.

    \b
    wangraph train codecs --out DIR
    wangraph ablate --out DIR --hours 3              20 minutes a variant, from random weights
    wangraph ablate --out DIR --hours 1 --from tiny  what the shipped model loses when it learns on without it

    The table is in DIR/ablations.json, too.
    """
    from ...wan_core.errors import ModelError
    from ..lab.ablations import VARIANTS, learn_ablations, stage_of
    from ..lab.train.context import TrainingContext, device_of
    from ..lab.train.stages import locked
    from ..shared.tables import console

    context = TrainingContext(
        preset,
        hours,
        out,
        console(),
        seed=seed,
        voices=str(voices.resolve()) if voices else "",
        hold_out=tuple(sorted(hold_out)),
        origin=origin,
        resume=resume,
        steps={} if steps is None else {stage_of(variant): steps for variant in VARIANTS},
        threads=threads,
        device=device_of(device),
    )
    try:
        with locked(context.out):
            learn_ablations(context, dialogues)
    except ModelError as error:
        raise UserError(str(error)) from error
