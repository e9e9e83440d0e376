"""The average of checkpoints: one model, as quick as each, that often knows what both know.

Wortsman et al. 2022, "Model soups" and "Robust fine-tuning of zero-shot models": weights that were learned on from the
same weights lie in one valley, and what lies between them is as good there, or better where each alone has drifted.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from .checkpoint import FLOATS, read, write
from .checkpoint_header import CODECS, CheckpointInfo, find, inspect
from .errors import ModelError

_DIFFERENT_CODECS = (
    "latents of one are not those of the other; average what was trained --from one checkpoint, which keeps its codecs"
)


def average(checkpoints: Sequence[str | Path], path: str | Path, shares: Sequence[float] = ()) -> None:
    """Write the average of checkpoints, in the widest of their dtypes.

    Its lines are those of the checkpoint that was trained for longest, with ``average``: the files, and their shares,
    and ``people``: who was heard by any of them.

    Args:
        checkpoints: two or more files or presets with shipped weights, of the same preset, parts, and codecs.
        path: ends in ``.safetensors``.
        shares: of each, in any unit, not below 0; the same if not given.

    Raises:
        ModelError: they are not of one kind, or cannot be read or written.
    """
    if len(checkpoints) < 2 or len(shares) not in (0, len(checkpoints)):
        raise ModelError(
            f"average: found {len(checkpoints)} checkpoint(s) and {len(shares)} share(s) (expected two checkpoints "
            "or more, and a share of each or none), name what is missing"
        )
    shares = tuple(shares) or (1.0,) * len(checkpoints)
    if not (min(shares) >= 0 and 0 < sum(shares) < float("inf")):  # NaN is refused, too
        raise ModelError(
            f"average: found shares {_listed(shares)} (expected numbers from 0, not all of them 0), mend them"
        )
    parts = [x / sum(shares) for x in shares]
    infos = [_info(name) for name in checkpoints]
    for other in infos[1:]:
        _check_alike(infos[0], other)
    if Path(path).resolve() in [info.path.resolve() for info in infos]:
        raise ModelError(f"average: {path}: is averaged itself (expected another file), it would be lost: name another")
    names = sorted(infos[0].tensors)
    rows = zip(*(read(info.path, names) for info in infos), strict=True)
    tensors = {name: _mean(name, row, parts) for name, row in zip(names, rows, strict=True)}
    longest = max(infos, key=lambda info: info.hours)
    lines = dict(longest.metadata[longest.path])
    made_of = zip(parts, checkpoints, strict=True)
    lines["average"] = ", ".join(f"{part:.3g} {Path(checkpoint).name}" for part, checkpoint in made_of)
    if people := frozenset[str]().union(*(info.people for info in infos)):
        lines["people"] = ",".join(sorted(people))
    if "trained" in lines:
        lines["trained"] = f"{lines['trained'].partition(' (')[0]} (average of {len(infos)})"
    write(path, tensors, lines)


def _info(name: str | Path) -> CheckpointInfo:
    path = find(name)
    if path is None or path.is_dir():
        raise ModelError(
            f"average: found no checkpoint file of '{name}' (expected what wangraph train writes), "
            "name a .safetensors file"
        )
    return inspect(path)


def _check_alike(first: CheckpointInfo, other: CheckpointInfo) -> None:
    where = f"average of {first.path.name} and {other.path.name}"
    if first.preset.name != other.preset.name:
        raise ModelError(
            f"{where}: found presets '{first.preset.name}' and '{other.preset.name}' (expected one), "
            "average checkpoints of one preset"
        )
    if first.vocabulary != other.vocabulary:
        raise ModelError(f"{where}: found two vocabularies (expected one), average checkpoints of the same words")
    for name in sorted(first.tensors.keys() ^ other.tensors.keys()):
        which = first if name in first.tensors else other
        raise ModelError(f"{where}: '{name}' is only in {which.path} (expected in all), save them again")
    for name, tensor in first.tensors.items():
        found = other.tensors[name]
        if tensor.shape != found.shape or (tensor.dtype in FLOATS) != (found.dtype in FLOATS):
            raise ModelError(
                f"{where}: '{name}' is {list(tensor.shape)} {tensor.dtype} and {list(found.shape)} {found.dtype} "
                "(expected the same), save them again"
            )


def _mean(name: str, tensors: Sequence[Tensor], parts: Sequence[float]) -> Tensor:
    dtype = tensors[0].dtype
    for tensor in tensors[1:]:
        dtype = torch.promote_types(dtype, tensor.dtype)
    if all(torch.equal(tensor, tensors[0]) for tensor in tensors[1:]):
        return tensors[0].to(dtype)
    if name.partition(".")[0] in CODECS:
        raise ModelError(f"average: found other codecs ('{name}' differs; expected the same), {_DIFFERENT_CODECS}")
    if not dtype.is_floating_point:
        raise ModelError(f"average: '{name}' is {dtype} and differs (expected the same), save them again")
    mean = sum((part * tensor.double() for part, tensor in zip(parts, tensors, strict=True)), torch.zeros(()))
    return mean.to(dtype)


def _listed(shares: Sequence[float]) -> str:
    return ", ".join(f"{share:g}" for share in shares)
