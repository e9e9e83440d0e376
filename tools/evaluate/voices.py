"""Whose voices the users of an evaluation have: nobody whom the model heard in training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..world.voices import HELD_OUT, Bank, Speaker


@dataclass(frozen=True)
class Voices:
    """Held-out speakers, by kind.

    Attributes:
        bank: all voices.
        synthetic: voices of the synthesiser that was heard in training, which themselves were not.
        flite: of a synthesiser that was not heard.
        people: recorded people who were not heard; empty without recordings.
    """

    bank: Bank
    synthetic: tuple[Speaker, ...]
    flite: tuple[Speaker, ...]
    people: tuple[Speaker, ...]

    @classmethod
    def held_out(cls, recordings: Path | None, hold_out: tuple[str, ...] = ()) -> Voices:
        """Speakers kept from a training with these ``--voices`` and ``--hold-out``.

        Raises:
            MediaError: the folder has no recordings that can be used.
            UserError: a name that nobody has.
        """
        bank = Bank(recordings, HELD_OUT.union(hold_out))
        kinds: dict[str, list[Speaker]] = {"espeak-ng": [], "flite": [], "people": []}
        for speaker in bank.split("held-out"):
            kinds[speaker.synthesiser].append(speaker)
        return cls(bank, *(tuple(kinds[kind]) for kind in ("espeak-ng", "flite", "people")))
