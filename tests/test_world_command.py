import re

import av
import numpy as np
import pytest
from click.testing import CliRunner

from wangraph.runtime.errors import MediaError
from wangraph.tools.lab.world.clip import clip
from wangraph.tools.lab.world.dialogue import play
from wangraph.tools.lab.world.media import captions, write_both
from wangraph.tools.lab.world.signal import RATE, UNIT
from wangraph.tools.lab.world.voices import Bank
from wangraph.tools.verbs.world import command


@pytest.fixture
def wangraph():
    def run(*words):
        return CliRunner().invoke(command, [str(word) for word in words], standalone_mode=False)

    return run


def decoded(path):
    with av.open(str(path)) as video:
        pictures = np.stack([frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)])
    with av.open(str(path)) as video:
        sound = np.concatenate([frame.to_ndarray() for frame in video.decode(audio=0)], axis=1)
    return pictures, sound


def lag(one, two):
    """Samples by which ``one`` comes after ``two``."""
    n = 1 << (len(one) + len(two)).bit_length()
    match = np.fft.irfft(np.fft.rfft(one, n) * np.conj(np.fft.rfft(two, n)))
    at = int(np.argmax(match))
    return at if at < n // 2 else at - n


def test_a_video_shows_both_sides_with_user_left_and_agent_right(wangraph, tmp_path):
    path = tmp_path / "talk.mp4"
    result = wangraph("show", 3, "-o", path, "--units", 40, "--size", 32)
    assert result.exception is None and result.output == f"{path}\n"
    pictures, sound = decoded(path)
    assert pictures.shape == (160, 256, 512, 3)
    talk = play(3, 40, Bank(), size=32)
    assert abs(lag(sound[0], talk.user_audio)) <= 16
    assert abs(lag(sound[1], talk.agent_audio)) <= 16
    seen = pictures[80].reshape(32, 8, 64, 8, 3).mean(axis=(1, 3))
    truth = np.concatenate([talk.user_video[20, 0], talk.agent_video[20, 0]], axis=1)
    assert np.abs(seen - truth).mean() < 6
    assert (tmp_path / "talk.srt").read_text() == captions(talk)


def test_the_bundled_user_is_made_again_bit_for_bit(wangraph, tmp_path):
    for name in ("one.mp4", "two.mp4"):
        assert wangraph("clip", 1, "-o", tmp_path / name, "--size", 48).exception is None
    assert (tmp_path / "one.mp4").read_bytes() == (tmp_path / "two.mp4").read_bytes()
    pictures, sound = decoded(tmp_path / "one.mp4")
    assert pictures.shape == (312, 48, 48, 3) and sound.shape[0] == 1
    assert sound.shape[1] == pytest.approx(78 * UNIT, abs=2048)


def test_the_bundled_user_pauses_interrupts_raises_a_hand_and_shows_a_card():
    kinds = [(cue.kind, cue.manner) for cue in clip(1, Bank(), 0).cues]
    assert {("pause", "turn"), ("speech", "interruption"), ("hand", "turn"), ("card", "turn")} <= set(kinds)


def test_check_prints_its_proof(wangraph):
    result = wangraph("check", "--seeds", 1, "--units", 40, "--scenario", "digits")
    assert result.exception is None
    lines = result.output.splitlines()
    assert lines[0] == "1 dialogues, 40 units" and lines[-1] == "fair"


def test_captions_tell_what_both_say():
    talk = clip(1, Bank(), 0)
    text = captions(talk)
    assert text.startswith("1\n00:00:00,")
    for line in ("user: four", "user pauses", "user raises a hand", "user shows: blue", "agent: blue", "agent: —"):
        assert line in text


def test_an_unwritable_file_is_refused(tmp_path):
    talk = clip(1, Bank(), 16, units=2)
    path = tmp_path / "nowhere" / "talk.mp4"
    with pytest.raises(MediaError) as error:
        write_both(talk, path)
    assert str(error.value) == f"{path}: cannot be written (No such file or directory), choose another -o"


@pytest.mark.parametrize(
    "words",
    ["show 1 -o talk.mp4 --seeds 3", "clip 1 -o user.mp4 --persona otto", "check --held-out", "check --output proof.txt",
     "bank -o voices.zip --size 64"],
)  # fmt: skip
def test_no_command_has_an_option_that_it_would_not_use(wangraph, words):
    result = wangraph(*words.split())
    option = re.findall("--[a-z-]+", words)[-1]
    assert f"No such option '{option}'" in result.exception.format_message()


def test_an_odd_size_is_refused(wangraph, tmp_path):
    result = wangraph("show", 1, "-o", tmp_path / "talk.mp4", "--size", 63)
    assert str(result.exception) == "world: --size 63 (expected an even number, for H.264), for example 64"


def test_a_video_needs_a_file(wangraph):
    result = wangraph("show", 1)
    assert result.exception.format_message() == "Missing option '-o' / '--output'."


def test_a_dialogue_is_the_same_whatever_size_it_is_drawn_at():
    bank = Bank()
    small, none = play(2, 30, bank, size=16), play(2, 30, bank, size=0)
    np.testing.assert_array_equal(small.user_audio, none.user_audio)
    np.testing.assert_array_equal(small.agent_pose.mouth, none.agent_pose.mouth)
    assert small.user_video.shape == (30, 4, 16, 16, 3) and none.user_video.shape == (30, 4, 0, 0, 3)
    assert len(small.user_audio) == 30 * UNIT == int(30 * 0.16 * RATE)


def test_the_help_says_how_to_put_an_agent_of_ones_own_before_the_world(wangraph):
    assert "wangraph evaluate agent ws://127.0.0.1:8765   your own agent before it" in wangraph("--help").output
