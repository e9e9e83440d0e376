"""Print of tables and type names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

PIPE_WIDTH = 200
"""Columns where the output is not a terminal: nothing that is grepped should be folded."""


def console() -> Console:
    """A console that takes no word for markup or colours it."""
    from rich.console import Console

    plain = Console(highlight=False)
    return plain if plain.is_terminal else Console(highlight=False, width=PIPE_WIDTH)


def table(*columns: str, right: tuple[str, ...] = ()) -> Table:
    """A table without lines; columns in ``right`` hold numbers."""
    from rich.table import Table

    made = Table(box=None, pad_edge=False)
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left")
    return made


def type_name(name: str) -> str:
    """A node type without the folder of its file."""
    file, colon, attribute = name.rpartition(":")
    return f"{Path(file).name}{colon}{attribute}" if file.endswith(".py") else name
