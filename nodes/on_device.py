"""Tensors of a model on their way out of packets and into them, on the device that its node is on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..runtime.packet import Array
from ..runtime.payload import on_host

if TYPE_CHECKING:
    from torch import Tensor


def torch_device(device: str) -> str:
    """The device that torch computes on for a node. The stand-in for a GPU has memory alone: there it is the host."""
    return "cpu" if device.startswith("fake") else device


def taken(payload: Any, device: str) -> Tensor:
    """A payload as a tensor on ``device``, copied: packets are read-only and belong to their stream. uint16 is bf16."""
    import torch

    if not hasattr(payload, "__dlpack__"):
        payload = on_host(payload)
    if isinstance(payload, np.ndarray):
        bits = payload.dtype == np.uint16
        tensor = torch.from_numpy(np.array(payload).view(np.int16) if bits else np.array(payload))
    else:  # of the device: by DLPack, without the host
        tensor = torch.utils.dlpack.from_dlpack(payload).clone()
        bits = tensor.dtype == torch.uint16
    return (tensor.view(torch.bfloat16) if bits else tensor).to(device)


def given(tensor: Tensor) -> Array | Tensor:
    """A tensor as a node gives it out: an array of the host, or on a GPU itself. bf16 travels as uint16."""
    import torch

    tensor = tensor.detach().contiguous()
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.view(torch.uint16)
    if tensor.device.type != "cpu":
        return tensor
    array: Array = tensor.numpy()
    return array
