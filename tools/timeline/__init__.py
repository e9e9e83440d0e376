"""``wangraph timeline``: a trace becomes one self-contained page, or a file for Perfetto.

In data-flow order: `facts` reads the trace and says what happened to each unit, `columns` packs it for the page,
`html` puts data, style and scripts (``page/``) into one file, `perfetto` writes Chrome-trace JSON, `verb` is the
command. Imports the trace records and the unit clock of the runtime; no model, no torch.
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    """``command``, imported when it is asked for."""
    if name == "command":
        from .verb import command

        return command
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
