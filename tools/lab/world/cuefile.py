"""Cues of a dialogue as a JSON file beside its video: what the user did, and when.

{"cues": [{"kind": "speech", "at_s": 0.52, "manner": "turn"}, {"kind": "word", "at_s": 0.93, "words": ["four"]},
          {"kind": "end", "at_s": 0.93}]}
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast, get_args

from ....runtime.errors import MediaError, listing
from .cues import Cue, CueKind, Manner
from .signal import RATE

KINDS: tuple[str, ...] = get_args(CueKind)
MANNERS: tuple[str, ...] = get_args(Manner)


def written(cues: Sequence[Cue]) -> str:
    """The file's text."""
    rows = []
    for cue in cues:
        row: dict[str, Any] = {"kind": cue.kind, "at_s": round(cue.at / RATE, 4)}
        if cue.manner != "turn":
            row["manner"] = cue.manner
        if cue.words:
            row["words"] = list(cue.words)
        rows.append(row)
    lines = ",\n  ".join(json.dumps(row) for row in rows)
    return f'{{"cues": [\n  {lines}\n]}}\n'


def read(path: Path) -> tuple[Cue, ...]:
    """The cues of a file, in order of time.

    Raises:
        MediaError: it cannot be read, or is no such file.
    """
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["cues"]
    except OSError as error:
        raise MediaError(f"{path}: {error.strerror} (expected the video's cues as JSON), write them") from error
    except (ValueError, KeyError, TypeError) as error:
        raise MediaError(f'{path}: not readable (expected {{"cues": [...]}}), see docs/benchmark.md') from error
    if not isinstance(rows, list):
        raise MediaError(f"{path}: found cues of {type(rows).__name__} (expected a list), see docs/benchmark.md")
    cues = [_cue(f"{path}: cue {number}", row) for number, row in enumerate(rows)]
    return tuple(sorted(cues, key=lambda cue: cue.at))


def _cue(where: str, row: Any) -> Cue:
    if not isinstance(row, dict):
        raise MediaError(f"{where}: found {row!r} (expected an object), see docs/benchmark.md")
    kind, manner, words, at = row.get("kind"), row.get("manner", "turn"), row.get("words", []), row.get("at_s")
    for name, value, known in (("kind", kind, KINDS), ("manner", manner, MANNERS)):
        if value not in known:
            raise MediaError(f"{where}: found {name} {value!r} (expected one of: {listing(known)}), correct it")
    if isinstance(at, bool) or not isinstance(at, int | float) or not 0 <= at < 1e6:
        raise MediaError(f"{where}: found at_s {at!r} (expected seconds from 0), correct it")
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise MediaError(f"{where}: found words {words!r} (expected a list of words), correct it")
    if kind in ("word", "card") and not words:
        raise MediaError(f"{where}: found no words (expected what was said, or the card's colour), add them")
    return Cue(cast(CueKind, kind), round(at * RATE), manner, tuple(words))
