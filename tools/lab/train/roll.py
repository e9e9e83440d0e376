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
from .data import SCENARIO_NAMES
from .eyes import load_eyes
from .interact import Look, planned, save_model
from .labels import HEADS
from .partners import WorldPartners
from .workshop import Workshop, digest_of_weights


def learn_roll(shop: Workshop) -> None:
    """Go on from the stage ``interact``; writes the checkpoint anew.

    Where that stage has learned on since, this one begins anew from its weights, ``resume`` or not.

    Raises:
        UserError: that stage was not learned.
        ModelError: no number, a checkpoint that does not fit, or cannot be written.
        MediaError: voices or data that cannot be read or written.
    """
    audio, video = load_codecs(shop)
    eyes = load_eyes(shop, video)
    before = shop.out / "interact.state"
    if not before.exists():
        raise UserError(f"{before}: nothing learned (needed to go on from), first: wangraph train interact")
    kept = load_state(before, shop.identity("interact"))
    learner = Learner(DuplexModel(shop.preset), len(SCENARIO_NAMES), HEADS)
    learner.load_state_dict(kept["loop"]["average"])
    learner.to(shop.device)
    shop.make(shop.tracks())
    shop.make(shop.tracks("held-out"))
    plan, device = shop.plan, shop.device
    tracks = planned(shop)
    bank = shop.films().bank()
    partners = WorldPartners(
        bank, audio.to(device), video.to(device), eyes.to(device), plan.rows_rolled, device, plan.told_share
    )
    speaking = [VOCABULARY.state(name) for name in ("speak", "backchannel")]
    task = RollTask(InteractTask(learner, tracks.draw), partners, audio, plan.roll_units, speaking)
    loop = Loop(task, ROLL_RECIPE, 10**9, shop.seed + 1)
    drive = shop.drive("roll", loop, begun_with=digest_of_weights(kept["loop"]["average"]))
    look = Look(shop, loop, learner, audio, video)
    drive.on_checkpoint = look
    drive.run()
    shop.finish(drive)
    loop.use_average()
    look.draw(learner.model)
    save_model(shop, learner, audio.cpu(), video.cpu(), eyes.cpu(), kept["elapsed_s"] + drive.elapsed_s)
