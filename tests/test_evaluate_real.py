"""Films of people put before a model, how they are made, and dialogues written for others to measure."""

from __future__ import annotations

import json
import wave
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from train_toys import save_untrained
from world_toys import tones

from wangraph.runtime.errors import MediaError, UserError
from wangraph.tools.lab.evaluate.compose import compose
from wangraph.tools.lab.evaluate.export import export
from wangraph.tools.lab.evaluate.real import CuedVideo, cuts, figures_of, read_videos, spurious, summary
from wangraph.tools.lab.evaluate.talk import DialogueSpec, Talk
from wangraph.tools.lab.world import cuefile
from wangraph.tools.lab.world.cues import Cue
from wangraph.tools.lab.world.signal import RATE, UNIT
from wangraph.tools.lab.world.tokens import TOKENS
from wangraph.tools.lab.world.voices import Bank, Speaker
from wangraph.tools.verbs.evaluate import command as evaluate
from wangraph.tools.verbs.world import command as world
from wangraph.wan_core.vocabulary import PAD, STOP

CUES = (
    Cue("speech", RATE),
    Cue("word", 2 * RATE, words=("four",)),
    Cue("end", 2 * RATE),
    Cue("speech", 6 * RATE, "aside"),
    Cue("quiet", 7 * RATE, "aside"),
)


@pytest.fixture(scope="module")
def takes(tmp_path_factory):
    bank = Bank(tones(tmp_path_factory.mktemp("voices")))
    return bank.takes(next(speaker for speaker in bank.speakers if speaker.name == "tone"))


def pictures(frames=30, size=32):
    return np.random.default_rng(0).integers(0, 255, (frames, size, size, 3), np.uint8)


# cues ----------------------------------------------------------------------------------------------------------------


def test_cues_are_read_as_they_were_written(tmp_path):
    (tmp_path / "a.json").write_text(cuefile.written(CUES))
    assert cuefile.read(tmp_path / "a.json") == CUES


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("no", 'not readable (expected {"cues": [...]}), see docs/benchmark.md'),
        ('{"cues": 3}', "found cues of int (expected a list), see docs/benchmark.md"),
        ('{"cues": [{"kind": "sings", "at_s": 1}]}', "cue 0: found kind 'sings' (expected one of: card, card_away, "),
        ('{"cues": [{"kind": "end", "at_s": -1}]}', "cue 0: found at_s -1 (expected seconds from 0), correct it"),
        ('{"cues": [{"kind": "end", "at_s": 1, "manner": "loud"}]}', "cue 0: found manner 'loud' (expected one of: "),
        ('{"cues": [{"kind": "word", "at_s": 1}]}', "cue 0: found no words (expected what was said, or the card's "),
    ],
)
def test_what_is_wrong_with_a_file_of_cues_is_said(tmp_path, text, told):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(MediaError) as error:
        cuefile.read(path)
    assert str(error.value).startswith(f"{path}: {told}")


# videos ---------------------------------------------------------------------------------------------------------------


