"""Tasks for an agent: every probe with its measures.

A *runner* lets some agent talk with the users of some dialogue specs; nothing else is known of the agent here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from . import measures as m
from . import probes
from .figures import Figure, average, difference, share
from .measures import Words, in_text
from .probes import Probe, Which
from .talk import DialogueSpec, Talk
from .voices import Voices

Runner = Callable[[Sequence[DialogueSpec], int], list[Talk]]
"""Dialogue specs and units -> the dialogues."""


@dataclass
class Findings:
    """Figures of one probe, or of several.

    Attributes:
        figures: by name, see `MEASURES`.
        values: single values behind them, for pictures.
        unknown: what the agent wrote that is no word of the world, each once.
    """

    figures: dict[str, Figure] = field(default_factory=dict)
    values: dict[str, list[float]] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()

    def add(self, other: Findings) -> None:
        """Take in what another probe found."""
        self.figures.update(other.figures)
        self.values.update(other.values)
        self.unknown = tuple(dict.fromkeys(self.unknown + other.unknown))


Task = Callable[[Runner, Voices, Words, Which], Findings]
"""Runs a probe of these dialogues and measures it, given what recognises words in sound."""


def asks(run: Runner, voices: Voices, in_sound: Words, which: Which) -> Findings:
    """Timing, words and lips of plain answers."""
    probe = probes.asks(voices.synthetic, which)
    talks = run(probe.specs, probe.units)
    lag, alike = m.lips(talks)
    figures = {
        "answered": m.answered(talks),
        "onset in the right unit": m.onset_units(talks),
        "onset, median": m.onset_ms(talks),
        "onset, p10": m.onset_ms(talks, 0.1),
        "onset, p90": m.onset_ms(talks, 0.9),
        "words, text": m.words_right(talks, in_text),
        "words, sound": m.words_right(talks, in_sound),
        "turns, text": m.turns_right(talks, in_text),
        "lips: sound behind mouth": lag,
        "lips: correlation": alike,
    }
    return Findings(figures, {"onset ms": [ms for talk in talks for ms in m.waits(talk)], "lip lag ms": m.lags(talks)})


def asks_flite(run: Runner, voices: Voices, in_sound: Words, which: Which) -> Findings:
    """Users with the voices of a synthesiser that training left out."""
    return _held_out(run, probes.asks(voices.flite, which, "asks-flite"), in_sound, "flite")


def asks_person(run: Runner, voices: Voices, in_sound: Words, which: Which) -> Findings:
    """Users with the voice of a held-out person, where there are recordings of one."""
    if not voices.people:
        return Findings()
    return _held_out(run, probes.asks(voices.people, which, "asks-person"), in_sound, "person")


def _held_out(run: Runner, probe: Probe, in_sound: Words, who: str) -> Findings:
    talks = run(probe.specs, probe.units)
    return Findings(
        {
            f"{who}: onset in the right unit": m.onset_units(talks),
            f"{who}: words, text": m.words_right(talks, in_text),
            f"{who}: words, sound": m.words_right(talks, in_sound),
        }
    )


def both(run: Runner, probe: Probe) -> tuple[list[Talk], list[Talk]]:
    """Dialogues and their twins, run two by two in turn: who sees the neighbour's picture sees a twin's half of the
    time, whichever it is itself."""
    mixed = [spec for n in range(0, len(probe.specs), 2) for spec in (*probe.specs[n : n + 2], *probe.twins[n : n + 2])]
    talks = dict(zip(map(id, mixed), run(mixed, probe.units), strict=True))
    return [talks[id(spec)] for spec in probe.specs], [talks[id(twin)] for twin in probe.twins]


def pauses(run: Runner, voices: Voices, in_sound: Words, which: Which) -> Findings:
    """Holding back while a turn pauses."""
    probe = probes.pauses(voices.synthetic, which)
    talks = run(probe.specs, probe.units)
    return Findings(
        {
            "false starts in pauses": m.false_starts(talks, in_sound),
            "onset after pauses, median": m.onset_ms(talks),
            "words after pauses, text": m.words_right(talks, in_text),
        }
    )


def typed(run: Runner, voices: Voices, in_sound: Words, which: Which) -> Findings:
    """Answers to what is typed."""
    probe = probes.typed(voices.synthetic, which)
    talks = run(probe.specs, probe.units)
    return Findings({"typed: words, text": m.words_right(talks, in_text)})


def interruptions(run: Runner, voices: Voices, in_sound: Words, which: Which) -> Findings:
    """Giving way, and answering the user's new question."""
    probe = probes.interruptions(voices.synthetic, which)
    found = m.broken(*both(run, probe), "interruption")
    return Findings(
        {
            "interruptions: stopped": m.stopped(found),
            "interruptions: stopped after, median": m.stopped_ms(found),
            "interruptions: stopped after, p90": m.stopped_ms(found, 0.9),
        },
        {"stop ms": [np.inf if e is None else e.stopped_ms for e in m.telling(found)]},
    )


