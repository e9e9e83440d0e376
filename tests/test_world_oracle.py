import numpy as np
import pytest

from wangraph.runtime.errors import UserError
from wangraph.tools.lab.world import check, evidence
from wangraph.tools.lab.world.check import check_world
from wangraph.tools.lab.world.cues import Cue
from wangraph.tools.lab.world.dialogue import play
from wangraph.tools.lab.world.oracle import REACTION_MS, YIELD_MS, Oracle
from wangraph.tools.lab.world.persona import PERSONAS, persona
from wangraph.tools.lab.world.script import SCENARIOS, Act, Reaction, fixed
from wangraph.tools.lab.world.signal import FRAME, MS, UNIT, loudness
from wangraph.tools.lab.world.tokens import TOKENS, VOCABULARY
from wangraph.tools.lab.world.user import World
from wangraph.tools.lab.world.voices import Bank
from wangraph.wan_core.vocabulary import PAD, STOP


@pytest.fixture(scope="module")
def bank():
    return Bank()


def dialogue(bank, *acts, units=60, seed=0, **more):
    return play(seed, units, bank, script=fixed(*acts), size=0, **more)


def said(talk):
    return [VOCABULARY.words[token] for token in talk.agent_text if token != PAD]


def first(talk, kind):
    return next(cue for cue in talk.cues if cue.kind == kind)


@pytest.mark.parametrize("name", PERSONAS)
def test_each_digit_is_answered_by_the_personas_rule(bank, name):
    who = persona(name)
    talk = dialogue(bank, Act("ask", 300, (("four", "nine"),)), persona=who)
    assert said(talk)[-2:] == [VOCABULARY.words[TOKENS["zero"] + (d + who.rule) % 10] for d in (4, 9)]


def test_an_answer_begins_in_the_first_unit_80_ms_after_the_end(bank):
    for seed in range(5):
        talk = dialogue(bank, Act("ask", 300 + 37 * seed, (("six",),)), seed=seed, units=25)
        end = first(talk, "end").at
        unit = int(np.flatnonzero(talk.agent_text)[0])
        assert (unit - 1) * UNIT < end + REACTION_MS * MS <= unit * UNIT
        onset = np.flatnonzero(np.abs(talk.agent_audio) > 0.02)[0]
        assert 0 <= onset - unit * UNIT <= 120 * MS


def test_a_pause_is_not_answered(bank):
    talk = dialogue(bank, Act("ask", 300, (("one",), ("two",)), pause_ms=1300))
    words = [word for word in said(talk) if word != "mm-hmm"]
    assert words == ["two", "three"]
    assert np.flatnonzero(talk.agent_text == TOKENS["two"])[0] * UNIT > first(talk, "end").at


def test_an_interruption_is_yielded_to_after_240_ms_and_then_answered(bank):
    act = Act("ask", 300, (("one", "two", "three"),), reaction=Reaction("interrupt", 400, (("seven",),)))
    talk = dialogue(bank, act)
    onset = next(cue for cue in talk.cues if cue.manner == "interruption" and cue.kind == "speech").at
    stop = int(np.flatnonzero(talk.agent_text == STOP)[0])
    assert (stop - 1) * UNIT < onset + YIELD_MS * MS <= stop * UNIT
    assert not talk.agent_audio[stop * UNIT + 20 * MS : (stop + 1) * UNIT].any()
    assert said(talk)[-1] == "eight"


@pytest.mark.parametrize("word", ["mm-hmm", "okay"])
def test_a_backchannel_is_talked_through(bank, word):
    act = Act("ask", 300, (("one", "two", "three"),), reaction=Reaction("backchannel", 400, ((word,),)))
    talk = dialogue(bank, act)
    assert said(talk) == ["two", "three", "four"] and "stop" not in talk.states


def test_a_raised_hand_stops_the_agent(bank):
    act = Act("ask", 300, (("one", "two", "three"),), reaction=Reaction("hand", 400))
    talk = dialogue(bank, act)
    stop = talk.states.index("stop")
    assert 0 <= stop * UNIT - first(talk, "hand").at - REACTION_MS * MS < UNIT
    assert said(talk)[-1] == VOCABULARY.words[STOP]


def test_the_stop_button_stops_the_agent_in_the_next_unit(bank):
    act = Act("ask", 300, (("one", "two", "three"),), reaction=Reaction("press", 400))
    talk = dialogue(bank, act)
    pressed = int(np.flatnonzero(talk.user_text == STOP)[0])
    assert talk.states.index("stop") == pressed + 1 and said(talk)[-1] == VOCABULARY.words[STOP]
    oracle = Oracle(0, bank)
    oracle.step((Cue("typed", 10, words=("one",)), Cue("pressed", 20)))
    assert not any(oracle.step(()).samples.any() for _ in range(10)), "an answer that has not begun never does"


def test_side_talk_is_ignored(bank):
    talk = dialogue(bank, Act("aside", 300, (("one", "two"),)))
    assert set(talk.states) == {"idle"} and not talk.agent_audio.any()


