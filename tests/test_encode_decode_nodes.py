from __future__ import annotations

import json
import re
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch

from wangraph.nodes.decode import DecodeAudio, DecodeVideo
from wangraph.nodes.encode import EncodeAudio, EncodeMel, EncodeVideo
from wangraph.nodes.unit_tensor import UnitTensor
from wangraph.runtime.errors import CheckpointError
from wangraph.runtime.node import NodeContext, Unit
from wangraph.runtime.packet import Packet, Validity, frozen
from wangraph.runtime.units import UnitClock
from wangraph.wan_core.checkpoint import load_part, save
from wangraph.wan_core.errors import ModelError
from wangraph.wan_core.media.video import VideoCodec

CLOCK = UnitClock()
NODES = {node.__name__: node for node in (EncodeVideo, EncodeAudio, EncodeMel, DecodeVideo, DecodeAudio)}
ENCODERS, DECODERS = ("EncodeVideo", "EncodeAudio", "EncodeMel"), ("DecodeVideo", "DecodeAudio")


def unit(index, **packets):
    return Unit(index, CLOCK.pts_ns(index), CLOCK.duration_ns(index), packets=packets)


def opened(name, checkpoint="nano", **context):
    more = {"eyes": False} if name == "EncodeVideo" else {}
    node = NODES[name](checkpoint=checkpoint, **more)
    node.open(NodeContext("node", CLOCK, **context))
    node.warm()
    return node


def inlet_of(node):
    (port,) = node.ports(node.values)[0]
    return port


def payloads(node, count, seed=0):
    """Read-only inputs of ``count`` units, as packets carry them."""
    rng = np.random.default_rng(seed)
    (port,) = node.ports(node.values)[0].values()
    shape = [dim.size for dim in port.specs[""].shape]
    if port.kind == "video":
        return [frozen(rng.integers(0, 256, shape, np.uint8)) for _ in range(count)]
    return [frozen(rng.normal(0, 0.1 if port.kind == "audio" else 1, shape).astype(np.float32)) for _ in range(count)]


def step(node, state, index, payload):
    outputs = node.step(state, unit(index), **{inlet_of(node): payload})
    return next(iter(outputs.values())).copy() if outputs else None


@pytest.fixture(params=NODES)
def node(request):
    return opened(request.param)


