"""Devices of this process by name, made when they are first asked for, and then homes of payloads."""

from __future__ import annotations

import threading

from ..payload import HOMES, Array, Payload, home_of
from .api import DeviceApi

HOST = "cpu"
"""The name of no device: the memory of this machine."""

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
    """A payload where it is wanted, on a device or on the host (`HOST`): itself, or one copy."""
    home = home_of(payload)
    assert home is not None, type(payload)
    if home.name == (to if to != HOST else HOMES[0].name):
        return payload
    array: Array = home.to_host(payload)
    return array if to == HOST else device_named(to).upload(array)


def _make(name: str) -> DeviceApi:
    if name.startswith("fake"):
        from .fake import FakeDevice

        return FakeDevice(name)
    from .cuda import CudaDevice

    return CudaDevice(name)
