"""Worth of each decision: the same training without it, on the same codecs and dialogues, and what is then lost.

Reduced runs: each variant learns for its share of the hours, without the stage ``roll``, from random weights or from
those of a checkpoint. The table says so.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from ...runtime.errors import MediaError
from ...runtime.output_file import claim
from ...wan_core.config import CacheConfig, Preset
from ...wan_core.model import DuplexModel
from ...wan_core.train.interact import Draw, InteractTask
from ...wan_core.train.loop import Loop
from ...wan_core.train.sequences import Corruption, Sequences
from .evaluate.agents import ModelAgent, Weights
from .evaluate.face_reader import reader
from .evaluate.measures import in_sound
from .evaluate.recogniser import recogniser
from .evaluate.rows import runner_of
from .evaluate.tasks import TASKS, Findings
from .evaluate.voices import Voices
from .train.codecs import load_codecs
from .train.context import TrainingContext
from .train.interact import basics_of, new_learner, planned, recipe_of
from .train.shards import Tracks

MEASURED = ("asks", "pauses", "interruptions", "hands")
"""Tasks that each variant runs."""
PRINTED = (
    "onset in the right unit",
    "words, text",
    "words, sound",
    "lips: correlation",
    "lips: sound behind mouth",
    "false starts in pauses",
    "interruptions: stopped",
    "raised hand, minus control",
)
DIALOGUES = 32
"""Of each task."""


@dataclass(frozen=True)
class Variant:
    """A training that differs in one decision.

    Attributes:
        name: of the decision that is left out.
        shapes: the preset's, changed.
        corruption: of what it is given.
        behind: units by which the user reaches it later.
        remembers: whether its own clean latents come back to it.
    """

    name: str
    shapes: Callable[[Preset], Preset] = field(default=lambda preset: preset)
    corruption: Corruption = field(default_factory=Corruption)
    behind: int = 0
    remembers: bool = True


def _with_all_history(preset: Preset) -> Preset:
    return replace(preset, cache=CacheConfig())


_FORGETS = Corruption(forgetful_share=1.0, forget_response=1.0, forget_decision=0.08)
"""No response is remembered; decisions are, as often as in the others."""

VARIANTS: tuple[Variant, ...] = (
    Variant("as it is"),
    Variant("sound and picture apart", shapes=lambda preset: replace(preset, is_joint=False)),
    Variant("no clean write-back", corruption=_FORGETS, remembers=False),
    Variant("no history noise", corruption=Corruption(history_noise=0.0)),
    Variant("all of its history", shapes=_with_all_history),
    Variant("thinker one unit behind", behind=1),
)


def learn_ablations(context: TrainingContext, dialogues: int = DIALOGUES) -> dict[str, Findings]:
    """Learn and measure every variant, each in its share of the hours; prints the table, writes ``ablations.json``.

    Raises:
        UserError: there are no codecs yet.
        ModelError: no number, a checkpoint that does not fit, or cannot be written.
        MediaError: voices or data that cannot be read or written.
    """
    audio, video = load_codecs(context)
    for variant in VARIANTS:
        context.check(stage_of(variant))
    context.make(context.tracks())
    voices = Voices.held_out(Path(context.voices) if context.voices else None, context.hold_out)
    tracks = planned(context, basics_of(context))
    found: dict[str, Findings] = {}
    steps = []
    for variant in VARIANTS:
        model, taken = _learned(context, variant, tracks)
        steps.append(taken)
        found[variant.name] = _measured(voices, variant, Weights(model, audio, video, variant.name), dialogues)
        _write(context, found)
    _print(context, found, steps)
    return found


def _learned(context: TrainingContext, variant: Variant, tracks: Tracks) -> tuple[DuplexModel, int]:
    """The model, and in how many steps; all begin with the same weights and meet the same batches."""
    learner = new_learner(context, variant.shapes(context.preset)).to(context.device)
    task = InteractTask(learner, behind(tracks.draw, variant.behind), variant.corruption)
    loop = Loop(task, recipe_of(context), 10**9, context.seed)
    drive = context.drive(stage_of(variant), loop, share=context.share("interact") / len(VARIANTS))
    drive.run()
    loop.use_average()
    return learner.model.cpu().eval().requires_grad_(False), loop.step_count


def stage_of(variant: Variant) -> str:
    """Name of its state and its curves."""
    return "ablation-" + variant.name.replace(" ", "-")


def behind(draw: Draw, units: int) -> Draw:
    """Batches in which the user's side comes ``units`` later; before it there is silence, and nothing to understand."""
    if not units:
        return draw

    def later(x: Tensor) -> Tensor:
        return torch.cat([torch.zeros_like(x[:, :units]), x[:, :-units]], 1)

    def delayed(generator: torch.Generator, progress: float, weights: Tensor) -> Sequences:
        batch = draw(generator, progress, weights)
        still = batch.user_video[:, :1].expand(-1, units, -1, -1, -1)
        return replace(
            batch,
            user_audio=later(batch.user_audio),
            user_video=torch.cat([still, batch.user_video[:, :-units]], 1),
            user_text=later(batch.user_text),
            labels={name: later(classes) for name, classes in batch.labels.items()},
        )

    return delayed


def _measured(voices: Voices, variant: Variant, weights: Weights, dialogues: int) -> Findings:
    made = runner_of(
        lambda: ModelAgent(weights, behind=variant.behind, remembers=variant.remembers),
        voices.bank,
        reader(weights.size),
        weights.size,
    )
    found, read_words = Findings(), in_sound(recogniser())
    for name in MEASURED:
        found.add(TASKS[name](made, voices, read_words, dialogues))
    return found


def _print(context: TrainingContext, found: dict[str, Findings], steps: list[int]) -> None:
    from rich.text import Text

    from ..shared.tables import table

    made = table("measure", *found)
    for name in PRINTED:
        made.add_row(name, *(Text(f.figures[name].text()) if name in f.figures else "" for f in found.values()))
    context.console.print(made)
    begin = f"the weights of {context.origin}" if context.origin else "random weights"
    fewest, most = min(steps), max(steps)
    taken = f"{most:,}" if fewest == most else f"{fewest:,} to {most:,}"
    context.console.print(
        f"reduced runs: {taken} steps of the stage interact each, from {begin}, seed {context.seed}, no stage roll"
    )


def _write(context: TrainingContext, found: dict[str, Findings]) -> None:
    figures = {name: {key: figure.plain() for key, figure in f.figures.items()} for name, f in found.items()}
    path = context.out / "ablations.json"
    try:
        claim(path)
        path.write_text(json.dumps(figures, indent=2))
    except OSError as error:
        raise MediaError(f"{path}: cannot be written ({error.strerror}), make room and --resume") from error
