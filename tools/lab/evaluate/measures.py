"""From dialogues to figures: one function for each thing that is measured, all from sound, pictures and text alone.

Times are *index* times: the agent's unit k is taken to sound while the user's unit k does. Heard on a clock, it
sounds one unit and the time of its computation later.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ....wan_core.vocabulary import PAD, STOP
from ..world.onset import AUDIBLE
from ..world.persona import PERSONAS
from ..world.signal import FRAME, FRAMES, MS, RATE, UNIT, Sound, loudness
from ..world.tokens import VOCABULARY
from ..world.words import BACKCHANNELS
from .face_reader import count_events
from .figures import Figure, mean, quantile, ratio, share, share_of
from .recogniser import Recogniser
from .sound import Stretch, first_onset, silent_from, stretch_at, stretches
from .talk import Talk
from .turns import Turn, turns

ANSWER_MS = 1000
"""An answer begins within this time after the end of a turn, or not at all."""
REPLY_LEFT_MS = 640
"""An interruption counts only where the agent would have gone on for so long."""
STOP_MS = 560
"""Within this time after an interruption, or a raised hand that is plainly up, the agent should be silent,"""
REST_MS = 300
"""and for so long thereafter: longer than between two words."""
SOON_MS = 1200
"""So long after a backchannel, who was stopped by it is still silent."""

Words = Callable[[Talk, int, int], list[str]]
"""What the agent said from one sample to another."""


def in_text(talk: Talk, start: int, end: int) -> list[str]:
    """Words of the agent's text in the units that begin in this time."""
    return [
        VOCABULARY.word_of(int(token))
        for unit, token in enumerate(talk.text)
        if token not in (PAD, STOP) and start <= unit * UNIT < end
    ]


def in_sound(net: Recogniser) -> Words:
    """Words that are heard in the agent's sound, each dialogue listened to once."""
    kept: dict[int, tuple[Talk, list[tuple[str, int]]]] = {}  # a talk that is gone leaves its id to another one

    def words(talk: Talk, start: int, end: int) -> list[str]:
        if id(talk) not in kept:
            kept[id(talk)] = talk, net.words(talk.samples)
        return [word for word, at in kept[id(talk)][1] if start <= at < end]

    return words


# turns ---------------------------------------------------------------------------------------------------------------


def onset_of(turn: Turn, found: Sequence[Stretch]) -> int | None:
    """Onset of the answer to a turn; None: too early, too late, or never."""
    if stretch_at(list(found), turn.end) is not None:
        return None
    return first_onset(list(found), turn.end, turn.end + ANSWER_MS * MS)


def answered(talks: Sequence[Talk]) -> Figure:
    """Turns that are answered in time."""
    return share_of([[onset is not None for _, onset in _onsets(talk)] for talk in talks])


