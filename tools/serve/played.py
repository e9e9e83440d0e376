"""Units of the graph's sound that a visitor has heard, and those that were cut off before they reached the ear."""

from __future__ import annotations

from collections.abc import Callable

PATIENCE_UNITS = 6
"""How long a visitor may take to say that a unit was heard; then what was sent counts: some clients never say."""


class PlayedUnits:
    """Decides once for each unit, in order, whether it was heard.

    Args:
        on_outcome: called with the unit and whether it was heard.
    """

    def __init__(self, on_outcome: Callable[[int, bool], None]) -> None:
        self._on_outcome = on_outcome
        self._next = 0
        self._sent: dict[int, bool] = {}

    def sent(self, unit: int, is_sounded: bool) -> None:
        """A unit was handed out, as sound or, while the visitor wants quiet, as silence."""
        self._sent.setdefault(unit, is_sounded)
        while self._next <= unit - PATIENCE_UNITS:
            self._decide(self._next)

    def acknowledged(self, unit: int) -> None:
        """The visitor has heard everything up to this unit that was sounded."""
        while self._next <= unit:
            self._decide(self._next)

    def flushed(self, first: int) -> None:
        """Drop what was handed out of this unit and later: it is not heard any more."""
        for unit in self._sent:
            if unit >= first:
                self._sent[unit] = False

    def _decide(self, unit: int) -> None:
        self._next = unit + 1
        was_sounded = self._sent.pop(unit, None)
        if was_sounded is not None:
            self._on_outcome(unit, was_sounded)
