import wave

import numpy as np
import pytest

from wangraph.runtime.errors import UserError
from wangraph.tools.lab.world.cues import Cue
from wangraph.tools.lab.world.onset import OnsetDetector
from wangraph.tools.lab.world.person import Person
from wangraph.tools.lab.world.room import Room
from wangraph.tools.lab.world.script import SCENARIOS, Act, Reaction, drawn, fixed, scenario
from wangraph.tools.lab.world.signal import MS, RATE, UNIT
from wangraph.tools.lab.world.tokens import TOKENS
from wangraph.tools.lab.world.user import PATIENCE_MS, World
from wangraph.tools.lab.world.voices import Bank
from wangraph.wan_core.vocabulary import ENTER, PAD, STOP

WORDS = ("mm-hmm", "okay", "please", "red", "green", "blue", "yellow", "coffee")


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    """Somebody whose words are tones of 300 ms, a pitch each."""
    folder = tmp_path_factory.mktemp("people")
    for i, word in enumerate([*map(str, range(10)), *WORDS]):
        tone = 0.5 * np.sin(2 * np.pi * (300 + 60 * i) * np.arange(int(0.3 * RATE)) / RATE)
        with wave.open(str(folder / f"{word}_tone_0.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(RATE)
            file.writeframes((tone * 32767).astype(np.int16).tobytes())
    return Bank(folder)


@pytest.fixture
def person(bank):
    speaker = next(s for s in bank.speakers if s.name == "tone")
    return Person(speaker, np.full(14, 0.5, np.float32), Room(noise=1e-4))


def spoken(first, last):
    """An agent that speaks from one sample to another; returns its sound of each unit."""
    whole = np.zeros(200 * UNIT, np.float32)
    n = last - first
    whole[first:last] = 0.15 * np.sin(2 * np.pi * 220 * np.arange(n) / RATE)
    return whole.reshape(-1, UNIT)


def live(world, agent, units=60):
    """The units of a user who hears ``agent`` [U, 2560], each unit after it was said."""
    return [world.step(agent[k - 1] if k else None) for k in range(units)]


def cues(units, kind, manner=None):
    return [c for u in units for c in u.cues if c.kind == kind and manner in (None, c.manner)]


def quiet():
    return np.zeros((200, UNIT), np.float32)


def test_the_same_seed_is_the_same_user(bank):
    one, two = (live(World(5, bank, size=32), quiet(), 30) for _ in range(2))
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a.samples, b.samples)
        np.testing.assert_array_equal(a.frames, b.frames)
        assert (a.text, a.cues) == (b.text, b.cues)


def test_another_seed_is_another_user(bank):
    one, two = (live(World(seed, bank, size=0), quiet(), 10) for seed in (1, 2))
    assert not np.array_equal(one[0].samples, two[0].samples)


def test_what_the_agent_says_later_changes_nothing_heard_before(bank):
    rng = np.random.default_rng(0)
    for seed in range(4):
        cut = int(rng.integers(10, 40))
        agent = quiet()
        agent[::7] = 0.1 * rng.standard_normal((len(agent[::7]), UNIT))
        other = agent.copy()
        other[cut:] = 0.1 * rng.standard_normal(other[cut:].shape)
        one, two = (live(World(seed, bank, SCENARIOS["overlap"], size=0), a, 60) for a in (agent, other))
        for a, b in zip(one[: cut + 1], two[: cut + 1], strict=True):
            np.testing.assert_array_equal(a.samples, b.samples)
            assert a.cues == b.cues


def test_a_user_waits_for_the_agents_actual_end(bank, person):
    acts = (Act("ask", 200, (("one",),)), Act("ask", 200, (("two",),)))
    for last in (20 * UNIT, 31 * UNIT + 700):
        units = live(World(0, bank, person=person, script=fixed(*acts), size=0), spoken(8 * UNIT, last))
        second = cues(units, "speech")[1].at
        assert last + 200 * MS <= second <= last + 1000 * MS


def test_a_user_who_gets_no_answer_goes_on(bank, person):
    acts = (Act("ask", 200, (("one",),)), Act("ask", 200, (("two",),)))
    units = live(World(0, bank, person=person, script=fixed(*acts), size=0), quiet())
    end, second = cues(units, "end")[0].at, cues(units, "speech")[1].at
    assert PATIENCE_MS * MS <= second - end <= (PATIENCE_MS + 600) * MS


@pytest.mark.parametrize("onset", [8 * UNIT, 9 * UNIT + 1234, 15 * UNIT + 2000])
@pytest.mark.parametrize("kind", ["interrupt", "backchannel", "hand", "press"])
def test_reactions_follow_the_agents_actual_onset(bank, person, onset, kind):
    phrases = {"interrupt": (("three",),), "backchannel": (("okay",),), "hand": (), "press": ()}[kind]
    act = Act("ask", 200, (("one",),), reaction=Reaction(kind, 700, phrases))
    units = live(World(0, bank, person=person, script=fixed(act), size=0), spoken(onset, onset + 3 * RATE))
    seen = {"hand": "hand", "press": "pressed"}.get(kind)
    at = (cues(units, seen) if seen else cues(units, "speech")[1:])[0].at
    assert at - onset == pytest.approx(700 * MS, abs={"hand": 160, "press": 240}.get(kind, 20) * MS)
    assert [unit.text for unit in units].count(STOP) == (kind == "press")


def test_an_answer_that_ends_first_is_not_interrupted(bank, person):
    act = Act("ask", 200, (("one",),), reaction=Reaction("interrupt", 900, (("three",),)))
    units = live(World(0, bank, person=person, script=fixed(act), size=0), spoken(8 * UNIT, 8 * UNIT + RATE // 2))
    assert not cues(units, "speech", "interruption")


def test_an_agent_that_never_stops_talking_is_spoken_to_all_the_same(bank, person):
    acts = [Act("ask", 200, (("one",),)) for _ in range(2)]
    units = live(World(0, bank, person=person, script=fixed(*acts), size=0), spoken(0, 200 * UNIT), 150)
    assert len(cues(units, "speech")) == 2


def test_a_glance_aside_is_silent(bank, person):
    units = live(World(0, bank, person=person, script=fixed(Act("glance", 200)), size=0), quiet(), 14)
    assert max(np.abs(u.pose.gaze_x).max() for u in units) > 0.9
    assert not any(u.cues or u.is_speaking.any() for u in units)
    assert np.abs(units[-1].pose.gaze_x[-1]) < 0.1


def test_a_delay_of_the_line_delays_the_reaction(bank, person):
    act = Act("ask", 200, (("one",),), reaction=Reaction("interrupt", 500, (("three",),)))
    agent = spoken(10 * UNIT, 30 * UNIT)
    near, far = (
        cues(live(World(0, bank, person=person, script=fixed(act), size=0, delay=d), agent), "speech")[1].at
        for d in (0, 2)
    )
    assert far - near == 2 * UNIT


def test_a_pause_is_inside_a_turn_and_its_end_is_marked_once(bank, person):
    act = Act("ask", 200, (("one", "two"), ("three",)), pause_ms=800)
    units = live(World(0, bank, person=person, script=fixed(act), size=0), quiet(), 30)
    (speech,), (pause,), (end,) = cues(units, "speech"), cues(units, "pause"), cues(units, "end")
    words = cues(units, "word")
    assert [w.words[0] for w in words] == ["one", "two", "three"]
    assert speech.at < pause.at == words[1].at < end.at == words[2].at
    sound = np.concatenate([u.samples for u in units])
    assert np.abs(sound[pause.at + 500 : pause.at + 700 * MS]).max() < 0.01


def test_an_aside_is_spoken_with_the_gaze_away(bank, person):
    script = fixed(Act("aside", 200, (("one",),)), Act("ask", 800, (("two",),)))
    units = live(World(0, bank, person=person, script=script, size=0), quiet(), 30)
    for unit in units:
        away = np.abs(unit.pose.gaze_x).min() > 0.8
        for cue in unit.cues:
            if cue.kind == "speech":
                assert away == (cue.manner == "aside") and unit.is_addressed != away
    assert not cues(units[:10], "word")


def test_typed_lines_come_a_token_at_a_time_and_end_with_enter(bank, person):
    act = Act("type", 200, (("four", "two"),))
    units = live(World(0, bank, person=person, script=fixed(act), size=0), quiet(), 20)
    assert [u.text for u in units if u.text != PAD] == [TOKENS["four"], TOKENS["two"], ENTER]
    (cue,) = cues(units, "typed")
    assert cue.words == ("four", "two") and cue.at // UNIT == next(u.unit for u in units if u.text == ENTER)


def test_cues_come_in_the_unit_in_which_they_are_complete(bank):
    for seed in range(6):
        units = live(World(seed, bank, size=0), spoken(12 * UNIT, 20 * UNIT), 80)
        for unit in units:
            assert all(unit.unit * UNIT <= cue.at <= (unit.unit + 1) * UNIT for cue in unit.cues)


def test_a_card_stays_until_it_was_named_and_may_be_asked_about(bank, person):
    act = Act("card", 200, (("red",),), colour="blue")
    units = live(World(0, bank, person=person, script=fixed(act), size=0), spoken(6 * UNIT, 9 * UNIT))
    (card,), (word,), (away,) = cues(units, "card"), cues(units, "word"), cues(units, "card_away")
    assert card.words == ("blue",) and card.at < 9 * UNIT < word.at < away.at


def test_the_ear_bridges_gaps_between_words_and_hears_an_end():
    ear = OnsetDetector()
    speech = spoken(UNIT, UNIT + 5 * UNIT)
    speech[3] = 0.0
    for unit in speech[:6]:
        ear.add(unit)
    assert ear.onset == UNIT and ear.rise == 4 * UNIT
    for unit in speech[6:10]:
        ear.add(unit)
    assert ear.onset is None


def test_a_scripts_acts_depend_on_their_number_alone_and_use_words_that_can_be_said():
    only_digits = {"zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"}
    script = drawn(SCENARIOS["everything"], 3, only_digits)
    forwards, backwards = [script(i) for i in range(40)], [script(i) for i in reversed(range(40))]
    assert forwards == backwards[::-1]
    assert {word for act in forwards for phrase in act.phrases for word in phrase} <= only_digits
    assert len({act.kind for act in forwards}) >= 4


def test_an_unknown_scenario_names_the_known_ones():
    with pytest.raises(UserError) as error:
        scenario("overlaps")
    assert str(error.value) == (
        "scenario: found 'overlaps' (available: asides, digits, everything, overlap, pauses, sight); "
        "did you mean 'overlap'?"
    )


def test_cues_are_values():
    assert Cue("hand", 5) == Cue("hand", 5)
