"""Text in the tokens of a language model's folder: typed, told and said."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
import torch

pytest.importorskip("tokenizers")
pytest.importorskip("transformers")

from hypothesis import given, settings
from hypothesis import strategies as st
from public_weights import save_qwen, save_tokenizer
from test_backbone_nodes import response, unit, user

from wangraph.nodes import listening
from wangraph.nodes.reference import ReferenceNode
from wangraph.nodes.thinker import ThinkerNode
from wangraph.runtime.errors import CheckpointError, MissingExtra
from wangraph.runtime.node import NodeContext
from wangraph.runtime.units import UnitClock
from wangraph.wan_core import config
from wangraph.wan_core.adapters.convert import convert
from wangraph.wan_core.adapters.qwen import qwen_preset
from wangraph.wan_core.adapters.tokenizer import load_language
from wangraph.wan_core.errors import ModelError
from wangraph.wan_core.text import TypedText


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("Qwen-pocket")
    save_qwen(path, vocab_size=320)
    save_tokenizer(path)
    return path


@pytest.fixture(scope="module")
def theirs(folder):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


@pytest.fixture
def language(folder):
    return load_language(folder, 320)


@pytest.fixture(scope="module")
def checkpoint(folder, tmp_path_factory):
    """A checkpoint that begins as the folder's language model."""
    nano = config.preset("nano")
    shapes = {name: getattr(nano, name) for name in ("video", "audio", "mel", "slots")}
    made = replace(qwen_preset(folder), name="pocket", **shapes)
    file = tmp_path_factory.mktemp("converted") / "duplex.safetensors"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(config.PRESETS, "pocket", made)
        convert(folder, "pocket", file, "float32")
        yield str(file)


def opened(kind, **params):
    kind.check(params)
    node = kind(**params)
    node.open(NodeContext("node", UnitClock()))
    return node


def test_lines_are_read_as_the_folders_own_tokenizer_reads_them(language, theirs):
    for line in ("hello there", "What is 42, naïve café? ☂ 漢字", "the card is red"):
        assert language.tokens_of(line) == theirs.encode(line, add_special_tokens=False)
    assert language.pad == theirs.pad_token_id and list(language.enter) == theirs.encode("\n")


@settings(max_examples=60, deadline=None)
@given(text=st.text(st.characters(blacklist_categories=("Cs",)), max_size=24))
def test_what_is_said_piece_by_piece_is_the_whole_text(folder, text):
    language = load_language(folder, 320)
    read = language.new_reader()
    assert "".join(map(read, language.tokens_of(text))) == text.strip()


def test_a_character_of_several_tokens_comes_with_the_last_of_them(language):
    read, tokens = language.new_reader(), language.tokens_of("☂")
    assert len(tokens) == 3 and [read(token) for token in tokens] == ["", "", "☂"]


def test_special_tokens_are_not_shown_and_broken_characters_end(language, theirs):
    read = language.new_reader()
    assert [read(theirs.pad_token_id), read(theirs.eos_token_id)] == ["", ""]
    half = language.tokens_of("☂")[:1]
    shown = "".join(map(read, [*half, *language.tokens_of("the card is")]))
    assert shown.startswith("\N{REPLACEMENT CHARACTER}") and shown.endswith("is")


def test_words_typed_one_by_one_are_the_line(language, theirs):
    typed = TypedText(language)
    for part in ("hello ", "there ", "\n", "the card"):
        typed.type(part)
    (enter,) = language.enter
    line = [*theirs.encode("hello there", add_special_tokens=False), enter]
    assert typed.waiting[: len(line)] == line and typed.waiting[-1] == enter
    typed.waiting.clear()
    assert typed.next() == theirs.pad_token_id


