"""The stage ``eyes``: users before cameras, then the network that sees them, then its gates on people it never saw."""

# N users, U units

from __future__ import annotations

import math

import torch
from torch import Tensor

from ....runtime.errors import UserError
from ....wan_core.checkpoint import load_part
from ....wan_core.media.eyes import PART, Eyes, Sight, load_eyes_of
from ....wan_core.media.video import VideoCodec
from ....wan_core.train.codecs import Probe, probe
from ....wan_core.train.eyes import EYES_RECIPE, EyesTask, Reader, Views
from ....wan_core.train.loop import Loop
from .codecs import GATE, load_codecs
from .context import TrainingContext
from .labels import POSE
from .shards import load

ROWS, UNITS = 40, 2
"""Users in a batch, and units of each: eyes remember one, and many users teach more than much of a few."""
_LEAST_SCALE = 0.12  # of what hardly ever varies


def learn_eyes(context: TrainingContext) -> list[Probe]:
    """Learn to see, write the checkpoint; returns the gates. Without photographs there is nothing to learn.

    Raises:
        UserError: there are no codecs yet.
        ModelError: no number, a checkpoint that does not fit, or cannot be written.
        MediaError: pictures or data that cannot be read or written.
    """
    if not context.life:
        return []
    _, codec = load_codecs(context)
    context.check("eyes")
    context.make(context.views())
    context.make(context.views("held-out"))
    data, kept_back = load(context.views(), context.data), load(context.views("held-out"), context.data)
    reader, scale = reader_of(data)
    context.seed_weights(4)
    eyes = first_eyes(context, codec, data["latents"].float().flatten(0, 1)).to(context.device)
    users = Users(data, ROWS, UNITS, context.device)
    task = EyesTask(eyes, users.draw, reader.to(context.device), scale.to(context.device))
    loop = Loop(task, EYES_RECIPE, 10**9, context.seed + 2)
    drive = context.drive("eyes", loop)
    drive.run()
    context.finish(drive)
    loop.use_average()
    learned = eyes.eval().cpu()
    context.save(context.eyes, {PART: learned}, context.seconds_before + drive.elapsed_s)
    gates = gates_of(learned, data, kept_back)
    for gate in gates:
        word = "passed" if gate.accuracy >= GATE else f"below {GATE}"
        word = "too few to tell" if math.isnan(gate.accuracy) else word
        context.console.print(f"eyes see {gate.name}: balanced accuracy {gate.accuracy:.3f} of {gate.counts}, {word}")
    return gates


def first_eyes(context: TrainingContext, codec: VideoCodec, latents: Tensor) -> Eyes:
    """Those of the checkpoint that the training begins with, or new ones that have learned nothing of people."""
    eyes = load_eyes_of(context.origin) if context.origin else None
    if eyes is None:
        eyes = Eyes(context.preset.video)
        eyes.begin(codec, latents)
    return eyes.requires_grad_(True)


def load_eyes(context: TrainingContext, video: VideoCodec) -> VideoCodec | Eyes:
    """Encoder that sees users in this training: its eyes, those of the checkpoint that it begins with, or the codec.

    Raises:
        UserError: there are photographs, and no eyes that were learned on them.
        ModelError: their checkpoint does not fit.
    """
    if not context.eyes.exists():
        eyes = load_eyes_of(context.origin) if context.origin else None
        if eyes is not None:
            context.save(context.eyes, {PART: eyes}, context.seconds_before)
        elif context.life:
            raise UserError(f"{context.eyes}: no eyes (needed to see photographs), first: wangraph train eyes")
        else:
            return video
    return load_part(context.eyes, PART, lambda shapes: Eyes(shapes.video)).module


class Users:
    """Batches of users before cameras.

    Args:
        data: of `load`.
        rows: users in a batch.
        units: of each.
        device: where batches go.
    """

    def __init__(self, data: dict[str, Tensor], rows: int, units: int, device: torch.device) -> None:
        # autocast stacks no float16 on a processor, and a batch is drawn under it
        self.data = {name: x.float() if x.is_floating_point() else x for name, x in data.items()}
        self.rows, self.device = min(rows, len(data["latents"])), device
        self.units = min(units, data["latents"].shape[1])

    def draw(self, generator: torch.Generator) -> Views:
        """A batch, as `EyesTask` wants it."""
        users, long = self.data["latents"].shape[:2]
        rows = torch.randint(users, (self.rows,), generator=generator).tolist()
        firsts = torch.randint(long - self.units + 1, (self.rows,), generator=generator).tolist()

        def cut(name: str) -> Tensor:
            tensor = self.data[name]
            parts = [tensor[row, first : first + self.units] for row, first in zip(rows, firsts, strict=True)]
            return torch.stack(parts).to(self.device)

        frames, latents, pose = map(cut, ("user_video", "latents", "user_pose"))
        return Views(frames.float() / 127.5 - 1, latents, pose)


def reader_of(data: dict[str, Tensor]) -> tuple[Reader, Tensor]:
    """Reader of the pose from latents of drawings, and how much each of its numbers varies."""
    pose = data["user_pose"].float().flatten(0, 1)
    is_known = ~pose.isnan().any(1)
    latents = data["latents"].float().flatten(0, 1).flatten(1)
    reader = Reader.fitted(latents[is_known], pose[is_known])
    return reader, pose[is_known].std(0).clamp_min(_LEAST_SCALE)


@torch.inference_mode()
def seen(eyes: Sight, frames: Tensor, rows: int = 32) -> Tensor:
    """Latents of clips [N, U, F, H, W, 3] of bytes, flat: [N, U, L]."""
    parts = [
        eyes.encode(part.float() / 127.5 - 1, eyes.new_encoder_state(len(part)))[0]
        for part in torch.split(frames, rows)
    ]
    return torch.cat(parts).flatten(2)


def gates_of(eyes: Sight, data: dict[str, Tensor], kept_back: dict[str, Tensor], fitted_on: int = 600) -> list[Probe]:
    """Linear probes fitted on some of the people who were trained on, tested on others."""
    some = {name: tensor[:fitted_on] for name, tensor in data.items()}
    latents = torch.cat([seen(eyes, part["user_video"]).flatten(0, 1) for part in (some, kept_back)])
    pose = torch.cat([part["user_pose"].float().flatten(0, 1) for part in (some, kept_back)])
    is_test = torch.arange(len(pose)) >= some["user_pose"].shape[0] * some["user_pose"].shape[1]
    column = {name: pose[:, POSE.index(name)] for name in POSE}
    colours = pose[:, POSE.index("red") :]
    wanted = {
        "gaze": (column["gaze_x"].abs() > 0.5).long(),
        "hand": (column["hand"] > 0.5).long(),
        "card": torch.where(colours.amax(1) > 0.5, 1 + colours.argmax(1), 0),
        "mouth": torch.where(column["mouth"].isnan(), -1, (column["mouth"] > 0.25).long()),
    }
    # between two states there is nothing to be right about
    clear = {
        "gaze": (column["gaze_x"].abs() - 0.5).abs() > 0.3,
        "hand": (column["hand"] - 0.5).abs() > 0.3,
        "card": (colours.amax(1) - 0.5).abs() > 0.3,
        "mouth": (column["mouth"] - 0.25).abs() > 0.1,
    }
    gates = []
    for name, classes in wanted.items():
        some_of_them = clear[name] & (classes >= 0)
        gates.append(probe(name, latents[some_of_them], classes[some_of_them], is_test[some_of_them]))
    return gates
