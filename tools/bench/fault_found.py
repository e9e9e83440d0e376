"""Figures of a harmed run: whether the culprit was named and when, what was lost, and what its video plays."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from ...runtime.errors import WangraphError
from ...runtime.observe.history import History, read_history
from .fault_kinds import Inject, Kind
from .fault_trial import Trial

TELLING = ("stall", "warning", "guard", "died", "failed")
"""Kinds of notes that say what is wrong; that a fault was injected is not among them."""

EARLY_NS = 50_000_000
"""By how much the origin of a run that was killed may be estimated wrongly."""

_NAMED = re.compile(r"(?:process|node) '([\w-]+)'|'([\w-]+)\.\w+'")

Naming = Literal["right", "wrong", "none", ""]
"""Whether the culprit was named; empty where none has to be."""

Found = dict[str, Any]


def found(kind: Kind, trial: Trial) -> Found:
    """Figures of one trial.

    Returns:
        ``exit``, ``named`` (see `Naming`) and ``named_s`` after the strike, ``end_s`` from the strike to the command's
        end where it ended the run, ``unaccounted`` units, ``left``, whether the video ``plays`` and how many units
        it is ``short``, ``recover_s``, and ``broken``: promises that did not hold, in words.
    """
    history = _history(trial.folder / "run.trace")
    summary = _summary(trial.folder / "run.json")
    origin_ns = summary.get("origin_ns") or (None if trial.origin_s is None else trial.origin_s * 1e9)
    struck_ns = _struck_ns(kind, trial, history, origin_ns)
    named, named_ns, text = _naming(kind.culprit, trial.error, _notes(history, struck_ns))
    video = _video(trial.folder / "out.mp4")
    written = 0 if history is None else 1 + max(history.firings["file"], default=-1)
    result: Found = {
        "unit": trial.unit,
        "exit": trial.exit_code,
        "named": named,
        "named_s": None if named_ns is None or struck_ns is None else round(max(0, named_ns - struck_ns) / 1e9, 3),
        "end_s": _end_s(trial, 0 if history is None else len(history.outcomes), origin_ns, struck_ns),
        "unaccounted": _unaccounted(history),
        "left": trial.left,
        "plays": video is not None,
        "short": None if video is None else max(0, written - video // 4),
        "recover_s": None if "recover_ms" not in summary else summary["recover_ms"] / 1000,
        "text": text,
    }
    return {**result, "broken": _broken(kind, result)}


def _broken(kind: Kind, result: Found) -> list[str]:
    """Promises that did not hold."""
    broken = []
    if result["exit"] not in kind.exits:
        expected = " or ".join(map(str, kind.exits))
        broken.append(f"exit {'never' if result['exit'] is None else result['exit']} (expected {expected})")
    if result["named"] in ("wrong", "none"):
        broken.append(f"culprit: {result['named']}")
    if result["unaccounted"]:
        broken.append(f"{result['unaccounted']} units without account")
    if result["left"]:
        broken.append(f"left a {' and a '.join(sorted({text.rpartition(' ')[0] for text in result['left']}))}")
    if not result["plays"]:
        broken.append("the file does not play")
    elif result["short"] > kind.may_lose:
        broken.append(f"the file is {result['short']} units short")
    return broken


def _struck_ns(kind: Kind, trial: Trial, history: History | None, origin_ns: float | None) -> float | None:
    """Instant of the strike after the origin: of one inside, the start of the call that it struck."""
    if trial.struck_s is not None:
        return None if origin_ns is None else trial.struck_s * 1e9 - origin_ns
    if history is None:
        return None
    if kind.name.startswith("node-close"):  # it strikes at the end of the run
        return history.plan.release_ns(history.n_units - 1)
    node = kind.strike.node if isinstance(kind.strike, Inject) else "middle"
    firing = history.firings[node].get(trial.unit)
    return history.plan.release_ns(trial.unit) if firing is None else firing.started_ns


def _notes(history: History | None, struck_ns: float | None) -> list[tuple[int, str]]:
    """Notes on what is wrong, from the strike on."""
    if history is None or struck_ns is None:
        return []
    return [(n.at_ns, n.text) for n in history.notes if n.kind in TELLING and n.at_ns >= struck_ns - EARLY_NS]


def _naming(culprit: Sequence[str], error: str, notes: Sequence[tuple[int, str]]) -> tuple[Naming, int | None, str]:
    """Naming of the culprit, the time of the first note that names it, and the text that decides.

    An error that ended the run decides alone; else it is right if some note names the culprit.
    """
    if not culprit:
        return "", None, error
    first = next(((at_ns, text) for at_ns, text in notes if _is_named(culprit, text)), None)
    at_ns = None if first is None else first[0]
    if error:
        return ("right" if _is_named(culprit, error) else "wrong" if _NAMED.search(error) else "none"), at_ns, error
    if first is not None:
        return "right", at_ns, first[1]
    others = [text for _, text in notes if _NAMED.search(text)]
    return ("wrong", None, others[0]) if others else ("none", None, "")


def _is_named(culprit: Sequence[str], text: str) -> bool:
    """True if a text is about the culprit: it begins with it, or with somebody who waits for it.

    That it comes up further on is not enough: a reader would look at who stands first.
    """
    named = [name for pair in _NAMED.findall(text) for name in pair if name]
    if " waits for " in text:
        return any(f" {name}." in text.partition(" waits for ")[2] for name in culprit)
    return (named[:1] != [] and named[0] in culprit) or any("." in name and name in text for name in culprit)


def _end_s(trial: Trial, n_presented: int, origin_ns: float | None, struck_ns: float | None) -> float | None:
    """Seconds from the strike to the end of the command; None where the run goes on to its own end."""
    if trial.exit_code in (0, None) or origin_ns is None or struck_ns is None or n_presented >= trial.units:
        return None
    return round(max(0.0, trial.ended_s - (origin_ns + struck_ns) / 1e9), 3)


def _unaccounted(history: History | None) -> int:
    """Units up to the last one presented of which nobody says what became of them."""
    if history is None or not history.outcomes:
        return 0
    return max(history.outcomes) + 1 - len(history.outcomes)


def _history(path: Path) -> History | None:
    try:
        return read_history(path)
    except WangraphError:
        return None


def _summary(path: Path) -> dict[str, Any]:
    try:
        summary = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return summary if isinstance(summary, dict) else {}


def _video(path: Path) -> int | None:
    """Pictures of a video; None if it does not play to its end."""
    import av

    try:
        with av.open(str(path)) as video:
            pictures = sum(1 for _ in video.decode(video=0))
        with av.open(str(path)) as video:
            sum(1 for _ in video.decode(audio=0))
    except (OSError, ValueError, IndexError, av.error.FFmpegError):
        return None
    return pictures
