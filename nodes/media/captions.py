"""Captions out of a stream of words: when one begins and ends, and how they are written beside a video."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Join = Literal["words", "verbatim"]

LONGEST_CHARS = 84
LONGEST_MS = 6000


@dataclass(frozen=True, slots=True)
class Caption:
    """One caption, in milliseconds of the video."""

    start_ms: int
    end_ms: int
    text: str


class CaptionMerger:
    """Merges the texts of units into captions.

    A caption ends when nothing was said for ``pause_ms`` (it stays on screen that long), and when it would become
    longer than `LONGEST_CHARS` or `LONGEST_MS`, between two units.

    Args:
        join: ``words``: a space goes between units' texts that bring none; ``verbatim``: they are pieces of words.
    """

    def __init__(self, pause_ms: int, join: Join = "words") -> None:
        self._pause_ms = pause_ms
        self._join = join
        self._text = ""
        self._start_ms = 0
        self._end_ms = 0

    def add(self, text: str | None, start_ms: int, end_ms: int) -> Caption | None:
        """Take in one unit's text; returns the caption that is complete by now, if one is."""
        if not text:
            return self._taken(self._end_ms + self._pause_ms) if start_ms >= self._end_ms + self._pause_ms else None
        is_full = len(self._text) + len(text) > LONGEST_CHARS or end_ms - self._start_ms > LONGEST_MS
        is_pause = start_ms >= self._end_ms + self._pause_ms
        done = self._taken(min(start_ms, self._end_ms + self._pause_ms)) if is_full or is_pause else None
        if not self._text:
            self._start_ms = start_ms
        elif self._join == "words" and not (self._text[-1].isspace() or text[0].isspace()):
            self._text += " "
        self._text += text
        self._end_ms = end_ms
        return done

    def finish(self, end_ms: int) -> Caption | None:
        """The caption that is still open when the video ends at ``end_ms``."""
        return self._taken(min(end_ms, self._end_ms + self._pause_ms))

    def _taken(self, end_ms: int) -> Caption | None:
        text, self._text = re.sub(r"\s*\n\s*", "\n", self._text.strip()), ""
        return Caption(self._start_ms, max(end_ms, self._start_ms + 1), text) if text else None


class SrtWriter:
    """A SubRip file that is whole after every caption. It is made with the first one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.n_captions = 0
        path.unlink(missing_ok=True)  # an older video's captions do not belong to this one

    def write(self, caption: Caption) -> None:
        """Append one caption."""
        self.n_captions += 1
        times = f"{srt_time(caption.start_ms)} --> {srt_time(caption.end_ms)}"
        with self.path.open("a", encoding="utf-8") as file:
            file.write(f"{self.n_captions}\n{times}\n{caption.text}\n\n")


def srt_time(ms: int) -> str:
    """``3723004`` -> ``01:02:03,004``."""
    seconds, ms = divmod(ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{seconds:02d},{ms:03d}"
