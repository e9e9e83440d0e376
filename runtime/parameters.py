"""Parameters of nodes: defaults, limits and checks, declared as class attributes with `Param`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from .errors import GraphError, did_you_mean, listing


@dataclass(frozen=True)
class Parameter:
    """A parameter's default and limits, as `Param` declares them; its type is the attribute's annotation.

    Args:
        default: ``...`` makes it required.
        min: smallest allowed value.
        max: largest allowed value.
        choices: allowed values.
        path: ``"input"``: a file to read, sought beside the graph file, then in the current folder;
            ``"output"``: a file to write, in the current folder.
        help: one sentence for the catalogue; quantities carry their unit in the name (``radius_px``).
        live: whether `Run.set` may change it while the run goes on, see `Node.update`.
        secret: no trace, recording or message repeats its value. It cannot be live: the
            decision log has what is set.
    """

    default: Any = ...
    min: float | None = None
    max: float | None = None
    choices: Sequence[Any] | None = None
    path: Literal["input", "output"] | None = None
    help: str = ""
    live: bool = False
    secret: bool = False
    type: Any = field(default=None, compare=False)

    @property
    def is_required(self) -> bool:
        """True if a value must be given."""
        return self.default is ...

    def checked(self, where: str, value: Any) -> Any:
        """The value, converted to the parameter's type.

        Raises:
            GraphError: wrong type, out of range, not one of the choices.
        """
        want = self.type if isinstance(self.type, type) else None
        if value is None and not self.is_required and self.default is None:
            return None
        if want is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if want is Path and isinstance(value, str):
            value = Path(value)
        wrong_bool = want in (int, float) and isinstance(value, bool)
        if want is not None and (not isinstance(value, want) or wrong_bool):
            raise GraphError(f"{where}: found {value!r} (expected {type_name(want)})")
        if self.choices is not None and value not in self.choices:
            hint = did_you_mean(str(value), map(str, self.choices))
            raise GraphError(f"{where}: found {value!r} (expected one of: {listing(map(str, self.choices))}){hint}")
        if self.min is not None and value < self.min:
            raise GraphError(f"{where}: found {value!r} (expected {self.min:g} or more)")
        if self.max is not None and value > self.max:
            raise GraphError(f"{where}: found {value!r} (expected {self.max:g} or less)")
        return value


def Param(  # noqa: N802 (reads as the declaration it is; a function, so that type checkers accept ``radius: int = ...``)
    default: Any = ...,
    *,
    min: float | None = None,
    max: float | None = None,
    choices: Sequence[Any] | None = None,
    path: Literal["input", "output"] | None = None,
    help: str = "",
    live: bool = False,
    secret: bool = False,
) -> Any:
    """Declare a parameter of a node, see `Parameter`: ``radius_px: int = Param(2, min=0, max=64)``."""
    if secret and live:
        raise GraphError("parameter: found secret and live (expected one of them), what is set would be in the trace")
    return Parameter(default, min, max, choices, path, help, live, secret)


def type_name(kind: type) -> str:
    """A parameter's type in words."""
    names = {int: "a whole number", float: "a number", str: "a string", bool: "true or false", list: "a list",
             dict: "a mapping", Path: "a path"}  # fmt: skip
    return names.get(kind, kind.__name__)
