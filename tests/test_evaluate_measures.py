"""The instrument: the ideal agent passes everything, and each fault that an agent may have is found, and only that."""

from dataclasses import replace

import numpy as np
import pytest

from wangraph.tools.lab.evaluate import measures as m
from wangraph.tools.lab.evaluate import probes
from wangraph.tools.lab.evaluate.face_reader import count_events, reader
from wangraph.tools.lab.evaluate.measures import in_text
from wangraph.tools.lab.evaluate.sound import first_onset, silent_from, stretches
from wangraph.tools.lab.evaluate.talk import Answer, Talk, hold
from wangraph.tools.lab.evaluate.turns import turns
from wangraph.tools.lab.evaluate.voices import Voices
from wangraph.tools.lab.world.cues import Cue
from wangraph.tools.lab.world.face import Pose, render
from wangraph.tools.lab.world.oracle import Oracle
from wangraph.tools.lab.world.persona import PERSONAS
from wangraph.tools.lab.world.signal import MS, UNIT
from wangraph.tools.lab.world.tokens import TOKENS, VOCABULARY
from wangraph.tools.lab.world.voices import Speaker
from wangraph.wan_core.vocabulary import PAD

SIZE = 64
N = 6


@pytest.fixture(scope="module")
def voices():
    return Voices.held_out(None)


@pytest.fixture(scope="module")
def read():
    return reader(SIZE)


class Ideal:
    """The oracle as it is: no codec, and pictures only where they are asked for."""

    def __init__(self, bank, shows=False, spoil=lambda cues: cues, late=0, kind=Oracle):
        self.bank, self.shows, self.spoil, self.late, self.kind = bank, shows, spoil, late, kind

    def begin(self, specs):
        self.oracles = [self.kind(spec.seed, self.bank, spec.persona) for spec in specs]
        self.looks = [spec.persona.looks for spec in specs]
        self.waiting = [[Answer(np.zeros(UNIT, np.float32), None, PAD)] * self.late for _ in specs]

    def step(self, users):
        answers = []
        for oracle, looks, waiting, user in zip(self.oracles, self.looks, self.waiting, users, strict=True):
            said = oracle.step(tuple(self.spoil(user.cues)))
            frames = render(said.pose, looks, SIZE) if self.shows else None
            event = VOCABULARY.state(said.state), VOCABULARY.gesture(said.gesture)
            waiting.append(Answer(said.samples, frames, said.text, event))
            answers.append(waiting.pop(0))
        return answers


def without(*kinds):
    return lambda cues: [cue for cue in cues if cue.kind not in kinds]


def held(voices, read, probe, twins=False, **fault):
    specs = probe.twins if twins else probe.specs
    return hold(Ideal(voices.bank, **fault), specs, probe.units, voices.bank, read, 0)


def broken(voices, read, probe, kind, **fault):
    return m.broken(held(voices, read, probe, **fault), held(voices, read, probe, twins=True, **fault), kind)


def test_the_ideal_agent_answers_in_time_and_right(voices, read):
    talks = held(voices, read, probes.asks(voices.synthetic, N))
    assert m.answered(talks).value == m.onset_units(talks).value == 1.0
    assert m.words_right(talks, in_text).value == m.turns_right(talks, in_text).value == 1.0
    assert 80 <= m.onset_ms(talks).value <= 320
    assert m.unasked(talks).value == 0.0
    assert m.answered(talks).n == sum(len(turns(talk)) for talk in talks) == 3 * N


def test_an_agent_that_is_two_units_late_is_not_in_the_right_unit(voices, read):
    talks = held(voices, read, probes.asks(voices.synthetic, N), late=2)
    assert m.onset_units(talks).value == 0.0
    assert m.words_right(talks, in_text).value == 1.0
    ideal = m.onset_ms(held(voices, read, probes.asks(voices.synthetic, N))).value
    assert m.onset_ms(talks).value == pytest.approx(ideal + 320, abs=60)


class Terse(Oracle):
    """Says the first word of every answer."""

    def _begin(self, words, cue):
        super()._begin(words[:1] if cue.kind in ("end", "typed") else words, cue)


@pytest.mark.parametrize("name", ["asks", "pauses", "typed", "free"])
def test_no_turn_is_spared_because_the_user_goes_on_after_a_short_answer(voices, read, name):
    probe = getattr(probes, name)(voices.synthetic, 2)
    talks = hold(Ideal(voices.bank, kind=Terse), probe.specs, probe.units, voices.bank, read, 0)
    for talk in talks:
        asked = [cue for cue in talk.cues if cue.kind in ("end", "typed", "card")]
        assert len(asked) - 1 <= len(turns(talk)) <= len(asked), "but for a last one without time for an answer"
    assert m.turns_right(talks, in_text).value < 0.9


