"""The stages, in their order."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ....runtime.errors import MediaError, UserError
from ....wan_core.errors import ModelError
from .codecs import learn_codecs
from .context import CODEC_STAGES, TrainingContext
from .eyes import learn_eyes
from .interact import learn_interact
from .roll import learn_roll

_LEARN: dict[str, Callable[[TrainingContext], object]] = {
    "codecs": learn_codecs,
    "eyes": learn_eyes,
    "interact": learn_interact,
    "roll": learn_roll,
}
"""In their order."""


def learn(context: TrainingContext, stages: Sequence[str]) -> None:
    """Learn these stages, one after the other.

    Raises:
        UserError: whatever a stage cannot go on with, or what it would begin anew over; another training is at work.
    """
    with locked(context.out):
        if not context.resume:
            _check_nothing_lost(context, stages)
        try:
            for stage in stages:
                _LEARN[stage](context)
        except ModelError as error:
            raise UserError(str(error)) from error


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Keep other trainings out of a folder; the lock ends with this process, however that ends.

    Raises:
        UserError: one is at work there.
        MediaError: the folder cannot be written to.
    """
    with ExitStack() as held:
        try:
            fcntl.flock(held.enter_context((out / ".lock").open("a")), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                f"{out}: found another training at work here (expected none: they would write over each other), "
                "wait for its end or choose another --out"
            ) from error
        except OSError as error:
            raise MediaError(f"{out}: {error.strerror} (expected a folder to write to), choose --out") from error
        yield


def _check_nothing_lost(context: TrainingContext, stages: Sequence[str]) -> None:
    """Pass if nothing is lost when the first of these stages begins anew.

    Raises:
        UserError: it, or a stage that comes after it, has taken steps here.
    """
    order = list(_LEARN)
    for stage in order[order.index(stages[0]) :]:
        for path in (context.out / f"{name}.state" for name in (CODEC_STAGES if stage == "codecs" else (stage,))):
            if path.exists():
                raise UserError(
                    f"{path}: found a training (expected none, since '{stages[0]}' would begin anew), "
                    "go on with --resume or choose another --out"
                )
