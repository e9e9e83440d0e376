import errno
import shutil
import wave

import numpy as np
import pytest
from media_files import write_floats

from wangraph.runtime.errors import MediaError, UserError
from wangraph.tools.lab.world import voices
from wangraph.tools.lab.world.accents import SPELLED
from wangraph.tools.lab.world.recordings import read_recording
from wangraph.tools.lab.world.signal import RATE
from wangraph.tools.lab.world.synthesis import speak_espeak
from wangraph.tools.lab.world.voices import Bank, Speaker, digest_of_recordings
from wangraph.tools.lab.world.words import AGENT_WORDS, DIGITS, USER_WORDS, answer


def record(path, samples, rate=RATE, channels=1):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((np.repeat(samples, channels) * 32767).astype(np.int16).tobytes())


def tone(rate=RATE, seconds=0.4):
    return 0.5 * np.sin(2 * np.pi * 440 * np.arange(int(rate * seconds)) / rate)


@pytest.fixture
def people(tmp_path):
    folder = tmp_path / "people"
    folder.mkdir()
    for person in ("anna", "ben"):
        for digit in range(10):
            record(folder / f"{digit}_{person}_0.wav", tone())
    return folder


@pytest.mark.parametrize(("rate", "channels"), [(16_000, 1), (48_000, 2), (8_000, 1), (44_100, 2)])
def test_recordings_of_any_rate_and_channels_become_16_khz_mono(tmp_path, rate, channels):
    record(tmp_path / "7_anna_0.wav", tone(rate), rate, channels)
    word = read_recording(tmp_path / "7_anna_0.wav")
    assert len(word) == pytest.approx(0.4 * RATE, abs=600)
    assert np.argmax(np.abs(np.fft.rfft(word, RATE))) == pytest.approx(440, abs=3)
    assert np.sqrt(np.mean(word**2)) == pytest.approx(0.12, rel=1e-3)


@pytest.mark.parametrize("samples", [8000, 100, 0])
def test_a_silent_or_empty_recording_is_refused_by_name(tmp_path, samples):
    path = tmp_path / "7_anna_0.wav"
    record(path, np.zeros(samples))
    with pytest.raises(MediaError) as error:
        read_recording(path)
    assert str(error.value) == f"{path}: silent (expected a spoken word), remove or replace it"


def test_a_broken_recording_is_refused_by_name(tmp_path):
    path = tmp_path / "7_anna_0.wav"
    path.write_bytes(b"RIFFbroken")
    with pytest.raises(MediaError) as error:
        read_recording(path)
    assert str(error.value) == f"{path}: not a readable recording (expected a WAV file), remove or replace it"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_recording_that_is_not_all_numbers_is_refused_by_name(tmp_path, bad):
    samples = tone()
    samples[1000] = bad
    path = write_floats(tmp_path / "7_anna_0.wav", samples)
    with pytest.raises(MediaError) as error:
        read_recording(path)
    assert str(error.value) == f"{path}: found NaN or infinity (expected finite samples), remove or replace it"


def test_the_same_recordings_are_the_same_wherever_they_are_and_whatever_lies_beside_them(people, tmp_path):
    digest = digest_of_recordings(people)
    other = shutil.copytree(people, tmp_path / "other", copy_function=shutil.copyfile)  # written later
    (other / "notes.txt").write_text("recorded in May")
    (other / "hello_anna_0.wav").write_bytes(b"no word of the world")
    assert digest_of_recordings(other) == digest


def test_recordings_added_removed_renamed_or_replaced_are_other_recordings(people):
    digests = [digest_of_recordings(people)]
    spare = (people / "3_anna_0.wav").read_bytes()
    for change in (
        lambda: (people / "3_anna_1.wav").write_bytes(spare),
        lambda: (people / "3_anna_1.wav").rename(people / "3_ben_1.wav"),
        lambda: record(people / "3_ben_1.wav", -tone()),  # as many bytes
        lambda: [path.unlink() for path in people.glob("*_ben_*.wav")],
    ):
        change()
        digests.append(digest_of_recordings(people))
    assert len(set(digests)) == 5


def test_what_is_no_file_is_refused_by_name_before_it_is_told_apart(people):
    path = people / "3_anna_1.wav"
    path.mkdir()
    with pytest.raises(MediaError) as error:
        digest_of_recordings(people)
    assert str(error.value) == f"{path}: not a readable recording (expected a WAV file), remove or replace it"


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(MediaError) as error:
        Bank(tmp_path)
    assert str(error.value) == f"{tmp_path}: no recordings (expected files like seven_anna_0.wav or 7_anna_0.wav)"


def test_a_person_who_lacks_digits_is_refused_by_name(people):
    (people / "3_anna_0.wav").unlink()
    with pytest.raises(MediaError) as error:
        Bank(people)
    assert str(error.value) == f"{people}: anna lacks three (expected all ten digits), record or remove"


