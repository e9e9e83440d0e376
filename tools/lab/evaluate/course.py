"""What an agent is put through: every probe with its measures, and how long each is.

A *holder* lets some agent talk with the users of some casts; that is all that is known of the agent here.
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
from .talk import Cast, Talk
from .voices import Voices

Holder = Callable[[Sequence[Cast], int], list[Talk]]
"""Casts and units -> their dialogues."""


@dataclass
class Findings:
    """Of one probe, or of several.

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


Station = Callable[[Holder, Voices, Words, Which], Findings]
"""Holds a probe of these dialogues and measures it, given what hears words in sound."""


def asks(hold: Holder, voices: Voices, heard: Words, which: Which) -> Findings:
    """Timing, words and lips of plain answers."""
    probe = probes.asks(voices.synthetic, which)
    talks = hold(probe.casts, probe.units)
    lag, alike = m.lips(talks)
    figures = {
        "answered": m.answered(talks),
        "onset in the right unit": m.onset_units(talks),
        "onset, median": m.onset_ms(talks),
        "onset, p10": m.onset_ms(talks, 0.1),
        "onset, p90": m.onset_ms(talks, 0.9),
        "words, text": m.words_right(talks, in_text),
        "words, sound": m.words_right(talks, heard),
        "turns, text": m.turns_right(talks, in_text),
        "lips: sound behind mouth": lag,
        "lips: correlation": alike,
    }
    return Findings(figures, {"onset ms": [ms for talk in talks for ms in m.waits(talk)], "lip lag ms": m.lags(talks)})


def asks_flite(hold: Holder, voices: Voices, heard: Words, which: Which) -> Findings:
    """A synthesiser that was never heard."""
    return _strangers(hold, probes.asks(voices.flite, which, "asks-flite"), heard, "flite")


def asks_person(hold: Holder, voices: Voices, heard: Words, which: Which) -> Findings:
    """A person who was never heard, where there are recordings of one."""
    if not voices.people:
        return Findings()
    return _strangers(hold, probes.asks(voices.people, which, "asks-person"), heard, "person")


def _strangers(hold: Holder, probe: Probe, heard: Words, who: str) -> Findings:
    talks = hold(probe.casts, probe.units)
    return Findings(
        {
            f"{who}: onset in the right unit": m.onset_units(talks),
            f"{who}: words, text": m.words_right(talks, in_text),
            f"{who}: words, sound": m.words_right(talks, heard),
        }
    )


def both(hold: Holder, probe: Probe) -> tuple[list[Talk], list[Talk]]:
    """Dialogues and their twins, held two by two in turn: who sees the neighbour's picture sees a twin's half of the
    time, whichever it is itself."""
    mixed = [cast for n in range(0, len(probe.casts), 2) for cast in (*probe.casts[n : n + 2], *probe.twins[n : n + 2])]
    talks = dict(zip(map(id, mixed), hold(mixed, probe.units), strict=True))
    return [talks[id(cast)] for cast in probe.casts], [talks[id(twin)] for twin in probe.twins]


def pauses(hold: Holder, voices: Voices, heard: Words, which: Which) -> Findings:
    """Holding back while a turn pauses."""
    probe = probes.pauses(voices.synthetic, which)
    talks = hold(probe.casts, probe.units)
    return Findings(
        {
            "false starts in pauses": m.false_starts(talks, heard),
            "onset after pauses, median": m.onset_ms(talks),
            "words after pauses, text": m.words_right(talks, in_text),
        }
    )


def typed(hold: Holder, voices: Voices, heard: Words, which: Which) -> Findings:
    """Answers to what is typed."""
    probe = probes.typed(voices.synthetic, which)
    talks = hold(probe.casts, probe.units)
    return Findings({"typed: words, text": m.words_right(talks, in_text)})


