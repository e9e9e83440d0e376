"""What ``--json FILE`` means wherever it is written: a file, or standard output."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from ...runtime.errors import UserError
from .targets import JSON, Target, check_kind

STANDARD_OUTPUT = "-"


def check_json(target: str | None) -> None:
    """Pass if it can be written there: known before the work, not after.

    Raises:
        UserError: it cannot.
    """
    if target in (None, STANDARD_OUTPUT):
        return
    assert target is not None
    path = Path(target).resolve()
    if path.is_dir():
        raise UserError(f"--json: {target}: found a folder (expected a file to write), name one in it")
    if not os.access(path.parent, os.W_OK):
        raise UserError(
            f"--json: {target}: cannot write into {path.parent} (expected a writable folder), name another file"
        )
    check_kind(Target("--json", Path(target), JSON))


def write_json(data: Mapping[str, Any], target: str) -> None:
    """Write it."""
    text = json.dumps(data, indent=2)
    if target == STANDARD_OUTPUT:
        click.echo(text)
    else:
        Path(target).write_text(text + "\n")
