"""One file that needs nothing else: the page's markup, style, scripts and the run's data."""

from __future__ import annotations

import re
from html import escape
from importlib.resources import files

import msgspec

from .columns import View

SCRIPTS = ("data", "view", "paint", "lanes", "load", "path", "curves", "overview", "panel", "main")
"""In the order in which they build on each other; they share one scope."""


def page_of(view: View) -> str:
    """The whole page as text."""
    folder = files(__package__) / "page"
    parts = {
        "title": escape(f"{view.graph} · wangraph timeline"),
        "style": (folder / "style.css").read_text("utf-8"),
        "script": "\n".join((folder / f"{name}.js").read_text("utf-8") for name in SCRIPTS),
        "data": embedded(msgspec.json.encode(view).decode()),
    }
    page = (folder / "page.html").read_text("utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], page)


def embedded(json: str) -> str:
    """JSON that may stand inside a script element: no text in it can end the element or open a comment."""
    return json.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
