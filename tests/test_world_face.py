import numpy as np
import pytest

from wangraph.tools.lab.world.face import CARD_COLOURS, PIXELS_AT_ONCE, Pose, join, random_looks, render, render_each
from wangraph.tools.lab.world.motion import Mover, visible_after
from wangraph.tools.lab.world.signal import FRAME, UNIT


def looks(seed=0):
    return random_looks(np.random.default_rng(seed))


def busy(frames, seed=0):
    rng = np.random.default_rng(seed)
    pose = Pose.still(frames)
    for name in ("mouth", "blink", "brow", "hand", "card"):
        getattr(pose, name)[:] = rng.random(frames)
    for name in ("gaze_x", "gaze_y", "nod", "tilt", "breath", "smile"):
        getattr(pose, name)[:] = rng.uniform(-1, 1, frames)
    pose.card_colour[:] = rng.integers(len(CARD_COLOURS), size=frames)
    return pose


@pytest.mark.parametrize("size", [16, 32, 64, 192])
def test_a_face_is_drawn_at_any_size(size):
    pictures = render(busy(3), looks(), size)
    assert pictures.shape == (3, size, size, 3) and pictures.dtype == np.uint8
    assert pictures.std() > 20


def test_frames_drawn_together_are_those_drawn_alone():
    pose = busy(6)
    together = render(pose, looks())
    alone = np.concatenate([render(pose[i : i + 1], looks()) for i in range(6)])
    assert np.abs(together.astype(int) - alone).max() <= 1


def test_many_people_may_be_drawn_in_one_pass():
    poses, faces = [busy(3, seed) for seed in range(3)], [looks(seed) for seed in range(3)]
    together = render(join(poses), np.repeat(np.stack(faces), 3, axis=0))
    alone = np.concatenate([render(pose, face) for pose, face in zip(poses, faces, strict=True)])
    assert np.abs(together.astype(int) - alone).max() <= 1


def test_a_small_picture_is_the_large_one_seen_from_afar():
    pose, who = busy(4, 1), looks(1)
    small = render(pose, who, 64).astype(float)
    far = render(pose, who, 256).reshape(4, 64, 4, 64, 4, 3).mean(axis=(2, 4))
    assert np.abs(small - far).mean() < 3.0


def changed(one, two):
    return int((np.abs(one.astype(int) - two).max(axis=-1) > 24).sum())


@pytest.mark.parametrize(
    ("part", "value", "least"),
    [("mouth", 1.0, 20), ("blink", 1.0, 20), ("gaze_x", 1.0, 60), ("gaze_y", 1.0, 10), ("hand", 1.0, 150),
     ("card", 1.0, 300), ("nod", 1.0, 40), ("brow", 1.0, 8), ("tilt", 1.0, 30)],
)  # fmt: skip
def test_every_part_of_the_pose_is_seen_at_64_pixels(part, value, least):
    for seed in range(5):
        pose = Pose.still(2)
        getattr(pose, part)[1] = value
        still, moved = render(pose, looks(seed))
        assert changed(still, moved) >= least


def test_pupils_are_three_pixels_wide():
    who = looks(3)
    dark = render(Pose.still(1), who)[0].sum(axis=-1) < 200
    rows = dark[22:34, 16:48]
    runs = max(len(run) for row in rows for run in "".join("x" if d else " " for d in row).split())
    assert runs >= 3


def test_cards_have_the_colours_they_are_named_for():
    pose = Pose.still(len(CARD_COLOURS))
    pose.card[:] = 1.0
    pose.card_colour[:] = np.arange(len(CARD_COLOURS))
    pictures = render(pose, looks())
    for picture, colour in zip(pictures, CARD_COLOURS.values(), strict=True):
        np.testing.assert_allclose(picture[46, 13] / 255, colour, atol=0.01)


def test_the_mouth_follows_the_voice_in_the_same_frame():
    mover = Mover(np.random.default_rng(0))
    voice = np.zeros(UNIT, np.float32)
    voice[FRAME : 2 * FRAME] = 0.3
    assert list(mover.take(voice).mouth) == [0.0, 1.0, 0.0, 0.0]


def test_nothing_jumps_and_a_raised_hand_is_up_when_its_cue_says_so():
    mover = Mover(np.random.default_rng(0))
    silence = np.zeros(UNIT, np.float32)
    mover.take(silence)
    poses = join([mover.take(silence, {0: {"hand": 1.0}} if k == 0 else None) for k in range(4)])
    assert np.diff(poses.hand).max() < 0.4
    assert poses.hand[visible_after("hand") // FRAME - 1] >= 0.6 > poses.hand[0]


def test_a_blink_lasts_one_unit_and_a_nod_two():
    mover = Mover(np.random.default_rng(0))
    mover.blink()
    mover.nod()
    poses = join([mover.take(np.zeros(UNIT, np.float32)) for _ in range(3)])
    assert poses.blink.max() == 1.0 and not poses.blink[4:].any()
    assert poses.nod.max() > 0.9 and not poses.nod[8:].any()


def test_people_drawn_together_are_those_drawn_one_by_one():
    rng = np.random.default_rng(3)
    poses = [busy(4, seed) for seed in range(5)]
    for pose, hand, card in zip(poses, (0, 1, 0, 0, 0.4), (0, 0, 0, 1, 0.6), strict=True):
        pose.hand[:], pose.card[:] = hand, card
    faces = [looks(int(rng.integers(100))) for _ in poses]
    together = render_each(poses, faces, 192)  # more pixels than are drawn at once
    assert PIXELS_AT_ONCE < 5 * 4 * 192**2
    for pose, face, pictures in zip(poses, faces, together, strict=True):
        assert np.array_equal(pictures, render(pose, face, 192))
