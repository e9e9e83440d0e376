"""The reactive user: ``World.step(what the agent just speakers) -> the user's next unit``.

The user acts in turn (`script`), and reacts to the agent's *actual* sound: waits for an answer to begin and to end,
interrupts so many milliseconds after its onset, is echoed by it. Everything follows from the seed and from what the
agent said, and nothing that is said later changes what was heard before.

    idle --act--> talking --end--> waiting --agent's onset--> hearing --agent's end--> idle
                     ^                |  (no answer: idle)       |
                     '------------------------ interruption -----'
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from ....wan_core.vocabulary import ENTER, PAD, STOP
from .camera import Camera
from .cues import Cue, Manner, UserUnit
from .face import LOOKS
from .life.acoustics import LiveMicrophone
from .life.lived import possible
from .motion import Mover, visible_after, voiced
from .onset import GAP_MS, OnsetDetector
from .person import END_GLIDE, GO_ON_GLIDE, SHORT_WORD_S, Person, delivered
from .room import Microphone
from .script import SCENARIOS, Act, Reaction, Scenario, Script, drawn
from .signal import FRAME, FRAMES, MS, RATE, UNIT, Sound, Track, stretched, warp_tract
from .tokens import TOKENS
from .voices import Bank, Split

PATIENCE_MS = 3200
"""How long a user waits for an answer that does not begin."""
LISTEN_MS = 6000
"""How long a user lets an agent talk on that comes to no end, before speaking regardless."""


@dataclass
class _Agenda:
    """Agenda of what is certain to happen: cues, typed tokens and moves of the face, each at its time."""

    cues: list[Cue] = field(default_factory=list)
    typed: list[tuple[int, int]] = field(default_factory=list)
    moves: list[tuple[int, dict[str, float]]] = field(default_factory=list)


class World:
    """A user to talk with.

    Args:
        seed: of everything random.
        bank: voices.
        scenario: how the user behaves.
        split: whose voices.
        person: instead of one drawn at random.
        script: instead of one drawn from the scenario.
        size: side of the pictures in pixels; 0 draws none.
        delay: units between the agent's saying something and the user's hearing it, beyond the next unit.
    """

    def __init__(
        self,
        seed: int,
        bank: Bank,
        scenario: Scenario = SCENARIOS["everything"],
        *,
        split: Split = "train",
        person: Person | None = None,
        script: Script | None = None,
        size: int = 64,
        delay: int = 0,
    ) -> None:
        rng = np.random.default_rng((seed, 1))
        self.person = person or Person.sample(rng, bank, split, scenario.echo)
        assert self.person.looks.shape == (LOOKS,), f"looks of shape {self.person.looks.shape} (expected ({LOOKS},))"
        self._takes = bank.takes(self.person.speaker)
        view, line = self.person.view, self.person.line
        self._material = bank.material(split if view is None else view.split)
        if view is not None:
            scenario = possible(scenario, view, self.person.has_sound, self._material)
        self._script = script or drawn(scenario, seed, self._takes)
        self._camera = Camera([self.person], bank, size) if size else None
        self._rng = np.random.default_rng((seed, 2))
        self._microphone = Microphone(self.person.room, seed)
        if line is not None:
            self._microphone = LiveMicrophone(self.person.room, line, self._material, seed)
        self._voice, self._face = Track(), Mover(rng)
        self._onsets, self._agenda = OnsetDetector(), _Agenda()
        self._late = [np.zeros(UNIT, np.float32)] * delay
        self._unit, self._acts = 0, 0
        self._phase: Literal["idle", "talking", "waiting", "hearing"] = "idle"
        self._act: Act | None = None
        self._reaction: Reaction | None = None
        self._until, self._answer, self._idle_since = 0, 0, 0
        self._next_blink = float(rng.uniform(0.5, 4.0))
        self._look_away = 0
        self._advance()

    @property
    def is_over(self) -> bool:
        """True if a finite script has come to its end."""
        return self._act is None and self._phase == "idle"

    def step(self, agent: Sound | None = None) -> UserUnit:
        """The user's next unit, having heard ``agent`` [2560], the agent's sound of the unit before (None: silence)."""
        now = np.zeros(UNIT, np.float32) if agent is None else np.asarray(agent, np.float32).reshape(UNIT)
        self._late.append(now)
        sound = self._late.pop(0)
        if self._unit:
            self._onsets.add(sound)
        self._decide()
        return self._emit(sound)

    # what to do next -------------------------------------------------------------------------------------------------

    def _decide(self) -> None:
        now, end = self._unit * UNIT, (self._unit + 1) * UNIT
        if self._phase == "talking" and self._until <= now:
            if self._act is not None and self._act.is_answered:
                self._phase = "waiting"
            else:
                self._rest(now)
        if self._phase == "waiting":
            self._wait(now)
        if self._phase == "hearing":
            self._listen(now, end)
        if self._phase == "idle" and self._act is not None and self._until < end:
            if self._onsets.onset is None or now - self._idle_since > LISTEN_MS * MS:
                self._begin(self._act, max(self._until, now))
            else:
                self._until += UNIT

    def _wait(self, now: int) -> None:
        if self._onsets.onset is not None and self._onsets.rise >= self._until:
            self._phase, self._answer = "hearing", self._onsets.rise
        elif now >= self._until + PATIENCE_MS * MS:
            self._finish(now)

    def _listen(self, now: int, end: int) -> None:
        if self._onsets.onset is None or now - self._answer > LISTEN_MS * MS:
            self._finish(now)
        elif self._reaction is not None:
            at = max(self._answer + self._reaction.after_ms * MS, now)
            if now - self._onsets.last > GAP_MS * MS:
                return  # it may have ended: nothing to react to
            if at < end:
                self._react(self._reaction, at)

    def _react(self, reaction: Reaction, at: int) -> None:
        self._reaction = None
        if reaction.kind == "hand":
            self._raise_hand(at, 1400)
        elif reaction.kind == "press":
            self._press(at)
        elif reaction.kind == "backchannel":
            self._say(at, reaction.phrases, "backchannel")
        else:
            self._until = self._say(at, reaction.phrases, "interruption")
            self._phase = "talking"
            self._act = Act("ask", 0, reaction.phrases)

    def _finish(self, now: int) -> None:
        if self._act is not None and self._act.kind == "card":
            if self._act.phrases:  # the card was named; now ask about it
                self._reaction, phrases = None, self._act.phrases
                self._act = Act("card", self._act.rest_ms, (), colour=self._act.colour)
                self._until = self._say(now + 200 * MS, phrases, "turn")
                self._phase = "talking"
                return
            self._moves(now, card=0.0)
            self._cue(Cue("card_away", now + FRAME))
        self._until = now
        self._rest(now)

    def _rest(self, now: int) -> None:
        self._phase, self._idle_since = "idle", now
        self._advance()

    def _advance(self) -> None:
        self._act = self._script(self._acts)
        self._acts += 1
        if self._act is not None:
            self._until += self._act.rest_ms * MS
            self._reaction = self._act.reaction

    def _begin(self, act: Act, at: int) -> None:
        self._phase = "talking"
        if act.kind == "ask":
            self._until = self._say(at, act.phrases, "turn", act.pause_ms)
        elif act.kind == "backchannel":
            self._until = self._say(at, act.phrases, "backchannel")
        elif act.kind == "chatter":
            self._until = self._chatter(at)
        elif act.kind == "aside":
            self._until = self._say(at + 400 * MS, act.phrases, "aside") + 240 * MS
            self._look_aside(at, self._until)
        elif act.kind == "glance":
            self._until = at + int(self._rng.uniform(500, 1500)) * MS
            self._look_aside(at, self._until)
        elif act.kind == "hand":
            self._until = self._raise_hand(at, 1000)
        elif act.kind == "card":
            assert act.colour is not None
            self._face.show(act.colour)
            self._moves(at, card=1.0)
            self._until = at + visible_after("card")
            self._cue(Cue("card", self._until, words=(act.colour,)))
        else:
            self._until = self._type(act.phrases[0])

    # doing it --------------------------------------------------------------------------------------------------------

    def _say(self, at: int, phrases: tuple[tuple[str, ...], ...], manner: Manner, pause_ms: int = 0) -> int:
        """Speak from sample ``at``; returns the sample at which the last word has ended."""
        self._cue(Cue("speech", at, manner))
        turn = manner in ("turn", "interruption")
        for p, phrase in enumerate(phrases):
            for w, word in enumerate(phrase):
                last = p == len(phrases) - 1 and w == len(phrase) - 1
                sound = self._spoken(word, last)
                self._microphone.add(sound, at)
                self._voice.add(sound, at)
                at += len(sound)
                if turn:
                    self._cue(Cue("word", at, manner, (word,)))
                if not last:
                    at += int(self._rng.uniform(20, 110)) * MS if w < len(phrase) - 1 else 0
            if p < len(phrases) - 1:
                self._cue(Cue("pause", at, manner))
                at += pause_ms * MS
        self._cue(Cue("end" if turn else "quiet", at, manner))
        return at

    def _chatter(self, at: int) -> int:
        """Somebody says what the agent has no answer to; returns the sample at which it has ended."""
        material, rng = self._material, self._rng
        speaks = bool(material.speech) and (not material.words or rng.random() < 0.35)
        speakers = material.speech if speaks else material.words
        person = sorted(speakers)[rng.integers(len(speakers))]
        sounds = speakers[person]
        self._cue(Cue("speech", at, "chatter"))
        for _ in range(1 if speaks else int(rng.integers(1, 4))):
            sound = warp_tract(sounds[rng.integers(len(sounds))], self.person.tract)
            if speaks:
                start = int(rng.integers(max(1, len(sound) - RATE)))
                sound = sound[start : start + int(rng.uniform(0.6, 2.5) * RATE)]
            sound = delivered(sound, float(rng.choice([END_GLIDE, GO_ON_GLIDE])), self.person.rate)
            self._microphone.add(sound, at)
            self._voice.add(sound, at)
            at += len(sound) + int(rng.uniform(20, 110)) * MS
        self._cue(Cue("quiet", at, "chatter"))
        return at

    def _spoken(self, word: str, last: bool) -> Sound:
        takes = self._takes[word]
        sound = warp_tract(takes[self._rng.integers(len(takes))], self.person.tract)
        if self.person.stretch > 1 and len(sound) < SHORT_WORD_S * RATE:
            sound = stretched(sound, self.person.stretch)
        sound = delivered(sound, END_GLIDE if last else GO_ON_GLIDE, self.person.rate)
        return sound * np.float32(self._rng.uniform(0.85, 1.15))

    def _type(self, words: tuple[str, ...]) -> int:
        unit = self._unit + 1
        for word in words:
            self._agenda.typed.append((unit, TOKENS[word]))
            unit += int(self._rng.integers(1, 3))
        self._agenda.typed.append((unit, ENTER))
        self._cue(Cue("typed", unit * UNIT + UNIT // 2, words=words))
        return (unit + 1) * UNIT

    def _press(self, at: int) -> None:
        """Press the stop button: the next unit has it, whatever else was being typed."""
        unit = at // UNIT + 1
        self._agenda.typed = [(unit, STOP)]
        self._cue(Cue("pressed", unit * UNIT + UNIT // 2))

    def _look_aside(self, at: int, back: int) -> None:
        self._moves(at, gaze_x=float(self._rng.choice([-1.0, 1.0])), gaze_y=0.2)
        self._moves(back, gaze_x=0.0, gaze_y=0.0)
        self._look_away = back

    def _raise_hand(self, at: int, hold_ms: int) -> int:
        up = at + visible_after("hand")
        down = up + hold_ms * MS
        self._moves(at, hand=1.0)
        self._moves(down, hand=0.0)
        self._cue(Cue("hand", up))
        self._cue(Cue("hand_down", down + visible_after("hand")))
        return down + visible_after("hand")

    def _cue(self, cue: Cue) -> None:
        self._agenda.cues.append(cue)

    def _moves(self, at: int, **targets: float) -> None:
        self._agenda.moves.append((at, targets))

    # the unit itself -------------------------------------------------------------------------------------------------

    def _emit(self, sound: Sound) -> UserUnit:
        start, end = self._unit * UNIT, (self._unit + 1) * UNIT
        agenda, voice = self._agenda, self._voice.take()
        cues = tuple(sorted((cue for cue in agenda.cues if cue.at <= end), key=lambda cue: cue.at))
        agenda.cues = [cue for cue in agenda.cues if cue.at > end]
        changes: dict[int, dict[str, float]] = {j: {} for j in range(FRAMES)}
        for at, targets in agenda.moves:
            if at < end:
                changes[max(0, (at - start) // FRAME)].update(targets)
        agenda.moves = [(at, targets) for at, targets in agenda.moves if at >= end]
        text = next((token for unit, token in agenda.typed if unit == self._unit), PAD)
        if end / RATE > self._next_blink:
            self._face.blink()
            self._next_blink += float(self._rng.uniform(1.8, 5.0))
        hearing = self._phase == "hearing"
        self._face.aim(smile=0.35 if hearing else 0.1, brow=0.3 if self._phase == "waiting" else 0.0)
        if any(cue.kind == "speech" and cue.manner == "backchannel" for cue in cues):
            self._face.nod()
        pose = self._face.take(voice, changes)
        samples, view = self._microphone.take(sound), self.person.view
        unit = UserUnit(
            unit=self._unit,
            samples=samples if self.person.has_sound else np.zeros_like(samples),
            frames=np.empty((0, 0, 0, 3), np.uint8) if self._camera is None else self._camera.shoot([pose])[0],
            text=text,
            cues=cues,
            pose=pose,
            is_speaking=voiced(voice),
            is_addressed=start >= self._look_away,
            is_seen=view is None or view.is_on(self._unit),
            has_sound=self.person.has_sound,
        )
        self._unit += 1
        return unit