def test_a_video_that_was_put_together_is_read_with_its_cues_in_their_place(tmp_path, takes):
    cues = compose(tmp_path / "a.mp4", takes, pictures(), seed=1, turns=3)
    compose(tmp_path / "b.mp4", takes, None, seed=1, turns=3)
    (tmp_path / "c.txt").write_text("no video: it has no cues")
    seen, heard = read_videos(tmp_path, 32)
    assert [seen.name, heard.name] == ["a", "b"] and seen.frames is not None and heard.frames is None
    assert seen.frames.shape == (len(seen), 4, 32, 32, 3)
    assert abs(len(seen) - len(heard)) <= 1  # a codec's padding
    assert [(cue.kind, cue.words) for cue in seen.cues] == [(cue.kind, cue.words) for cue in cues]
    for video in (seen, heard):
        sound = video.sound.reshape(-1)
        for cue in video.cues:
            if cue.kind == "word":  # the word has just been said, and it is quiet after the turn
                assert np.abs(sound[cue.at - RATE // 10 : cue.at]).max() > 0.05
            if cue.kind == "end":
                assert np.abs(sound[cue.at + RATE // 10 : cue.at + RATE]).max() < 0.02


def test_a_folder_without_videos_is_refused(tmp_path):
    with pytest.raises(MediaError) as error:
        read_videos(tmp_path, 32)
    told = "found no videos (expected NAME.mp4 and NAME.json of each), see docs/benchmark.md"
    assert str(error.value) == f"{tmp_path}: {told}"


def talk(said):
    """Ten seconds in which the agent says these words: by unit."""
    units = 10 * RATE // UNIT
    text = np.full(units, PAD)
    for unit, word in said.items():
        text[unit] = STOP if word == "—" else TOKENS[word]
    silence = np.zeros(units * UNIT, np.float32)
    return Talk(DialogueSpec(0, Speaker("video", "people", "video")), CUES, silence, silence, {}, text, None)


@pytest.mark.parametrize(
    ("said", "right", "whole", "more", "broken"),
    [
        ({14: "five"}, 1, 1, 0, 0),
        ({14: "six"}, 0, 0, 0, 0),
        ({14: "five", 16: "red"}, 0, 0, 1, 0),
        ({3: "green", 14: "five", 50: "two"}, 1, 1, 2, 0),
        ({14: "five", 15: "—"}, 1, 1, 0, 1),
        ({}, 0, 0, 0, 0),
    ],
)
def test_words_turns_what_nobody_asked_for_and_what_is_cut_off_are_counted(said, right, whole, more, broken):
    held = talk(said)
    figures = figures_of([held])
    assert [figures["words, text"].value, figures["turns, text"].value] == [right, whole]
    assert [spurious([held]).value, cuts([held]).value] == [more, broken]
    video = CuedVideo("a", None, held.user_samples.reshape(-1, UNIT), CUES)
    assert summary([held], [video])[0].startswith(f"a: {whole} of 1 turns right; due five; said ")


# files for others ----------------------------------------------------------------------------------------------------


def test_a_dialogue_is_written_on_one_clock(tmp_path):
    held = talk({14: "five"})
    tone = 0.3 * np.sin(np.arange(held.duration) / 9).astype(np.float32)
    shown = pictures(4 * len(held)).reshape(len(held), 4, 32, 32, 3)
    export([replace(held, samples=tone, frames=shown, seen=shown)], ["one"], tmp_path)
    folder = tmp_path / "one"
    with wave.open(str(folder / "both.wav")) as both, wave.open(str(folder / "agent.wav")) as agent:
        assert (both.getnchannels(), both.getframerate(), both.getnframes()) == (2, RATE, held.duration)
        stereo = np.frombuffer(both.readframes(held.duration), "<i2").reshape(-1, 2)
        assert np.array_equal(stereo[:, 1], np.frombuffer(agent.readframes(held.duration), "<i2"))
        assert not stereo[:, 0].any() and stereo[:, 1].any()
    assert cuefile.read(folder / "cues.json") == CUES
    assert json.loads((folder / "text.json").read_text()) == {"agent": [{"at_s": 2.24, "word": "five"}]}
    assert (folder / "dialogue.mp4").stat().st_size > 1000
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        ["both.wav", "user.wav", "agent.wav", "cues.json", "text.json", "dialogue.mp4"]
    )


def test_the_command_line_makes_videos_and_puts_them_before_a_checkpoint(tmp_path, takes):
    voices = tones(tmp_path)
    compose(tmp_path / "face.mp4", takes, pictures(), seed=0, turns=1)
    videos = tmp_path / "videos"
    videos.mkdir()
    words = ["compose", tmp_path / "face.mp4", "--voices", voices, "--person", "tone", "-o", videos / "a.mp4"]
    made = CliRunner().invoke(world, [*map(str, words), "--turns", "1"], standalone_mode=False)
    assert made.exception is None and "1 turns" in made.output
    nobody = CliRunner().invoke(world, [*map(str, words[:5]), "tony", *map(str, words[6:])], standalone_mode=False)
    assert isinstance(nobody.exception, UserError)
    assert str(nobody.exception) == "--person: found 'tony' (available: tone); did you mean 'tone'?"
    checkpoint = save_untrained(tmp_path / "nano.safetensors")
    words = ["real", videos, "--checkpoint", checkpoint, "--steps", 1, "--export", tmp_path / "out"]
    shown = CliRunner().invoke(evaluate, list(map(str, words)), standalone_mode=False)
    assert shown.exception is None and "a: 0 of 1 turns right" in shown.output
    assert (tmp_path / "out" / "a" / "both.wav").exists()
    told = CliRunner().invoke(evaluate, [*map(str, words), "--json"], standalone_mode=False)
    assert json.loads(told.output)["words, text"]["n"] >= 1
