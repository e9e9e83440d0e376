"""The ideal agent: what it says, shows and writes, given only cues that are at least 80 ms old.

It knows neither the user's intentions nor the future. What it may choose freely (how loud, how quick, when it blinks)
is drawn from its own seed and is the only thing that its cues leave open. Every word begins with a unit, so that it
meets the hops of an audio codec always alike: a small model did not learn words that began anywhere in 80 ms.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ....wan_core.vocabulary import PAD, STOP
from .cues import AgentUnit, Cue, Gesture, State
from .motion import Mover
from .persona import PERSONAS, Persona
from .signal import MS, UNIT, Sound, Track
from .tokens import TOKENS
from .voices import Bank
from .words import BACKCHANNELS, answer

REACTION_MS = 80
"""A cue must be this old when the unit begins that answers it."""
YIELD_MS = 240
"""How old an interruption must be: so long it takes to tell it from a backchannel."""


@dataclass(frozen=True)
class Change:
    """Something the agent began in ``unit`` because of ``cue``: a state, a word or a nod."""

    unit: int
    what: str
    cue: Cue

    @property
    def age(self) -> int:
        """Samples from the cue to the start of the unit."""
        return self.unit * UNIT - self.cue.at


@dataclass(frozen=True)
class _Word:
    token: int
    unit: int
    until: int


class Oracle:
    """The ideal agent, unit by unit.

    Args:
        seed: of its free choices.
        bank: for its voice.
        persona: who it is.
        backchannels: how often it says "mm-hmm" in a pause, 0..1.
    """

    def __init__(self, seed: int, bank: Bank, persona: Persona = PERSONAS["iris"], backchannels: float = 0.2) -> None:
        self.persona = persona
        self.changes: list[Change] = []
        self._voices = (bank.takes(persona.quick), bank.takes(persona.slow))
        self._rng = np.random.default_rng((seed, 21))
        self._blinks = np.random.default_rng((seed, 22))
        self._next_blink = float(self._blinks.uniform(4, 25))
        self._face, self._track = Mover(np.random.default_rng((seed, 23))), Track()
        self._backchannels = backchannels
        self._unit = 0
        self._unseen: list[Cue] = []
        self._plan: list[_Word] = []
        self._speech: State = "speak"
        self._question: tuple[str, ...] = ()
        self._answer: tuple[tuple[str, ...], Cue] | None = None
        self._interruption: Cue | None = None
        self._card: str | None = None
        self._is_listening = False

    def step(self, cues: tuple[Cue, ...]) -> AgentUnit:
        """The agent's unit, given the cues that are complete in the user's unit of the same number (or before)."""
        self._unseen += cues
        stopped, nods = False, False
        for cue in self._seen(REACTION_MS):
            stopped |= self._take_in(cue)
            nods |= cue.kind in ("pause", "end")
            if cue.kind in ("pause", "end"):
                self._note("nod", cue)
        if self._interruption is not None and self._age(self._interruption) >= YIELD_MS * MS:
            stopped |= self._stop(self._interruption)
            self._interruption = None
        if self._answer is not None and not stopped and not self._is_speaking and not self._is_listening:
            self._begin(*self._answer)
            self._answer = None
        return self._emit(stopped, nods)

    # cues ------------------------------------------------------------------------------------------------------------

    def _seen(self, age_ms: int) -> list[Cue]:
        old = [cue for cue in self._unseen if self._age(cue) >= age_ms * MS]
        self._unseen = [cue for cue in self._unseen if self._age(cue) < age_ms * MS]
        return sorted(old, key=lambda cue: cue.at)

    def _age(self, cue: Cue) -> int:
        return self._unit * UNIT - cue.at

    def _take_in(self, cue: Cue) -> bool:
        """Act on a cue; True if the agent broke off because of it."""
        if cue.kind == "speech" and cue.manner != "aside":
            self._notice(cue)
        elif cue.kind == "word":
            self._question += cue.words
        elif cue.kind in ("end", "quiet"):
            self._is_listening = False
            if cue.kind == "end":
                words = tuple(answer(w, self._card, self.persona.rule) for w in self._question if w != "please")
                self._question = ()
                self._answer = (words, cue) if words else None
            self._note("listened", cue)
        elif cue.kind == "pause":
            self._backchannel(cue)
        elif cue.kind == "typed":
            self._answer = (tuple(answer(w, self._card, self.persona.rule) for w in cue.words), cue)
        elif cue.kind == "card":
            self._card = cue.words[0]
            self._face.aim(gaze_x=-0.45, gaze_y=0.5)
            self._answer = (cue.words, cue)
        elif cue.kind == "card_away":
            self._card = None
            self._face.aim(gaze_x=0.0, gaze_y=0.0)
        elif cue.kind == "hand":
            return self._stop(cue)
        elif cue.kind == "pressed":
            self._answer = None
            return self._stop(cue)
        return False

    def _notice(self, cue: Cue) -> None:
        if not self._is_speaking:
            self._is_listening = True
            self._note("listen", cue)
        elif cue.manner != "backchannel":
            self._is_listening = True
            self._interruption = cue

    # speech ----------------------------------------------------------------------------------------------------------

    @property
    def _is_speaking(self) -> bool:
        return bool(self._plan) and self._plan[-1].until > self._unit

    def _begin(self, words: tuple[str, ...], cue: Cue) -> None:
        """Plan an answer from this unit on: each word begins with the first unit that is free of the word before."""
        voice = self._voices[self._rng.integers(len(self._voices))]
        strength = np.float32(self._rng.uniform(0.7, 1.15))
        self._speech, self._plan, unit = "speak", [], self._unit
        for word in words:
            sound = voice[word][0] * strength
            self._track.add(sound, unit * UNIT)
            until = unit + -(-len(sound) // UNIT)
            self._plan.append(_Word(TOKENS[word], unit, until))
            unit = until
        self._note("speak", cue)

    def _backchannel(self, cue: Cue) -> None:
        if self._rng.random() < self._backchannels and not self._is_speaking:
            self._begin((BACKCHANNELS[0],), cue)
            self._speech = "backchannel"

    def _stop(self, cue: Cue) -> bool:
        if not self._is_speaking:
            return False
        self._track.cut(self._unit * UNIT)
        self._plan, self._answer = [], None
        self._note("stop", cue)
        return True

    def _note(self, what: str, cue: Cue) -> None:
        self.changes.append(Change(self._unit, what, cue))

    # the unit itself -------------------------------------------------------------------------------------------------

    def _emit(self, stopped: bool, nods: bool) -> AgentUnit:
        state: State = "listen" if self._is_listening else "idle"
        text = PAD
        if stopped:
            state, text = "stop", STOP
        elif self._is_speaking:
            state = self._speech
            text = next((word.token for word in self._plan if word.unit == self._unit), PAD)
        gesture: Gesture = "nod" if nods and not self._face.is_nodding else "none"
        if self._unit >= self._next_blink:
            self._next_blink = self._unit + float(self._blinks.uniform(11, 30))
            gesture = "blink" if gesture == "none" else gesture
        if gesture == "nod":
            self._face.nod()
        elif gesture == "blink":
            self._face.blink()
        self._pose_for(state)
        voice = self._track.take()
        unit = AgentUnit(self._unit, voice, self._face.take(voice), text, state, gesture)
        self._unit += 1
        return unit

    def _pose_for(self, state: State) -> None:
        listening = state in ("listen", "backchannel")
        self._face.aim(
            brow=0.75 if listening else 0.25 if state == "speak" else 0.0,
            tilt=0.8 if listening else 0.0,
            smile=0.15 if listening else 0.45 if state == "speak" else 0.3,
        )


def silence() -> Sound:
    """A unit of nothing."""
    return np.zeros(UNIT, np.float32)
