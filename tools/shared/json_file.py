"""Meaning of ``--json FILE`` wherever it is written: a file, or standard output."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import click

from ...runtime.errors import RunError, UserError
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
    """Write it, whole or not at all.

    Raises:
        RunError: it cannot be written; a file that was there before still is.
    """
    text = json.dumps(data, indent=2)
    if target == STANDARD_OUTPUT:
        click.echo(text)
        return
    path = Path(target)
    if path.exists() and not path.is_file():  # a device or a pipe is written to, not replaced
        _write(path, text, target)
        return
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        _write(unfinished, text, target)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _write(path: Path, text: str, target: str) -> None:
    try:
        path.write_text(text + "\n")
    except OSError as error:
        raise RunError(f"--json: {target}: {error.strerror} (expected room for it), write it elsewhere") from error


@contextmanager
def output_kept_for_json(target: str | None) -> Iterator[None]:
    """With ``--json -``: what anything else prints meanwhile, nodes in other processes too, goes to standard error."""
    if target != STANDARD_OUTPUT:
        yield
        return
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 1)
        os.close(kept)
