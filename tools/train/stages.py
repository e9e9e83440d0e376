"""The stages, in their order."""

from __future__ import annotations

from collections.abc import Sequence

from ...runtime.errors import UserError
from ...wan_core.errors import ModelError
from .codecs import learn_codecs
from .interact import learn_interact
from .roll import learn_roll
from .workshop import Workshop


def learn(shop: Workshop, stages: Sequence[str]) -> None:
    """Learn these stages, one after the other.

    Raises:
        UserError: whatever a stage cannot go on with.
    """
    verbs = {"codecs": learn_codecs, "interact": learn_interact, "roll": learn_roll}
    try:
        for stage in stages:
            verbs[stage](shop)
    except ModelError as error:
        raise UserError(str(error)) from error
