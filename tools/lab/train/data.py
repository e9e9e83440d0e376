"""Dialogues on disk: made once by several processes, in shards; what is there already is not made again.

*Media* hold the pictures and sounds themselves, for the codecs. *Views* hold users before cameras, for the eyes.
*Tracks* hold what the Transformer learns from: the user's sound, and latents of everything else, encoded by codecs and
eyes that no longer change.
"""

# N dialogues of a shard, U units

from __future__ import annotations

import functools
import hashlib
import json
import multiprocessing
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from ....runtime.errors import MediaError
from ..world.dialogue import play
from ..world.persona import PERSONAS
from ..world.script import SCENARIOS
from ..world.voices import HELD_OUT, Bank, Split, synthetic_speakers
from .labels import tensors_of
from .persona_prompt import TRAINED
from .views import view_of

if TYPE_CHECKING:
    from ....wan_core.media.audio import AudioCodec
    from ....wan_core.media.eyes import Sight
    from ....wan_core.media.video import VideoCodec

WORLD_VERSION = 3
"""Counts changes of the world after which dialogues of the same seed are other ones."""

LABELS_VERSION = 2
"""Counts changes of what is kept of a dialogue."""

ECHO_EVERY = 5
"""One of so many dialogues of users who are like life is held over loudspeakers."""

Kind = Literal["media", "views", "tracks"]
SCENARIO_NAMES = tuple(SCENARIOS)


@dataclass(frozen=True)
class DataSpec:
    """Choice of dialogues; equal specs are equal data.

    Attributes:
        kind: media, views or tracks.
        preset: of the codecs, and so of the pictures.
        dialogues: how many, ``per_shard`` in a file.
        units: of each.
        seed: of the first; the others follow.
        scenarios: of the dialogues, in turn.
        personas: of the agents, in turn, one for each round of the scenarios.
        split: whose voices.
        voices: folder of recorded people, or empty.
        recordings: digest of what is in it; empty without a folder.
        hold_out: speakers who are not in the train split, besides the usual ones.
        life: folder of real people and places, or empty; ``pictures`` is the digest of what is in it.
        codecs: digest of the codecs that encode tracks and views; empty for media.
        eyes: digest of the eyes that see users in tracks; empty where the codec does.
    """

    kind: Kind
    preset: str
    dialogues: int
    units: int
    seed: int
    scenarios: tuple[str, ...] = SCENARIO_NAMES
    personas: tuple[str, ...] = ("iris",)
    per_shard: int = 32
    split: Split = "train"
    voices: str = ""
    recordings: str = ""
    hold_out: tuple[str, ...] = ()
    life: str = ""
    pictures: str = ""
    codecs: str = ""
    eyes: str = ""

    def __post_init__(self) -> None:
        assert bool(self.voices) == bool(self.recordings), self

    @property
    def shards(self) -> int:
        """Files."""
        return -(-self.dialogues // self.per_shard)

    @property
    def digest(self) -> str:
        """Digest of all that the data depend on, except how many shards there are; not of where the recordings are."""
        facts = {**asdict(self), "dialogues": None, "world": WORLD_VERSION, "labels": LABELS_VERSION}
        facts["voices"], facts["life"] = facts.pop("recordings"), facts.pop("pictures")
        facts["speakers"] = [speaker.name for speaker in synthetic_speakers()]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]

    def numbers(self, shard: int) -> range:
        """Dialogues of a shard; the last one may have fewer than the others."""
        return range(shard * self.per_shard, min((shard + 1) * self.per_shard, self.dialogues))

    def bank(self) -> Bank:
        """The voices.

        Raises:
            MediaError: the folder of recordings cannot be used.
            UserError: a held-out name that nobody has.
        """
        life = Path(self.life) if self.life else None
        return Bank(Path(self.voices) if self.voices else None, HELD_OUT.union(self.hold_out), life=life)

    def path(self, folder: Path, shard: int) -> Path:
        """Path of a shard."""
        return folder / f"{self.kind}-{self.preset}-{self.digest}-{shard:04}.safetensors"


def missing(spec: DataSpec, folder: Path) -> list[int]:
    """Shards that are not there yet, or hold fewer dialogues than are wanted now: the last one of a smaller spec."""
    return [shard for shard in range(spec.shards) if not _holds(spec.path(folder, shard), len(spec.numbers(shard)))]


def _holds(path: Path, dialogues: int) -> bool:
    """True if a shard has so many; one that cannot be read counts as whole, `load` says what to do with it."""
    import safetensors

    if not path.exists():
        return False
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            names = list(file.keys())
            return all(file.get_slice(name).get_shape()[0] >= dialogues for name in names)
    except (OSError, safetensors.SafetensorError):
        return True