def interruptions(hold: Holder, voices: Voices, heard: Words, which: Which) -> Findings:
    """Giving way, and answering what was said."""
    probe = probes.interruptions(voices.synthetic, which)
    found = m.broken(*both(hold, probe), "interruption")
    return Findings(
        {
            "interruptions: stopped": m.stopped(found),
            "interruptions: stopped after, median": m.stopped_ms(found),
            "interruptions: stopped after, p90": m.stopped_ms(found, 0.9),
        },
        {"stop ms": [np.inf if e is None else e.stopped_ms for e in m.telling(found)]},
    )


def backchannels(hold: Holder, voices: Voices, heard: Words, which: Which) -> Findings:
    """Not giving way to a murmur."""
    probe = probes.backchannels(voices.synthetic, which)
    found = m.broken(*both(hold, probe), "backchannel")
    return Findings({"backchannels: talked through": m.talked_through(found)})


def asides(hold: Holder, voices: Voices, heard: Words, which: Which) -> Findings:
    """Silent when others are addressed, answering when it is."""
    probe = probes.asides(voices.synthetic, which)
    talks, twins = both(hold, probe)
    silent, answered = m.silent_asides(talks), m.answered(twins)
    return Findings(
        {
            "side talk, balanced": average(silent, answered),
            "side talk: silent when not addressed": silent,
            "side talk: answered when addressed": answered,
        }
    )


def hands(hold: Holder, voices: Voices, heard: Words, which: Which) -> Findings:
    """Silent at a raised hand."""
    probe = probes.hands(voices.synthetic, which)
    found = m.broken(*both(hold, probe), "hand")
    stopped, control = m.hand_stops(found), m.hand_stops(found, of_twin=True)
    return Findings({"raised hand, minus control": difference(stopped, control), "raised hand: stopped": stopped})


def cards(hold: Holder, voices: Voices, heard: Words, which: Which) -> Findings:
    """Colours named unasked, and questions about them."""
    probe = probes.cards(voices.synthetic, which)
    talks = hold(probe.casts, probe.units)
    return Findings(
        {
            "card named, text": m.cards_named(talks, in_text),
            "card named, sound": m.cards_named(talks, heard),
            "question about the card right, text": m.turns_right(talks, in_text, "asked"),
        }
    )


def free(hold: Holder, voices: Voices, heard: Words, which: Which) -> Findings:
    """Everything together, at length."""
    probe = probes.free(voices.synthetic, _quarter(which))
    talks = hold(probe.casts, probe.units)
    return Findings(
        {
            "free: words, text": m.words_right(talks, in_text),
            "free: speaks unasked": m.unasked(talks),
            "blinks": m.gestures(talks, "blink", 0.5),
            "nods": m.gestures(talks, "nod", 0.4),
        }
    )


def _quarter(which: Which) -> range:
    """Of what is held at length, fewer."""
    all_of_them = range(which) if isinstance(which, int) else which
    return all_of_them[: max(2, len(all_of_them) // 4)]


def told(hold: Holder, voices: Voices, heard: Words, which: Which) -> Findings:
    """Being who one is told to be."""
    probe = probes.told(voices.synthetic, which)
    talks = hold(probe.casts, probe.units)
    others = [talk for talk in talks if talk.cast.persona.rule != 1]
    return Findings(
        {
            "persona: words by its rule, text": m.words_right(talks, in_text),
            "persona: words of other rules, text": m.words_right(others, in_text),
            "persona: looks": share([m.looks_like(talk) == talk.cast.persona.name for talk in talks if talk.face]),
        }
    )


STATIONS: dict[str, Station] = {
    "asks": asks,
    "pauses": pauses,
    "typed": typed,
    "interruptions": interruptions,
    "backchannels": backchannels,
    "asides": asides,
    "hands": hands,
    "cards": cards,
    "free": free,
    "told": told,
    "asks-flite": asks_flite,
    "asks-person": asks_person,
}
BY_SIGHT = ("asides", "hands", "cards")
"""Stations that need the user's picture: an agent that sees another user should fail them."""
