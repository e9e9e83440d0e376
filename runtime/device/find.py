"""Devices of this process by name, made when they are first asked for, and then homes of payloads."""

from __future__ import annotations

import threading
from typing import Any, Protocol, runtime_checkable

import numpy as np

from ..payload import HOMES, HOST, Array, Payload, home_of
from .api import DeviceApi

_HOST_KIND, _CUDA_KIND = 1, 2
"""Kinds of devices in DLPack."""

_devices: dict[str, DeviceApi] = {}
_lock = threading.Lock()


def device_named(name: str) -> DeviceApi:
    """The device ``fake:0`` or ``cuda:0``.

    Raises:
        MissingExtra: the package for it is not installed.
        DeviceError: it is not there.
    """
    with _lock:
        if name not in _devices:
            _devices[name] = made = _make(name)
            HOMES.append(made)
        return _devices[name]


def moved(payload: Payload, to: str) -> Payload:
    """A payload in the memory of this name, a device's or the host's: itself, or one copy."""
    home = home_of(payload)
    assert home is not None, type(payload)
    if home.name == to:
        return payload
    array: Array = home.to_host(payload)
    return array if to == HOST.name else device_named(to).upload(array)


def foreign(value: Any) -> Payload:
    """A payload of an array of another library: the same memory where it can be had. Torch's on a GPU, for example."""
    kind, index = value.__dlpack_device__() if hasattr(value, "__dlpack_device__") else (_HOST_KIND, 0)
    if kind != _CUDA_KIND:
        return np.asarray(value)
    device = device_named(f"cuda:{index}")
    assert isinstance(device, Takes), device
    return device.take(value)


@runtime_checkable
class Takes(Protocol):
    """A device that takes foreign arrays as they are."""

    def take(self, array: object) -> Payload:
        """The same memory, as a payload."""
        ...


def _make(name: str) -> DeviceApi:
    if name.startswith("fake"):
        from .fake import FakeDevice

        return FakeDevice(name)
    from .cuda import CudaDevice

    return CudaDevice(name)
