"""Packets of delayed inputs before their stream begins."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import UserError
from ..packet import WHOLE, Array, Packet, Validity, frozen
from ..plan.plan import Plan


def initial_packets(graph: Plan) -> dict[tuple[str, str], Packet]:
    """Packets of delayed inlets before their stream begins: zeros, or the tensors of a ``.npy``/``.npz`` file.

    Raises:
        UserError: a file that is missing or has another shape than the stream.
    """
    packets: dict[tuple[str, str], Packet] = {}
    for node in graph.nodes.values():
        for inlet in node.inputs:
            if not inlet.delay or inlet.init in (None, "empty"):
                continue
            stream, init = graph.streams[inlet.stream], inlet.init or ""
            where = f"node '{node.name}', input '{inlet.port}', init"
            tensors = {}
            loaded = _load_initial(where, init) if init != "zeros" else {}
            for tensor in stream.tensors:
                if tensor.shape is None or any(d is None for d in tensor.shape) or tensor.dtype is None:
                    raise UserError(
                        f"{where}: the shape of '{inlet.stream}' is unknown (expected a full contract), use init: empty"
                    )
                shape = tuple(d or 0 for d in tensor.shape)
                dtype = "uint16" if tensor.dtype == "bfloat16" else tensor.dtype
                array = loaded.get(tensor.name) if loaded else np.zeros(shape, dtype)
                if array is None or array.shape != shape or array.dtype.name != dtype:
                    found = "nothing" if array is None else f"{array.shape} {array.dtype}"
                    raise UserError(
                        f"{where}: {init}: found {found} for tensor '{tensor.name}' (expected {shape} {dtype})"
                    )
                tensors[tensor.name] = frozen(array)
            packets[inlet.stream, init] = Packet(inlet.stream, -1, 0, 0, 0, Validity.REAL, tensors)
    return packets


def _load_initial(where: str, path: str) -> dict[str, Array]:
    try:
        loaded = np.load(Path(path), allow_pickle=False)
    except (OSError, ValueError) as error:
        raise UserError(f"{where}: {path}: {error} (expected empty, zeros, or a .npy or .npz file)") from error
    return {WHOLE: loaded} if isinstance(loaded, np.ndarray) else {name: loaded[name] for name in loaded.files}
