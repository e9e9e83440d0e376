"""The stage ``codecs``: dialogues as sound and pictures, then the audio codec, then the video codec, then the gates."""

# N dialogues, U units, S side in pixels

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ....runtime.errors import UserError
from ....wan_core.checkpoint import load_part
from ....wan_core.checkpoint_header import CODECS, inspect
from ....wan_core.errors import ModelError
from ....wan_core.media.audio import AudioCodec
from ....wan_core.media.video import VideoCodec
from ....wan_core.train.codecs import (
    AUDIO_RECIPE,
    VIDEO_RECIPE,
    AudioTask,
    Probe,
    VideoTask,
    begin_audio,
    fit_audio_scale,
    fit_video_scale,
    probe,
)
from ....wan_core.train.loop import Loop
from ....wan_core.train.state import load_state
from .contact_sheet import Picture, spectrogram, stack, strip, write_png
from .context import CODEC_STAGES, TrainingContext
from .labels import POSE
from .shards import Media, load

AGENT_SHARE_AUDIO, AGENT_SHARE_VIDEO = 0.8, 0.5
"""How many clips are the agent's: only its voice is ever generated; both faces are seen."""

GATE = 0.95
"""Balanced accuracy that a linear probe should reach on everything the agent must see."""

_BOXES = ((-0.42, 0.42, -0.32, 0.14), (-0.32, 0.32, 0.12, 0.52))
"""Where eyes and mouth are: x from, x to, y from, y to, in -1..1."""
_BOX_WEIGHT = 8.0


def learn_codecs(context: TrainingContext) -> list[Probe]:
    """Learn both codecs, write their checkpoint and a contact sheet; returns the gates.

    Gone on with, codecs that are done stay as they are once the model has begun to learn on them.

    Raises:
        ModelError: no number, a checkpoint that does not fit, or cannot be written.
        MediaError: voices or data that cannot be read or written.
    """
    for stage in CODEC_STAGES:
        context.check(stage)
    spec = context.media()
    context.make(spec)
    data = load(spec, context.data)
    plan, device = context.plan, context.device
    context.seed_weights(1)
    audio = AudioTask(
        AudioCodec(context.preset.audio).to(device),
        Media(data, plan.clips, plan.clip_units, AGENT_SHARE_AUDIO, device).sounds,
    )
    begin_audio(audio.codec)
    audio.module.to(device)
    torch.set_num_threads(1)  # its products are too small to share: two threads take as long as one
    seconds = _learn(context, "audio", Loop(audio, AUDIO_RECIPE, 10**9, context.seed))
    torch.set_num_threads(context.threads)
    context.seed_weights(2)
    weights = pixel_weights(context.preset.video.height).to(device)
    video = VideoTask(
        VideoCodec(context.preset.video).to(device),
        Media(data, plan.clips, plan.clip_units, AGENT_SHARE_VIDEO, device).clips,
        weights,
        len(POSE),
    )
    video.module.to(device)
    seconds += _learn(context, "video", Loop(video, VIDEO_RECIPE, 10**9, context.seed))
    learned = (audio.codec.eval().cpu(), video.codec.eval().cpu())
    _fit_scales(*learned, data)
    context.save(context.codecs, dict(zip(CODECS, learned, strict=True)), seconds)
    write_png(context.out / "codecs-sheet.png", contact_sheet(audio.codec, video.codec, data))
    gates = gates_of(video.codec, data)
    for gate in gates:
        word = "passed" if gate.accuracy >= GATE else f"below {GATE}"
        word = "too few to tell" if math.isnan(gate.accuracy) else word
        context.console.print(f"probe {gate.name}: balanced accuracy {gate.accuracy:.3f} of {gate.counts}, {word}")
    return gates


def load_codecs(context: TrainingContext) -> tuple[AudioCodec, VideoCodec]:
    """The codecs that this training has learned.

    Raises:
        UserError: it has not learned any, or they are not those of the checkpoint that it begins with.
        ModelError: their checkpoint does not fit.
    """
    if context.origin:
        _keep_codecs(context)
    if not context.codecs.exists():
        raise UserError(f"{context.codecs}: no codecs (needed to encode dialogues), first: wangraph train codecs")
    return _read(context.codecs)


