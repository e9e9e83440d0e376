"""Synthesisers: what is said, whatever was said before it, and what they answer where they are not there."""

import importlib.metadata
import struct
import subprocess
import sys

import espeakng_loader
import numpy as np
import pytest

from wangraph.runtime.errors import MediaError, MissingExtra
from wangraph.tools.lab.world import espeak
from wangraph.tools.lab.world.signal import RATE, resample
from wangraph.tools.lab.world.synthesis import speak_espeak, speak_flite

TEXTS = ["seven", "six", "[[m@h'mm]]", "зи́роу"]

IN_ONE_BREATH = """
import ctypes, runpy, struct, sys
program = runpy.run_path(sys.argv[1])
espeak = ctypes.CDLL(sys.argv[2])
rate = program["_prepare"](espeak, sys.argv[3], "en-us+m1", 50, 175)
for text in sys.argv[4:]:
    samples = program["_spoken"](espeak, text)
    sys.stdout.buffer.write(struct.pack("=II", rate, len(samples)) + samples)
"""


def spoken(texts, voice="en-us+m1"):
    return speak_espeak("somebody", voice, 50, 175, texts)


def in_one_breath(texts):
    """The twin: one process, without forks, says one text after the other."""
    library = [espeakng_loader.get_library_path(), espeakng_loader.get_data_path()]
    command = [sys.executable, "-c", IN_ONE_BREATH, espeak.__file__, *library, *texts]
    said = subprocess.run(command, capture_output=True, check=True).stdout
    sounds = []
    while said:
        rate, size = struct.unpack_from("=II", said)
        samples = np.frombuffer(said[8 : 8 + size], np.int16) / np.float32(32768)
        sounds.append(resample(samples.astype(np.float32), rate))
        said = said[8 + size :]
    return sounds


def says_each_as_if_it_were_the_first(speak):
    together = speak([*TEXTS, *reversed(TEXTS)])
    for text, *sounds in zip(TEXTS, together, reversed(together), strict=False):
        (alone,) = speak([text])
        if not all(np.array_equal(sound, alone) for sound in sounds):
            return False
    return True


def test_a_text_sounds_the_same_whatever_was_said_before_it():
    assert says_each_as_if_it_were_the_first(spoken)


def test_the_law_catches_a_library_that_is_used_twice():
    assert not says_each_as_if_it_were_the_first(in_one_breath)


def test_voices_differ_in_accent_variant_pitch_and_speed():
    manners = [("en-us+m1", 50, 175), ("en-gb+m1", 50, 175), ("en-us+f3", 50, 175), ("en-us+m1", 70, 175)]
    sounds = [speak_espeak("somebody", *manner, ["nine"])[0] for manner in [*manners, ("en-us+m1", 50, 120)]]
    assert all(RATE // 5 < len(sound) < 2 * RATE and np.abs(sound).max() > 0.1 for sound in sounds)
    assert not any(np.array_equal(a, b) for i, a in enumerate(sounds) for b in sounds[:i])
    assert len(sounds[-1]) > 1.2 * len(sounds[0]), "fewer words per minute"


def test_a_package_that_is_not_there_is_named_with_its_extra(monkeypatch):
    def absent(package):
        raise importlib.metadata.PackageNotFoundError(package)

    monkeypatch.setattr(importlib.metadata, "version", absent)
    with pytest.raises(MissingExtra) as caught:
        spoken(["nine"])
    assert str(caught.value) == (
        "voices: no package 'espeakng-loader' (needed to speak as somebody), pip install 'wangraph[world]'"
    )


def test_a_program_that_is_not_there_is_named_with_its_package(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingExtra) as caught:
        speak_flite("somebody", "slt", ["nine"])
    assert str(caught.value) == "voices: no program 'flite' (needed to speak as somebody), apt install flite"


def test_a_voice_that_the_library_does_not_have_is_named():
    with pytest.raises(MediaError) as caught:
        spoken(["nine"], voice="nowhere")
    assert str(caught.value) == ("voices: cannot speak as somebody (no voice 'nowhere'), install the synthesiser again")


def test_a_library_without_its_data_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(espeakng_loader, "get_data_path", lambda: str(tmp_path))
    with pytest.raises(MediaError) as caught:
        spoken(["nine"])
    assert str(caught.value) == (
        f"voices: cannot speak as somebody (no voices in {tmp_path}), install the synthesiser again"
    )


def test_a_library_of_another_machine_is_named(monkeypatch, tmp_path):
    library = tmp_path / "libespeak-ng.so"
    library.write_bytes(b"of another machine")
    monkeypatch.setattr(espeakng_loader, "get_library_path", lambda: str(library))
    with pytest.raises(MediaError) as caught:
        spoken(["nine"])
    assert str(caught.value) == (
        f"voices: cannot speak as somebody ({library}: file too short), install the synthesiser again"
    )


@pytest.mark.needs("flite")
def test_flite_says_every_text():
    sounds = speak_flite("somebody", "slt", ["nine", "yellow"])
    assert [RATE // 5 < len(sound) < 2 * RATE for sound in sounds] == [True, True]
    assert not np.array_equal(*sounds)
