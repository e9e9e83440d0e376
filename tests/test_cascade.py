"""The chain of parts: each part by its law, then the whole in dialogues."""

import itertools
from importlib.metadata import PackageNotFoundError

import numpy as np
import pytest
from media_files import opened, unit

from wangraph.runtime.errors import MissingExtra
from wangraph.tools.lab.cascade import Animate, Answer, Detect, Listen, Speak, words
from wangraph.tools.lab.cascade.detect import ENDED, TALK, TURN
from wangraph.tools.lab.cascade.listen import BEFORE
from wangraph.tools.lab.cascade.speak import GAP
from wangraph.tools.lab.world.against import converse_with_graph
from wangraph.tools.lab.world.signal import MS, RATE, UNIT
from wangraph.tools.lab.world.voices import Bank

WORD = 200 * MS


def room(seconds, noise=1e-3, seed=0):
    return (noise * np.random.default_rng(seed).standard_normal(int(seconds * RATE) // UNIT * UNIT)).astype(np.float32)


def heard(sound, **params):
    """What `Detect` gives for each unit of a sound."""
    node = Detect(**params)
    state = node.new_state()
    return [node.step(state, unit(k), part)["voice"] for k, part in enumerate(sound.reshape(-1, UNIT))]


def ends(voice):
    return [k * UNIT + int(v[ENDED]) for k, v in enumerate(voice) if v[ENDED] >= 0]


def say(sound, *starts_ms, length_ms=400):
    for start in starts_ms:
        span = slice(start * MS, (start + length_ms) * MS)
        sound[span] += 0.1 * np.sin(2 * np.pi * 200 * np.arange(length_ms * MS) / RATE).astype(np.float32)
    return sound


@pytest.mark.parametrize("timeout_ms", [50, 170, 400, 640, 1270])
@pytest.mark.parametrize("start_ms", [400, 490, 520])
def test_a_turn_is_over_exactly_the_timeout_after_the_voice(timeout_ms, start_ms):
    found = ends(heard(say(room(4), start_ms), timeout_ms=timeout_ms))
    assert found == [(start_ms + 400 + timeout_ms) * MS]


def test_a_pause_shorter_than_the_timeout_is_part_of_the_turn_and_a_longer_one_ends_it():
    sound = say(room(5), 300, 1300)  # a pause of 600 ms
    assert ends(heard(sound, timeout_ms=700)) == [2400 * MS]
    assert ends(heard(sound, timeout_ms=500)) == [1200 * MS, 2200 * MS]


@pytest.mark.parametrize("noise", [1e-5, 1e-3, 8e-3])
def test_a_room_is_no_voice(noise):
    voice = np.stack(heard(room(8, noise)))
    assert not voice[:, TALK].any() and not voice[:, TURN].any() and (voice[:, ENDED] == -1).all()


def test_talk_is_counted_from_its_beginning_and_forgotten_in_a_pause():
    voice = heard(say(room(3), 320, 820))  # two words, 100 ms apart, then silence
    assert [int(v[TALK]) for v in voice[:10]] == [0, 0, 160, 320, 400, 640, 800, 900, 0, 0]
    assert [int(v[TURN]) for v in voice[:12]] == [0, 0] + [1] * 9 + [0]


def test_a_click_begins_no_turn():
    assert not np.stack(heard(say(room(2), 500, length_ms=20)))[:, TURN].any()


# The search for words -------------------------------------------------------------------------------------------------


@pytest.fixture
def small(monkeypatch):
    """Two words of two states."""
    monkeypatch.setattr(words, "USER_WORDS", ("a", "b"))
    monkeypatch.setattr(words, "_STATES", 2)
    monkeypatch.setattr(words, "_WORD_COST", 1.5)


def best_by_definition(scores, cost):
    """Every way through states of silence (4) and words (0 1, 2 3), tried."""
    follows = {4: (4, 0, 2), 0: (0, 1), 1: (1, 0, 2, 4), 2: (2, 3), 3: (3, 0, 2, 4)}
    best = (-np.inf, [])
    for way in itertools.product(range(5), repeat=len(scores)):
        if way[0] not in (4, 0, 2) or way[-1] not in (4, 1, 3):
            continue
        if any(b not in follows[a] for a, b in itertools.pairwise(way)):
            continue
        begins = [s // 2 for k, s in enumerate(way) if s in (0, 2) and (k == 0 or way[k - 1] != s)]
        total = sum(scores[t, s] for t, s in enumerate(way)) - cost * len(begins)
        best = max(best, (total, begins), key=lambda found: found[0])
    return best[1]


@pytest.mark.parametrize("seed", range(12))
def test_the_words_found_are_those_of_the_best_way_by_definition(small, seed):
    scores = 2.0 * np.random.default_rng(seed).standard_normal((7, 5)).astype(np.float32)
    assert words._best_chain(scores) == best_by_definition(scores, 1.5)


def test_the_law_catches_words_that_cost_nothing(small, monkeypatch):
    monkeypatch.setattr(words, "_WORD_COST", 0.0)
    cases = [2.0 * np.random.default_rng(s).standard_normal((7, 5)).astype(np.float32) for s in range(12)]
    assert any(words._best_chain(scores) != best_by_definition(scores, 1.5) for scores in cases)


@pytest.mark.parametrize("seed", range(8))
def test_a_word_is_cut_into_its_states_in_the_best_way_by_definition(monkeypatch, seed):
    monkeypatch.setattr(words, "_STATES", 3)
    scores = np.random.default_rng(seed).standard_normal((8, 3)).astype(np.float32)
    ways = [w for w in itertools.combinations_with_replacement(range(3), 8) if w[0] == 0 and w[-1] == 2 and 1 in w]
    best = max(ways, key=lambda way: sum(scores[t, s] for t, s in enumerate(way)))
    assert words._aligned(scores).tolist() == list(best)


def test_a_louder_microphone_hears_the_same():
    sound = 0.1 * np.random.default_rng(0).standard_normal(8000).astype(np.float32)
    np.testing.assert_allclose(words.features(sound), words.features(3 * sound), atol=0.2)


@pytest.fixture
def few_words(monkeypatch):
    """A model that is learned from a third of the phrases, once for all tests."""
    monkeypatch.setattr(words, "_SPEAKERS", 10)
    monkeypatch.setattr(words, "_PHRASES", 150)


@pytest.mark.slow
def test_words_of_voices_that_were_not_learned_are_heard(few_words, monkeypatch):
    bank = Bank()
    model = words.WordModel.of(bank)
    stranger = next(s for s in bank.split("held-out") if s.synthesiser == "espeak-ng")
    wrong = 0
    for phrase in itertools.islice(words._phrases(bank, [stranger], seed=1), 40):
        wrong += model.words(phrase.sound) != [words.USER_WORDS[word] for word, _, _ in phrase.spans]
    assert wrong <= 16
    monkeypatch.setattr(words, "_learned", None)
    again = words.WordModel.of(Bank())
    assert np.array_equal(again.weights, model.weights) and np.array_equal(again.bias, model.bias)
    assert model.words(np.zeros(100, np.float32)) == []


# The other parts ------------------------------------------------------------------------------------------------------


class Ears:
    """A model that tells how much it heard."""

    def words(self, sound):
        self.heard = sound
        return ["one", "two"]


def listening():
    node = Listen()
    node._model = Ears()
    return node, node.new_state()


def voice(talk=0, turn=0, ended=-1):
    return np.array([talk, turn, ended], np.int64)


def test_a_turn_is_heard_from_a_little_before_it_up_to_its_end():
    node, state = listening()
    sound = np.arange(12 * UNIT, dtype=np.float32).reshape(12, UNIT)
    given = [voice()] * 5 + [voice(160, 1)] * 4 + [voice(0, 0, 1000)] + [voice()] * 2
    texts = [node.step(state, unit(k), s, v)["text"] for k, (s, v) in enumerate(zip(sound, given, strict=True))]
    assert texts == [None] * 9 + ["one two"] + [None] * 2
    assert np.array_equal(node._model.heard, sound.reshape(-1)[5 * UNIT - BEFORE : 9 * UNIT + 1000])


def test_what_is_lost_is_not_in_the_turn():
    node, state = listening()
    node.step(state, unit(0), np.ones(UNIT, np.float32), voice(100, 1))
    node.gap(state, [unit(1)])
    node.step(state, unit(2), np.ones(UNIT, np.float32), voice(0, 0, UNIT))
    assert len(node._model.heard) == 2 * UNIT


def replies(*given, **params):
    node = Answer(**params)
    state = node.new_state()
    return [node.step(state, unit(k), *line)["reply"] for k, line in enumerate(given)]


def test_digits_are_answered_by_rule_and_all_else_needs_eyes():
    assert replies(("nine zero please",), ("yellow",), ("mm-hmm",), (None,)) == ["zero one", None, None, None]
    assert replies(("zero five",), rule=-1) == ["nine four"]


def test_a_typed_line_is_answered_when_it_ends():
    assert replies((None, "two "), ("one", "three "), (None, "\n"), (None, "7")) == [None, "two", "three four", "eight"]


WORDS = {word: (np.full(WORD, 0.1 * (i + 1), np.float32),) for i, word in enumerate(("one", "two"))}


def speak(*given, **params):
    """What `Speak` gives: sound of all units, and their words."""
    node = Speak(**params)
    node._takes = WORDS
    state = node.new_state()
    out = [node.step(state, unit(k), *line) for k, line in enumerate(given)]
    return np.concatenate([o["samples"] for o in out]), [o["text"] for o in out]


def test_a_reply_begins_at_the_sample_at_which_the_turn_was_over():
    sound, texts = speak((None, voice()), ("one two", voice(ended=1111)), *[(None, voice())] * 4)
    first = UNIT + 1111
    second = first + WORD + GAP
    assert np.flatnonzero(sound)[[0, -1]].tolist() == [first, second + WORD - 1]
    assert not sound[first + WORD : second].any()
    assert texts == [None, "one", "two", None, None, None]


@pytest.mark.parametrize("barge_in_ms", [100, 300])
def test_the_speech_breaks_off_when_the_user_has_talked_for_so_long(barge_in_ms):
    talk = [(None, voice(120, 1)), (None, voice(280, 1)), (None, voice(440, 1))]  # begins 40 ms into unit 1
    sound, texts = speak(("one two one two", voice(ended=0)), *talk, barge_in_ms=barge_in_ms)
    stop = UNIT + (40 + barge_in_ms) * MS
    assert sound[stop : stop + 10 * MS].any() and not sound[stop + 20 * MS :].any()
    assert texts[stop // UNIT] == "—" and texts.count("—") == 1


def test_without_barge_in_the_speech_goes_on():
    talk = [(None, voice(160 * k, 1)) for k in range(1, 7)]
    sound, texts = speak(("one two", voice()), *talk, barge_in_ms=0)
    assert texts[:3] == ["one", "two", None] and np.flatnonzero(sound)[-1] == 2 * WORD + GAP - 1


def test_a_new_reply_takes_the_place_of_the_old_one():
    sound, texts = speak(("one two", voice()), ("two", voice(ended=0)), *[(None, voice())] * 3)
    assert texts == ["one", "two", None, None, None]
    assert np.flatnonzero(sound)[-1] == UNIT + WORD - 1


def test_speech_in_units_that_are_lost_is_not_said_later():
    node = Speak()
    node._takes = WORDS
    state = node.new_state()
    node.step(state, unit(0), "one", voice())
    node.gap(state, [unit(1), unit(2)])
    assert not node.step(state, unit(3), None, voice())["samples"].any()


def test_the_mouth_moves_with_the_voice_and_the_picture_is_as_large_as_asked():
    node = opened(Animate(size=32))
    still, spoken = (
        node.step(node.new_state(), unit(3), np.full(UNIT, level, np.float32))["frames"] for level in (0.0, 0.2)
    )
    assert still.shape == (4, 32, 32, 3) and Animate.ports({"size": 32})[1]["frames"].shape == "4 32 32 3"
    moved = np.argwhere(np.abs(still.astype(int) - spoken).max(axis=(0, 3)) > 20)
    assert len(moved) and (moved[:, 0] > 14).all(), "below the eyes only"


# The whole ------------------------------------------------------------------------------------------------------------


def onsets(talk):
    loud = np.abs(talk.samples.reshape(-1, 160)).max(axis=1) > 0.01
    return [160 * int(k) for k in np.flatnonzero(loud) if not loud[max(0, k - 12) : k].any()]


@pytest.mark.slow
def test_a_short_timeout_answers_into_pauses_and_a_long_one_late(few_words):
    early, late = (
        converse_with_graph("cascade", [2, 5], 100, "pauses", settings={"timeout_ms": t}) for t in (240, 1340)
    )

    def false_starts(talks):
        return sum(
            any(pause.at < onset < after.at for onset in onsets(talk))
            for talk in talks
            for pause, after in zip(talk.cues, talk.cues[1:], strict=False)
            if pause.kind == "pause" and after.kind == "word"
        )

    def answer_after_ms(talks):
        found = []
        for talk in talks:
            spoken = [c.at for c in talk.cues if c.kind == "speech"]
            for end in (c.at for c in talk.cues if c.kind == "end"):
                until = min((at for at in spoken if at > end), default=len(talk) * UNIT)
                found += [(at - end) / MS for at in onsets(talk) if end < at < until][:1]
        return np.median(found)

    assert false_starts(early) > 0 and false_starts(late) == 0
    assert answer_after_ms(early) < 500 and 1200 < answer_after_ms(late) < 1500


@pytest.mark.slow
def test_the_cascade_answers_digits_and_does_not_look(few_words):
    talk = converse_with_graph("cascade", [4], 60, "digits", settings={"timeout_ms": 400})[0]
    assert talk.frames.shape == (60, 4, 64, 64, 3) and talk.user[0].frames.size == 0
    assert talk.text.any()


def test_a_missing_synthesiser_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def absent(package):
        raise PackageNotFoundError(package)

    monkeypatch.setattr("wangraph.tools.lab.world.synthesis.importlib.metadata.version", absent)
    with pytest.raises(MissingExtra) as caught:
        opened(Listen())
    assert str(caught.value) == (
        "voices: no package 'espeakng-loader' (needed to speak as en-us+m1), pip install 'wangraph[world]'"
    )