def test_modules_ports_and_checks_need_no_torch():
    code = (
        "import json, sys\n"
        "from wangraph.nodes import encode, decode\n"
        "kinds = [encode.EncodeVideo, encode.EncodeAudio, encode.EncodeMel, decode.DecodeVideo, decode.DecodeAudio]\n"
        "[kind.check({'checkpoint': 'tiny'}) for kind in kinds]\n"
        "ports = {k: str(p.specs['']) for kind in kinds for side in kind.ports({}) for k, p in side.items()}\n"
        "print(json.dumps([ports, 'torch' in sys.modules]))"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    ports, has_torch = json.loads(printed)
    assert not has_torch
    assert ports["frames"] == "[4 64 64 3] uint8"
    assert ports["samples"] == "[2560] float32"
    assert ports["mel"] == "[16 40] float32"


def test_ports_of_another_preset_have_its_sizes():
    inlets, outlets = EncodeVideo.ports({"checkpoint": "nano"})
    assert str(inlets["frames"].specs[""]) == "[4 32 32 3] uint8"
    assert str(outlets["latents"].specs[""]) == "[2 2 16] float32"
    assert inlets["frames"].late == "hold"
    inlets, outlets = DecodeAudio.ports({"checkpoint": "nano"})
    assert str(inlets["latents"].specs[""]) == "[8 16] float32"
    assert outlets["samples"].rate_hz == 16000


@pytest.mark.parametrize("kind", NODES.values(), ids=NODES)
def test_an_unknown_checkpoint_is_the_users_mistake(kind):
    message = (
        "checkpoint 'tinny': no such file (presets: nano, paper-0.5b, paper-7b, small, tiny); did you mean 'tiny'?"
    )
    with pytest.raises(CheckpointError, match=f"^{re.escape(message)}$"):
        kind.check({"checkpoint": "tinny"})
    with pytest.raises(CheckpointError, match=f"^{re.escape(message)}$"):
        kind(checkpoint="tinny").open(NodeContext("node", CLOCK))
    assert kind.ports({"checkpoint": "tinny"}) == (kind.inputs, kind.outputs)


def test_weights_are_reported_and_come_from_the_checkpoint(tmp_path, randomise):
    codec = randomise(load_part("nano", "video_codec", lambda preset: VideoCodec(preset.video)).module, 3)
    path = tmp_path / "mine.safetensors"
    save(path, {"video_codec": codec}, "nano", {"trained": "today"})
    lines = []
    node = opened("EncodeVideo", str(path), report=lambda key, text: lines.append((key, text)))
    opened("DecodeAudio", "nano", seed=7, report=lambda key, text: lines.append((key, text)))
    assert lines == [
        ("weights", "video_codec: mine.safetensors, trained today"),
        ("weights", "audio_codec: random, seed 7"),
    ]
    (frames,) = payloads(node, 1)
    x = torch.from_numpy(frames.copy()).float()[None, None] / 127.5 - 1
    expected = codec.encode(x, codec.new_encoder_state())[0][0, 0].detach().numpy()
    np.testing.assert_allclose(step(node, node.new_state(), 0, frames), expected, atol=1e-5)


def test_a_checkpoint_without_the_part_is_refused_before_the_run(tmp_path):
    path = tmp_path / "mine.safetensors"
    save(path, {"video_codec": load_part("nano", "video_codec", lambda p: VideoCodec(p.video)).module}, "nano")
    EncodeVideo.check({"checkpoint": str(path)})
    message = (
        f"checkpoint {path}: no part 'audio_codec' (it has: video_codec), train that part or name another checkpoint"
    )
    with pytest.raises(CheckpointError, match=f"^{re.escape(message)}$"):
        EncodeAudio.check({"checkpoint": str(path)})


def test_outputs_are_what_the_port_declares(node):
    state = node.new_state()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # torch warns of arrays that it may not write
        outputs = node.step(state, unit(0), **{inlet_of(node): payloads(node, 1)[0]})
    (port,) = node.ports(node.values)[1].items()
    assert list(outputs) == [port[0]]
    spec, array = port[1].specs[""], outputs[port[0]]
    assert array.dtype.name == spec.dtype and list(array.shape) == [dim.size for dim in spec.shape]


def test_outputs_are_written_where_the_runtime_says(node):
    slots = []

    def empty(port, shape, dtype):
        slots.append(np.empty(shape, dtype))
        return slots[-1]

    node.open(NodeContext("node", CLOCK, empty=empty))
    outputs = node.step(node.new_state(), unit(0), **{inlet_of(node): payloads(node, 1)[0]})
    assert next(iter(outputs.values())) is slots[-1]


def test_two_sessions_on_one_node_do_not_meet(node):
    inputs, others = payloads(node, 4), payloads(node, 4, seed=1)
    alone = node.new_state()
    expected = [step(node, alone, k, x) for k, x in enumerate(inputs)]
    first, second = node.new_state(), node.new_state()
    for k in range(4):
        assert np.array_equal(step(node, first, k, inputs[k]), expected[k])
        step(node, second, k, others[k])


def test_absorbed_units_leave_the_state_that_steps_leave(node):
    inputs = payloads(node, 6)
    stepped, absorbed = node.new_state(), node.new_state()
    for k in range(5):
        step(node, stepped, k, inputs[k])
    step(node, absorbed, 0, inputs[0])
    assert node.absorb(absorbed, [(unit(k), {inlet_of(node): inputs[k]}) for k in range(1, 5)]) is None
    np.testing.assert_allclose(step(node, absorbed, 5, inputs[5]), step(node, stepped, 5, inputs[5]), atol=1e-4)


def test_absorbing_many_units_takes_in_only_the_last(node, monkeypatch):
    taken = []
    copy = UnitTensor.copy
    monkeypatch.setattr(
        UnitTensor, "copy", lambda self, array, *scale: taken.append(array) or copy(self, array, *scale)
    )
    inputs = payloads(node, 20)
    node.absorb(node.new_state(), [(unit(k), {inlet_of(node): x}) for k, x in enumerate(inputs)])
    assert len(taken) == 1 and taken[0] is inputs[-1]


def test_the_past_is_heard_after_a_step_and_after_an_absorb(node):
    before, now = payloads(node, 2)
    fresh = step(node, node.new_state(), 0, now).astype(float)
    for move in ("step", "absorb"):
        state = node.new_state()
        if move == "step":
            step(node, state, 0, before)
        else:
            node.absorb(state, [(unit(0), {inlet_of(node): before})])
        changed = np.abs(step(node, state, 1, now) - fresh).max()
        assert changed > (0.0 if "Video" in type(node).__name__ else 1e-5)


@pytest.mark.parametrize("name", ENCODERS)
def test_lost_units_were_black_or_silent(name):
    node = opened(name)
    first, last = payloads(node, 2)
    blank = np.zeros_like(first)
    told, lost, empty = node.new_state(), node.new_state(), node.new_state()
    for state in (told, lost, empty):
        step(node, state, 0, first)
    for k in (1, 2, 3):
        step(node, told, k, blank)
    assert node.gap(lost, [unit(1), unit(2), unit(3)]) is None
    for k in (1, 2):
        step(node, empty, k, None)
    node.absorb(empty, [(unit(3), {inlet_of(node): None})])
    expected = step(node, told, 4, last)
    np.testing.assert_allclose(step(node, lost, 4, last), expected, atol=1e-5)
    np.testing.assert_allclose(step(node, empty, 4, last), expected, atol=1e-5)


@pytest.mark.parametrize("name", ENCODERS)
def test_no_payload_is_answered_as_black_or_silence(name):
    node = opened(name)
    blank = np.zeros_like(payloads(node, 1)[0])
    assert np.array_equal(step(node, node.new_state(), 0, None), step(node, node.new_state(), 0, blank))


@pytest.mark.parametrize("name", DECODERS)
def test_a_decoder_answers_no_latents_with_nothing(name):
    node = opened(name)
    assert step(node, node.new_state(), 0, None) is None


def test_the_picture_after_a_gap_follows_the_last_one_there_was():
    node = opened("DecodeVideo")
    first, last = payloads(node, 2)
    straight, gapped, absorbed = node.new_state(), node.new_state(), node.new_state()
    for state in (straight, gapped):
        step(node, state, 0, first)
    node.gap(gapped, [unit(1), unit(2)])
    node.absorb(absorbed, [(unit(0), {"latents": first}), (unit(1), {"latents": None})])
    expected = step(node, straight, 1, last)
    assert np.array_equal(step(node, gapped, 3, last), expected)
    assert np.array_equal(step(node, absorbed, 2, last), expected)


def test_the_voice_after_a_gap_goes_on_without_what_was_still_ringing():
    node = opened("DecodeAudio")
    first, last = payloads(node, 2)
    straight, gapped, absorbed = node.new_state(), node.new_state(), node.new_state()
    for state in (straight, gapped):
        step(node, state, 0, first)
    ringing = straight.tail[0].numpy().copy()
    node.gap(gapped, [unit(1)])
    node.absorb(absorbed, [(unit(0), {"latents": first}), (unit(1), {"latents": None})])
    expected = step(node, straight, 1, last)
    expected[: len(ringing)] -= ringing
    assert np.abs(ringing).max() > 1e-4
    np.testing.assert_allclose(step(node, gapped, 2, last), expected, atol=1e-5)
    np.testing.assert_allclose(step(node, absorbed, 2, last), expected, atol=1e-5)


def test_a_repeated_picture_stands_still():
    node = opened("EncodeVideo")
    (frames,) = payloads(node, 1)
    still = np.repeat(frames[-1:], len(frames), 0)
    packet = Packet("user.video", 0, 0, 0, 0, Validity.REPEATED, {"": frames})
    held = node.step(node.new_state(), unit(0, frames=packet), frames=frames)["latents"].copy()
    assert np.array_equal(held, step(node, node.new_state(), 0, still))
    assert not np.array_equal(held, step(node, node.new_state(), 0, frames))


def test_loud_latents_stay_within_what_can_be_shown_and_played():
    for name in DECODERS:
        node = opened(name)
        played = step(node, node.new_state(), 0, payloads(node, 1)[0] * np.float32(1e4)).astype(float)
        low, high = (0, 255) if name == "DecodeVideo" else (-1, 1)
        assert played.min() == low and played.max() == high


def test_a_unit_that_fails_leaves_the_state_as_it_was():
    node = opened("EncodeAudio")
    first, last = payloads(node, 2)
    state, other = node.new_state(), node.new_state()
    step(node, state, 0, first)
    step(node, other, 0, first)
    message = "audio codec: samples: found NaN or infinity (expected finite numbers), check what produced it"
    with pytest.raises(ModelError, match=f"^{re.escape(message)}$"):
        step(node, state, 1, np.full_like(first, np.nan))
    assert np.array_equal(step(node, state, 1, last), step(node, other, 1, last))


def test_an_input_of_another_shape_or_dtype_is_told_in_words():
    node = opened("EncodeVideo")
    message = (
        "input 'frames': found [4 64 64 3] uint8 (expected [4 32 32 3] uint8), convert it before this node",
        "input 'frames': found [4 32 32 3] float32 (expected [4 32 32 3] uint8), convert it before this node",
    )
    wrong = (np.zeros((4, 64, 64, 3), np.uint8), np.zeros((4, 32, 32, 3), np.float32))
    for text, frames in zip(message, wrong, strict=True):
        with pytest.raises(ModelError, match=f"^{re.escape(text)}$"):
            step(node, node.new_state(), 0, frames)


def test_a_session_can_be_saved_and_goes_on_elsewhere(node):
    inputs = payloads(node, 4)
    state = node.new_state()
    for k in range(3):
        step(node, state, k, inputs[k])
    elsewhere = opened(type(node).__name__)
    moved = elsewhere.new_state()
    moved.restore(state.save())
    assert np.array_equal(step(elsewhere, moved, 3, inputs[3]), step(node, state, 3, inputs[3]))


def test_nodes_hold_no_gradients(node):
    state = node.new_state()
    step(node, state, 0, payloads(node, 1)[0])
    assert not any(tensor.requires_grad for tensor in state.save().values())


@pytest.mark.parametrize("kind", NODES.values(), ids=NODES)
def test_a_checkpoint_beside_the_graph_file_is_found(kind):
    assert kind.params["checkpoint"].path == "input"
