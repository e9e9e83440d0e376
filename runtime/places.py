"""Places in somebody's code where it failed, in words: the line of theirs that raised, and its message."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator
from types import CodeType, TracebackType
from typing import Any

LONGEST = 2000
"""Characters of an exception's text that are repeated: some carry a whole array."""

_STDLIB = os.path.dirname(os.__file__) + os.sep
_INSTALLED = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")


def raised(error: BaseException, called: Callable[..., Any] | None = None) -> str:
    """``NameError: name 'x' is not defined, at my_nodes.py:17 in step``: what somebody's code raised, and where."""
    text = error.msg if isinstance(error, SyntaxError) else message_of(error)
    return type(error).__name__ + (f": {text}" if text else "") + place_of(error, called)


def message_of(error: BaseException) -> str:
    """Message of an exception, as text that any terminal and any socket takes; short, whatever it is."""
    try:
        text = str(error)
    except Exception as worse:  # the exception's own text fails: its name has to do
        return f"(its text raised {type(worse).__name__})"
    text = text.encode("utf-8", "replace").decode("utf-8")
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}... ({len(text)} characters)"


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
            return _place(call.tb_frame.f_code, call.tb_lineno)
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


def _place(code: CodeType, line: int | None) -> str:
    inside = "" if code.co_name == "<module>" else f" in {code.co_name}"
    return f", at {_short(code.co_filename)}:{line}{inside}"


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
