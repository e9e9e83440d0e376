"""The stage ``interact``: tracks of the world, then the model on them, validated on voices that it never hears."""

from __future__ import annotations

import copy
from dataclasses import replace

import torch
from torch import Tensor, nn

from ....wan_core.checkpoint import load_part
from ....wan_core.config import Preset
from ....wan_core.exchange import UserUnit
from ....wan_core.flow import Latents
from ....wan_core.media.audio import AudioCodec
from ....wan_core.media.eyes import PART, Eyes
from ....wan_core.media.mel import LogMel
from ....wan_core.media.video import VideoCodec
from ....wan_core.model import DuplexModel
from ....wan_core.reference import Reference
from ....wan_core.train.interact import INTERACT_RECIPE, InteractTask, Learner, load_understanding, validate
from ....wan_core.train.loop import Loop
from ....wan_core.train.schedule import Recipe
from ....wan_core.train.sequences import Sequences
from ..world.signal import Sound
from .codecs import load_codecs
from .contact_sheet import Picture, spectrogram, stack, strip, write_png
from .context import TrainingContext, seconds_of
from .data import SCENARIO_NAMES
from .eyes import load_eyes
from .labels import HEADS
from .shards import Tracks, load

BASICS_UNTIL = 0.2
"""Share of the steps in which a model that knows nothing learns the simplest dialogues."""
BEGUN_RATE = 2 / 3
"""Share of the learning rate at which a model that knows much already goes on; at the full one it forgets more."""
VALIDATED = 16
"""Held-out dialogues that are looked at on the way."""
SHEET_EVERY = 5
"""Checkpoints between two contact sheets."""
SHEET_UNITS = 24


def learn_interact(context: TrainingContext) -> None:
    """Learn the model on tracks; writes the checkpoint of model and codecs.

    Raises:
        UserError: there are no codecs yet.
        ModelError: no number, a checkpoint that does not fit, or cannot be written.
        MediaError: voices or data that cannot be read or written.
    """
    audio, video = load_codecs(context)
    eyes = load_eyes(context, video)
    context.check("interact")
    context.make(context.tracks())
    context.make(context.tracks("held-out"))
    tracks = planned(context, basics_of(context))
    learner = new_learner(context, context.preset).to(context.device)
    loop = Loop(InteractTask(learner, tracks.draw), recipe_of(context), 10**9, context.seed)
    drive = context.drive("interact", loop)
    validation = Validation(context, loop, learner, audio, video)
    drive.on_checkpoint = validation
    drive.run()
    context.finish(drive)
    loop.use_average()
    validation.draw(learner.model)
    save_model(context, learner, audio, video, eyes, drive.elapsed_s)


def planned(context: TrainingContext, basics_until: float = 0.0) -> Tracks:
    """The batches of the training's plan."""
    plan, data = context.plan, load(context.tracks(), context.data)
    return Tracks(
        data, plan.rows, plan.units, plan.long_units, context.device, basics_until, plan.long_share, plan.prompt_share
    )


def basics_of(context: TrainingContext) -> float:
    """Share of the steps in which the simplest dialogues are learned: none where they are known."""
    return 0.0 if context.origin else BASICS_UNTIL


def recipe_of(context: TrainingContext) -> Recipe:
    """Recipe of the training: gentle where much is known."""
    return replace(INTERACT_RECIPE, rate=INTERACT_RECIPE.rate * BEGUN_RATE) if context.origin else INTERACT_RECIPE


def new_learner(context: TrainingContext, shapes: Preset) -> Learner:
    """A learner of these shapes with the first weights of the training: random, or those of its origin."""
    context.seed_weights(3)
    learner = Learner(DuplexModel(shapes), len(SCENARIO_NAMES), HEADS)
    if context.origin:
        model = load_part(context.origin, "model", DuplexModel).module
        heads = load_understanding(context.origin, HEADS)
        learner.model.load_state_dict(model.state_dict())
        learner.understanding.load_state_dict(heads.state_dict(), strict=False)  # newer heads begin at random
        context.console.print(f"begun from {context.origin}, {context.seconds_before / 60:.0f} min learned before")
    return learner