def test_a_backchannel_may_be_said_in_text_alone(voices, read):
    probe = probes.pauses(voices.synthetic, N)
    talks = held(voices, read, probe)
    backchannels = [
        talk for talk in talks if any(m.in_text(talk, *pause) for turn in turns(talk) for pause in turn.pauses)
    ]
    quiet = m.false_starts(talks, lambda talk, start, end: ["<noise>"])
    assert quiet.value == 0.0 and backchannels


def test_an_agent_that_takes_a_pause_for_the_end_starts_falsely(voices, read):
    probe = probes.pauses(voices.synthetic, N)

    def hasty(cues):
        return [replace(cue, kind="end") if cue.kind == "pause" else cue for cue in cues]

    assert m.false_starts(held(voices, read, probe), in_text).value == 0.0
    spoilt = held(voices, read, probe, spoil=hasty)
    assert m.false_starts(spoilt, in_text).value > 0.7
    assert m.turns_right(spoilt, in_text).value < 0.3


def test_an_agent_that_heeds_no_interruption_talks_on(voices, read):
    probe = probes.interruptions(voices.synthetic, 2 * N)
    good = broken(voices, read, probe, "interruption")
    assert m.stopped(good).value == 1.0 and 200 <= m.stopped_ms(good).value <= 420
    deaf = broken(voices, read, probe, "interruption", spoil=without("speech"))
    assert len(m.telling(deaf)) >= 2 and m.stopped(deaf).value == 0.0


def test_an_agent_that_is_stopped_by_a_backchannel_does_not_talk_through(voices, read):
    probe = probes.backchannels(voices.synthetic, N)

    def timid(cues):
        return [replace(cue, manner="interruption") if cue.kind == "speech" else cue for cue in cues]

    assert m.talked_through(broken(voices, read, probe, "backchannel")).value == 1.0
    assert m.talked_through(broken(voices, read, probe, "backchannel", spoil=timid)).value == 0.0


def test_an_agent_that_sees_no_hand_does_no_better_than_its_twin(voices, read):
    probe = probes.hands(voices.synthetic, N)
    good, blind = broken(voices, read, probe, "hand"), broken(voices, read, probe, "hand", spoil=without("hand"))
    assert m.hand_stops(good).value == 1.0 and m.hand_stops(good, of_twin=True).value == 0.0
    assert m.hand_stops(blind).value == m.hand_stops(blind, of_twin=True).value == 0.0


def test_a_hand_seen_in_the_twin_alone_counts_against_an_agent_as_its_own_counts_for_it(voices, read):
    probe = probes.hands(voices.synthetic, N)
    seen, unseen = held(voices, read, probe), held(voices, read, probe, spoil=without("hand"))
    right, ablated = m.broken(seen, unseen, "hand"), m.broken(unseen, seen, "hand")
    assert m.hand_stops(right).n == m.hand_stops(ablated).n > 0
    assert m.hand_stops(ablated).value == 0.0 and m.hand_stops(ablated, of_twin=True).value == 1.0


def test_side_talk_is_silence_to_the_ideal_agent_and_a_question_to_a_blind_one(voices, read):
    probe = probes.asides(voices.synthetic, N)

    def blind(cues):
        return [
            replace(cue, manner="turn", kind="end" if cue.kind == "quiet" else cue.kind, words=("one",)) for cue in cues
        ] + [replace(cue, kind="word", words=("one",), manner="turn") for cue in cues if cue.kind == "speech"]

    assert m.silent_asides(held(voices, read, probe)).value == 1.0
    assert m.answered(held(voices, read, probe, twins=True)).value == 1.0
    assert m.silent_asides(held(voices, read, probe, spoil=blind)).value < 0.2


def test_cards_count_only_when_named_right(voices, read):
    probe = probes.cards(voices.synthetic, N)

    def colourblind(cues):
        swapped = {"red": "green", "green": "red", "blue": "yellow", "yellow": "blue"}
        return [replace(cue, words=(swapped[cue.words[0]],)) if cue.kind == "card" else cue for cue in cues]

    assert m.cards_named(held(voices, read, probe), in_text).value == 1.0
    assert m.cards_named(held(voices, read, probe, spoil=colourblind), in_text).value == 0.0


def test_lips_in_step_lag_by_nothing_and_shifted_ones_by_the_shift(voices, read):
    probe = probes.asks(voices.synthetic, 3)
    talks = hold(Ideal(voices.bank, shows=True), probe.specs, 50, voices.bank, read, 0)
    lag, alike = m.lips(talks)
    assert abs(lag.value) < 6 and alike.value > 0.95
    late = [replace(talk, samples=np.roll(talk.samples, 80 * MS)) for talk in talks]
    assert m.lips(late)[0].value == pytest.approx(80, abs=8)
    assert m.lips(late)[1].value < 0.6


