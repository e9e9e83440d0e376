from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wangraph.wan_core.config import PRESETS
from wangraph.wan_core.text import ENTER, PAD, STOP, TOKENS, UNKNOWN, WORDS, TypedText, line_of, tokens_of, word_of


def test_the_first_entries_never_move():
    """Their numbers are in every checkpoint."""
    assert [WORDS[token] for token in (PAD, ENTER, STOP, UNKNOWN)] == ["<pad>", "<enter>", "<stop>", "<unknown>"]
    assert WORDS[4:15] == ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    assert WORDS[15:21] == ("yes", "no", "red", "green", "blue", "yellow")
    assert len(TOKENS) == len(WORDS)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_has_room_for_the_vocabulary(name):
    assert PRESETS[name].vocabulary >= len(WORDS)


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
    assert [WORDS[token] for token in tokens_of(line)] == words


@settings(deadline=None)
@given(st.text())
def test_any_text_can_be_typed(text):
    assert all(0 <= token < len(WORDS) for token in tokens_of(text))


@settings(deadline=None)
@given(st.lists(st.sampled_from(WORDS[4:])))
def test_words_are_read_back(words):
    assert line_of(tokens_of(" ".join(words))) == " ".join(words)


def test_control_symbols_are_not_shown_but_the_interruption_is():
    assert [word_of(token) for token in (PAD, ENTER, STOP, UNKNOWN, TOKENS["red"])] == ["", "", "—", "?", "red"]


def test_typed_lines_come_one_token_a_unit_and_end_with_enter():
    typed = TypedText()
    typed.type("one two\n\nthree")
    typed.type("")
    expected = [TOKENS["one"], TOKENS["two"], ENTER, TOKENS["three"], ENTER, PAD, PAD]
    assert [typed.next() for _ in range(7)] == expected


def test_a_line_that_ends_with_a_blank_goes_on_until_it_is_ended():
    typed = TypedText()
    for text in ("one ", "", "two ", "\n", "\n", "three "):
        typed.type(text)
    assert typed.waiting == [TOKENS["one"], TOKENS["two"], ENTER, TOKENS["three"]]


@settings(deadline=None)
@given(st.lists(st.sampled_from(WORDS[4:]), min_size=1))
def test_a_line_typed_word_by_word_is_the_line_typed_at_once(words):
    at_once, by_word = TypedText(), TypedText()
    at_once.type(" ".join(words))
    for word in words:
        by_word.type(f"{word} ")
    by_word.type("\n")
    assert by_word.waiting == at_once.waiting
