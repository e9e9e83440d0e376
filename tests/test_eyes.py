"""Eyes: a causal part of a checkpoint that sees users, and what is learned by them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from life_toys import life

from wangraph.nodes.encode import EncodeVideo
from wangraph.runtime.node import NodeContext, Unit
from wangraph.runtime.units import UnitClock
from wangraph.tools.lab.train.eyes import Users, gates_of, reader_of
from wangraph.tools.lab.train.views import doings, view_of
from wangraph.tools.lab.world.life.material import read_material
from wangraph.wan_core.checkpoint import save, untrained
from wangraph.wan_core.config import preset
from wangraph.wan_core.errors import ModelError
from wangraph.wan_core.media.eyes import PART, Eyes, load_eyes_of
from wangraph.wan_core.media.video import VideoCodec
from wangraph.wan_core.train.eyes import EYES_RECIPE, EyesTask, Reader, Views
from wangraph.wan_core.train.loop import Loop

SHAPES = preset("nano")
CONFIG = SHAPES.video
FRAMES = (CONFIG.frames, CONFIG.height, CONFIG.width, 3)
CLOCK = UnitClock()


@pytest.fixture
def eyes(randomise):
    return randomise(Eyes(CONFIG))


@pytest.fixture
def way(eyes, stream):
    frames = torch.rand(2, 6, *FRAMES, generator=torch.Generator().manual_seed(1)) * 2 - 1
    return stream(eyes.encode, eyes.new_encoder_state, frames)


def test_eyes_keep_every_streaming_law(law, way):
    law(way)


def test_a_planted_bug_breaks_its_law(law, twin, way):
    with pytest.raises(AssertionError):
        law(twin(way))


def test_the_state_after_some_units_is_that_of_the_last(eyes):
    frames = torch.rand(1, 3, *FRAMES)
    _, passed = eyes.encode(frames, eyes.new_encoder_state())
    torch.testing.assert_close(eyes.encoder_after(frames, eyes.new_encoder_state()).save(), passed.save())


def test_wrong_pictures_are_refused(eyes):
    with pytest.raises(ModelError, match=r"^eyes: frames"):
        eyes.encode(torch.zeros(1, 1, 4, 16, 16, 3), eyes.new_encoder_state())


def test_a_checkpoint_without_eyes_has_none(tmp_path):
    codec, eyes = VideoCodec(CONFIG), Eyes(CONFIG)
    save(tmp_path / "blind.safetensors", {"video_codec": codec}, "nano")
    save(tmp_path / "seeing.safetensors", {"video_codec": codec, PART: eyes}, "nano")
    assert load_eyes_of(tmp_path / "blind.safetensors") is None and load_eyes_of("nano") is None
    found = load_eyes_of(tmp_path / "seeing.safetensors")
    torch.testing.assert_close(found.state_dict(), eyes.state_dict())


@pytest.fixture
def checkpoint(tmp_path, randomise):
    parts = {"video_codec": randomise(VideoCodec(CONFIG)), PART: randomise(Eyes(CONFIG))}
    save(tmp_path / "seeing.safetensors", parts, "nano")
    return str(tmp_path / "seeing.safetensors"), parts


def opened(checkpoint, **params):
    node = EncodeVideo(checkpoint=checkpoint, **params)
    node.open(NodeContext("see", CLOCK))
    return node


def seen(node, pictures, state=None):
    state = node.new_state() if state is None else state
    latents = node.step(state, Unit(0, 0, CLOCK.duration_ns(0), packets={}), frames=pictures)["latents"]
    return None if latents is None else torch.from_numpy(latents.copy())


def test_a_user_is_seen_with_the_checkpoints_eyes_and_by_the_codec_where_asked(checkpoint):
    path, parts = checkpoint
    pictures = np.random.default_rng(0).integers(0, 256, FRAMES, np.uint8)
    x = torch.from_numpy(pictures).float()[None, None] / 127.5 - 1
    for params, part in (({}, parts[PART]), ({"eyes": False}, parts["video_codec"])):
        expected, _ = part.encode(x, part.new_encoder_state())
        torch.testing.assert_close(seen(opened(path, **params), pictures), expected[0, 0])


def test_who_has_no_camera_is_empty_and_the_next_picture_follows_black(checkpoint):
    path, _ = checkpoint
    node = opened(path)
    pictures = np.random.default_rng(0).integers(0, 256, FRAMES, np.uint8)
    unseen, black = node.new_state(), node.new_state()
    assert seen(node, None, unseen) is None
    assert seen(node, np.zeros_like(pictures), black) is not None
    torch.testing.assert_close(seen(node, pictures, unseen), seen(node, pictures, black))


# learning ------------------------------------------------------------------------------------------------------------


def test_a_reader_tells_the_pose_from_latents_and_eyes_learn_to_write_it():
    chance = torch.Generator().manual_seed(0)
    latents = torch.randn(200, CONFIG.latent_size, generator=chance)
    pose = latents[:, :3] * 2 + 1
    reader = Reader.fitted(latents, pose, 1e-3)
    torch.testing.assert_close(reader(latents), pose, atol=0.02, rtol=0)
    frames, goal = torch.rand(2, 2, *FRAMES, generator=chance), latents[:4].reshape(2, 2, *CONFIG.latent_shape)
    known = pose[:4].reshape(2, 2, 3).clone()
    known[0, :, 0] = torch.nan  # not known: neither a number nor an error
    task = EyesTask(Eyes(CONFIG), lambda _: Views(frames, goal, known), reader, torch.ones(3))
    loop = Loop(task, EYES_RECIPE, 40, 0)
    errors = [loop.step()["loss"] for _ in range(40)]
    assert np.isfinite(errors).all() and np.mean(errors[-5:]) < 0.5 * np.mean(errors[:5])


@pytest.fixture(scope="module")
def views(tmp_path_factory):
    material = read_material(life(tmp_path_factory.mktemp("life")), "train")
    codec = untrained(SHAPES, "video_codec", lambda shapes: VideoCodec(shapes.video))
    rows = [view_of(seed, 4, material, codec) for seed in range(24)]
    return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}


def test_a_view_is_a_video_its_pose_and_the_latents_of_a_drawing_of_it(views):
    assert views["user_video"].shape == (24, 4, *FRAMES) and views["user_video"].dtype == torch.uint8
    assert views["latents"].shape == (24, 4, *CONFIG.latent_shape) and views["latents"].isfinite().all()
    pose = views["user_pose"].float()
    assert pose[..., 6].max() > 0.9 and pose[..., 7:].max() > 0.9 and pose[..., 2].abs().max() > 0.9


def test_much_happens_in_a_view(views):
    pose = doings(np.random.default_rng(0), 400)
    for name, least in (("hand", 0.15), ("card", 0.25), ("gaze_x", 0.15)):
        share = float((np.abs(getattr(pose, name)) > 0.5).mean())
        assert least < share < 0.7, (name, share)


def test_gates_are_told_of_each_thing_that_must_be_seen(views):
    eyes = untrained(SHAPES, PART, lambda shapes: Eyes(shapes.video))
    gates = gates_of(eyes, views, views)
    assert [gate.name for gate in gates] == ["gaze", "hand", "card", "mouth"]
    reader, scale = reader_of(views)
    assert reader(views["latents"].float().flatten(2)).shape == views["user_pose"].shape and (scale > 0).all()


def test_eyes_begin_with_what_the_codec_sees_and_with_the_mean_of_what_they_shall_give(randomise):
    codec, eyes = randomise(VideoCodec(CONFIG)), Eyes(CONFIG)
    goal = torch.randn(50, *CONFIG.latent_shape, generator=torch.Generator().manual_seed(0))
    eyes.begin(codec, goal)
    torch.testing.assert_close(eyes.down.state_dict(), codec.encoder.down.state_dict())
    given, _ = eyes.encode(torch.rand(4, 3, *FRAMES) * 2 - 1, eyes.new_encoder_state(4))
    assert (given - goal.mean(0)).abs().mean() < 0.3 < goal.std()


def test_a_batch_has_many_users_for_a_short_time(views):
    users = Users(views, 9, 2, torch.device("cpu"))
    batch = users.draw(torch.Generator().manual_seed(0))
    assert batch.frames.shape == (9, 2, *FRAMES) and batch.latents.shape[:2] == batch.pose.shape[:2] == (9, 2)
    videos = (views["user_video"].float() / 127.5 - 1).unfold(1, 2, 1).movedim(-1, 2).flatten(0, 1)
    assert all(any(torch.equal(row, video) for video in videos) for row in batch.frames)