def _keep_codecs(context: TrainingContext) -> None:
    """Copy the codecs of the checkpoint that the training begins with; no others will do, its latents are theirs."""
    if not context.codecs.exists():
        context.save(context.codecs, dict(zip(CODECS, _read(context.origin), strict=True)), context.seconds_before)
        return
    for facts in inspect(context.codecs).metadata.values():
        if facts.get("origin") != context.origin_digest:
            raise UserError(
                f"{context.codecs}: found codecs of another training (expected those of {context.origin}), "
                "choose another --out"
            )


def _read(checkpoint: str | Path) -> tuple[AudioCodec, VideoCodec]:
    audio = load_part(checkpoint, CODECS[0], lambda shapes: AudioCodec(shapes.audio)).module
    video = load_part(checkpoint, CODECS[1], lambda shapes: VideoCodec(shapes.video)).module
    return audio, video


def pixel_weights(size: int) -> Tensor:
    """Weight of each pixel [S, S]: eyes and mouth more."""
    weights = torch.ones(size, size)
    for left, right, top, bottom in _BOXES:
        x0, x1, y0, y1 = (round((edge + 1) / 2 * size) for edge in (left, right, top, bottom))
        weights[y0:y1, x0:x1] = _BOX_WEIGHT
    return weights


def gates_of(video: VideoCodec, data: dict[str, Tensor]) -> list[Probe]:
    """Linear probes on latents of users: what the agent must see. Every fourth dialogue is tested on."""
    pose = data["user_pose"].float()
    frames = data["user_video"]
    with torch.inference_mode():
        latents = torch.cat(
            [video.encode(clip[None].float() / 127.5 - 1, video.new_encoder_state())[0] for clip in frames]
        )
    flat = latents.flatten(0, 1).flatten(1)
    is_test = (torch.arange(len(frames)) % 4 == 3)[:, None].expand(-1, frames.shape[1]).flatten()
    column = {name: pose[..., POSE.index(name)].flatten() for name in POSE}
    wanted: dict[str, Tensor] = {
        "gaze": (column["gaze_x"].abs() > 0.5).long(),
        "hand": (column["hand"] > 0.5).long(),
        "card": data["card"].flatten().long(),
        "mouth": (column["mouth"] > 0.25).long(),
    }
    return [probe(name, flat, classes, is_test) for name, classes in wanted.items()]


@torch.inference_mode()
def contact_sheet(audio: AudioCodec, video: VideoCodec, data: dict[str, Tensor], units: int = 6) -> Picture:
    """Both people before and after the video codec, the agent's voice before and after the audio codec."""
    loud = data["agent_audio"].float().square().mean(2).unfold(1, units, 1).mean(2)
    row, start = divmod(int(loud.argmax()), loud.shape[1])
    rows: list[Picture] = []
    for side in ("user", "agent"):
        frames = data[f"{side}_video"][row : row + 1, start : start + units]
        found, _ = video.decode(
            video.encode(frames.float() / 127.5 - 1, video.new_encoder_state())[0], video.new_decoder_state()
        )
        shown = ((found + 1) * 127.5).clamp(0, 255).round().to(torch.uint8)
        rows += [strip(x[0].flatten(0, 1).numpy()) for x in (frames, shown)]
    sound = data["agent_audio"][row : row + 1, start : start + units].float() / 32767
    decoded, _ = audio.decode(audio.encode(sound, audio.new_encoder_state())[0], audio.new_decoder_state())
    rows += [spectrogram(x.flatten().numpy().astype(np.float32), rows[0].shape[1]) for x in (sound, decoded)]
    return stack(rows)


def _learn(context: TrainingContext, stage: str, loop: Loop) -> float:
    """Seconds that it took."""
    drive = context.drive(stage, loop)
    if loop.is_done and _is_taken(context):
        context.console.print(f"{stage}: kept as it is, interact has begun on its latents")
    else:
        drive.run()
    context.finish(drive)
    loop.use_average()
    return drive.elapsed_s


def _is_taken(context: TrainingContext) -> bool:
    """True if the model has begun to learn on these codecs: with any others it would have to begin anew."""
    try:
        load_state(context.out / "interact.state", context.identity("interact"))
    except ModelError:
        return False
    return True


def _fit_scales(audio: AudioCodec, video: VideoCodec, data: dict[str, Tensor], dialogues: int = 48) -> None:
    """Only the agent's voice and both faces are ever modelled."""
    some = slice(0, dialogues)
    fit_audio_scale(audio, data["agent_audio"][some].float() / 32767)
    both = torch.cat([data["user_video"][some], data["agent_video"][some]])
    fit_video_scale(video, both.float() / 127.5 - 1)