def make(
    spec: DataSpec, folder: Path, processes: int, codecs: Path | None = None, eyes: Path | None = None
) -> Iterator[int]:
    """Make the missing shards, yielding the number of each that is done; ``codecs`` is the checkpoint for tracks and
    views, ``eyes`` the one that sees users in tracks.

    Raises:
        MediaError: a shard cannot be written, or a voice not be read.
        UserError: the spec names voices that are not there.
    """
    wanted = missing(spec, folder)
    if not wanted:
        return
    folder.mkdir(parents=True, exist_ok=True)
    bank = spec.bank()
    for speaker in bank.split(spec.split) if spec.kind != "views" else ():
        bank.takes(speaker)  # made and checked once, before several processes read them
    jobs = [(spec, folder, shard, codecs, eyes) for shard in wanted]
    if processes < 2 or len(jobs) < 2:
        for job in jobs:
            yield _make_shard(job)
        return
    # spawned, not forked: torch's threads do not survive a fork
    context = multiprocessing.get_context("spawn")
    with context.Pool(min(processes, len(jobs)), torch.set_num_threads, (1,)) as pool:
        yield from pool.imap_unordered(_make_shard, jobs)


_Job = tuple[DataSpec, Path, int, Path | None, Path | None]
_Row = dict[str, Tensor]


def _make_shard(job: _Job) -> int:
    spec, folder, shard, codecs, eyes = job
    made = _maker(spec, codecs, eyes)
    rows = [made(number) for number in spec.numbers(shard)]
    write_shard(spec.path(folder, shard), {name: torch.stack([row[name] for row in rows]) for name in rows[0]})
    return shard


@functools.lru_cache(maxsize=1)
def _maker(spec: DataSpec, codecs: Path | None, eyes: Path | None) -> Callable[[int], _Row]:
    """Makes a dialogue by its number; voices, pictures and codecs are read once in each process."""
    bank = spec.bank()
    if spec.kind == "media":
        return lambda number: _dialogue(spec, bank, number)
    from ....wan_core.checkpoint import load_part
    from ....wan_core.media.audio import AudioCodec
    from ....wan_core.media.eyes import PART, Eyes
    from ....wan_core.media.video import VideoCodec

    assert codecs is not None, spec
    video = load_part(codecs, "video_codec", lambda shapes: VideoCodec(shapes.video)).module
    if spec.kind == "views":
        return lambda number: view_of(spec.seed + number, spec.units, bank.material(spec.split), video)
    audio = load_part(codecs, "audio_codec", lambda shapes: AudioCodec(shapes.audio)).module
    sees = video if eyes is None else load_part(eyes, PART, lambda shapes: Eyes(shapes.video)).module
    return lambda number: encoded(_dialogue(spec, bank, number), audio, video, sees)


def _dialogue(spec: DataSpec, bank: Bank, number: int) -> dict[str, Tensor]:
    from ....wan_core.config import preset

    name = spec.scenarios[number % len(spec.scenarios)]
    size = preset(spec.preset).video.height
    persona = spec.personas[number // len(spec.scenarios) % len(spec.personas)]
    # without photographs, echoes are for the stage that comes last
    echoes = bool(spec.life) and number % ECHO_EVERY == 0
    dialogue = play(
        spec.seed + number,
        spec.units,
        bank,
        replace(SCENARIOS[name], echo=echoes),
        split=spec.split,
        persona=PERSONAS[persona],
        size=size,
    )
    return {
        **tensors_of(dialogue),
        "scenario": torch.tensor(SCENARIO_NAMES.index(name), dtype=torch.int8),
        "persona": torch.tensor(TRAINED.index(persona), dtype=torch.int8),
    }


@torch.inference_mode()
def encoded(row: _Row, audio: AudioCodec, video: VideoCodec, sees: Sight) -> _Row:
    """A dialogue with latents (float16) in the place of pictures and of the agent's sound; ``sees`` sees the user."""
    kept = {name: tensor for name, tensor in row.items() if name not in ("user_video", "agent_video", "agent_audio")}
    sound = row["agent_audio"][None].float() / 32767
    kept["agent_latents"] = audio.encode(sound, audio.new_encoder_state())[0][0].half()
    kept["agent_loudness"] = sound[0].square().mean(1).sqrt()
    for side, eye in (("user", sees), ("agent", video)):
        frames = row[f"{side}_video"][None].float() / 127.5 - 1
        kept[f"{side}_frames"] = eye.encode(frames, eye.new_encoder_state())[0][0].half()
    return kept


def write_shard(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write a shard whole or not at all.

    Raises:
        MediaError: it cannot be written.
    """
    import safetensors
    from safetensors.torch import save_file

    unfinished = path.with_suffix(f".{os.getpid()}.part")
    try:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, unfinished)
        unfinished.replace(path)
    except (OSError, safetensors.SafetensorError) as error:
        unfinished.unlink(missing_ok=True)
        raise MediaError(f"{path}: cannot be written ({error}), make room and go on with --resume") from error