def test_a_told_agent_looks_like_its_persona(voices, read):
    probe = probes.persona(voices.synthetic, 3)
    talks = hold(Ideal(voices.bank, shows=True), probe.specs, 8, voices.bank, read, 0)
    assert [m.looks_like(talk) for talk in talks] == [spec.persona.name for spec in probe.specs] == list(PERSONAS)


def test_twins_are_alike_until_the_reaction(voices, read):
    probe = probes.interruptions(voices.synthetic, N)
    for talk, twin in zip(held(voices, read, probe), held(voices, read, probe, twins=True), strict=True):
        at = next((c.at for c in talk.cues if c.manner == "interruption"), talk.duration)
        until = at // UNIT * UNIT
        assert np.array_equal(talk.user_samples[:until], twin.user_samples[:until])
        assert np.array_equal(talk.samples[:until], twin.samples[:until])


def test_the_eyes_read_poses_that_they_were_not_fitted_on(read):
    rng = np.random.default_rng(5)
    pose = Pose.still(200)
    pose.mouth[:], pose.blink[:], pose.nod[:] = rng.uniform(0, 1, (3, 200))
    found = read(render(pose, PERSONAS["iris"].looks, SIZE))
    for name in ("mouth", "blink", "nod"):
        assert np.corrcoef(found[name], getattr(pose, name))[0, 1] > 0.97, name


@pytest.mark.parametrize(
    ("wanted", "said", "cost"),
    [("a b c", "a b c", 0), ("a b c", "a c", 1), ("a b", "a x b", 1), ("a", "", 1), ("", "a b", 2), ("a b", "b a", 2)],
)
def test_edits_are_counted(wanted, said, cost):
    assert m.edits(wanted.split(), said.split()) == cost


def test_words_of_the_text_are_those_in_its_units(voices, read):
    talk = held(voices, read, probes.typed(voices.synthetic, 1))[0]
    text = np.zeros_like(talk.text)
    text[3], text[5] = TOKENS["four"], TOKENS["five"]
    assert in_text(replace(talk, text=text), 2 * UNIT, 5 * UNIT) == ["four"]


def test_stretches_of_sound_end_after_a_longer_pause():
    sound = np.zeros(10 * UNIT, np.float32)
    for start, end in ((1000, 4000), (5000, 8000), (14_000, 20_000)):
        sound[start:end] = 0.1 * np.sin(np.arange(end - start) * 0.3)
    found = stretches(sound)
    assert [(s.start // 160, s.end // 160) for s in found] == [(6, 50), (87, 125)]
    assert first_onset(found, 9000, 10 * UNIT) == found[1].start and first_onset(found, 9000, 10_000) is None
    assert silent_from(found, 6000, 13_000) == found[0].end and silent_from(found, 6000, 15_000) is None
    assert silent_from(found, 8500, 13_000) == 8500


def test_events_are_counted_where_they_rise():
    assert count_events([0, 1, 1, 0, 1, 0], 0.5) == 2
    assert count_events([1, 0, 0, 1], 0.5) == 2
    assert count_events([], 0.5) == 0


def talk_of(cues, *heard):
    """40 units in which the agent sounds from one millisecond to another."""
    samples = np.zeros(40 * UNIT, np.float32)
    for start, end in heard:
        samples[start * MS : end * MS] = 0.1
    spec = replace(probes.asks([Speaker("toy", "espeak-ng", "en-us")], 1).specs[0])
    return Talk(spec, tuple(cues), samples, samples, {}, np.zeros(40, np.int64), None)


def test_who_talks_through_side_talk_is_not_silent():
    cues = [Cue("speech", 1000 * MS, manner="aside"), Cue("quiet", 2000 * MS)]
    cases = {(): True, ((500, 900),): True, ((500, 1500),): False, ((1200, 1500),): False, ((3000, 3100),): False,
             ((3500, 3900),): True}  # fmt: skip
    for heard, is_silent in cases.items():
        assert m.silent_asides([talk_of(cues, *heard)]).value == is_silent, heard
    assert m.silent_asides([talk_of([], (0, 6000))]).value == 0.0  # it never let anybody speak


def test_who_stops_at_a_backchannel_and_then_says_as_much_has_not_talked_through():
    cues = [Cue("speech", 1000 * MS, manner="backchannel"), Cue("quiet", 1400 * MS)]
    twin = talk_of([], (500, 2500))
    for heard, goes_on in ((((500, 2500),), 1.0), (((500, 1100), (2600, 4000)), 0.0), (((500, 1300),), 0.0)):
        found = m.broken([talk_of(cues, *heard)], [twin], "backchannel")
        assert m.talked_through(found).value == goes_on, heard
