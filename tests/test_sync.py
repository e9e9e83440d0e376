import numpy as np
import pytest
from media_files import opened, packet, unit

from wangraph.nodes.media.concealment import ramp
from wangraph.nodes.sync import Playout
from wangraph.runtime.errors import GraphError
from wangraph.runtime.node import Emission
from wangraph.runtime.packet import Validity

SHAPES = {"video": {"": (4, 6, 8, 3)}, "audio": {"": (2560,)}}
FALL, RISE = 320, 160  # 20 and 10 ms at 16 kHz
TONE = np.sin(0.4 + np.arange(10 * 2560) * 2 * np.pi * 220 / 16000).astype(np.float32)


def pictures(index):
    frames = np.full((4, 6, 8, 3), 10 * index, np.uint8)
    frames[3] += 1
    return frames


def samples(index):
    return TONE[index * 2560 : (index + 1) * 2560]


class Player:
    """A playout with its state; ``lost`` and ``empty`` name the inputs without a payload."""

    def __init__(self, *connected, shapes=SHAPES, **params):
        self.node = opened(Playout(**params), *(connected or ("video", "audio", "text")), input_shapes=shapes)
        self.state = self.node.new_state()

    def play(self, index, lost=(), empty=(), ended=()):
        values = {"video": pictures(index), "audio": samples(index), "text": f"word{index}"}
        validities = {
            **dict.fromkeys(values, Validity.REAL),
            **dict.fromkeys(lost, Validity.MISSING),
            **dict.fromkeys(empty, Validity.EMPTY),
            **dict.fromkeys(ended, Validity.END),
        }
        gone = {*lost, *empty, *ended}
        given = {p: v for p, v in values.items() if p in self.node._connected}
        packets = {p: packet(index, validities[p]) for p in given}
        outputs = self.node.step(
            self.state, unit(index, **packets), **{p: None if p in gone else v for p, v in given.items()}
        )
        return {p: (e.value, e.validity) if isinstance(e, Emission) else e for p, e in outputs.items()}


def test_what_came_in_time_is_played_as_it_is():
    out = Player().play(3)
    assert out["video"][0] is not None
    assert np.array_equal(out["video"][0], pictures(3))
    assert np.array_equal(out["audio"][0], samples(3))
    assert out["text"] == ("word3", Validity.REAL)
    assert out["played"].tolist() == [3, 0]
    assert out["played"].dtype == np.int64


def test_a_missing_picture_is_the_last_one_held():
    player = Player()
    player.play(0)
    for index in (1, 2):
        frames, validity = player.play(index, lost=["video"])["video"]
        assert validity is Validity.REPEATED
        assert np.array_equal(frames, np.repeat(pictures(0)[-1:], 4, axis=0))


@pytest.mark.parametrize("params", [{}, {"video": "black"}])
def test_a_missing_picture_with_none_to_hold_is_black(params):
    player = Player(**params)
    if params:
        player.play(0)
    frames, validity = player.play(1, lost=["video"])["video"]
    assert validity is Validity.CONCEALED
    assert frames.shape == (4, 6, 8, 3)
    assert not frames.any()


