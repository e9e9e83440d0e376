"""Plan of a training: the shares of the hours, the sizes of data and batches, preset by preset."""

from __future__ import annotations

from dataclasses import dataclass

from ....runtime.errors import UserError, did_you_mean, listing


@dataclass(frozen=True)
class TrainingPlan:
    """One preset's training.

    Attributes:
        hours: in which it is meant to be done.
        shares: of the hours, by stage; what is left is for making the data.
        media: dialogues with sound and pictures, for the codecs, of ``media_units`` each.
        tracks_per_hour: dialogues for the model for each hour of training, of ``track_units`` each.
        validation: held-out dialogues.
        views: users before cameras for the eyes, of ``view_units`` each; where there are photographs.
        clips, clip_units: batch of a codec; as many users are in a batch of the eyes.
        rows, units: batch of the model.
        long_share: last share of the steps, in which it is windows of ``long_units``, as many units in all.
        personas: of the agents, in turn; the first is who the agent is without a prompt.
        prompt_share: share of the batches with a persona's prompt; these have half as many rows.
        rows_rolled: dialogues that are rolled out at once, for ``roll_units``.
    """

    hours: float
    shares: dict[str, float]
    media: int
    media_units: int
    tracks_per_hour: float
    track_units: int
    validation: int
    clips: int
    clip_units: int
    rows: int
    units: int
    long_units: int
    rows_rolled: int
    roll_units: int
    views: int
    view_units: int
    long_share: float = 0.1
    personas: tuple[str, ...] = ("iris",)
    prompt_share: float = 0.0
    per_shard: int = 32


_SHARES = {"audio": 0.045, "video": 0.09, "eyes": 0.1, "interact": 0.595, "roll": 0.07}

PLANS: dict[str, TrainingPlan] = {
    "nano": TrainingPlan(
        hours=0.03,
        shares={"audio": 0.11, "video": 0.13, "eyes": 0.1, "interact": 0.41, "roll": 0.07},
        media=8,
        media_units=32,
        tracks_per_hour=800,
        track_units=48,
        validation=4,
        clips=4,
        clip_units=3,
        rows=4,
        units=24,
        long_units=48,
        rows_rolled=2,
        roll_units=12,
        views=16,
        view_units=4,
        personas=("iris", "otto"),
        prompt_share=0.2,
        per_shard=4,
    ),
    "tiny": TrainingPlan(
        hours=3.0,
        shares=_SHARES,
        media=320,
        media_units=48,
        tracks_per_hour=1500,
        track_units=96,
        validation=64,
        clips=8,
        clip_units=4,
        rows=6,
        units=48,
        long_units=96,
        rows_rolled=6,
        roll_units=72,
        views=28416,
        view_units=4,
        long_share=0.5,
        personas=("iris", "iris", "iris", "otto", "vera"),
        prompt_share=0.35,
    ),
}


def plan_of(name: str) -> TrainingPlan:
    """The plan of a preset.

    Raises:
        UserError: there is none.
    """
    if name not in PLANS:
        raise UserError(f"preset: found '{name}' (to train: {listing(PLANS)}){did_you_mean(name, PLANS)}")
    return PLANS[name]