def onset_units(talks: Sequence[Talk]) -> Figure:
    """Turns of which the answer begins in the ideal agent's unit, or in the one before or after."""
    return share_of(
        [
            [onset is not None and abs(onset // UNIT - turn.ideal_onset // UNIT) <= 1 for turn, onset in _onsets(talk)]
            for talk in talks
        ]
    )


def onset_ms(talks: Sequence[Talk], q: float = 0.5) -> Figure:
    """From the end of a turn to the answer."""
    return quantile([waits(talk) for talk in talks], q)


def waits(talk: Talk) -> list[float]:
    """The same, turn by turn; infinite where there is no answer."""
    return [math.inf if onset is None else (onset - turn.end) / MS for turn, onset in _onsets(talk)]


def _onsets(talk: Talk) -> list[tuple[Turn, int | None]]:
    found = stretches(talk.samples)
    return [(turn, onset_of(turn, found)) for turn in turns(talk)]


def false_starts(talks: Sequence[Talk], words: Words) -> Figure:
    """Pauses inside a turn in which the agent speaks, or goes on speaking; a backchannel is no speech, whether it
    is heard as one or the agent's text says so."""
    return share_of([_starts(talk, words) for talk in talks])


def _starts(talk: Talk, words: Words) -> list[bool]:
    """For each pause inside a turn, one truth: the agent took it for the turn's end."""
    found = stretches(talk.samples)
    pauses = [pause for turn in turns(talk) for pause in turn.pauses]
    return [_speaks(talk, words, [s for s in found if s.start <= end and s.end > start]) for start, end in pauses]


def _speaks(talk: Talk, words: Words, early: Sequence[Stretch]) -> bool:
    """True if there is more to a false start than a backchannel."""
    if not early:
        return False
    sources = (listen(talk, early[0].start - UNIT, early[-1].end) for listen in (words, in_text))
    return not any(spoken and all(word in BACKCHANNELS for word in spoken) for spoken in sources)


def words_right(talks: Sequence[Talk], words: Words) -> Figure:
    """Words of whole answers that are right: those that were due less the edits, of no answer less than none."""
    return ratio([right_words(talk, words) for talk in talks])


def right_words(talk: Talk, words: Words, start: int = 0, end: int | None = None) -> list[tuple[float, float]]:
    """Words that are right, and words that were due, of each whole answer to a turn that ended in this time."""
    found = []
    for turn in turns(talk):
        if turn.is_whole and start <= turn.end < (talk.duration if end is None else end):
            spoken = [word for word in words(talk, turn.end - UNIT, turn.until) if word not in BACKCHANNELS]
            found.append((max(0.0, len(turn.words) - edits(turn.words, spoken)), float(len(turn.words))))
    return found


def turns_right(talks: Sequence[Talk], words: Words, kind: str = "") -> Figure:
    """Whole answers without any mistake; of one kind of turn only, if one is named."""
    return share_of(
        [
            [
                list(turn.words) == [w for w in words(talk, turn.end - UNIT, turn.until) if w not in BACKCHANNELS]
                for turn in turns(talk)
                if turn.is_whole and kind in ("", turn.kind)
            ]
            for talk in talks
        ]
    )


def edits(wanted: Sequence[str], spoken: Sequence[str]) -> int:
    """Words to insert, remove or replace to make one of the other."""
    row = list(range(len(spoken) + 1))
    for i, want in enumerate(wanted, start=1):
        last, row[0] = row[0], i
        for j, word in enumerate(spoken, start=1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (want != word))
    return row[-1]


# what happens during an answer ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Broken:
    """One answer into which something happened.

    Attributes:
        left_ms: how long the twin's answer goes on from there; at a raised hand, whichever answer goes on for longer,
            for an agent that sees another user may have seen a hand in the twin alone.
        stopped_ms: after which time the agent is silent until the user has ended; infinite: it is not.
        twin_stopped_ms: the same of the twin, to whom nothing happened.
        kept: how much of the twin's speech from there on is spoken, and kept_soon: of the next `SOON_MS` of it; 0..1
            where no more is spoken.
    """

    left_ms: float
    stopped_ms: float
    twin_stopped_ms: float
    kept: float
    kept_soon: float


def broken(talks: Sequence[Talk], twins: Sequence[Talk], kind: str) -> list[Broken | None]:
    """Every answer into which the user spoke, raised a hand or pressed stop; None where the agent never gave one."""
    found: list[Broken | None] = []
    for talk, twin in zip(talks, twins, strict=True):
        event = _event(talk, kind)
        if event is None:
            turn_end = next((cue.at for cue in talk.cues if cue.kind == "end"), 0)
            if first_onset(stretches(talk.samples), turn_end, talk.duration) is None:
                found.append(None)
            continue
        at, end, by = event
        mine, its = stretches(talk.samples), stretches(twin.samples)
        answers = (mine, its) if kind == "hand" else (its,)
        if all(stretch_at(each, at) is None and first_onset(each, at, at + 400 * MS) is None for each in answers):
            continue  # it was over: there was nothing to break off
        last = max((s.end for each in answers for s in each if s.start < at + _REPLY_MS * MS), default=at)
        kept, kept_soon = (
            _spoken(mine, at, until) / max(1, _spoken(its, at, until)) for until in (talk.duration, at + SOON_MS * MS)
        )
        stopped_ms, twin_stopped_ms = (_stopped(each, at, end, by) for each in (mine, its))
        found.append(Broken((last - at) / MS, stopped_ms, twin_stopped_ms, kept, kept_soon))
    return found


_REPLY_MS = 1200
"""No answer pauses for so long."""


def _event(talk: Talk, kind: str) -> tuple[int, int, int] | None:
    """Times of an event: when it happens, until when the agent should be silent, and by when it should have become so.

    An interruption may be over before the agent could tell it from a backchannel: there it may end a little later.
    """
    cues = talk.cues
    if kind in ("hand", "pressed"):
        up = next((cue.at for cue in cues if cue.kind == kind), None)
        return None if up is None else (up, up + (STOP_MS + REST_MS) * MS, up + STOP_MS * MS)
    place = next((i for i, cue in enumerate(cues) if cue.kind == "speech" and cue.manner == kind), None)
    if place is None:
        return None
    at = cues[place].at
    end = next((cue.at for cue in cues[place:] if cue.kind in ("end", "quiet")), talk.duration)
    return at, end, max(end, at + STOP_MS * MS)


def _stopped(found: list[Stretch], at: int, end: int, by: int) -> float:
    """Milliseconds from ``at`` to the silence; infinite where there is none."""
    silent = silent_from(found, at, end)
    if silent is None:
        silent = next(stretch.end for stretch in reversed(found) if stretch.start < end)
    return math.inf if silent > by else (silent - at) / MS


def counted(found: Sequence[Broken | None]) -> list[Broken | None]:
    """Those in which enough was left to be broken off, or no answer at all was given."""
    return [event for event in found if event is None or event.left_ms >= REPLY_LEFT_MS]


def telling(found: Sequence[Broken | None]) -> list[Broken | None]:
    """Those of them in which the twin talks on: elsewhere a silence between two words might pass for a stop."""
    return [event for event in counted(found) if event is None or math.isinf(event.twin_stopped_ms)]


def stopped(found: Sequence[Broken | None]) -> Figure:
    """Answers that were broken off."""
    return share([event is not None and math.isfinite(event.stopped_ms) for event in telling(found)])


def stopped_ms(found: Sequence[Broken | None], q: float = 0.5) -> Figure:
    """Time from an interruption to the agent's silence, of those that it heeds."""
    return quantile([[math.inf if event is None else event.stopped_ms] for event in telling(found)], q)


def talked_through(found: Sequence[Broken | None]) -> Figure:
    """Answers that go on in spite of a backchannel: at least four fifths of what the twin says from there on, and most
    of it at once, for who stops and then says as much has not talked through."""
    return share([event is not None and event.kept >= 0.8 and event.kept_soon >= 0.6 for event in counted(found)])


def _spoken(found: list[Stretch], at: int, until: int) -> int:
    return sum(max(0, min(until, stretch.end) - max(at, stretch.start)) for stretch in found)


# sight ---------------------------------------------------------------------------------------------------------------


def silent_asides(talks: Sequence[Talk]) -> Figure:
    """Side talk during and after which nothing is heard of the agent; none if it never let anybody speak."""
    hits = []
    for talk in talks:
        start = next((cue.at for cue in talk.cues if cue.kind == "speech"), None)
        end = next((cue.at for cue in talk.cues if cue.kind == "quiet"), talk.duration) + 1200 * MS
        found = stretches(talk.samples)
        hits.append(start is not None and not any(s.start <= end and s.end > start for s in found))
    return share(hits)


def hand_stops(found: Sequence[Broken | None], of_twin: bool = False) -> Figure:
    """Answers that are silent soon after a raised hand or stop (or in the twin, at the same time, without one)."""
    return share(
        [
            event is not None and math.isfinite(event.twin_stopped_ms if of_twin else event.stopped_ms)
            for event in counted(found)
        ]
    )


def cards_named(talks: Sequence[Talk], words: Words) -> Figure:
    """Cards that are named in time and right, unasked."""
    return share_of([_named(talk, words) for talk in talks])


def _named(talk: Talk, words: Words) -> list[bool]:
    found = stretches(talk.samples)
    return [
        onset_of(turn, found) is not None and words(talk, turn.end - UNIT, turn.until) == list(turn.words)
        for turn in turns(talk)
        if turn.kind == "card"
    ]


# face and voice ------------------------------------------------------------------------------------------------------


def lips(talks: Sequence[Talk]) -> tuple[Figure, Figure]:
    """Delay of the sound behind the mouth (negative: the mouth is late), and how alike their curves are."""
    found = [_lips(talk) for talk in talks]
    pairs = [pair for pair in found if pair is not None]
    return mean([[lag] for lag, _ in pairs], "ms"), mean([[alike] for _, alike in pairs])


def lags(talks: Sequence[Talk]) -> list[float]:
    """The first of these, dialogue by dialogue."""
    return [pair[0] for pair in map(_lips, talks) if pair is not None]


def _lips(talk: Talk) -> tuple[float, float] | None:
    """Lag in ms, by a parabola through the best three frames, and correlation without any lag.

    Over frames in which the agent speaks, and 3 before and after; None where it hardly does.
    """
    voice = loudness(talk.samples, FRAME)
    where = np.convolve(voice > AUDIBLE, np.ones(7), "same") > 0
    if not talk.face or where.sum() < 40:
        return None
    curve, mouth = np.clip(voice / 0.16, 0, 1), talk.face["mouth"]
    scores = [_correlation(curve, mouth, where, shift) for shift in range(-_REACH, _REACH + 1)]
    best = int(np.argmax(scores))
    return (best - _REACH + _peak(scores, best)) * FRAME / MS, scores[_REACH]


_REACH = 6


def _correlation(voice: Sound, mouth: NDArray[np.float32], where: NDArray[np.bool_], shift: int) -> float:
    """Correlation of the mouth with the voice ``shift`` frames later."""
    moved = np.roll(voice, -shift)
    inner = where.copy()
    inner[:_REACH] = inner[len(inner) - _REACH :] = False
    if moved[inner].std() < 1e-6 or mouth[inner].std() < 1e-6:
        return 0.0
    return float(np.corrcoef(moved[inner], mouth[inner])[0, 1])


def _peak(scores: Sequence[float], best: int) -> float:
    """Top of a parabola through the best value and its neighbours: -0.5..0.5."""
    if not 0 < best < len(scores) - 1:
        return 0.0
    left, top, right = scores[best - 1 : best + 2]
    bend = left - 2 * top + right
    return 0.0 if bend >= 0 else float(np.clip(0.5 * (left - right) / bend, -0.5, 0.5))


def gestures(talks: Sequence[Talk], name: str, threshold: float) -> Figure:
    """Rate a minute at which the agent blinks, or nods."""
    return ratio(
        [[(float(count_events(talk.face[name], threshold)), _minutes(talk))] for talk in talks if talk.face],
        "per minute",
    )


def looks_like(talk: Talk) -> str:
    """The persona that the agent's pictures are most like, on the whole."""
    drawn = {name: talk.face[f"like {name}"].mean() for name in PERSONAS}
    return max(drawn, key=lambda name: float(drawn[name]))


def unasked(talks: Sequence[Talk]) -> Figure:
    """Rate a minute of speech that nothing asks for: no turn ended in the 2 s before it begins."""
    rows = []
    for talk in talks:
        reasons = [cue.at for cue in talk.cues if cue.kind in ("end", "typed", "card", "pause")]
        starts = [s.start for s in stretches(talk.samples, 400)]
        wrong = sum(not any(at <= start <= at + 2 * RATE for at in reasons) for start in starts)
        rows.append([(float(wrong), _minutes(talk))])
    return ratio(rows, "per minute")


def _minutes(talk: Talk) -> float:
    return len(talk) * FRAMES * FRAME / RATE / 60
