"""The stages, in their order."""

from __future__ import annotations

from collections.abc import Sequence

from ...runtime.errors import UserError
from ...wan_core.errors import ModelError
from .codecs import learn_codecs
from .interact import learn_interact
from .roll import learn_roll
from .workshop import CODEC_STAGES, Workshop


def learn(shop: Workshop, stages: Sequence[str]) -> None:
    """Learn these stages, one after the other.

    Raises:
        UserError: whatever a stage cannot go on with, or what it would begin anew over.
    """
    if not shop.resume:
        _spare(shop, stages)
    verbs = {"codecs": learn_codecs, "interact": learn_interact, "roll": learn_roll}
    try:
        for stage in stages:
            verbs[stage](shop)
    except ModelError as error:
        raise UserError(str(error)) from error


def _spare(shop: Workshop, stages: Sequence[str]) -> None:
    """Pass if nothing is lost when the first of these stages begins anew.

    Raises:
        UserError: it, or a stage that comes after it, has taken steps here.
    """
    order = ("codecs", "interact", "roll")
    for stage in order[order.index(stages[0]) :]:
        for name in CODEC_STAGES if stage == "codecs" else (stage,):
            path = shop.out / f"{name}.state"
            if path.exists():
                raise UserError(
                    f"{path}: found a training (expected none, since '{stages[0]}' would begin anew), "
                    "go on with --resume or choose another --out"
                )
