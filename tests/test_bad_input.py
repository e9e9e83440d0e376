"""What the model is not made for: told in words, and the session goes on as if it had not been asked."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from dialogue_toys import dialogue, streamed

from wangraph import load, run
from wangraph.runtime.errors import NodeError, WangraphError
from wangraph.runtime.plan import check as plans
from wangraph.wan_core.config import CacheConfig, preset
from wangraph.wan_core.errors import ModelError
from wangraph.wan_core.exchange import PrefixUnit, ResponseUnit, UserUnit
from wangraph.wan_core.model import DuplexModel
from wangraph.wan_core.performer import Performer
from wangraph.wan_core.thinker import Thinker
from wangraph.wan_core.vocabulary import vocabulary

NANO = preset("nano")


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return DuplexModel(NANO).eval().requires_grad_(False)


def latents(fill, shape=(1, 2, 2, 16)):
    return torch.full(shape, fill)


BAD_VIDEO = {
    "NaN": (latents(float("nan")), "user video: found NaN or infinity (expected finite numbers), check what produced it"),
    "infinity": (latents(float("inf")), "user video: found NaN or infinity (expected finite numbers), check what produced it"),
    "another size": (latents(0.0, (1, 3, 2, 16)), "user video: found shape [1, 1, 3, 2, 16] (expected [1, 1, 2, 2, 16]), "
                                                   "resize it or change the preset"),
    "more rows": (latents(0.0, (2, 2, 2, 16)), "user video: found shape [2, 1, 2, 2, 16] (expected [1, 1, 2, 2, 16]), "
                                                "resize it or change the preset"),
    "no rows": (latents(0.0, (0, 2, 2, 16)), "user video: found shape [0, 1, 2, 2, 16] (expected [1, 1, 2, 2, 16]), "
                                              "resize it or change the preset"),
}  # fmt: skip


@pytest.mark.parametrize("bad", BAD_VIDEO)
@pytest.mark.parametrize("asked", ["step", "absorb", "prefill", "after a commit"])
def test_bad_latents_are_refused_and_leave_no_trace(model, bad, asked):
    video, message = BAD_VIDEO[bad]
    given, thinker = dialogue(batch=1, units=8), Thinker(model)
    state, undisturbed = thinker.new_state(), thinker.new_state()
    units = range(0 if asked == "prefill" else 5)
    for each in (state, undisturbed):
        for k in units:
            thinker.step(each, given.user_unit(k), given.response(k - 1))
        if asked == "after a commit":
            thinker.commit(each, given.response(4).audio, given.response(4).video)
    with pytest.raises(ModelError, match=f"^{re.escape(message)}$"):
        if asked == "prefill":
            thinker.set_prefix(state, [PrefixUnit(UserUnit()), PrefixUnit(UserUnit(video=video))][1:])
        elif asked == "absorb":
            thinker.absorb(state, [UserUnit(video=video)])
        else:
            thinker.step(state, UserUnit(video=video))
    digests = [thinker.step(each, given.user_unit(5)).slice.digest for each in (state, undisturbed)]
    assert digests[0] == digests[1]


def test_a_state_of_another_batch_is_told_apart(model):
    state = Thinker(model).new_state(2)
    with pytest.raises(
        ModelError, match=re.escape("user video: found shape [1, 1, 2, 2, 16] (expected [2, 1, 2, 2, 16])")
    ):
        Thinker(model).step(state, UserUnit(video=latents(0.0)))


def test_weights_that_give_nan_are_told_at_the_first_answer(model):
    broken = DuplexModel(NANO).eval().requires_grad_(False)
    broken.audio_head.bias.fill_(float("nan"))
    thinker, performer = Thinker(broken), Performer(broken)
    state = performer.new_state()
    performer.append(state, thinker.step(thinker.new_state(), UserUnit()).slice)
    with pytest.raises(
        ModelError, match=r"^performer: generated audio: found NaN or infinity \(expected finite numbers\), "
    ):
        performer.generate(state, 0)


def test_a_slice_of_nan_is_refused_though_its_digest_fits(model):
    broken = DuplexModel(NANO).eval().requires_grad_(False)
    broken.backbone.blocks[0].attention.qkv.weight.fill_(float("nan"))
    slice_ = Thinker(broken).gap(Thinker(broken).new_state(), 1)[0]
    state = Performer(model).new_state()
    for take in (Performer(model).append, lambda s, x: Performer(model).follow(s, [x])):
        with pytest.raises(ModelError, match=r"^context keys: found NaN or infinity \(expected finite numbers\), "):
            take(state, slice_)
    assert state.cache.slices == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers": 3}, "context keys: found shape [1, 3, 1, 12, 32] (expected [1, 2, 1, 12, 32]), "
                        "resize it or change the preset"),
        ({"head_dim": 16}, "context keys: found shape [1, 2, 1, 12, 16] (expected [1, 2, 1, 12, 32]), "
                           "resize it or change the preset"),
    ],
)  # fmt: skip
def test_a_slice_of_another_model_is_refused(model, change, message):
    other = DuplexModel(replace(NANO, backbone=replace(NANO.backbone, **change)))
    slice_ = Thinker(other).gap(Thinker(other).new_state(), 1)[0]
    for take in (Performer(model).append, lambda s, x: Performer(model).follow(s, [x])):
        with pytest.raises(ModelError, match=f"^{re.escape(message)}$"):
            take(Performer(model).new_state(), slice_)


def test_a_slice_of_another_precision_is_refused(model):
    other = DuplexModel(NANO).to(torch.bfloat16)
    slice_ = Thinker(other).gap(Thinker(other).new_state(), 1)[0]
    with pytest.raises(ModelError, match=re.escape(
        "context keys: found torch.bfloat16 (expected torch.float32), give both sides the same dtype"
    )):  # fmt: skip
        Performer(model).append(Performer(model).new_state(), slice_)


@pytest.mark.parametrize(
    ("config", "remembered"),
    [
        (CacheConfig(cap_units=4, chunk_units=3), 4),
        (CacheConfig(cap_units=1, chunk_units=1), 1),
        (CacheConfig(policy="window", window_units=4, sink_units=2, chunk_units=3), 5),
        (CacheConfig(policy="window", window_units=2, sink_units=0, chunk_units=1), 1),
    ],
)
def test_a_cache_at_its_cap_does_as_declared(config, remembered):
    torch.manual_seed(0)
    model = DuplexModel(replace(NANO, cache=config)).eval().requires_grad_(False)
    states = Thinker(model).new_state(), Performer(model).new_state()
    memory = []
    for k in range(30):
        results = streamed(model, dialogue(batch=1, units=30), [k], states=states)
        assert all(bool(x.isfinite().all()) for x in results)
        memory.append([state.cache.keys.numel() for state in states])
    assert states[0].cache.used == remembered * NANO.slots.clean
    assert memory[10:] == memory[10:11] * 20, "no memory is taken after the cap"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"policy": "lru"}, "cache.policy: found 'lru' (expected full or window)"),
        ({"cap_units": 0}, "cache.cap_units: found 0 (expected 1 or more)"),
        ({"chunk_units": 0}, "cache.chunk_units: found 0 (expected 1 or more)"),
        ({"window_units": 1}, "cache.window_units: found 1 (expected 2 or more)"),
        ({"sink_units": -1}, "cache.sink_units: found -1 (expected 0 or more)"),
        ({"prefix_reach_units": -1}, "cache.prefix_reach_units: found -1 (expected 0 or more)"),
    ],
)
def test_an_impossible_cache_is_refused(values, message):
    with pytest.raises(ModelError, match=f"^{re.escape(message)}$"):
        CacheConfig(**values)


def test_an_absent_response_is_not_an_error(model):
    thinker, state = Thinker(model), Thinker(model).new_state()
    for response in (None, ResponseUnit(), ResponseUnit(audio=torch.zeros(1, *NANO.audio.latent_shape))):
        thinker.step(state, UserUnit(), response)
    assert state.unit == 3


TOY = vocabulary("toy_world")
BAD_GRAPHS = {
    "audio of another rate": ({"user.rate_hz": 24_000}, "node 'hear': input 'samples' [2560] float32 cannot take user.audio "
                              "[3840] float32: found 24000 Hz (expected 16000 Hz), set the same rate at both ends"),
    "frames of another size": ({"user.width": 48}, "node 'see': input 'frames' [4 64 64 3] uint8 cannot take user.video "
                               "[4 64 48 3] uint8: found 48 (expected 64), make both ends agree"),
    "halves of different presets": ({"think.params.checkpoint": "nano"}, "node 'perform': input 'context' tensor 'keys' "
                                    "[6 2 396 32] float32 cannot take think.context [2 1 N<=396 32] float32: "
                                    "found 2 (expected 6), make both ends agree"),
    "halves of different precision": ({"think.params.dtype": "bfloat16"}, "node 'perform': input 'context' tensor 'keys' "
                                      "[6 2 396 32] float32 cannot take think.context [6 2 N<=396 32] bfloat16: "
                                      "found dtype bfloat16 (expected float32), convert it between"),
    "an unknown preset": ({"checkpoint": "tinny"}, "node 'think': checkpoint 'tinny': no such file (presets: nano, paper-0.5b, "
                          "paper-7b, small, tiny); did you mean 'tiny'?"),
    "a persona of words that it does not know": ({"think.persona": "xylophone is nonsense"}, "node 'think': persona: found "
                                                 f"'xylophone', 'nonsense' (checkpoint 'tiny' knows: {' '.join(TOY.known_words)}), "
                                                 "say it in these words"),
    "a persona where no words are known": ({"think.params.checkpoint": "paper-0.5b", "think.persona": "one is zero"},
                                           "node 'think': persona: found text for checkpoint 'paper-0.5b', which has no "
                                           "vocabulary (expected the tokenizer of its language model), set tokenizer: the "
                                           "folder of that model"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", BAD_GRAPHS)
def test_what_does_not_fit_the_model_is_told_before_a_weight_is_loaded(mistake):
    sets, message = BAD_GRAPHS[mistake]
    with pytest.raises(WangraphError) as raised:
        plans.check(plans.load("duplex", sets))
    assert [line.partition(": ")[2] for line in str(raised.value).splitlines() if line.endswith(message)] == [message]


@pytest.mark.parametrize("damage", ["cut", "garbage", "without the codecs"])
def test_a_checkpoint_that_cannot_be_used_is_told_before_a_weight_is_loaded(model, tmp_path, damage):
    from wangraph.wan_core.checkpoint import save

    file = tmp_path / "model.safetensors"
    save(file, {"model": model}, "nano")
    if damage == "without the codecs":
        message = (
            f"checkpoint {file}: no part 'video_codec' (it has: model), train that part or name another checkpoint"
        )
    elif damage == "cut":
        file.write_bytes(file.read_bytes()[:-100])
        size = file.stat().st_size
        message = f"checkpoint {file}: found {size} bytes (expected {size + 100}), it is damaged: copy it again"
    else:
        file.write_bytes(b"not a checkpoint")
        message = f"checkpoint {file}: no readable header (expected a safetensors file), copy it again"
    with pytest.raises(WangraphError, match=re.escape(f"node 'see': {message}")):
        plans.check(plans.load("duplex", {"checkpoint": str(file)}))


def test_numbers_that_are_none_end_a_run_and_name_node_unit_and_input(tmp_path):
    spoilt = f"{Path(__file__).with_name('spoilt_encoder.py')}:Spoilt"
    sets = {"output": str(tmp_path / "out.mp4"), "checkpoint": "nano", "user.width": 32, "user.height": 32,
            "see.type": spoilt, "see.params.at": 3}  # fmt: skip
    with pytest.raises(NodeError, match=(
        r"^node 'think', unit 3: ModelError: user video: found NaN or infinity \(expected finite numbers\), "
        r"check what produced it$"
    )):  # fmt: skip
        run(load("duplex", settings=sets), units=6, clock="virtual")