def backchannels(run: Runner, voices: Voices, in_sound: Words, which: Which) -> Findings:
    """Going on in spite of a backchannel."""
    probe = probes.backchannels(voices.synthetic, which)
    found = m.broken(*both(run, probe), "backchannel")
    return Findings({"backchannels: talked through": m.talked_through(found)})


def asides(run: Runner, voices: Voices, in_sound: Words, which: Which) -> Findings:
    """Silent when others are addressed, answering when it is."""
    probe = probes.asides(voices.synthetic, which)
    talks, twins = both(run, probe)
    silent, answered = m.silent_asides(talks), m.answered(twins)
    return Findings(
        {
            "side talk, balanced": average(silent, answered),
            "side talk: silent when not addressed": silent,
            "side talk: answered when addressed": answered,
        }
    )


def hands(run: Runner, voices: Voices, in_sound: Words, which: Which) -> Findings:
    """Silent at a raised hand."""
    probe = probes.hands(voices.synthetic, which)
    found = m.broken(*both(run, probe), "hand")
    stopped, control = m.hand_stops(found), m.hand_stops(found, of_twin=True)
    return Findings({"raised hand, minus control": difference(stopped, control), "raised hand: stopped": stopped})


def stops(run: Runner, voices: Voices, in_sound: Words, which: Which) -> Findings:
    """Silent when the user presses stop."""
    probe = probes.stops(voices.synthetic, which)
    found = m.broken(*both(run, probe), "pressed")
    stopped, control = m.hand_stops(found), m.hand_stops(found, of_twin=True)
    return Findings({"stop button, minus control": difference(stopped, control), "stop button: stopped": stopped})


def cards(run: Runner, voices: Voices, in_sound: Words, which: Which) -> Findings:
    """Colours named unasked, and questions about them."""
    probe = probes.cards(voices.synthetic, which)
    talks = run(probe.specs, probe.units)
    return Findings(
        {
            "card named, text": m.cards_named(talks, in_text),
            "card named, sound": m.cards_named(talks, in_sound),
            "question about the card right, text": m.turns_right(talks, in_text, "asked"),
        }
    )


def free(run: Runner, voices: Voices, in_sound: Words, which: Which) -> Findings:
    """Everything together, at length."""
    probe = probes.free(voices.synthetic, _quarter(which))
    talks = run(probe.specs, probe.units)
    return Findings(
        {
            "free: words, text": m.words_right(talks, in_text),
            "free: speaks unasked": m.unasked(talks),
            "blinks": m.gestures(talks, "blink", 0.5),
            "nods": m.gestures(talks, "nod", 0.4),
        }
    )


def _quarter(which: Which) -> range:
    """Fewer dialogues, for those that are long."""
    all_of_them = range(which) if isinstance(which, int) else which
    return all_of_them[: max(2, len(all_of_them) // 4)]


def persona(run: Runner, voices: Voices, in_sound: Words, which: Which) -> Findings:
    """Being who the prompt says."""
    probe = probes.persona(voices.synthetic, which)
    talks = run(probe.specs, probe.units)
    others = [talk for talk in talks if talk.spec.persona.rule != 1]
    return Findings(
        {
            "persona: words by its rule, text": m.words_right(talks, in_text),
            "persona: words of other rules, text": m.words_right(others, in_text),
            "persona: looks": share([m.looks_like(talk) == talk.spec.persona.name for talk in talks if talk.face]),
        }
    )


TASKS: dict[str, Task] = {
    "asks": asks,
    "pauses": pauses,
    "typed": typed,
    "interruptions": interruptions,
    "backchannels": backchannels,
    "asides": asides,
    "hands": hands,
    "cards": cards,
    "free": free,
    "persona": persona,
    "asks-flite": asks_flite,
    "asks-person": asks_person,
    "stops": stops,
}
BY_SIGHT = ("asides", "hands", "cards")
"""Tasks that need the user's picture: an agent that sees another user should fail them."""