def test_missing_sound_goes_on_while_it_fades_out_and_fades_in_again():
    player = Player()
    heard = [player.play(0)["audio"][0]]
    hole, validity = player.play(1, lost=["audio"])["audio"]
    assert validity is Validity.CONCEALED
    second, _ = player.play(2, lost=["audio"])["audio"]
    back, back_validity = player.play(3)["audio"]
    assert back_validity is Validity.REAL
    assert hole[: FALL // 2] == pytest.approx(samples(1)[: FALL // 2] * ramp(FALL)[::-1][: FALL // 2], abs=0.01)
    assert not hole[FALL:].any()
    assert not second.any()
    assert np.array_equal(back[RISE:], samples(3)[RISE:])
    sound = np.concatenate([*heard, hole, second, back])
    assert np.abs(np.diff(sound)).max() < 1.01 * np.abs(np.diff(TONE)).max()


def test_sound_can_be_cut_instead():
    player = Player(audio="silence")
    player.play(0)
    assert not player.play(1, lost=["audio"])["audio"][0].any()
    assert np.array_equal(player.play(2)["audio"][0], samples(2))


def test_what_is_empty_looks_the_same_and_is_no_miss():
    lost, empty = Player(), Player()
    for index in range(3):
        gone = ["video", "audio", "text"] if index == 1 else []
        ours, theirs = lost.play(index, lost=gone), empty.play(index, empty=gone)
        for port in ("video", "audio"):
            assert np.array_equal(ours[port][0], theirs[port][0])
        assert {theirs[port][1] for port in ("video", "audio")} == {Validity.REAL}
        assert theirs["played"].tolist() == [index, 0]
        assert ours["played"].tolist() == [index, int(index == 1)]


def test_a_stream_that_has_ended_is_no_miss():
    player = Player()
    player.play(0)
    out = player.play(1, ended=["video", "audio"])
    assert out["video"][1] is Validity.REAL
    assert out["played"].tolist() == [1, 0]


def test_missing_words_are_empty():
    out = Player().play(0, lost=["text"])
    assert out["text"] is None
    assert out["played"].tolist() == [0, 0]


@pytest.mark.parametrize(
    ("connected", "lost", "concealed"),
    [
        (("video", "audio"), ["video"], 0),  # it was heard
        (("video", "audio"), ["audio"], 1),
        (("video",), ["video"], 1),
        (("text",), ["text"], 1),
    ],
)
def test_played_tells_whether_it_was_heard(connected, lost, concealed):
    assert Player(*connected).play(0, lost=lost)["played"].tolist() == [0, concealed]


def test_what_is_not_connected_stays_empty():
    out = Player("audio").play(0)
    assert out["video"] is None
    assert out["text"] is None
    assert out["audio"][1] is Validity.REAL


def test_marks_made_before_are_kept():
    node = opened(Playout(), "video", input_shapes=SHAPES)
    marked = packet(0, Validity.REPEATED)
    out = node.step(node.new_state(), unit(0, video=marked), video=pictures(0))
    assert out["video"].validity is Validity.REPEATED


def test_after_lost_units_sound_fades_in_and_the_old_picture_is_held():
    player = Player()
    player.play(0)
    player.node.gap(player.state, [unit(1), unit(2)])
    out = player.play(3, lost=["video"])
    assert abs(out["audio"][0][0]) < 0.001
    assert np.array_equal(out["video"][0][0], pictures(0)[-1])


def test_after_units_taken_in_at_once_the_newest_picture_is_held():
    player = Player()
    player.play(0)
    taken = [(unit(1), {"video": pictures(1), "audio": samples(1)}), (unit(2), {"video": None, "audio": None})]
    assert player.node.absorb(player.state, taken) is None
    out = player.play(3, lost=["video"])
    assert abs(out["audio"][0][0]) < 0.001
    assert np.array_equal(out["video"][0][0], pictures(1)[-1])


def test_sizes_that_the_plan_does_not_know_are_learned():
    player = Player(shapes={"video": {"": None}, "audio": {"": None}})
    first = player.play(0, lost=["video", "audio"])
    assert (first["video"], first["audio"]) == (None, None)
    player.play(1)
    assert player.play(2, lost=["video", "audio"])["video"][0].shape == (4, 6, 8, 3)


def test_what_it_holds_does_not_change_with_the_input():
    player = Player()
    frames = pictures(5)
    player.node.step(player.state, unit(5), video=frames, audio=samples(5))
    frames[:] = 99
    assert np.array_equal(player.play(6, lost=["video"])["video"][0][0], pictures(5)[-1])


def test_nothing_connected_is_refused():
    with pytest.raises(GraphError) as error:
        opened(Playout())
    assert str(error.value) == "node 'node': found no input (expected video, audio or text), connect one"
