"""Plumbing: hold back, copy, mix, pass or stop, put two pictures together, call a function."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..runtime.node import Emission, Node, NodeContext, Param, Unit
from ..runtime.ports import Input, Output
from .functions import check_function, load_function
from .pip import PictureInPicture
from .relay import kept, relayed

__all__ = ["Delay", "Gate", "Mix", "PictureInPicture", "PythonFunction", "Tee"]


@dataclass
class Held:
    """Values on their way, oldest first."""

    values: deque[Emission | None] = field(default_factory=deque)


class Delay(Node):
    """Give every value ``units`` units later. The first units are empty; what is on its way at the end is dropped."""

    value = Input("any", "...", late="empty")
    delayed = Output("any", "...")

    units: int = Param(1, min=1, max=10_000, help="units by which values come later")

    def new_state(self) -> Held:
        """Nothing on its way."""
        return Held(deque([None] * self.units))

    def step(self, state: Held, unit: Unit, value: Any = None) -> Any:
        """The value of ``units`` units ago."""
        state.values.append(relayed(unit, "value", kept(value)))
        return {"delayed": state.values.popleft()}

    def gap(self, state: Held, units: Sequence[Unit]) -> None:
        """Lost units come out empty later; what should have come out now is lost with them."""
        for _ in units:
            state.values.append(None)
            state.values.popleft()


class Tee(Node):
    """Give a value twice, under two names."""

    value = Input("any", "...", late="empty", device="node")
    a = Output("any", "...", device="node")
    b = Output("any", "...", device="node")

    def step(self, unit: Unit, value: Any = None) -> Any:
        """The value, on both outputs."""
        copy = relayed(unit, "value", value)
        return {"a": copy, "b": copy}


@dataclass
class Latch:
    """State of a gate: open or not."""

    is_open: bool


class Gate(Node):
    """Pass a value while the gate is open. ``control`` opens it (a text, or any number but 0) or closes it (0, or
    an empty text); a unit in which it is empty leaves the gate as it was."""

    value = Input("any", "...", late="empty", device="node")
    control = Input("any", "...", late="empty", optional=True)
    passed = Output("any", "...", device="node")

    is_open: bool = Param(True, help="how the gate stands at the beginning")

    def new_state(self) -> Latch:
        """Begin open or closed, as the parameter says."""
        return Latch(self.is_open)

    def step(self, state: Latch, unit: Unit, value: Any = None, control: Any = None) -> Any:
        """The value, or nothing."""
        if control is not None:
            state.is_open = _is_open_value(control)
        return {"passed": relayed(unit, "value", value) if state.is_open else None}

    def gap(self, state: Latch, units: Sequence[Unit]) -> None:
        """The gate stays as it was."""


def _is_open_value(control: Any) -> bool:
    if isinstance(control, str):
        return bool(control)
    arrays = control.values() if isinstance(control, Mapping) else [control]
    return any(bool(np.any(array)) for array in arrays)


class Mix(Node):
    """Two sounds as one, the one that is not there as silence; both alone is nothing."""

    a = Input("audio", "S", "float32", late="empty", rate_hz=16000, help="mono samples")
    b = Input("audio", "S", "float32", late="empty", rate_hz=16000, help="mono samples, as many a second")
    mixed = Output("audio", "S", "float32", rate_hz=16000, help="their sum, limited to -1..1")

    rate_hz: int = Param(16000, min=1000, max=192000, help="samples per second")

    @classmethod
    def ports(cls, params: Mapping[str, Any]) -> tuple[Mapping[str, Input], Mapping[str, Output]]:
        """Both at the rate that is set."""
        rate_hz = params.get("rate_hz", 16000)
        a, b = (Input("audio", "S", "float32", late="empty", rate_hz=rate_hz, help=i.help) for i in (cls.a, cls.b))
        return {"a": a, "b": b}, {"mixed": Output("audio", "S", "float32", rate_hz=rate_hz, help=cls.mixed.help)}

    def step(self, unit: Unit, a: Any = None, b: Any = None) -> Any:
        """The sum ``[S]``."""
        if a is None or b is None:
            return {"mixed": None if a is None and b is None else np.array(b if a is None else a)}
        return {"mixed": np.clip(a + b, -1, 1)}


class PythonFunction(Node):
    """Call a function on every value: ``def louder(value): return value * 2``. What it returns goes on; None is empty.

    For parameters, several inputs or a state, write a node instead: one short class.
    """

    value = Input("any", "...", late="empty")
    result = Output("any", "...")

    function: str = Param(help="'name' in file, 'file.py:name' in the current folder, or 'package.module:name'")
    file: Path = Param(None, path="input", help="Python file that holds the function")

    @classmethod
    def check(cls, params: Mapping[str, Any]) -> None:
        """See that the file and the function in it exist, without running it."""
        if "function" in params:
            check_function(params["function"], params.get("file"))

    def open(self, ctx: NodeContext) -> None:
        """Import the function."""
        self._call: Callable[[Any], Any] = load_function(self.function, self.file)

    def step(self, unit: Unit, value: Any = None) -> Any:
        """Apply the function to the value; a unit without one is passed over."""
        return {"result": None if value is None else self._call(value)}
