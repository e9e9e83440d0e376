"""The context of a training: what is trained, from what, where it goes."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ....runtime.errors import MediaError, UserError, listing
from ....runtime.output_file import claim
from ....wan_core.checkpoint import save
from ....wan_core.checkpoint_header import CODECS, CheckpointInfo, find, inspect
from ....wan_core.config import Preset, preset
from ....wan_core.errors import ModelError
from ....wan_core.train.loop import Loop
from ....wan_core.train.state import load_state
from ..world.life.material import digest_of_material
from ..world.tokens import VOCABULARY
from ..world.voices import HELD_OUT, Bank, Split, digest_of_recordings
from .data import WORLD_VERSION, DataSpec, Kind, make, missing
from .drive import Budget, Drive, draw_curves, progress
from .plan import TrainingPlan, plan_of

if TYPE_CHECKING:
    from rich.console import Console

CODEC_STAGES = ("audio", "video")
"""Stages that a training which begins with a checkpoint leaves out."""
FIRST_SEED = 1_000_000
"""Dialogues of a training are numbered from here on, times its own seed and one..."""
MEDIA_FROM, VALIDATION_FROM = 500_000, 900_000
"""...plus this, for the codecs and for validation."""


@dataclass
class TrainingContext:
    """One training, stage after stage.

    Attributes:
        name: of the preset.
        hours: in all.
        out: folder of everything that is written.
        seed: of weights, batches and dialogues.
        voices: folder of recorded people, or empty.
        hold_out: speakers kept from training, besides the usual ones.
        life: folder of photographs and recordings of real people and places, or empty.
        origin: checkpoint to begin with, its codecs as they are; empty: random weights.
        resume: go on from the states in ``out``.
        steps: by stage, instead of the time.
        checkpoint_steps: steps between two checkpoints, instead of the time.
        threads: of torch, and processes that make data.
    """

    name: str
    hours: float
    out: Path
    console: Console
    seed: int = 0
    voices: str = ""
    hold_out: tuple[str, ...] = ()
    life: str = ""
    origin: str = ""
    resume: bool = False
    steps: Mapping[str, int] = field(default_factory=dict)
    checkpoint_steps: int | None = None
    threads: int = 2
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def __post_init__(self) -> None:
        self.plan: TrainingPlan = plan_of(self.name)
        self.preset: Preset = preset(self.name)
        # once: these are the recordings of the whole command, whatever becomes of the folder
        self.recordings = digest_of_recordings(Path(self.voices)) if self.voices else ""
        self.pictures = digest_of_material(Path(self.life)) if self.life else ""
        self.origin_digest, self.seconds_before = "", 0.0
        self.people = self._people()
        if self.origin:
            info, self.seconds_before = _checked(self.origin, self.name)
            self.origin_digest = digest_of(info.path)
            self.people |= info.people
        torch.set_num_threads(self.threads)
        try:
            self.data.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise MediaError(f"{self.out}: {error.strerror} (expected a folder to write to), choose --out") from error

    @property
    def data(self) -> Path:
        """Folder of the shards."""
        return self.out / "data"

    @property
    def codecs(self) -> Path:
        """Checkpoint of both codecs."""
        return self.out / f"{self.name}-codecs.safetensors"

    @property
    def eyes(self) -> Path:
        """Checkpoint of what sees users; not there where the video codec does."""
        return self.out / f"{self.name}-eyes.safetensors"

    @property
    def result(self) -> Path:
        """Checkpoint of everything."""
        return self.out / f"{self.name}.safetensors"

    def _people(self) -> frozenset[str]:
        """Recorded people who are heard in this training."""
        if not self.voices:
            return frozenset()
        bank = Bank(Path(self.voices), HELD_OUT.union(self.hold_out), life=Path(self.life) if self.life else None)
        return frozenset(speaker.name for speaker in bank.split("train") if speaker.synthesiser == "people")

    def identity(self, stage: str) -> dict[str, str | int]:
        """Identity of a training: a state of another one cannot be gone on with."""
        made_of = {"voices": self.recordings, "hold_out": ",".join(self.hold_out)}
        if self.life:
            made_of["life"] = self.pictures
        if stage not in CODEC_STAGES:
            made_of["codecs"] = digest_of(self.codecs)
        if stage not in (*CODEC_STAGES, "eyes") and self.eyes.exists():
            made_of["eyes"] = digest_of(self.eyes)
        if self.origin:
            made_of["origin"] = self.origin_digest
        return {"stage": stage, "preset": self.name, "seed": self.seed, "world": WORLD_VERSION, **made_of}

    def seed_weights(self, salt: int = 0) -> torch.Generator:
        """Seed torch's global generator, from which modules draw their first weights."""
        return torch.manual_seed(self.seed * 1000 + salt)

    def media(self) -> DataSpec:
        """Dialogues for the codecs."""
        plan = self.plan
        return self._spec("media", plan.media, plan.media_units, MEDIA_FROM, "train")

    def views(self, split: Split = "train") -> DataSpec:
        """Users before cameras, for the eyes; held-out ones for their gates."""
        plan = self.plan
        if split == "held-out":
            return self._spec("views", max(plan.per_shard, plan.views // 24), plan.view_units, VALIDATION_FROM, split)
        return self._spec("views", plan.views, plan.view_units, 0, split)

    def tracks(self, split: Split = "train") -> DataSpec:
        """Dialogues for the model, encoded by this training's codecs; held-out ones to validate on."""
        plan = self.plan
        if split == "held-out":
            return self._spec("tracks", plan.validation, plan.track_units, VALIDATION_FROM, split)
        count = max(plan.per_shard, round(plan.tracks_per_hour * self.hours))
        return self._spec("tracks", count, plan.track_units, 0, split)

    def _spec(self, kind: Kind, dialogues: int, units: int, first: int, split: Split) -> DataSpec:
        return DataSpec(
            kind,
            self.name,
            dialogues,
            units,
            (self.seed + 1) * FIRST_SEED + first,
            personas=self.plan.personas,
            per_shard=self.plan.per_shard,
            split=split,
            voices=self.voices,
            recordings=self.recordings,
            hold_out=self.hold_out,
            life=self.life,
            pictures=self.pictures,
            codecs="" if kind == "media" else digest_of(self.codecs),
            eyes=digest_of(self.eyes) if kind == "tracks" else "",
        )

    def make(self, spec: DataSpec) -> None:
        """Make what is missing of some data, with a bar.

        Raises:
            MediaError: a voice cannot be read, or a shard not be written.
            UserError: a name that nobody has.
        """
        todo = missing(spec, self.data)
        if not todo:
            return
        began = time.monotonic()
        with progress(self.console) as bar:
            line = bar.add_task(f"{spec.kind}, {spec.split}", total=len(todo))
            codecs = None if spec.kind == "media" else self.codecs
            eyes = self.eyes if spec.eyes else None
            for _ in make(spec, self.data, self.threads, codecs, eyes):
                bar.advance(line)
        units = sum(len(spec.numbers(shard)) for shard in todo) * spec.units
        seconds = time.monotonic() - began
        self.console.print(f"{spec.kind}, {spec.split}: {spec.dialogues} dialogues, {units / seconds:.0f} units/s")

    def check(self, stage: str) -> None:
        """Pass if a stage can be gone on with, where that is wanted; before data are made that it would not want.

        Raises:
            ModelError: its checkpoint is of another training.
        """
        path = self.out / f"{stage}.state"
        if self.resume and path.exists():
            load_state(path, self.identity(stage))

    def drive(self, stage: str, loop: Loop, share: float | None = None, begun_with: str = "") -> Drive:
        """A drive of this stage, where it is to be gone on with.

        Args:
            stage: its name.
            loop: what takes its steps.
            share: of the hours, if not that of the plan.
            begun_with: digest of the weights that it begins with, where another stage learned them. What was begun with
                others is not gone on with: it would keep nothing of what they have learned since.

        Raises:
            ModelError: its checkpoint is of another training.
        """
        share = self.share(stage) if share is None else share
        budget = Budget(self.hours * 3600 * share, self.steps.get(stage))
        drive = Drive(stage, loop, self.out, budget, self.identity(stage), self.console, begun_with)
        drive.checkpoint_steps = self.checkpoint_steps
        if self.resume and drive.state_path.exists():
            resumed = drive.resume()
            note = f"going on from step {loop.step_count}" if resumed else "begun anew, from weights learned since"
            self.console.print(f"{stage}: {note}")
        return drive

    def share(self, stage: str) -> float:
        """Share of the hours for one stage. Where codecs or eyes are there already, others get their share."""
        shares = self.plan.shares
        spared = sum(shares[codec] for codec in CODEC_STAGES) if self.origin else 0.0
        spared += 0.0 if self.life else shares["eyes"]
        return shares[stage] / (1 - spared)

    def finish(self, drive: Drive) -> None:
        """Draw the curves of a stage that is done."""
        if drive.rows and not draw_curves(self.out / f"{drive.name}.png", drive.rows):
            self.console.print(
                f"{drive.name}: curves are in {drive.curve_path}; pip install 'wangraph[train]' draws them",
                markup=False,
            )

    def save(
        self, path: Path, parts: Mapping[str, nn.Module], seconds: float, dtype: torch.dtype = torch.float32
    ) -> None:
        """Write a checkpoint, with how it was made and, if the model is in it, what its tokens stand for.

        Raises:
            ModelError: it cannot be written.
        """
        day, minutes = time.strftime("%Y-%m-%d"), round(seconds / 60)
        facts = {
            "trained": f"{day} in {minutes} min",
            "hours": f"{seconds / 3600:.4f}",
            "seed": str(self.seed),
            "world": str(WORLD_VERSION),
            "voices": "synthetic and recorded" if self.voices else "synthetic",
            "people": ",".join(sorted(self.people)),
            "hold_out": ",".join(self.hold_out),
            **({"origin": self.origin_digest} if self.origin else {}),
            "torch": torch.__version__,
            "threads": str(self.threads),
        }
        try:
            claim(path)
        except OSError as error:
            raise ModelError(
                f"checkpoint {path}: {error.strerror} (expected none, or a checkpoint), move it"
            ) from error
        save(path, parts, self.name, facts, dtype, VOCABULARY if "model" in parts else None)


def digest_of(path: Path) -> str:
    """Digest of a checkpoint's weights, whenever they were written; empty when there is no such file."""
    if not path.exists():
        return ""
    with path.open("rb") as file:
        file.seek(int.from_bytes(file.read(8), "little"), 1)  # the header, which holds a date
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]


def digest_of_weights(tensors: Mapping[str, Tensor]) -> str:
    """Digest of weights in memory, by name."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()[:12]


def _checked(origin: str, name: str) -> tuple[CheckpointInfo, float]:
    """The checkpoint to begin with, and for how many seconds it was learned.

    Raises:
        UserError: it cannot be begun with.
    """
    try:
        path = find(origin)
        if path is None or path.is_dir():
            raise UserError(f"--from {origin}: found no checkpoint file (expected what wangraph train writes)")
        info = inspect(path)
        found, words, seconds = info.preset.name, info.vocabulary, 3600 * info.hours
    except ModelError as error:
        raise UserError(f"--from: {error}") from error
    if found != name:
        raise UserError(f"--from {origin}: found preset '{found}' (expected '{name}'), choose --preset")
    if words != VOCABULARY:
        raise UserError(f"--from {origin}: found other words than the world's (expected what wangraph train writes)")
    lacking = sorted({"model", "understanding", *CODECS} - set(info.parts))
    if lacking:
        raise UserError(f"--from {origin}: found no {listing(lacking)} (expected what wangraph train writes)")
    return info, seconds


def seconds_of(path: Path) -> float:
    """For how long a checkpoint was learned.

    Raises:
        ModelError: it cannot be read, or says no number.
    """
    return 3600 * inspect(path).hours


def device_of(name: str | None) -> torch.device:
    """The device of that name; a graphics card where there is one, if none is named.

    Raises:
        UserError: there is no such device here.
    """
    chosen = name or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(chosen)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UserError(
            f"device: found '{chosen}' (expected cpu, or a graphics card that torch sees), leave it out"
        ) from error
    return device