def test_nobody_is_on_both_sides_of_the_split(people):
    bank = Bank(people, hold_out=("anna", "flite", "en-us+f5"))
    train, held = bank.split("train"), bank.split("held-out")
    assert not set(train) & set(held) and set(train) | set(held) == set(bank.speakers)
    assert {s.name for s in held} == {"anna", "en-us+f5", "flite-kal16", "flite-awb", "flite-rms", "flite-slt"}
    assert "ben" in {s.name for s in train}


def test_a_held_out_name_that_nobody_has_is_refused(people):
    with pytest.raises(UserError) as error:
        Bank(people, hold_out=("ana",))
    assert str(error.value) == (
        "hold-out: nobody is called 'ana' (people: anna, ben; synthesisers: espeak-ng, flite); did you mean 'anna'?"
    )


def test_people_say_every_digit(people):
    bank = Bank(people)
    anna = next(s for s in bank.speakers if s.name == "anna")
    assert set(bank.takes(anna)) == set(DIGITS)


@pytest.mark.parametrize(
    "speaker",
    [
        Speaker("a", "espeak-ng", "en-us+f3"),
        pytest.param(Speaker("b", "flite", "slt"), marks=pytest.mark.needs("flite")),
    ],
    ids=["espeak-ng", "flite"],
)
def test_words_are_made_once_and_then_read_from_disk(tmp_path, monkeypatch, speaker):
    made = Bank(cache=tmp_path).takes(speaker)
    monkeypatch.setattr(voices, "_synthesised", None)
    kept = Bank(cache=tmp_path).takes(speaker)
    assert set(USER_WORDS) <= set(made)
    for word, (sound,) in made.items():
        assert RATE * 0.12 < len(sound) < RATE * 1.1, word
        assert np.sqrt(np.mean(sound**2)) == pytest.approx(0.12, rel=1e-3)
        np.testing.assert_array_equal(kept[word][0], sound)


def test_another_release_of_the_synthesiser_has_voices_of_its_own(tmp_path, monkeypatch):
    speaker = Speaker("a", "espeak-ng", "en-us+f3")
    sounds = {"0.2.4": 0.1, "0.3.0": 0.2}
    for release, level in sounds.items():
        monkeypatch.setattr(voices, "espeak_release", lambda who, release=release: release)
        monkeypatch.setattr(voices, "_synthesised", lambda s, words, level=level: [tone() * level] * len(words))
        Bank(cache=tmp_path).takes(speaker)
    assert {path.stem.rpartition("-")[2] for path in tmp_path.iterdir()} == set(sounds)


def test_where_nothing_can_be_kept_words_are_made_all_the_same(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(voices, "_synthesised", lambda speaker, words: [tone()] * len(words))
    (tmp_path / "file").touch()
    bank = Bank(cache=tmp_path / "file" / "voices")
    assert set(USER_WORDS) <= set(bank.takes(Speaker("a", "flite", "slt")))
    (warning,) = caplog.messages
    assert warning.startswith(f"{tmp_path}/file/voices/slt-") and warning.endswith(
        ".npz: cannot be kept (Not a directory), so it is made anew next time: set XDG_CACHE_HOME"
    )


def test_what_cannot_be_written_to_the_end_leaves_nothing(tmp_path, monkeypatch):
    def full(file, **arrays):
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(voices.np, "savez", full)
    voices.keep(tmp_path / "words.npz", {"one": tone()})
    assert list(tmp_path.iterdir()) == []


def test_the_answer_to_a_digit_is_the_rule_and_to_a_colour_whether_it_is_shown():
    assert [answer(word, None) for word in ("zero", "nine")] == ["one", "zero"]
    assert answer("zero", None, rule=-1) == "nine"
    assert [answer("red", card) for card in ("red", "blue", None)] == ["yes", "no", "no"]


def test_every_other_language_spells_every_word_but_the_backchannel():
    assert {frozenset(words) for words in SPELLED.values()} == {
        frozenset({*USER_WORDS, *AGENT_WORDS} - {"mm-hmm"}),
    }


def test_a_voice_of_another_language_says_every_word_by_its_rules(tmp_path):
    bank = Bank(cache=tmp_path)
    by_name = {speaker.name: speaker for speaker in bank.speakers}
    german = bank.takes(by_name["de+m2"])
    assert {*german} == {*USER_WORDS, *AGENT_WORDS}
    spelled, sounds = speak_espeak("somebody", "de+m2", 50, 170, [SPELLED["de"]["nine"], "[[n'aIn]]"])
    np.testing.assert_array_equal(spelled, sounds)
    assert "de+m2" in {speaker.name for speaker in bank.split("train")}


def test_new_voices_leave_those_held_out_as_they_were():
    assert [speaker.name for speaker in Bank().split("held-out")] == [
        "en-us+f5", "en-us+Annie", "en-gb+m4", "en-gb+Michael", "en-gb-scotland+f4",
        "flite-kal16", "flite-awb", "flite-rms", "flite-slt",
    ]  # fmt: skip
