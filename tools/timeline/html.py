"""One file that needs nothing else: the page's markup, style, scripts and the data of one run or two."""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path

import msgspec

from ...runtime.errors import UserError
from ...runtime.output_file import claim
from .columns import View

SCRIPTS = (
    "data", "view", "paint", "ruler", "lanes", "load", "cause", "path", "curves", "overview", "panel", "search", "help",
    "main",
)  # fmt: skip
"""In the order in which they build on each other; they share one scope."""


def page_of(*views: View, live: int | None = None) -> str:
    """The whole page as text.

    Args:
        views: one run, or two to lie beside each other.
        live: the page follows a run that goes on; how many steps of it these views hold.
    """
    folder = files(__package__) / "page"
    scripts = (*SCRIPTS[:-1], "live", SCRIPTS[-1]) if live is not None else SCRIPTS
    parts = {
        "title": escape(f"{' and '.join(dict.fromkeys(view.graph for view in views))} · wangraph timeline"),
        "style": (folder / "style.css").read_text("utf-8"),
        "script": "\n".join((folder / f"{name}.js").read_text("utf-8") for name in scripts),
        "data": packed(views, live),
    }
    page = (folder / "page.html").read_text("utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], page)


def packed(views: Sequence[View], live: int | None) -> str:
    """The data as text that is safe anywhere in a page: JSON, deflated, in base 64."""
    data = msgspec.json.encode({"runs": views, "live": live})
    return base64.b64encode(zlib.compress(data)).decode()


def save(text: str, target: Path) -> None:
    """Write a page.

    Raises:
        UserError: it cannot be written.
    """
    try:
        claim(target)
        target.write_text(text, "utf-8")
    except OSError as error:
        raise UserError(f"{target}: {error.strerror} (expected a file to write), give another with -o") from error