def test_typed_text_reaches_the_model_and_its_words_come_out_in_the_folders_tokens(checkpoint, folder, theirs):
    node = opened(ThinkerNode, checkpoint=checkpoint, tokenizer=str(folder))
    took, said = [], theirs.encode("the card is red ☂", add_special_tokens=False)
    think = node._thinker.step

    def step(state, user, *args, **options):
        took.append(int(user.text))
        return replace(think(state, user, *args, **options), text=torch.tensor([said[len(took) - 1]]))

    node._thinker.step = step
    state = node.new_state()
    typed = ["hello\n", *[None] * (len(said) - 1)]
    words = [
        node.step(state, unit(k), **{**user(k), "text": typed[k]}, **response({}))["text"] for k in range(len(said))
    ]
    assert "".join(word or "" for word in words) == "the card is red ☂" and None in words
    line = [*theirs.encode("hello", add_special_tokens=False), *theirs.encode("\n", add_special_tokens=False)]
    assert took == [*line, *[theirs.pad_token_id] * (len(said) - len(line))]


def test_a_persona_is_persona_set_in_the_folders_tokens(checkpoint, folder, theirs):
    node = opened(ReferenceNode, checkpoint=checkpoint, tokenizer=str(folder), persona="the card is red")
    told = [int(prefix.user.text) for prefix in node.prefix(node.persona)]
    assert told[:-1] == theirs.encode("the card is red", add_special_tokens=False)
    assert node.new_state().model.thinker.cache.n_prefix == len(told)


def test_two_sessions_read_apart(checkpoint, folder, language):
    node = opened(ThinkerNode, checkpoint=checkpoint, tokenizer=str(folder))
    one, other = node.new_state().listener, node.new_state().listener
    first, *rest = language.tokens_of("☂")
    one.reader(first)
    assert [other.reader(token) for token in language.tokens_of("the")][-1].endswith("e")
    assert "".join(map(one.reader, rest)) == "☂"


def refused(message, error=CheckpointError):
    return pytest.raises(error, match=f"^{re.escape(message)}$")


def test_a_folder_without_a_tokenizer_is_refused_before_the_run(tmp_path):
    with refused(
        f"tokenizer {tmp_path}: no tokenizer.json (expected the folder of a language model, with tokenizer.json)"
    ):
        ThinkerNode.check({"checkpoint": "nano", "tokenizer": str(tmp_path)})
    with refused("tokenizer nowhere: no such folder (expected the folder of a language model, with tokenizer.json)"):
        ReferenceNode.check({"checkpoint": "nano", "tokenizer": "nowhere"})


def test_a_missing_package_is_named(folder, monkeypatch):
    monkeypatch.setattr(listening, "is_installed", lambda package: False)
    with refused(
        f"tokenizer {folder}: package 'tokenizers' not found (expected the extra 'adapters'), "
        "pip install 'wangraph[adapters]'",
        MissingExtra,
    ):
        ThinkerNode.check({"checkpoint": "nano", "tokenizer": str(folder)})


def test_more_tokens_than_the_model_has_are_refused(folder):
    with refused(
        f"tokenizer {folder}: found 284 tokens (expected 64 or fewer, as the model has), "
        "name the folder that the checkpoint was made from"
    ):
        opened(ThinkerNode, checkpoint="nano", tokenizer=str(folder))


def test_damaged_tokenizers_are_refused(tmp_path):
    save_tokenizer(tmp_path)
    settings_ = tmp_path / "tokenizer_config.json"
    kept = json.loads(settings_.read_text())
    settings_.write_text(json.dumps({k: v for k, v in kept.items() if k not in ("pad_token", "eos_token")}))
    with refused(
        f"tokenizer {tmp_path}: no pad_token or eos_token in tokenizer_config.json (expected one), "
        "it stands for nothing typed or said",
        ModelError,
    ):
        load_language(tmp_path, 320)
    settings_.write_text("{")
    with pytest.raises(
        ModelError, match=rf"^tokenizer {re.escape(str(settings_))}: cannot be read \(.*\), copy it again$"
    ):
        load_language(tmp_path, 320)
    (tmp_path / "tokenizer.json").write_text('{"model": 3}')
    with pytest.raises(ModelError, match=r"^tokenizer .*/tokenizer.json: cannot be read \(.*\), copy it again$"):
        load_language(tmp_path, 320)


def test_without_padding_the_end_of_a_text_stands_for_nothing(tmp_path):
    made = save_tokenizer(tmp_path, pad=None)
    assert load_language(tmp_path, 320).pad == made.eos_token_id
