from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wangraph.tools.lab.train.labels import HEADS, MOST_PERSONAS
from wangraph.tools.lab.world.persona import PERSONAS
from wangraph.tools.lab.world.words import AGENT_WORDS, ASIDES, USER_WORDS
from wangraph.wan_core.config import PRESETS
from wangraph.wan_core.errors import ModelError
from wangraph.wan_core.text import STOP_KEY, NumberedTokens, TypedText
from wangraph.wan_core.vocabulary import (
    CONTROL,
    ENTER,
    NO_GESTURE,
    PAD,
    STOP,
    UNKNOWN,
    Vocabulary,
    from_json,
    vocabulary,
)

TOY = vocabulary("toy_world")
SMALL = Vocabulary((*CONTROL, "left", "right"), ("still", "moves"), ("none",), {"1": "left", "links": "left"})


def refused(message):
    return pytest.raises(ModelError, match=f"^{re.escape(message)}$")


def test_the_first_entries_never_move():
    """Their numbers are in every checkpoint."""
    assert [TOY.words[token] for token in (PAD, ENTER, STOP, UNKNOWN)] == list(CONTROL)
    assert TOY.words[4:15] == ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    assert TOY.words[15:21] == ("yes", "no", "red", "green", "blue", "yellow")
    assert TOY.states == ("idle", "listen", "backchannel", "speak", "stop")
    assert TOY.gestures == ("none", "blink", "nod") and TOY.gesture("none") == NO_GESTURE


@pytest.mark.parametrize("name", [name for name, preset in PRESETS.items() if preset.vocabulary])
def test_a_preset_has_a_row_for_every_entry_of_its_vocabulary(name):
    preset, own = PRESETS[name], vocabulary(PRESETS[name].vocabulary)
    assert (preset.n_words, preset.n_states, preset.n_gestures) == (len(own.words), len(own.states), len(own.gestures))


def test_presets_in_a_language_models_shapes_name_no_words():
    assert {name: preset.vocabulary for name, preset in PRESETS.items() if preset.n_words > 1000} == {
        "paper-0.5b": "",
        "paper-7b": "",
    }


def test_the_world_says_words_of_its_vocabulary():
    spoken_to_others = {"coffee", "monday", "window"}
    assert {*USER_WORDS, *AGENT_WORDS} - set(TOY.words) == spoken_to_others <= set(ASIDES)
    assert len(PERSONAS) <= MOST_PERSONAS and HEADS["digit"].classes == 11


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("What is 42?", ["what", "is", "four", "two"]),
        ("OK, the COLOR... red!", ["okay", "the", "colour", "red"]),
        ("mm-hmm, uh-huh", ["mm-hmm", "mm-hmm"]),
        ("zebra yes", ["<unknown>", "yes"]),
        ("٣ _ — \t", ["three"]),
        ("", []),
    ],
)
def test_a_line_becomes_the_words_it_holds(line, words):
    assert [TOY.words[token] for token in TOY.tokens_of(line)] == words


@settings(deadline=None)
@given(st.text())
def test_any_text_can_be_typed(text):
    assert all(0 <= token < len(TOY.words) for token in TOY.tokens_of(text))
    assert bool(TOY.unknown_in(text)) == (UNKNOWN in TOY.tokens_of(text))


def test_the_stop_key_is_read_next_and_what_was_typed_before_it_is_not():
    typed, unable = TypedText(TOY), TypedText(NumberedTokens())
    typed.type("one two ")
    assert typed.next() == TOY.tokens["one"]
    typed.type(f"three {STOP_KEY}four\n")
    assert typed.waiting == [STOP, TOY.tokens["four"], ENTER]
    unable.type(STOP_KEY)
    assert unable.waiting == []


@settings(deadline=None)
@given(st.lists(st.sampled_from(TOY.known_words)))
def test_words_are_read_back(words):
    read = TOY.new_reader()
    assert [read(token) for token in TOY.tokens_of(" ".join(words))] == words


