"""Contents of a checkpoint, read from its header alone. Imports no torch, reads no weight.

A checkpoint is named by a preset (``tiny``: the weights shipped with the package, else random ones), by a
``.safetensors`` file, or by a folder of them. Tensors are named ``part.name`` (``video_codec.encoder.mix.weight``);
the metadata holds ``format``, ``preset`` and ``parts``, ``trained``, a line on how, where it was, and ``vocabulary``,
what its tokens stand for; without one it is the preset's.
"""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from .config import PRESETS, Preset, preset
from .errors import ModelError
from .vocabulary import Vocabulary, from_json, vocabulary

FORMAT = "1"
SUFFIX = ".safetensors"
CODECS = ("audio_codec", "video_codec")
"""The parts whose latents the others have learned on: with other codecs, what was learned means nothing."""
MAX_HEADER_BYTES = 100_000_000
DTYPE_BYTES = {"BOOL": 1, "U8": 1, "I8": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2, "I32": 4, "U32": 4, "F32": 4,
               "F64": 8, "I64": 8, "U64": 8}  # fmt: skip


@dataclass(frozen=True)
class TensorInfo:
    """One tensor on disk."""

    file: Path
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class CheckpointInfo:
    """One checkpoint on disk.

    Attributes:
        path: the file or folder.
        metadata: by file.
        tensors: by full name, ``part.name``.
    """

    path: Path
    metadata: Mapping[Path, Mapping[str, str]]
    tensors: Mapping[str, TensorInfo]

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the parts it holds, sorted."""
        return tuple(sorted({name.partition(".")[0] for name in self.tensors}))

    @property
    def preset(self) -> Preset:
        """The preset whose shapes it has.

        Raises:
            ModelError: none is named, an unknown one, or two.
        """
        names = sorted({data["preset"] for data in self.metadata.values() if "preset" in data})
        if len(names) != 1:
            found = " and ".join(f"'{name}'" for name in names) or "none"
            raise ModelError(
                f"checkpoint {self.path}: found preset {found} (expected one in the metadata), save it again"
            )
        return preset(names[0])

    @property
    def vocabulary(self) -> Vocabulary | None:
        """Meaning of its tokens and events; None: its words are those of a language model's tokenizer.

        Raises:
            ModelError: it cannot be read, has more entries than the preset has rows, or there are two.
        """
        shapes, where = self.preset, f"checkpoint {self.path}"
        found = {data["vocabulary"] for data in self.metadata.values() if "vocabulary" in data}
        if len(found) > 1:
            raise ModelError(f"{where}: found {len(found)} vocabularies (expected one in the metadata), save it again")
        if not found:
            return _vocabulary_of_preset(shapes)
        own = from_json(where, found.pop())
        for what, entries, rows in (
            ("words", own.words, shapes.n_words),
            ("states", own.states, shapes.n_states),
            ("gestures", own.gestures, shapes.n_gestures),
        ):
            if len(entries) > rows:
                raise ModelError(
                    f"{where}: found a vocabulary of {len(entries)} {what} (expected {rows} at most, by preset "
                    f"'{shapes.name}'), name another checkpoint"
                )
        return own

    @property
    def hours(self) -> float:
        """For how long it was trained; 0 where nothing says so.

        Raises:
            ModelError: what says so is no number from 0.
        """
        total = 0.0
        for file, data in self.metadata.items():
            text = data.get("hours", "0")
            try:
                hours = float(text)
            except ValueError:
                hours = math.nan
            if not 0 <= hours < math.inf:
                raise ModelError(f"checkpoint {file}: found hours '{text}' (expected a number from 0), save it again")
            total += hours
        return total

    @property
    def people(self) -> frozenset[str]:
        """Recorded people whom it heard in training, as far as that was written."""
        named = (data.get("people", "").split(",") for data in self.metadata.values())
        return frozenset(name for names in named for name in names if name)

    def part(self, part: str) -> dict[str, TensorInfo]:
        """The tensors of one part, by their name inside it.

        Raises:
            ModelError: there is no such part.
        """
        tensors = {
            name.removeprefix(f"{part}."): info for name, info in self.tensors.items() if name.startswith(f"{part}.")
        }
        if not tensors:
            raise ModelError(
                f"checkpoint {self.path}: no part '{part}' (it has: {', '.join(self.parts) or 'none'}), "
                "train that part or name another checkpoint"
            )
        return tensors

    def trained(self, part: str) -> str:
        """The line on how a part was trained; empty when none was written."""
        files = {info.file for info in self.part(part).values()}
        return next((self.metadata[file]["trained"] for file in sorted(files) if "trained" in self.metadata[file]), "")


def shipped_folder() -> Path:
    """Folder of the weights that come with the package."""
    return Path(str(resources.files(__package__))) / "weights"


def find(checkpoint: str | Path) -> Path | None:
    """The file or folder that a checkpoint's name stands for; None: a preset without shipped weights.

    Raises:
        ModelError: neither a preset nor something to read.
    """
    name = str(checkpoint)
    if name in PRESETS:
        shipped = shipped_folder() / f"{name}{SUFFIX}"
        return shipped if shipped.is_file() else None
    path = Path(name).expanduser()
    if path.is_dir() or (path.is_file() and path.suffix == SUFFIX):
        return path
    if path.exists():
        raise ModelError(f"checkpoint {name}: found '{path.suffix}' (expected {SUFFIX} or a folder), convert it")
    close = difflib.get_close_matches(name, PRESETS, n=1)
    hint = f"; did you mean '{close[0]}'?" if close else ""
    raise ModelError(f"checkpoint '{name}': no such file (presets: {', '.join(sorted(PRESETS))}){hint}")


def preset_of(checkpoint: str | Path) -> Preset:
    """The preset that a checkpoint's name stands for.

    Raises:
        ModelError: not found, not readable, or without a known preset.
    """
    if str(checkpoint) in PRESETS:
        return preset(str(checkpoint))
    path = find(checkpoint)
    assert path is not None, checkpoint
    return inspect(path).preset


def vocabulary_of(checkpoint: str | Path) -> Vocabulary | None:
    """Meaning of a checkpoint's tokens; None: its words are those of a language model's tokenizer.

    Raises:
        ModelError: not found, not readable, without a known preset, or with a vocabulary that cannot be used.
    """
    path = find(checkpoint)
    return _vocabulary_of_preset(preset(str(checkpoint))) if path is None else inspect(path).vocabulary


def _vocabulary_of_preset(shapes: Preset) -> Vocabulary | None:
    return vocabulary(shapes.vocabulary) if shapes.vocabulary else None


def check_part(checkpoint: str | Path, part: str) -> None:
    """Pass if the part can be had: read from the checkpoint, or random where a preset ships none.

    Raises:
        ModelError: not found, not readable, without a known preset, or without the part.
    """
    path = find(checkpoint)
    if path is None:
        return
    info = inspect(path)
    if str(checkpoint) not in PRESETS or part in info.parts:
        assert info.preset and info.part(part)


def inspect(path: str | Path) -> CheckpointInfo:
    """Read the headers of a file, or of every ``.safetensors`` file in a folder.

    Raises:
        ModelError: not readable, not safetensors, cut off, or a tensor twice.
    """
    path = Path(path)
    files = sorted(path.glob(f"*{SUFFIX}")) if path.is_dir() else [path]
    if not files:
        raise ModelError(f"checkpoint {path}: found no {SUFFIX} file in the folder (expected one or more)")
    metadata: dict[Path, Mapping[str, str]] = {}
    tensors: dict[str, TensorInfo] = {}
    for file in files:
        metadata[file], found = _read_header(file)
        for name in found.keys() & tensors.keys():
            raise ModelError(
                f"checkpoint {path}: '{name}' is in {tensors[name].file.name} and in {file.name}, remove one of them"
            )
        tensors.update(found)
    return CheckpointInfo(path, metadata, tensors)


def _read_header(file: Path) -> tuple[Mapping[str, str], dict[str, TensorInfo]]:
    """Layout of the format: 8 bytes length N, little endian; N bytes JSON; the tensors' bytes without gaps."""
    try:
        size = file.stat().st_size
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            raw = stream.read(length) if length <= min(MAX_HEADER_BYTES, size) else b""
    except OSError as error:
        raise ModelError(f"checkpoint {file}: cannot be read ({error.strerror}), check its path and rights") from error
    try:
        header = json.loads(raw)
        metadata = {str(key): str(value) for key, value in header.pop("__metadata__", {}).items()}
        tensors = {name: TensorInfo(file, entry["dtype"], _shape(entry["shape"])) for name, entry in header.items()}
        end = max(_shape([entry["data_offsets"][1] for entry in header.values()]), default=0)
        held = sum(_n_bytes(info) for info in tensors.values())
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise ModelError(
            f"checkpoint {file}: no readable header (expected a safetensors file), copy it again"
        ) from error
    expected = 8 + length + end
    if held != end or size != expected:
        raise ModelError(f"checkpoint {file}: found {size} bytes (expected {expected}), it is damaged: copy it again")
    return metadata, tensors


def _shape(sizes: list[int]) -> tuple[int, ...]:
    """Sizes that are whole numbers: a text times a large number would fill the memory."""
    if not all(type(size) is int and size >= 0 for size in sizes):
        raise ValueError(sizes)
    return tuple(sizes)


def _n_bytes(info: TensorInfo) -> int:
    return math.prod(info.shape) * DTYPE_BYTES[info.dtype]
