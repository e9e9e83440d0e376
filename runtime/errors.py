"""The exception tree, and how messages are worded.

Every message reads ``where: found (expected or available), remedy``.

    WangraphError
    |- UserError          the user's mistake; the command line exits with 2
    |  |- GraphError      a graph that cannot be run: YAML, wiring, contracts, parameters
    |  |- MediaError      a file or device that cannot be read or written
    |  |- CheckpointError weights that do not fit
    |  `- MissingExtra    an optional package that is not installed
    `- RunError           the run's failure; the command line exits with 1
       |- NodeError       a node raised or returned what its contract forbids
       |- ProcessLost     a process of the run is gone
       `- StartError      a process did not become ready in time
"""

from __future__ import annotations

import difflib
import dis
import inspect
import os
from collections.abc import Callable, Iterable, Iterator
from types import CodeType, TracebackType
from typing import Any

_STDLIB = os.path.dirname(os.__file__) + os.sep
_INSTALLED = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")


class WangraphError(Exception):
    """Base of all errors raised on purpose; ``exit_code`` is what the command line ends with."""

    exit_code = 1


class UserError(WangraphError):
    """Something the user wrote, gave or lacks."""

    exit_code = 2


class GraphError(UserError):
    """A graph that cannot be run."""


class MediaError(UserError):
    """A media file or device that cannot be read or written."""


class CheckpointError(UserError):
    """Weights that cannot be loaded or have other shapes than the model."""


class MissingExtra(UserError):
    """An optional package is needed and not installed."""


class RunError(WangraphError):
    """The run failed."""


class NodeError(RunError):
    """A node raised, or returned what its contract forbids; names node, unit and port."""


class ProcessLost(RunError):
    """A process of the run ended by itself."""


class StartError(RunError):
    """A process did not become ready before its deadline."""


def error_of(kind: str, text: str) -> WangraphError:
    """An error that another process reported, by the name of its class; a `RunError` if the class is not known here."""
    known = {cls.__name__: cls for cls in _below(WangraphError)}
    return known.get(kind, RunError)(text)


def _below(cls: type[WangraphError]) -> list[type[WangraphError]]:
    return [cls, *(found for sub in cls.__subclasses__() for found in _below(sub))]


def did_you_mean(word: str, options: Iterable[str]) -> str:
    """``"; did you mean 'audio'?"`` when an option is close to ``word``, else the empty string."""
    close = difflib.get_close_matches(word, list(options), n=1, cutoff=0.6)
    return f"; did you mean '{close[0]}'?" if close else ""


def listing(options: Iterable[str]) -> str:
    """Options as they appear in messages: sorted, comma separated, ``none`` when there are none."""
    return ", ".join(sorted(options)) or "none"


def raised(error: BaseException, called: Callable[..., Any] | None = None) -> str:
    """``NameError: name 'x' is not defined, at my_nodes.py:17 in step``: what somebody's code raised, and where."""
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return type(error).__name__ + (f": {text}" if text else "") + place_of(error, called)


def place_of(error: BaseException, called: Callable[..., Any] | None = None) -> str:
    """``, at my_nodes.py:17 in step``: the innermost line that is neither wangraph's nor an installed package's.

    Without one it is where ``called`` is defined, if that is somebody's own (arguments that did not fit), else the
    innermost line of all; none for an error of wangraph's, whose words say what to do.
    """
    if isinstance(error, SyntaxError) and error.filename and not error.filename.startswith("<"):
        return f", at {_short(error.filename)}:{error.lineno}"
    calls = list(_calls(error.__traceback__))
    for call in reversed(calls):
        if _is_theirs(call.tb_frame.f_code, call.tb_frame.f_globals.get("__name__")):
            return _place(call.tb_frame.f_code, call.tb_lineno, _assigned(call))
    function = inspect.unwrap(called) if called is not None else None
    code = getattr(function, "__code__", None)
    if code is not None and _is_theirs(code, getattr(function, "__module__", None)):
        return _place(code, code.co_firstlineno)
    if not calls or _is_ours(type(error).__module__):
        return ""
    return _place(calls[-1].tb_frame.f_code, calls[-1].tb_lineno)


def _calls(trace: TracebackType | None) -> Iterator[TracebackType]:
    """Outermost first."""
    while trace is not None:
        yield trace
        trace = trace.tb_next


def _is_ours(module: str | None) -> bool:
    return (module or "").partition(".")[0] == __name__.partition(".")[0]


def _is_theirs(code: CodeType, module: str | None) -> bool:
    file = code.co_filename
    is_installed = file.startswith((_STDLIB, "<frozen ")) or any(part in file for part in _INSTALLED)
    return not _is_ours(module) and not is_installed


def _place(code: CodeType, line: int | None, assigned: str = "") -> str:
    inside = "" if code.co_name == "<module>" else f" in {code.co_name}{assigned}"
    return f", at {_short(code.co_filename)}:{line}{inside}"


def _assigned(call: TracebackType) -> str:
    """``.frames`` while a class body makes what will be its ``frames``."""
    code = call.tb_frame.f_code
    if code.co_flags & inspect.CO_OPTIMIZED or code.co_name == "<module>":
        return ""
    later = (i for i in dis.get_instructions(code) if i.offset > call.tb_lasti and i.opname == "STORE_NAME")
    target = next(later, None)
    line = target.positions.lineno if target is not None and target.positions is not None else None
    is_same_statement = target is not None and line is not None and line <= call.tb_lineno
    return f".{target.argval}" if target is not None and is_same_statement else ""


def _short(file: str) -> str:
    """A file's path from the current folder, or below the installed packages."""
    for part in _INSTALLED:
        if part in file:
            return file.rpartition(part)[2]
    try:
        relative = os.path.relpath(file)
    except OSError:  # the current folder is gone
        return file
    return file if file.startswith("<") or relative.startswith(os.pardir) else relative
