"""Public codecs in a graph: ``params: {codec: wan2.1, path: ...}``."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("diffusers")
pytest.importorskip("transformers")

from public_weights import save_mimi, save_qwen, save_wan_vae

from wangraph import Graph, run
from wangraph.nodes import codecs
from wangraph.nodes.decode import DecodeAudio, DecodeVideo
from wangraph.nodes.encode import EncodeAudio, EncodeVideo
from wangraph.runtime.errors import CheckpointError, MissingExtra
from wangraph.runtime.node import NodeContext, Unit
from wangraph.runtime.packet import Validity, frozen
from wangraph.runtime.units import UnitClock
from wangraph.wan_core.adapters.convert import convert
from wangraph.wan_core.adapters.folder import audio_config, video_config
from wangraph.wan_core.adapters.qwen import qwen_preset
from wangraph.wan_core.adapters.wan_vae import load_wan_vae
from wangraph.wan_core.config import PRESETS, SlotConfig

CLOCK = UnitClock()
SIZE = {"width": 24, "height": 16}


@pytest.fixture(scope="module")
def wan(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wan")
    save_wan_vae(folder)
    return {"codec": "wan2.1", "path": str(folder), **SIZE}


@pytest.fixture(scope="module")
def mimi(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mimi")
    save_mimi(folder)
    return {"codec": "mimi", "path": str(folder)}


def unit(index):
    return Unit(index, CLOCK.pts_ns(index), CLOCK.duration_ns(index))


def opened(kind, params, **context):
    kind.check(params)
    node = kind(**params)
    node.open(NodeContext("node", CLOCK, **context))
    node.warm()
    return node


def specs(ports):
    return {name: (str(port.specs[""]), port.rate_hz) for side in ports for name, port in side.items()}


def test_ports_have_the_sizes_of_the_folder(wan, mimi):
    frames, latents = ("[4 16 24 3] uint8", None), ("[2 3 4] float32", None)
    assert specs(EncodeVideo.ports(wan)) == specs(DecodeVideo.ports(wan)) == {"frames": frames, "latents": latents}
    samples, latents = ("[3840] float32", 24_000), ("[2 16] float32", None)
    assert specs(EncodeAudio.ports(mimi)) == specs(DecodeAudio.ports(mimi)) == {"samples": samples, "latents": latents}


def test_ports_and_checks_need_neither_torch_nor_the_extra(wan):
    code = (
        "import sys; from wangraph.nodes.encode import EncodeVideo\n"
        f"EncodeVideo.ports({wan!r}); EncodeVideo.check({wan!r})\n"
        "sys.exit(any(name in sys.modules for name in ('torch', 'diffusers')))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_nodes_answer_as_the_codec_does(wan):
    lines = []
    see = opened(EncodeVideo, wan, report=lambda key, text: lines.append((key, text)))
    show = opened(DecodeVideo, wan)
    assert lines == [("weights", f"video_codec: wan2.1, {wan['path'].rpartition('/')[2]}")]
    codec = load_wan_vae(wan["path"], SIZE["height"], SIZE["width"])
    frames = np.random.default_rng(0).integers(0, 256, (3, 4, 16, 24, 3), np.uint8)
    seen, shown, past = see.new_state(), show.new_state(), codec.new_encoder_state()
    for k, array in enumerate(frames):
        latents = see.step(seen, unit(k), frames=frozen(array))["latents"].copy()
        x = torch.from_numpy(array.copy()).float()[None, None] / 127.5 - 1
        expected, past = codec.encode(x, past)
        np.testing.assert_allclose(latents, expected[0, 0].numpy(), atol=1e-4)
        assert show.step(shown, unit(k), latents=frozen(latents))["frames"].shape == (4, 16, 24, 3)


@pytest.mark.parametrize("kind", [EncodeVideo, EncodeAudio, DecodeVideo, DecodeAudio])
def test_units_caught_up_on_equal_units_answered(kind, wan, mimi):
    node = opened(kind, mimi if kind in (EncodeAudio, DecodeAudio) else wan)
    (port,), (inlet,) = node.ports(node.values)[0], node.ports(node.values)[0].values()
    shape = [dim.size for dim in inlet.specs[""].shape]
    rng = np.random.default_rng(1)
    inputs = [
        {
            port: frozen(
                rng.integers(0, 256, shape, np.uint8)
                if inlet.kind == "video"
                else rng.normal(0, 0.3, shape).astype(np.float32)
            )
        }
        for _ in range(5)
    ]
    answered, caught_up = node.new_state(), node.new_state()
    for k in range(4):
        node.step(answered, unit(k), **inputs[k])
    node.absorb(caught_up, [(unit(k), inputs[k]) for k in range(4)])
    one, other = (
        next(iter(node.step(state, unit(4), **inputs[4]).values())).astype(float) for state in (answered, caught_up)
    )
    np.testing.assert_allclose(one, other, atol=1.0 if kind is DecodeVideo else 1e-4)


def test_lost_units_are_seen_as_black(wan):
    node = opened(EncodeVideo, wan)
    black, lost = node.new_state(), node.new_state()
    for k in range(2):
        node.step(black, unit(k), frames=None)
    node.gap(lost, [unit(0), unit(1)])
    frames = frozen(np.full((4, 16, 24, 3), 200, np.uint8))
    one, other = (node.step(state, unit(2), frames=frames)["latents"] for state in (black, lost))
    np.testing.assert_allclose(one, other, atol=1e-5)


def test_a_graph_is_wired_by_the_sizes_of_the_folders(wan, mimi):
    graph = Graph("public", latency_ms=400)
    wan = {**wan, "width": 64, "height": 64}
    camera = graph.add("camera", "capture.pattern", width=64, height=64, seconds=0.48, rate_hz=24_000)
    see = graph.add("see", "encode.video", inputs={"frames": camera["video"]}, params=wan)
    show = graph.add("show", "decode.video", inputs={"latents": see["latents"]}, params=wan)
    hear = graph.add("hear", "encode.audio", inputs={"samples": camera["audio"]}, params=mimi)
    speak = graph.add("speak", "decode.audio", inputs={"latents": hear["latents"]}, params=mimi)
    graph.add("pictures", "sink.null", inputs={"value": show["frames"]})
    graph.add("sound", "sink.null", inputs={"value": speak["samples"]})
    plan = graph.plan()
    assert [t.shape for t in plan.streams["see.latents"].tensors] == [(8, 8, 4)]
    assert [t.shape for t in plan.streams["speak.samples"].tensors] == [(3840,)]
    packets = run(graph, clock="virtual", taps=["show.frames", "speak.samples"]).packets
    for name, shape in {"show.frames": (4, 64, 64, 3), "speak.samples": (3840,)}.items():
        real = [packet for packet in packets[name] if packet.validity is Validity.REAL]
        assert [packet.array.shape for packet in real] == [shape] * 3


def refused(message, kind=CheckpointError):
    return pytest.raises(kind, match=f"^{re.escape(message)}$")


def test_mistakes_are_told_before_the_run(wan, mimi, monkeypatch):
    with refused("codec 'wan2.1': path is missing (expected the folder of its weights)"):
        EncodeVideo.check({"codec": "wan2.1"})
    with refused(f"weights {mimi['path']}: found 'mimi' (expected 'wan2.1'), name the folder of that part"):
        DecodeVideo.check({**wan, "path": mimi["path"]})
    with refused(
        "checkpoint 'paper-7b': found codec 'own' (expected 'wan2.1'), set codec: wan2.1 and path: the folder of its weights"
    ):
        EncodeVideo.check({"checkpoint": "paper-7b"})
    monkeypatch.setattr(codecs, "is_installed", lambda package: False)
    with refused(
        "codec 'mimi': package 'transformers' not found (expected the extra 'adapters'), pip install 'wangraph[adapters]'",
        MissingExtra,
    ):
        EncodeAudio.check(mimi)
    assert EncodeVideo.ports({"codec": "wan2.1"}) == (EncodeVideo.inputs, EncodeVideo.outputs)


def test_an_agent_of_public_parts_alone_listens_and_answers(wan, mimi, tmp_path, monkeypatch):
    save_qwen(tmp_path / "Qwen-pocket")
    wan = {**wan, "width": 64, "height": 64}
    slots = SlotConfig(y_audio=2, y_video=8, u_audio=4, u_video=8)
    video, audio = video_config(wan["path"], 64, 64), audio_config(mimi["path"])
    pocket = replace(qwen_preset(tmp_path / "Qwen-pocket"), name="pocket", video=video, audio=audio, slots=slots)
    monkeypatch.setitem(PRESETS, "pocket", pocket)
    checkpoint = {"checkpoint": str(tmp_path / "agent.safetensors")}
    convert(tmp_path / "Qwen-pocket", "pocket", checkpoint["checkpoint"])

    graph = Graph("agent", latency_ms=400)
    user = graph.add("user", "capture.pattern", width=64, height=64, seconds=0.64)
    see = graph.add("see", "encode.video", inputs={"frames": user["video"]}, params=wan)
    hear = graph.add("hear", "encode.mel", inputs={"samples": user["audio"]}, params=checkpoint)
    think = graph.add(
        "think", "backbone.reference", inputs={"video": see["latents"], "audio": hear["mel"]}, params=checkpoint
    )
    show = graph.add("show", "decode.video", inputs={"latents": think["video"]}, params=wan)
    speak = graph.add("speak", "decode.audio", inputs={"latents": think["audio"]}, params=mimi)
    for name, stream in {"face": show["frames"], "voice": speak["samples"], "words": think["text"]}.items():
        graph.add(name, "sink.null", inputs={"value": stream})
    result = run(graph, clock="virtual", taps=["show.frames", "speak.samples", "think.event"])
    for name, shape in {"show.frames": (4, 64, 64, 3), "speak.samples": (3840,), "think.event": (2,)}.items():
        real = [packet for packet in result.packets[name] if packet.validity is Validity.REAL]
        assert [packet.array.shape for packet in real] == [shape] * 4
    weights = {(node, text) for node, key, text in result.reports if key == "weights"}
    assert ("think", "model: agent.safetensors, trained not yet, begins as Qwen-pocket") in weights
    assert ("speak", f"audio_codec: mimi, {mimi['path'].rpartition('/')[2]}") in weights
