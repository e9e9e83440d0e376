"""The stage ``roll``: the model goes on learning from what it says itself, with users who react to it."""

from __future__ import annotations

from ....runtime.errors import UserError
from ....wan_core.model import DuplexModel
from ....wan_core.train.interact import InteractTask, Learner
from ....wan_core.train.loop import Loop
from ....wan_core.train.roll import ROLL_RECIPE, RollTask
from ....wan_core.train.state import load_state
from ..world.tokens import VOCABULARY
from .codecs import load_codecs
from .context import TrainingContext, digest_of_weights
from .data import SCENARIO_NAMES
from .eyes import load_eyes
from .interact import Validation, planned, save_model
from .labels import HEADS
from .partners import WorldPartners


def learn_roll(context: TrainingContext) -> None:
    """Go on from the stage ``interact``; writes the checkpoint anew.

    Where that stage has learned on since, this one begins anew from its weights, ``resume`` or not.

    Raises:
        UserError: that stage was not learned.
        ModelError: no number, a checkpoint that does not fit, or cannot be written.
        MediaError: voices or data that cannot be read or written.
    """
    audio, video = load_codecs(context)
    eyes = load_eyes(context, video)
    before = context.out / "interact.state"
    if not before.exists():
        raise UserError(f"{before}: nothing learned (needed to go on from), first: wangraph train interact")
    kept = load_state(before, context.identity("interact"))
    learner = Learner(DuplexModel(context.preset), len(SCENARIO_NAMES), HEADS)
    learner.load_state_dict(kept["loop"]["average"])
    learner.to(context.device)
    context.make(context.tracks())
    context.make(context.tracks("held-out"))
    plan, device = context.plan, context.device
    tracks = planned(context)
    bank = context.media().bank()
    partners = WorldPartners(
        bank, audio.to(device), video.to(device), eyes.to(device), plan.rows_rolled, device, plan.prompt_share
    )
    speaking = [VOCABULARY.state(name) for name in ("speak", "backchannel")]
    task = RollTask(InteractTask(learner, tracks.draw), partners, audio, plan.roll_units, speaking)
    loop = Loop(task, ROLL_RECIPE, 10**9, context.seed + 1)
    drive = context.drive("roll", loop, begun_with=digest_of_weights(kept["loop"]["average"]))
    validation = Validation(context, loop, learner, audio, video)
    drive.on_checkpoint = validation
    drive.run()
    context.finish(drive)
    loop.use_average()
    validation.draw(learner.model)
    save_model(context, learner, audio.cpu(), video.cpu(), eyes.cpu(), kept["elapsed_s"] + drive.elapsed_s)