def test_unknown_words_are_named_once_in_their_order():
    assert TOY.unknown_in("Xylophone is nonsense, xylophone!") == ["xylophone", "nonsense"]
    assert TOY.unknown_in("one is zero") == []


def test_control_symbols_are_not_displayed_but_the_interruption_is():
    tokens = (PAD, ENTER, STOP, UNKNOWN, TOY.tokens["red"])
    assert [TOY.word_of(token) for token in tokens] == ["", "", "—", "?", "red"]
    with pytest.raises(IndexError):
        TOY.word_of(len(TOY.words))


def test_tokens_beyond_the_vocabulary_are_displayed_by_number():
    assert [SMALL.new_reader()(token) for token in (5, 6)] == ["right", "<6>"]
    assert [NumberedTokens().new_reader()(token) for token in (0, 7)] == ["<0>", "<7>"]


def test_a_vocabulary_is_data_with_its_own_words_and_spelling():
    assert SMALL.tokens_of("Links, 1 2 RIGHT") == [4, 4, UNKNOWN, 5]
    assert (SMALL.state("moves"), SMALL.gesture("none")) == (1, 0)
    assert from_json("x", SMALL.to_json()) == SMALL and from_json("x", TOY.to_json()) == TOY


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "x: found no vocabulary (expected JSON with words, states, gestures, spelling), save it again"),
        ("[]", "x: found no vocabulary (expected JSON with words, states, gestures, spelling), save it again"),
        (
            json.dumps({"words": [1], "states": [], "gestures": []}),
            "x: found no vocabulary (expected JSON with words, states, gestures, spelling), save it again",
        ),
        (
            json.dumps({"words": ["red"], "states": [], "gestures": []}),
            "x: vocabulary: found red first (expected <pad>, <enter>, <stop>, <unknown>)",
        ),
        (
            json.dumps({"words": [*CONTROL, "red", "red"], "states": [], "gestures": []}),
            "x: vocabulary: found 'red' twice (expected each entry once)",
        ),
        (
            json.dumps({"words": CONTROL, "states": [], "gestures": [], "spelling": {"rot": "red"}}),
            "x: vocabulary: found spelling of 'red' (expected one of its words)",
        ),
    ],
)
def test_what_is_no_vocabulary_is_refused(text, message):
    with refused(message):
        from_json("x", text)


def test_an_unknown_vocabulary_is_named_with_those_there_are():
    with refused("vocabulary: found 'toy' (available: toy_world)"):
        vocabulary("toy")


def test_typed_lines_come_one_token_a_unit_and_end_with_enter():
    typed = TypedText(TOY)
    typed.type("one two\n\nthree")
    typed.type("")
    one, two, three = (TOY.tokens[word] for word in ("one", "two", "three"))
    assert [typed.next() for _ in range(7)] == [one, two, ENTER, three, ENTER, PAD, PAD]


def test_a_line_that_ends_with_a_blank_goes_on_until_it_is_ended():
    typed = TypedText(TOY)
    for text in ("one ", "", "two ", "\n", "\n", "three "):
        typed.type(text)
    assert typed.waiting == [TOY.tokens["one"], TOY.tokens["two"], ENTER, TOY.tokens["three"]]


@settings(deadline=None)
@given(st.lists(st.sampled_from(TOY.known_words), min_size=1))
def test_a_line_typed_word_by_word_is_the_line_typed_at_once(words):
    at_once, by_word = TypedText(TOY), TypedText(TOY)
    at_once.type(" ".join(words))
    for word in words:
        by_word.type(f"{word} ")
    by_word.type("\n")
    assert by_word.waiting == at_once.waiting


def test_a_vocabulary_differs_by_any_entry():
    assert replace(SMALL, words=(*SMALL.words, "up")) != SMALL and hash(SMALL) == hash(replace(SMALL))
