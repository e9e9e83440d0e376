"""What is compiled says what is not: the same words, the same numbers but for rounding."""

from __future__ import annotations

import re
from dataclasses import replace

import click
import pytest
import torch
from click.testing import CliRunner
from dialogue_toys import dialogue, worst
from test_backbone_nodes import unit, user

from wangraph.nodes.encode import EncodeVideo
from wangraph.nodes.reference import ReferenceNode
from wangraph.runtime.errors import CheckpointError
from wangraph.runtime.node import NodeContext
from wangraph.runtime.units import UnitClock
from wangraph.tools.cli import cli
from wangraph.wan_core import compiling
from wangraph.wan_core.compiling import compiled, compiled_codec, unit_lengths
from wangraph.wan_core.config import preset
from wangraph.wan_core.exchange import UserUnit
from wangraph.wan_core.flow import Solver
from wangraph.wan_core.media.audio import AudioCodec
from wangraph.wan_core.media.video import VideoCodec
from wangraph.wan_core.model import DuplexModel
from wangraph.wan_core.reference import Reference

NANO = preset("nano")


@pytest.fixture
def compilations(monkeypatch):
    """Graphs that inductor has compiled, and a clean slate."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    yield lambda: torch._dynamo.utils.counters["stats"]["unique_graphs"]
    torch._dynamo.reset()


def conversation(model, units):
    """Text, event and everything else that is said, unit by unit, free-running."""
    given, reference = dialogue(batch=1, units=units), Reference(model)
    state = reference.new_state()
    reference.gap(state, 3)
    for k in range(units):
        thought, latents = reference.step(state, given.user_unit(k))
        yield (thought.text, thought.event), (thought.text_logits, thought.state_logits, *latents)


@pytest.mark.slow
@pytest.mark.needs("c++")
def test_a_compiled_model_says_what_it_says_otherwise(randomise, compilations):
    """With flow time by modulation: then thinking runs the blocks without it, and solving with it."""
    shapes = replace(NANO, flow_time="modulation")
    eager, ours = (randomise(DuplexModel(shapes)) for _ in range(2))
    with torch.inference_mode():
        pairs = list(zip(conversation(eager, 8), conversation(compiled(ours), 8), strict=True))
    for (words, numbers), (own_words, own_numbers) in pairs:
        assert all(map(torch.equal, words, own_words))
        assert worst(numbers, own_numbers) < 1e-4
    # two functions for each of the passes: u with y, s, the noisy ones; none for the gap, which is longer
    assert compilations() == 6


@pytest.mark.slow
@pytest.mark.needs("c++")
@pytest.mark.parametrize(("kind", "config"), [(VideoCodec, NANO.video), (AudioCodec, NANO.audio)])
def test_a_compiled_codec_codes_what_it_codes_otherwise(randomise, compilations, kind, config):
    shape = (config.frames, config.height, config.width, 3) if kind is VideoCodec else (config.samples,)
    units = torch.rand(4, 1, 1, *shape, generator=torch.Generator().manual_seed(0)) - 0.5
    results, after_two = [], 0
    for prepare in (lambda codec: codec, compiled_codec):
        codec = prepare(randomise(kind(config)))
        encoder, decoder, said = codec.new_encoder_state(), codec.new_decoder_state(), []
        with torch.inference_mode():
            for k, x in enumerate(units):
                latents, encoder = codec.encode(x, encoder)
                y, decoder = codec.decode(latents, decoder)
                said += [latents, y]
                after_two = compilations() if k == 1 else after_two
        results.append(said)
    assert worst(*results) < 1e-4
    assert compilations() == after_two > 0, "nothing is compiled once a session runs"


def test_only_the_passes_of_a_unit_are_compiled(monkeypatch):
    """By a compiler that only notes what it is asked to run."""
    asked = []

    def note(function, dynamic):
        assert dynamic is False
        return lambda block, x, *rest: asked.append(x.shape[1]) or function(block, x, *rest)

    monkeypatch.setattr(compiling.torch, "compile", note)
    monkeypatch.setattr(compiling, "check_compiler", lambda device: None)
    reference = Reference(compiled(DuplexModel(NANO).eval()))
    state = reference.new_state()
    reference.gap(state, 5)
    assert asked == []
    reference.step(state, UserUnit(), Solver(1))
    slots, halves = NANO.slots, 2 * NANO.backbone.layers
    assert asked == [slots.y + slots.u] * halves + [slots.s] * halves + [slots.noisy] * halves
    assert set(asked) < unit_lengths(slots)


def test_a_missing_compiler_is_named(monkeypatch):
    from torch._inductor import cpp_builder
    from torch._inductor.exc import InvalidCxxCompiler

    def none():
        raise InvalidCxxCompiler

    monkeypatch.setattr(cpp_builder, "get_cpp_compiler", none)
    message = (
        "compile: found no C++ compiler (expected one, as g++, to compile for a processor), "
        "install it or set compile: none"
    )
    for kind in (ReferenceNode, EncodeVideo):
        with pytest.raises(CheckpointError, match=f"^{re.escape(message)}$"):
            kind(checkpoint="nano", compile="inductor").open(NodeContext("node", UnitClock()))


def test_a_public_codec_is_not_compiled():
    message = "codec 'wan2.1': found compile 'inductor' (expected none), only our own are compiled"
    with pytest.raises(CheckpointError, match=f"^{re.escape(message)}$"):
        EncodeVideo.check({"codec": "wan2.1", "path": "anywhere", "compile": "inductor"})


@pytest.mark.parametrize("asked", ["none", "inductor"])
def test_a_node_compiles_when_it_is_asked_to(monkeypatch, asked):
    made = []
    monkeypatch.setattr(compiling, "compiled", lambda model: made.append(model) or model)
    node = ReferenceNode(checkpoint="nano", compile=asked)
    node.open(NodeContext("node", UnitClock()))
    assert len(made) == (asked == "inductor")
    assert set(node.step(node.new_state(), unit(0), **user(0))) == {"video", "audio", "text", "event"}


def test_other_benches_are_not_compiled():
    result = CliRunner().invoke(cli, ["bench", "clock", "--compile"], standalone_mode=False)
    assert isinstance(result.exception, click.NoSuchOption) and result.exception.option_name == "--compile"
