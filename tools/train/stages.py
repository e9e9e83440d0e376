"""The stages, in their order."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...runtime.errors import UserError
from ...wan_core.errors import ModelError
from .codecs import learn_codecs
from .interact import learn_interact
from .roll import learn_roll
from .workshop import CODEC_STAGES, Workshop

_LEARN: dict[str, Callable[[Workshop], object]] = {
    "codecs": learn_codecs,
    "interact": learn_interact,
    "roll": learn_roll,
}
"""In their order."""


def learn(shop: Workshop, stages: Sequence[str]) -> None:
    """Learn these stages, one after the other.

    Raises:
        UserError: whatever a stage cannot go on with, or what it would begin anew over.
    """
    if not shop.resume:
        _spare(shop, stages)
    try:
        for stage in stages:
            _LEARN[stage](shop)
    except ModelError as error:
        raise UserError(str(error)) from error


def _spare(shop: Workshop, stages: Sequence[str]) -> None:
    """Pass if nothing is lost when the first of these stages begins anew.

    Raises:
        UserError: it, or a stage that comes after it, has taken steps here.
    """
    order = list(_LEARN)
    for stage in order[order.index(stages[0]) :]:
        for path in (shop.out / f"{name}.state" for name in (CODEC_STAGES if stage == "codecs" else (stage,))):
            if path.exists():
                raise UserError(
                    f"{path}: found a training (expected none, since '{stages[0]}' would begin anew), "
                    "go on with --resume or choose another --out"
                )
