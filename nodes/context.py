"""Packets of the context log: some slices in one packet, the oldest first, the last that of the packet's unit.

Usually there is one. Others come before it when the reader needs them once more, or when the log begins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..runtime.packet import Array
from ..runtime.payload import on_host
from ..runtime.ports import Input, Output
from ..wan_core.config import Preset
from .on_device import given, taken

if TYPE_CHECKING:
    from torch import Tensor

    from ..wan_core.cache.kvslice import KVSlice

CONTEXT = {"keys": "L K N D", "values": "L K N D", "place": "U 5", "digest": "U 16"}
"""Tensors of a packet. ``place`` is, per slice, its unit, tokens and slices of its kind before it, slices of the prefix
that holds, and `FLAGS` added up; ``digest`` is that of the slices before it, and its own."""

FLAGS = {"answers": 1, "is_prefix": 2, "resumes": 4}
"""What is told of a slice: see `KVSlice`."""

RESYNC_UNITS = 32
"""Slices that a packet can carry besides its own."""

Context = Mapping[str, Array]

Tensors = dict[str, tuple[str | None, str | None]]


def context_output(preset: Preset | None, resync_units: int, dtype: str) -> Output:
    """The writer's port, with the preset's sizes."""
    if preset is None:
        return Output("context", tensors=dict.fromkeys(CONTEXT, (None, None)), device="node")
    layers, kv_heads, tokens, head_dim = preset.slice_shape
    slices = 1 + resync_units
    shape = f"{layers} {kv_heads} N<={slices * tokens} {head_dim}"
    return Output(
        "context", tensors=_tensors(shape, f"U<={slices}", dtype), device="node", help="keys and values of the unit"
    )


def context_input(preset: Preset | None, dtype: str) -> Input:
    """The reader's port; it takes as many slices as the writer sends."""
    if preset is None:
        return Input("context", tensors=dict.fromkeys(CONTEXT, (None, None)), late="wait", device="node")
    layers, kv_heads, _, head_dim = preset.slice_shape
    tensors = _tensors(f"{layers} {kv_heads} N {head_dim}", "U", dtype)
    return Input("context", tensors=tensors, late="wait", device="node", help="keys and values of the unit")


def returned_output(preset: Preset | None, resync_units: int, dtype: str) -> Output:
    """The port of a reader that sends slices back. Not a log: nobody waits for it, what is late is asked for again."""
    port = context_output(preset, resync_units, dtype)
    return replace(port, kind="latent", help="slices that the thinker has lost, when it asks for them")


def returned_input(preset: Preset | None, dtype: str) -> Input:
    """The port of a writer that may ask its reader for slices."""
    port = context_input(preset, dtype)
    purpose = "slices that the performer holds and the thinker has lost"
    return replace(port, kind="latent", late="empty", optional=True, help=purpose)


def _tensors(shape: str, slices: str, dtype: str) -> Tensors:
    return {
        "keys": (shape, dtype), "values": (shape, dtype),
        "place": (f"{slices} 5", "int64"), "digest": (f"{slices} 16", "uint8"),
    }  # fmt: skip


def packed(slices: Sequence[KVSlice]) -> dict[str, Any]:
    """Slices of a batch of one, as they travel."""
    flags = [sum(FLAGS[name] for name in FLAGS if getattr(s, name)) for s in slices]
    places = [(s.unit, s.start, s.count, s.n_prefix, flag) for s, flag in zip(slices, flags, strict=True)]
    digests = [np.frombuffer(s.previous + s.digest, np.uint8) for s in slices]
    return {
        "keys": _joined([s.keys for s in slices]),
        "values": _joined([s.values for s in slices]),
        "place": np.array(places, np.int64),
        "digest": np.stack(digests),
    }


def unpacked(context: Context, device: str = "cpu") -> list[KVSlice]:
    """The slices of a packet; none of them where it was damaged so badly that they cannot be told apart."""
    from ..wan_core.cache.kvslice import KVSlice

    rows, digests_of = on_host(context["place"]), on_host(context["digest"])  # a few bytes, which Python looks at
    places, count = rows.tolist(), len(rows)
    if not count or len(digests_of) != count or context["keys"].shape[2] % count:
        return []
    keys, values = (taken(context[name], device)[None].chunk(count, -2) for name in ("keys", "values"))
    return [
        KVSlice((unit,), start, k.contiguous(), v.contiguous(), digests[:8], digests[8:], count, n_prefix,
                **{name: bool(flags & bit) for name, bit in FLAGS.items()})
        for (unit, start, count, n_prefix, flags), k, v, digests in zip(
            places, keys, values, (row.tobytes() for row in digests_of), strict=True
        )
    ]  # fmt: skip


def _joined(tensors: Sequence[Tensor]) -> Array | Tensor:
    """[1, L, KV, N, D] each -> [L, KV, U*N, D]; a single one is not copied."""
    import torch

    return given((tensors[0] if len(tensors) == 1 else torch.cat(list(tensors), -2))[0])
