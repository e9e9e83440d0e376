"""Port contracts: what a node promises to take and to give, known before anything runs.

A contract is one or more named tensors with dtype and shape **per unit**. Shapes are written as words:

    "F H W 3"      an integer is a size, a capital word a symbol; the same symbol is the same size all over a node,
                   and edges unify the symbols of both ends
    "N<=13 D"      a maximum: any size up to 13 may come
    "..."          any shape (only alone)

Two symbols are given by the clock: ``F`` = frames per unit, ``S`` = samples per unit (of a port with ``rate_hz``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from .errors import GraphError, listing
from .packet import WHOLE

Kind = Literal["video", "audio", "latent", "text", "tokens", "context", "any"]
KINDS: tuple[Kind, ...] = ("video", "audio", "latent", "text", "tokens", "context", "any")

Late = Literal["gap", "hold", "empty", "wait"]
LATES: tuple[Late, ...] = ("gap", "hold", "empty", "wait")

Guard = Literal["off", "count", "conceal", "fail"]
GUARDS: tuple[Guard, ...] = ("off", "count", "conceal", "fail")
"""In order of strictness."""

Place = Literal["host", "node", "any"]
PLACES: tuple[Place, ...] = ("host", "node", "any")
"""Where a port's payloads are: in this machine's memory, on the node's device, or (inputs) wherever they are made."""

DTYPE_BYTES = {
    "uint8": 1, "int8": 1, "bool": 1, "int16": 2, "uint16": 2, "float16": 2, "bfloat16": 2,
    "int32": 4, "uint32": 4, "float32": 4, "int64": 8, "uint64": 8, "float64": 8,
}  # fmt: skip

_WORD = re.compile(r"^(?:(?P<size>\d+)|(?P<symbol>[A-Za-z]\w*)|(?:(?P<name>[A-Za-z]\w*)<=(?P<max>\d+)))$")


@dataclass(frozen=True, slots=True)
class Dim:
    """One dimension: a size, a symbol, or a maximum with a name."""

    size: int | None = None
    symbol: str | None = None
    is_max: bool = False

    def __str__(self) -> str:
        if self.is_max:
            return f"{self.symbol}<={self.size}"
        return str(self.size) if self.symbol is None else self.symbol


def parse_shape(text: str | None) -> tuple[Dim, ...] | None:
    """``"F H W 3"`` -> dimensions; None (any shape) for None and ``"..."``.

    Raises:
        GraphError: a word is neither a size, a symbol nor a maximum.
    """
    if text is None or text.strip() == "...":
        return None
    dims = []
    for word in text.split():
        match = _WORD.match(word)
        if match is None:
            raise GraphError(
                f"shape '{text}': found '{word}' (expected a size as 4, a symbol as H or a maximum as N<=13)"
            )
        if match["size"]:
            dims.append(Dim(size=int(match["size"])))
        elif match["symbol"]:
            dims.append(Dim(symbol=match["symbol"]))
        else:
            dims.append(Dim(size=int(match["max"]), symbol=match["name"], is_max=True))
    return tuple(dims)


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One named tensor of a port: dtype (None: any) and shape per unit (None: any)."""

    dtype: str | None = None
    shape: tuple[Dim, ...] | None = None

    def __str__(self) -> str:
        shape = "..." if self.shape is None else " ".join(map(str, self.shape))
        return f"[{shape}] {self.dtype or 'any dtype'}"


@dataclass(frozen=True)
class Port:
    """Base of inlets and outlets. Use `Input` and `Output`.

    Args:
        kind: video, audio, latent, text, tokens, context or any. ``context`` makes the stream a *log*:
            ordered, lossless, one writer. The value of a ``text`` port is a ``str``.
        shape: shape per unit, see the module; for ports with a single tensor.
        dtype: dtype name; bfloat16 travels as uint16.
        tensors: for ports with several tensors: ``{"keys": ("L N<=13 D", "float32"), ...}``.
        rate_hz: sampling rate of an audio port; gives the symbol ``S``.
        help: one sentence for the catalogue.
    """

    kind: Kind = "any"
    shape: str | None = None
    dtype: str | None = None
    tensors: Mapping[str, tuple[str | None, str | None]] | None = None
    rate_hz: int | None = None
    help: str = ""
    specs: Mapping[str, TensorSpec] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise GraphError(f"port: found kind '{self.kind}' (expected one of: {listing(KINDS)})")
        raw = self.tensors if self.tensors is not None else {WHOLE: (self.shape, self.dtype)}
        specs = {}
        for name, (shape, dtype) in raw.items():
            if self.kind == "text" and dtype is None:
                dtype, shape = "uint8", shape or "B<=4096"
            if dtype is not None and dtype not in DTYPE_BYTES:
                raise GraphError(f"port: found dtype '{dtype}' (expected one of: {listing(DTYPE_BYTES)})")
            specs[name] = TensorSpec(dtype, parse_shape(shape))
        object.__setattr__(self, "specs", specs)

    @property
    def is_log(self) -> bool:
        """True if the stream is ordered and lossless: never timed out, never dropped."""
        return self.kind == "context"


@dataclass(frozen=True)
class Input(Port):
    """An inlet.

    Args:
        late: what happens when the unit is not there in time (or its producer lost it):
            ``gap``: the node is told that the unit is lost and does not answer (the default);
            ``hold``: the last real value stands in; ``empty``: the node gets None;
            ``wait``: no time-out, only for logs and off the paced path.
        look_ahead: units after k that must have settled before k fires; adds ``look_ahead * T`` of latency.
            The node then gets a tuple of ``look_ahead + 1`` values.
        optional: may stay unconnected; the node then gets None.
        guard: what is done about NaN and infinite numbers that come: ``off``: nothing; ``count``: they are told;
            ``conceal``: the unit is lost, for all readers of the stream; ``fail``: the run ends. Of several readers the
            strictest counts, and the unit is judged where it is made.
        device: where the node wants it: ``host``: as numpy arrays; ``node``: on the device that the graph puts the node
            on; ``any``: as it is. What is elsewhere is copied before the call.
    """

    late: Late = "gap"
    look_ahead: int = 0
    optional: bool = False
    guard: Guard = "count"
    device: Place = "host"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.device not in PLACES:
            raise GraphError(f"input: found device '{self.device}' (expected one of: {listing(PLACES)})")
        if self.guard not in GUARDS:
            raise GraphError(f"input: found guard '{self.guard}' (expected one of: {listing(GUARDS)})")
        if self.late not in LATES:
            raise GraphError(f"input: found late '{self.late}' (expected one of: {listing(LATES)})")
        if self.look_ahead < 0:
            raise GraphError(f"input: found look_ahead {self.look_ahead} (expected 0 or more)")


@dataclass(frozen=True)
class Output(Port):
    """An outlet. Every output emits exactly one packet per unit; an output left out of a step's result is empty.

    Args:
        device: where its payloads are made: ``host``, or ``node``: on the device that the graph puts the node on. What
            is returned elsewhere is copied there.
    """

    device: Place = "host"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.device not in ("host", "node"):
            raise GraphError(f"output: found device '{self.device}' (expected one of: host, node)")