def save_model(
    context: TrainingContext,
    learner: Learner,
    audio: AudioCodec,
    video: VideoCodec,
    eyes: VideoCodec | Eyes,
    seconds: float,
) -> None:
    """Write the checkpoint that graphs run; in half precision, which is enough and half as large.

    Args:
        eyes: what sees users; the codec does where none were learned.
        seconds: that the model has learned for; those of the codecs are added.
    """
    parts: dict[str, nn.Module] = {
        "model": learner.model.cpu().eval(),
        "understanding": learner.understanding.cpu().eval(),
        "audio_codec": audio,
        "video_codec": video,
    }
    if isinstance(eyes, Eyes):
        parts[PART] = eyes
    context.save(context.result, parts, seconds + seconds_of(context.codecs), torch.float16)
    context.console.print(f"wrote {context.result}")


class Validation:
    """Validates the averaged model at a checkpoint: figures on held-out dialogues, and now and then a contact sheet."""

    def __init__(
        self, context: TrainingContext, loop: Loop, learner: Learner, audio: AudioCodec, video: VideoCodec
    ) -> None:
        self.context, self.loop, self.audio, self.video = context, loop, audio, video
        data = load(context.tracks("held-out"), context.data)
        rows = min(VALIDATED, len(data["scenario"]))
        tracks = Tracks(data, rows, context.plan.units, context.plan.long_units, context.device)
        self.batch = tracks.windows([(row, 0) for row in range(rows)], context.plan.units)
        self.learner = copy.deepcopy(learner)
        self._count = 0

    def __call__(self, step: int) -> None:
        """After a checkpoint at this step."""
        self.learner.load_state_dict(self.loop.average.tensors)
        figures = validate(self.learner, self.batch)
        shown = "  ".join(f"{name} {value:.3g}" for name, value in figures.items())
        self.context.console.print(f"held-out, step {step}: {shown}", soft_wrap=True)
        self._count += 1
        if self._count % SHEET_EVERY == 0:
            self.draw(self.learner.model)

    def draw(self, model: DuplexModel) -> None:
        """Write the contact sheet."""
        sheet = contact_sheet(model.cpu().eval(), self.audio, self.video, self.batch, SHEET_UNITS)
        write_png(self.context.out / "interact-sheet.png", sheet)
        model.to(self.context.device)


@torch.inference_mode()
def free_run(model: DuplexModel, batch: Sequences, row: int, units: int) -> tuple[Tensor, Latents]:
    """The model's own words [U] and responses [1, U, ...] to a recorded user."""
    reference, mel = Reference(model), LogMel(model.preset.mel)
    state = reference.new_state(1)
    mel_units, _ = mel(batch.user_audio[row : row + 1, :units].cpu(), mel.new_state(1))
    words, latents = [], list[Latents]()
    for unit in range(units):
        user = UserUnit(
            batch.user_video[row : row + 1, unit].cpu(), mel_units[:, unit], batch.user_text[row : row + 1, unit].cpu()
        )
        thought, response = reference.step(state, user, seed=row)
        words.append(thought.text)
        latents.append(response)
    audio, video = torch.stack([x.audio for x in latents], 1), torch.stack([x.video for x in latents], 1)
    return torch.cat(words), Latents(audio, video)


def contact_sheet(
    model: DuplexModel, audio: AudioCodec, video: VideoCodec, batch: Sequences, units: int, row: int = 0
) -> Picture:
    """A held-out user, the ideal agent's answer, the model's own; one picture a unit, sound below."""
    units = min(units, batch.shape[1])
    true = Latents(*(x[row : row + 1, :units].cpu() for x in batch.agent))
    _, own = free_run(model, batch, row, units)
    videos = [batch.user_video[row : row + 1, :units].cpu(), true.video, own.video]
    rows = [strip(_pictures(video, latents)[:, 1]) for latents in videos]
    width = rows[0].shape[1]
    sounds = [
        batch.user_audio[row, :units].cpu().flatten().numpy(),
        _sound(audio, true.audio),
        _sound(audio, own.audio),
    ]
    rows += [spectrogram(sound, width) for sound in sounds]
    return stack(rows)


@torch.inference_mode()
def _pictures(video: VideoCodec, latents: Tensor) -> Picture:
    """[1, U, ...] -> [U, F, H, W, 3]."""
    found, _ = video.decode(latents.to(video.scale.mean.device), video.new_decoder_state())
    shown: Picture = ((found[0] + 1) * 127.5).clamp(0, 255).round().to(torch.uint8).cpu().numpy()
    return shown


@torch.inference_mode()
def _sound(audio: AudioCodec, latents: Tensor) -> Sound:
    """[1, U, ...] -> samples."""
    samples, _ = audio.decode(latents.to(audio.scale.mean.device), audio.new_decoder_state())
    made: Sound = samples.flatten().cpu().numpy()
    return made
