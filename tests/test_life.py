"""People and places of photographs: split by name, filmed alike however many pictures are taken at once, and true to
what the user does."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from life_toys import KEPT, TRAINED, life
from world_toys import ONLY_TONES, tones

from wangraph.runtime.errors import MediaError
from wangraph.tools.lab.world.dialogue import play
from wangraph.tools.lab.world.face import Pose, random_looks
from wangraph.tools.lab.world.life.acoustics import Line, LiveMicrophone, companded
from wangraph.tools.lab.world.life.lens import Camera, Lens
from wangraph.tools.lab.world.life.lived import possible
from wangraph.tools.lab.world.life.material import digest_of_material, read_material
from wangraph.tools.lab.world.life.scene import Scene, View
from wangraph.tools.lab.world.person import Person
from wangraph.tools.lab.world.room import Room
from wangraph.tools.lab.world.script import SCENARIOS, Act, drawn, fixed
from wangraph.tools.lab.world.signal import RATE, UNIT, stretched
from wangraph.tools.lab.world.user import World
from wangraph.tools.lab.world.voices import HELD_OUT, Bank

CLEAR = Lens()
LOOKS = random_looks(np.random.default_rng(0))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return life(tmp_path_factory.mktemp("life"))


@pytest.fixture(scope="module")
def material(folder):
    return read_material(folder, "train")


@pytest.fixture(scope="module")
def bank(folder, tmp_path_factory):
    return Bank(tones(tmp_path_factory.mktemp("voices")), HELD_OUT.union(ONLY_TONES), life=folder)


def everything(frames=24):
    """Somebody who opens the mouth, then looks aside, then raises a palm, then shows a card."""
    pose = Pose.still(frames)
    quarter = frames // 4
    pose.mouth[:quarter], pose.gaze_x[quarter : 2 * quarter] = 1.0, 1.0
    pose.hand[2 * quarter : 3 * quarter], pose.card[3 * quarter :] = 1.0, 1.0
    pose.card_colour[:] = 2
    return pose


def scene(kind, material, seed=0, lens=CLEAR):
    pictures_of = Scene(View(kind, seed), material, LOOKS, 64)
    pictures_of._camera = Camera(lens, seed)
    return pictures_of


# what there is -------------------------------------------------------------------------------------------------------


def test_a_person_a_place_and_a_voice_are_in_training_or_held_out_and_never_both(folder, material):
    kept = read_material(folder, "held-out")
    assert {p.who for p in material.portraits} == {TRAINED} and {p.who for p in kept.portraits} == {KEPT}
    assert set(material.words) == {TRAINED} and set(kept.words) == {KEPT}
    assert len(material.rooms) == len(kept.rooms) == 1 and not np.array_equal(material.rooms[0][0], kept.rooms[0][0])
    assert [len(material.palms), len(material.fists), len(kept.palms)] == [1, 1, 0]


def test_people_of_the_voices_are_split_by_the_same_names(bank, folder, tmp_path):
    for name in (TRAINED, KEPT):
        for path in tones(tmp_path).glob("*_tone_0.wav"):
            path.rename(path.with_name(path.name.replace("tone", name)))
    alive = Bank(tmp_path, life=folder)
    assert {s.name for s in alive.split("train") if s.synthesiser == "people"} == {TRAINED}
    assert KEPT in {s.name for s in alive.split("held-out")}
    assert {s.name for s in Bank(tmp_path).split("train") if s.synthesiser == "people"} == {TRAINED, KEPT}


def test_a_folder_with_nothing_in_it_and_a_broken_picture_are_named(folder, tmp_path):
    told = (
        f"{tmp_path}: found none of faces-still, faces-video, hands, rooms, noise, voices-words (expected one or more"
    )
    with pytest.raises(MediaError) as error:
        read_material(tmp_path, "train")
    assert str(error.value).startswith(told)
    broken = life(tmp_path / "broken") / "rooms" / "kitchen_0.png"
    broken.write_bytes(b"no picture")
    with pytest.raises(MediaError, match=r"kitchen_0.png: not a readable picture \(expected JPEG or PNG\), remove or"):
        read_material(tmp_path / "broken", "train")


def test_the_digest_follows_the_files_and_not_the_place(folder, tmp_path):
    copy = life(tmp_path / "copy")
    assert digest_of_material(copy) == digest_of_material(folder)
    (copy / "rooms" / "more.png").write_bytes(b"1")
    assert digest_of_material(copy) != digest_of_material(folder)


# pictures ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["photo", "drawn", "frozen", "nobody", "black"])
def test_a_video_taken_at_once_is_the_video_taken_unit_by_unit(material, kind):
    view, pose = View(kind, 3), everything()
    whole = Scene(view, material, LOOKS, 64).shoot(pose)
    camera = Scene(view, material, LOOKS, 64)
    parts = np.concatenate([camera.shoot(pose[i : i + 4]) for i in range(0, len(pose), 4)])
    assert whole.shape == (24, 64, 64, 3)
    assert np.abs(whole.astype(int) - parts).max() <= 1  # rounding


@pytest.mark.parametrize("kind", ["photo", "drawn"])
@pytest.mark.parametrize("what", ["mouth", "gaze_x", "hand", "card", "blink"])
def test_whatever_the_user_does_is_to_be_seen(material, kind, what):
    least = {"mouth": 8, "blink": 4}.get(what, 40)
    for seed in range(3):
        pose = Pose.still(4)
        still = scene(kind, material, seed).shoot(pose).astype(int)
        getattr(pose, what)[:] = 1.0
        changed = np.abs(scene(kind, material, seed).shoot(pose) - still).max(-1) > 24
        assert changed.sum((1, 2)).min() >= least, (seed, changed.sum((1, 2)))


@pytest.mark.parametrize("kind", ["frozen", "nobody", "black", "off"])
def test_who_cannot_be_seen_does_nothing_that_can(material, kind):
    view = View(kind, 1)
    shown = scene(kind, material).shoot(everything())
    assert np.abs(shown.astype(int) - shown[0]).max() <= 1
    seen, knows_mouth = Scene(view, material, LOOKS, 64).visible(everything(), 0)
    assert knows_mouth and not seen.mouth.any() and not seen.hand.any() and not seen.card.any()


def test_a_mirrored_user_looks_to_the_other_side_and_the_truth_says_so(material):
    there, mirrored = (scene("photo", material, lens=replace(CLEAR, is_mirrored=flip)) for flip in (False, True))
    assert np.array_equal(there.shoot(everything())[:, :, ::-1], mirrored.shoot(everything()))
    assert np.array_equal(there.visible(everything(), 0)[0].gaze_x, -mirrored.visible(everything(), 0)[0].gaze_x)


def test_a_slow_camera_repeats_its_pictures_exactly():
    planes = np.random.default_rng(0).random((12, 3, 16, 16)).astype(np.float32)
    taken = Camera(Lens(step=3, noise=0.05), 0).take(planes)
    same = [np.array_equal(one, two) for one, two in pairwise(taken)]
    assert same == [True, True, False] * 3 + [True, True]


def test_compression_and_noise_change_a_picture_a_little():
    planes = np.linspace(0.2, 0.8, 3 * 64 * 64, dtype=np.float32).reshape(1, 3, 64, 64)
    plain = Camera(CLEAR, 0).take(planes).astype(int)
    for lens in (Lens(coarseness=0.02), Lens(noise=0.02), Lens(blur=2)):
        apart = np.abs(Camera(lens, 0).take(planes) - plain)
        assert apart.mean() < 8 and (apart.max() > 0 or lens.blur)


# sounds --------------------------------------------------------------------------------------------------------------


def heard(line, material, units=6):
    microphone = LiveMicrophone(Room(noise=0.0), line, material, 0)
    microphone.add(0.3 * np.sin(np.arange(UNIT * 2) / 5).astype(np.float32), 0)
    return np.concatenate([microphone.take(np.zeros(UNIT, np.float32)) for _ in range(units)])


def test_noise_is_as_loud_as_it_is_said_to_be(material):
    for snr_db in (10.0, 20.0):
        noise = heard(Line(snr_db=snr_db), material)[4 * UNIT :]
        assert 20 * np.log10(0.12 / noise.std()) == pytest.approx(snr_db, abs=1.0)
    assert not heard(Line(), material)[4 * UNIT :].any()


def test_clipping_telephones_lost_packets_and_gain_control_are_heard(material):
    plain = heard(Line(), material)
    assert np.abs(heard(Line(clip=0.1), material)).max() == pytest.approx(0.1)
    lost = heard(Line(loss=0.5, conceals=False), material).reshape(-1, 320)
    assert 0.2 < (~lost[:16].any(1)).mean() < 0.9
    assert np.abs(heard(Line(is_telephone=True), material) - plain).max() < 0.02
    assert np.abs(heard(Line(control=1.0), material)).max() < np.abs(plain).max()
    assert np.unique(companded(np.linspace(-1, 1, 5000, dtype=np.float32))).size <= 255


def test_a_stretched_word_is_longer_at_its_own_pitch():
    word = np.sin(2 * np.pi * 200 * np.arange(6000) / RATE).astype(np.float32)
    longer = stretched(word, 1.5)
    assert len(longer) == 9000
    spectrum = np.abs(np.fft.rfft(longer[1000:8000]))
    assert abs(spectrum.argmax() * RATE / 7000 - 200) < 4


# dialogues -----------------------------------------------------------------------------------------------------------


def test_nothing_is_shown_to_a_camera_that_is_off_nor_said_without_a_microphone(material):
    unseen = possible(SCENARIOS["everything"], View("off", 0, shows_hand=False), True, material)
    assert not {"card", "hand", "aside", "glance"} & set(unseen.acts) and not unseen.hand
    assert "chatter" in unseen.acts
    unheard = possible(SCENARIOS["everything"], View("photo", 0), False, material)
    assert set(unheard.acts) == {"card", "hand", "glance", "type"} and not unheard.interrupt
    script = drawn(unheard, 0, set())
    assert all(act is not None and not (act.kind == "card" and act.phrases) for act in map(script, range(30)))


def test_chatter_is_listened_to_and_gets_no_answer(bank):
    person = Person(bank.split("train")[0], LOOKS, Room(), view=View("photo", 0), line=Line())
    script = fixed(Act("chatter", 300), Act("ask", 300, (("four",),)))
    talk = play(0, 30, bank, person=person, script=script, size=0)
    manners = [(cue.kind, cue.manner) for cue in talk.cues]
    assert manners[:2] == [("speech", "chatter"), ("quiet", "chatter")]
    quiet = next(cue.at for cue in talk.cues if cue.kind == "quiet") // UNIT
    assert "listen" in talk.states[:quiet] and "speak" not in talk.states[: quiet + 3] and "speak" in talk.states
    assert np.sqrt((talk.user_audio[: quiet * UNIT] ** 2).mean()) > 0.01


def test_who_has_no_camera_or_microphone_arrives_as_empty(bank):
    person = Person(
        bank.split("train")[0], LOOKS, Room(), view=View("off", 0, off_from=5), line=Line(), has_sound=False
    )
    talk = play(0, 12, bank, person=person, script=fixed(Act("ask", 300, (("four",),))), size=32)
    assert talk.is_seen.tolist() == [True] * 5 + [False] * 7 and not talk.has_sound.any()
    assert not talk.user_audio.any()


def test_users_of_a_living_world_are_drawn_from_it_and_are_the_same_again(bank):
    kinds = {World(seed, bank, size=0).person.view.kind for seed in range(60)}
    assert {"photo", "drawn", "off", "nobody"} <= kinds
    one, two = (play(4, 6, bank, size=32) for _ in range(2))
    assert np.array_equal(one.user_video, two.user_video) and np.array_equal(one.user_audio, two.user_audio)


def test_without_a_folder_the_world_is_the_drawn_one(tmp_path):
    plain = Bank(tones(tmp_path), HELD_OUT.union(ONLY_TONES))
    assert World(0, plain, size=0).person.view is None and not plain.material("train").portraits
