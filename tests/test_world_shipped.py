"""Voices that are shipped: an evaluation needs no synthesiser."""

import numpy as np
import pytest

from wangraph.runtime.errors import MediaError
from wangraph.tools.lab.world import shipped
from wangraph.tools.lab.world.persona import PERSONAS
from wangraph.tools.lab.world.voices import Bank
from wangraph.tools.lab.world.words import AGENT_WORDS, USER_WORDS


def test_held_out_users_and_all_agents_speak_without_a_synthesiser(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    bank = Bank(cache=tmp_path / "cache")
    for speaker in bank.split("held-out"):
        assert set(bank.takes(speaker)) == set(USER_WORDS)
    for persona in PERSONAS.values():
        assert set(bank.takes(persona.quick)) == set(bank.takes(persona.slow)) == set(AGENT_WORDS)
    assert not (tmp_path / "cache").exists()


def test_what_is_written_is_read_to_the_last_bit_of_16(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    words = {word: rng.uniform(-1, 1, n).astype(np.float32) for word, n in (("one", 6000), ("mm-hmm", 4097))}
    shipped.write(tmp_path / "a.zip", {"somebody": words})
    shipped.write(tmp_path / "b.zip", {"somebody": words})
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    monkeypatch.setattr(shipped, "BANK", tmp_path / "a.zip")
    shipped._index.cache_clear()
    try:
        found = shipped.takes_of("somebody")
        assert shipped.takes_of("nobody") is None
        for word, sound in words.items():
            assert np.abs(found[word][0] - sound).max() <= 0.5001 / 32767
    finally:
        shipped._index.cache_clear()


def test_a_damaged_file_is_named(tmp_path, monkeypatch):
    (tmp_path / "voices.zip").write_bytes(b"PK not a zip")
    monkeypatch.setattr(shipped, "BANK", tmp_path / "voices.zip")
    shipped._index.cache_clear()
    try:
        with pytest.raises(MediaError) as caught:
            shipped.takes_of("somebody")
        assert str(caught.value) == (f"{tmp_path}/voices.zip: damaged (File is not a zip file), install wangraph again")
    finally:
        shipped._index.cache_clear()
