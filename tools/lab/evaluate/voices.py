"""Voices for the users of an evaluation: none that the model was trained on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ....runtime.errors import UserError, listing
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

    def check_people(self, folder: Path | None) -> None:
        """Look whether there is a person to meet.

        Raises:
            UserError: there is none.
        """
        if self.people:
            return
        if folder is None:
            raise UserError(
                "asks-person: found no recordings (expected those of somebody who was not heard in training), "
                "name their folder with --voices"
            )
        known = listing(speaker.name for speaker in self.bank.speakers if speaker.synthesiser == "people")
        raise UserError(
            f"asks-person: found nobody in {folder} who is held out (people: {known}), name one with --hold-out"
        )

    def check_held_out(self, checkpoint: str, learned: frozenset[str]) -> None:
        """Look whether the people are unknown to a checkpoint that has ``learned`` these.

        Raises:
            UserError: one is not: what it understands of them says nothing of others.
        """
        known = learned & {speaker.name for speaker in self.people}
        if known:
            raise UserError(
                f"--hold-out: found {listing(known)}, heard in the training of {checkpoint} "
                f"(it has heard: {listing(learned)}), name others"
            )