def test_a_card_is_named_unasked_and_its_colour_is_known_while_it_is_shown(bank):
    acts = (Act("card", 300, (("red",),), colour="red"), Act("ask", 300, (("red",),)))
    talk = dialogue(bank, *acts)
    assert said(talk) == ["red", "yes", "no"]


def test_typed_text_is_answered_in_the_unit_after_enter(bank):
    talk = dialogue(bank, Act("type", 300, (("five", "six"),)))
    assert said(talk) == ["six", "seven"]
    assert np.flatnonzero(talk.agent_text)[0] == np.flatnonzero(talk.user_text)[-1] + 1


def test_the_agents_mouth_is_the_envelope_of_its_own_voice(bank):
    talk = dialogue(bank, Act("ask", 300, (("one", "two", "three"),)))
    envelope = loudness(talk.agent_audio, FRAME)
    assert np.corrcoef(talk.agent_pose.mouth, envelope)[0, 1] > 0.97


def test_loudness_and_tempo_are_not_determined_by_the_text(bank):
    act = Act("ask", 300, (("one", "two"),))
    talks = [dialogue(bank, act, seed=seed, units=40) for seed in range(6)]
    assert len({said(talk)[-1] for talk in talks}) == 1
    assert len({int(np.count_nonzero(talk.agent_audio)) for talk in talks}) > 1
    assert np.ptp([np.abs(talk.agent_audio).max() for talk in talks]) > 0.05


def test_the_agent_listens_blinks_and_nods(bank):
    talk = play(1, 200, bank, size=0)
    assert {"idle", "listen", "speak"} <= set(talk.states)
    assert 6 <= talk.gestures.count("blink") <= 20 and "nod" in talk.gestures
    heard = np.repeat(np.asarray(talk.states) == "listen", 4)
    idle = np.repeat(np.asarray(talk.states) == "idle", 4)
    assert talk.agent_pose.brow[heard].mean() > talk.agent_pose.brow[idle].mean() + 0.2


def test_the_world_is_fair(bank):
    report = check_world(range(3), 70, bank, SCENARIOS["everything"])
    assert report.faults == [] and report.text().endswith("fair")
    assert min(report.youngest_ms.values()) >= REACTION_MS


def test_ends_that_sound_like_pauses_are_found_out(bank, monkeypatch):
    monkeypatch.setattr(evidence, "END_GLIDE", evidence.GO_ON_GLIDE)
    ends = next(evidence.evidence(bank))
    assert ends.what.startswith("end or pause") and ends.value < ends.least


@pytest.fixture
def without_evidence(monkeypatch):
    """What the cues sound and look like is the same for every agent: shown once, above."""
    monkeypatch.setattr(check, "evidence", lambda bank: [])


class Hasty(Oracle):
    """Answers cues as soon as they are there."""

    def _seen(self, age_ms):
        return super()._seen(0)


def test_an_agent_that_answers_too_soon_is_found_out(bank, monkeypatch, without_evidence):
    monkeypatch.setattr(check, "Oracle", Hasty)
    report = check_world(range(2), 60, bank, SCENARIOS["digits"])
    assert not report.is_fair
    assert any("(expected 80 ms or more)" in fault for fault in report.faults)
    assert any("the agent used a cue younger than 80 ms" in fault for fault in report.faults)


class Clairvoyant(Oracle):
    """Nods as soon as it knows that a turn will have an end, which it takes from a cue that is still to come."""

    def step(self, cues):
        if any(cue.kind == "word" for cue in cues):
            self._next_blink = self._unit
        return super().step(cues)


def test_an_agent_that_uses_a_newer_cue_is_found_out(bank, monkeypatch, without_evidence):
    monkeypatch.setattr(check, "Oracle", Clairvoyant)
    report = check_world(range(3), 60, bank, SCENARIOS["digits"])
    assert any("the agent used a cue younger than 80 ms" in fault for fault in report.faults)


class Leaky(World):
    """Tells of a card as soon as the user has it in mind."""

    def _advance(self):
        super()._advance()
        if self._act is not None and self._act.kind == "card":
            self._cue(Cue("card", self._unit * UNIT + 1, words=(self._act.colour,)))


def test_a_user_whose_cues_come_before_their_evidence_is_found_out(bank, monkeypatch, without_evidence):
    monkeypatch.setattr(check, "World", Leaky)
    report = check_world(range(4), 60, bank, SCENARIOS["sight"])
    assert any("two futures of one past" in fault for fault in report.faults)


def test_an_unknown_persona_names_the_known_ones():
    with pytest.raises(UserError) as error:
        persona("iriss")
    assert str(error.value) == "persona: found 'iriss' (available: iris, otto, vera); did you mean 'iris'?"


def test_an_oracle_without_cues_is_idle(bank):
    oracle = Oracle(0, bank)
    units = [oracle.step(()) for _ in range(10)]
    assert {unit.state for unit in units} == {"idle"}
    assert oracle.step((Cue("hand", 10 * UNIT),)).state == "idle"
