"""Between packets and what bodies see: values out of packets, and tensors out of values, held against a contract."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..device.find import foreign, moved
from ..errors import NodeError, listing
from ..packet import WHOLE, Packet
from ..payload import HOST, Payload, home_of
from ..plan.plan import StreamPlan
from ..ports import DTYPE_BYTES, Port, TensorSpec


def value_of(contract: Port, packet: Packet | None) -> Any:
    """Value of a packet as a body gets it: an array, a str, tensors by name, or None where there is no payload."""
    if packet is None or not packet.is_payload:
        return None
    if contract.kind == "text":
        return text_of(packet)
    return packet.tensors if contract.tensors is not None else packet.tensors.get(WHOLE, packet.tensors)


def text_of(packet: Packet) -> str | None:
    """The text that a packet carries; None where there is none."""
    return packet.array.tobytes().decode("utf-8", "replace") if packet.is_payload else None


class Contract:
    """Contract of one port: its declaration, with the sizes that the plan resolved.

    Args:
        declared: the port as its node declares it.
        stream: the port's stream in the plan.
        remedy: what to do about a value that does not fit, for messages.
    """

    def __init__(self, declared: Port, stream: StreamPlan, remedy: str = "return what the port declares") -> None:
        self._declared = declared
        self._remedy = remedy
        self._device = stream.device
        self._resolved = {tensor.name: tensor.shape for tensor in stream.tensors}
        self._exact = {
            tensor.name: exact
            for tensor in stream.tensors
            if (exact := _exactly(declared.specs.get(tensor.name), tensor.shape)) is not None
        }
        # of a port that carries exactly one tensor, of one dtype and one shape: most are such
        self._whole = self._exact.get(WHOLE) if declared.tensors is None and stream.device == HOST.name else None

    def tensors_of(self, where: str, value: Any) -> dict[str, Payload]:
        """The tensors of a value, frozen; arrays that fit are not copied.

        Raises:
            NodeError: it is not what the port declares.
        """
        # numpy's own arrays that fit are what comes at every unit: the way of all others costs several times as much
        if type(value) is np.ndarray and (value.dtype, value.shape) == self._whole:
            return {WHOLE: HOST.freeze(HOST.adopt(value))}
        raw = _as_tensors(where, self._declared, value)
        tensors = {}
        for name, array in raw.items():
            tensors[name] = self._checked(where, name, array)
        return tensors

    def _checked(self, where: str, name: str, array: Payload) -> Payload:
        home = home_of(array)
        assert home is not None, type(array)
        if (array.dtype, array.shape) == self._exact.get(name):
            return self._placed(home.freeze(home.adopt(array)))
        spec = self._declared.specs.get(name)
        if spec is None:
            raise NodeError(f"{where}: no tensor '{name}' (it has: {listing(self._declared.specs)})")
        resolved = self._resolved.get(name)
        if not _fits(array, spec, resolved):
            found = f"[{' '.join(map(str, array.shape))}] {array.dtype}"
            raise NodeError(
                f"{where}: found {found} (expected [{_in_words(spec, resolved)}] {spec.dtype or 'any dtype'}), "
                f"{self._remedy}"
            )
        return self._placed(home.freeze(home.adopt(array)))

    def _placed(self, payload: Payload) -> Payload:
        """The payload where the stream's are: a node's on a device may give out what it has on the host."""
        return payload if type(payload) is np.ndarray and self._device == HOST.name else moved(payload, self._device)


def _exactly(
    spec: TensorSpec | None, sizes: tuple[int | None, ...] | None
) -> tuple[np.dtype[Any], tuple[int, ...]] | None:
    """The one dtype and shape that fit; None where several do. What has them needs no further check."""
    if spec is None or spec.dtype is None or spec.shape is None or sizes is None:
        return None
    if None in sizes or any(dim.is_max for dim in spec.shape):
        return None
    return np.dtype(_numpy_name(spec.dtype)), tuple(size or 0 for size in sizes)


def _in_words(spec: TensorSpec, resolved: tuple[int | None, ...] | None) -> str:
    if spec.shape is None:
        return "..."
    sizes = zip(spec.shape, resolved or spec.shape, strict=True)
    return " ".join(str(dim) if dim.is_max or size is None else str(size) for dim, size in sizes)


@functools.lru_cache(64)
def _name_of(dtype: Any) -> str:
    """The name of a dtype; numpy puts it together anew at each question."""
    return str(dtype.name)


def _numpy_name(dtype: str) -> str:
    """numpy has no bfloat16: its bits travel as uint16."""
    return "uint16" if dtype == "bfloat16" else dtype


def _as_tensors(where: str, contract: Port, value: Any) -> Mapping[str, Payload]:
    if isinstance(value, str):
        return {WHOLE: np.frombuffer(value.encode("utf-8"), np.uint8)}
    if contract.tensors is not None:
        if not isinstance(value, Mapping):
            raise NodeError(f"{where}: found {type(value).__name__} (expected tensors: {listing(contract.specs)})")
        return {name: _as_payload(array) for name, array in value.items()}
    if isinstance(value, Mapping):
        if contract.kind == "any":
            return {name: _as_payload(array) for name, array in value.items()}
        raise NodeError(f"{where}: found a mapping (expected one array)")
    array = _as_payload(value)
    if array.dtype == object:
        raise NodeError(f"{where}: found {type(value).__name__} (expected an array)")
    return {WHOLE: array}


def _as_payload(value: Any) -> Payload:
    """An array as it is, wherever it lies; what numpy can make one of, a list or a number, as one."""
    return value if home_of(value) is not None else foreign(value)


def _fits(array: Payload, spec: TensorSpec, resolved: tuple[int | None, ...] | None) -> bool:
    if spec.dtype is not None:
        if _name_of(array.dtype) != _numpy_name(spec.dtype):
            return False
    elif _name_of(array.dtype) not in DTYPE_BYTES:
        return False
    if spec.shape is None:
        return True
    if len(array.shape) != len(spec.shape):
        return False
    sizes = resolved if resolved is not None else tuple(d.size for d in spec.shape)
    for found, dim, size in zip(array.shape, spec.shape, sizes, strict=True):
        if not (size is None or found == size or (dim.is_max and found <= size)):
            return False
    return True
