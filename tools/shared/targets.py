"""Files that verbs write: what is there already is replaced only by its like, and never what the verb reads."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ...runtime.errors import UserError
from ...runtime.output_file import SIGNS, is_forced, leads_elsewhere

if TYPE_CHECKING:
    from ...runtime.plan.plan import Plan


@dataclass(frozen=True)
class Kind:
    """Kind of file that a verb writes, and whether a file is that already."""

    name: str
    fits: Callable[[Path], bool]


@dataclass(frozen=True)
class Target:
    """A file to write, and the option that names it."""

    option: str
    path: Path | None
    kind: Kind


def _begins(path: Path, *starts: bytes) -> bool:
    with path.open("rb") as file:
        head = file.read(max(map(len, starts))).lower()
    return any(head.startswith(start) for start in starts)


def _fits(suffix: str) -> Callable[[Path], bool]:
    def fits(path: Path) -> bool:
        with path.open("rb") as file:
            return SIGNS[suffix](file.read(16))

    return fits


def _is_profile(path: Path) -> bool:
    from ...runtime.forecast.profile_file import load_profile

    try:
        load_profile(path)
    except UserError:
        return False
    return True


def _is_trace(path: Path) -> bool:
    from ...runtime.observe.line_file import read_lines

    try:
        return next(read_lines(path), b"").startswith(_TRACE_BEGINS)
    except UserError:
        return False


_TRACE_BEGINS = b'{"type":"header"'

TRACE = Kind("trace", _is_trace)
RECORDING = Kind("recording", lambda path: _begins(path, b"\x89mcap"))
PROFILE = Kind("profile", _is_profile)
PAGE = Kind("page", lambda path: _begins(path, b"<!doctype html"))
CHECKPOINT = Kind("checkpoint", _fits(".safetensors"))
VIDEO = Kind("MP4", _fits(".mp4"))
ZIP = Kind("ZIP file", _fits(".zip"))
JSON = Kind("JSON file", lambda path: _begins(path, b"{") and not _begins(path, _TRACE_BEGINS))


def check_kind(target: Target) -> None:
    """Pass if nothing else than what is to be written would be replaced, or `is_forced`; devices, pipes and empty files
    may be.

    Raises:
        UserError: the file is there and is something else.
    """
    path, kind = target.path, target.kind.name
    if path is not None and path.is_dir():
        raise UserError(f"{target.option}: {path}: found a folder (expected a file to write), name one in it")
    if is_forced():
        return
    if path is not None and leads_elsewhere(path):
        raise UserError(
            f"{target.option}: {path}: found a symbolic link (expected a file of its own), what it leads to would be "
            "lost: name another, or give --force"
        )
    try:
        is_replaceable = path is None or not path.is_file() or not path.stat().st_size or target.kind.fits(path)
    except OSError as error:
        raise UserError(
            f"{target.option}: {path}: {error.strerror} (expected a writable file), name another"
        ) from error
    if not is_replaceable:
        raise UserError(
            f"{target.option}: {path}: found a file that is no {kind} (expected none, or a {kind} to replace), "
            "it would be lost: name another, or give --force"
        )


def check_targets(plan: Plan, targets: Sequence[Target], also_read: Mapping[str, Path] | None = None) -> None:
    """Pass if what a run writes is none of what it reads, and is written once; see `check_kind`, too.

    Args:
        plan: its nodes read and write files, too.
        targets: what the verb writes.
        also_read: what else the verb reads: what it is -> file.

    Raises:
        UserError: otherwise.
    """
    taken = {os.path.realpath(path): what for what, path in [*_read(plan), *(also_read or {}).items()]}
    nodes = [(f"node '{node}'", path) for node, path in _files(plan, "output")]
    for who, path in [*nodes, *((target.option, target.path) for target in targets)]:
        if path is None or (path.exists() and not path.is_file()):
            continue
        file = os.path.realpath(path)
        if file in taken:
            raise UserError(f"{who}: {path}: is {taken[file]} (expected another file), it would be lost: name another")
        taken[file] = f"what {who} writes"
    for target in targets:
        check_kind(target)


def _read(plan: Plan) -> list[tuple[str, Path]]:
    """Files that a run of a graph reads."""
    inputs = [(f"what node '{node}' reads", path) for node, path in _files(plan, "input")]
    sources = [(node.name, node.target.rpartition(":")[0]) for node in plan.nodes.values()]
    code = [(f"the code of node '{node}'", Path(file)) for node, file in sources if file.endswith(".py")]
    return [*inputs, *code, *([("the graph itself", Path(plan.path))] if plan.path else [])]


def _files(plan: Plan, kind: Literal["input", "output"]) -> list[tuple[str, Path]]:
    """Files that nodes' parameters name."""
    from ...runtime.plan.catalogue import resolve

    return [
        (node.name, Path(value))
        for node in plan.nodes.values()
        for key, param in resolve(node.target).params.items()
        if param.path == kind and (value := node.params.get(key)) and str(value)
    ]
