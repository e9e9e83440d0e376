from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from dataclasses import replace

import pytest
import safetensors.torch
import torch
from torch import nn

from wangraph.wan_core import checkpoint_header
from wangraph.wan_core.checkpoint import load_part, save
from wangraph.wan_core.checkpoint_header import check_part, inspect, preset_of, vocabulary_of
from wangraph.wan_core.errors import ModelError
from wangraph.wan_core.media.audio import AudioCodec
from wangraph.wan_core.media.video import VideoCodec
from wangraph.wan_core.vocabulary import CONTROL, vocabulary


def video(preset):
    return VideoCodec(preset.video)


def audio(preset):
    return AudioCodec(preset.audio)


def weights(module):
    return torch.cat([tensor.flatten() for tensor in module.state_dict().values()])


def refused(message):
    return pytest.raises(ModelError, match=f"^{re.escape(message)}$")


@pytest.fixture(autouse=True)
def _nothing_shipped(monkeypatch, tmp_path):
    monkeypatch.setattr(checkpoint_header, "shipped_folder", lambda: tmp_path / "weights")


@pytest.fixture
def trained(tmp_path, randomise):
    """Path and parts of a checkpoint with both codecs of `nano`."""
    parts = {"video_codec": load_part("nano", "video_codec", video).module}
    parts["audio_codec"] = load_part("nano", "audio_codec", audio).module
    for seed, module in enumerate(parts.values()):
        randomise(module, seed)
    path = tmp_path / "mine.safetensors"
    save(path, parts, "nano", {"trained": "2026-11-23 in 25 min", "world": "1"})
    return path, parts


def edited(path, change):
    """Rewrite a checkpoint's tensors and metadata."""
    with safetensors.safe_open(path, "pt") as file:
        metadata, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    change(tensors, metadata)
    safetensors.torch.save_file(tensors, path, metadata)


# random weights


def test_random_weights_depend_on_preset_part_and_seed_only():
    first = load_part("nano", "video_codec", video)
    torch.manual_seed(123)
    load_part("nano", "audio_codec", audio)
    assert torch.equal(weights(load_part("nano", "video_codec", video).module), weights(first.module))
    for other in (
        load_part("nano", "video_codec", video, seed=1),
        load_part("nano", "other_codec", video),
    ):
        assert not torch.equal(weights(other.module), weights(first.module))
    assert first.description == "random, seed 0" and first.preset.name == "nano"


def test_loading_leaves_the_global_generator_where_it_was():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    load_part("nano", "video_codec", video)
    assert torch.equal(torch.rand(3), expected)


def test_lanes_that_load_at_once_get_the_same_weights():
    begun, intruded, loaded = threading.Event(), threading.Event(), []

    def patient(preset):
        first = nn.Linear(4, 4)
        begun.set()
        intruded.wait(0.05)  # not while this one builds; else the second layer is drawn from the intruder's seed
        return nn.Sequential(first, nn.Linear(4, 4))

    def intruder(preset):
        intruded.set()
        lane.join(0.05)
        return nn.Linear(4, 4)

    expected = weights(load_part("nano", "model", patient).module)
    begun.clear()
    lane = threading.Thread(target=lambda: loaded.append(load_part("nano", "model", patient).module))
    lane.start()
    begun.wait()
    load_part("nano", "other", intruder)
    lane.join()
    assert torch.equal(weights(loaded[0]), expected)


def test_a_loaded_part_is_frozen_and_in_eval_mode():
    module = load_part("nano", "video_codec", video).module
    assert not module.training and not any(parameter.requires_grad for parameter in module.parameters())


# saved weights


def test_what_was_saved_comes_back_bit_for_bit(trained):
    path, parts = trained
    loaded = load_part(path, "video_codec", video, seed=9)
    assert torch.equal(weights(loaded.module), weights(parts["video_codec"]))
    assert loaded.description == "mine.safetensors, trained 2026-11-23 in 25 min"
    assert loaded.preset.name == "nano"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_narrow_weights_are_widened_at_load(trained, tmp_path, dtype):
    _, parts = trained
    save(tmp_path / "narrow.safetensors", parts, "nano", dtype=dtype)
    loaded = load_part(tmp_path / "narrow.safetensors", "audio_codec", audio)
    assert {tensor.dtype for tensor in loaded.module.state_dict().values()} == {torch.float32}
    assert torch.equal(weights(loaded.module), weights(parts["audio_codec"]).to(dtype).float())
    assert loaded.description == "narrow.safetensors"


def test_a_folder_holds_a_file_for_each_part(trained, tmp_path):
    _, parts = trained
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, module in parts.items():
        save(folder / f"{name}.safetensors", {name: module}, "nano", {"trained": f"{name} alone"})
    loaded = load_part(folder, "audio_codec", audio)
    assert torch.equal(weights(loaded.module), weights(parts["audio_codec"]))
    assert loaded.description == "folder, trained audio_codec alone"
    assert inspect(folder).parts == ("audio_codec", "video_codec")


def test_a_part_twice_in_a_folder_is_refused(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    save(folder / "a.safetensors", {"model": nn.Linear(2, 2, bias=False)}, "nano")
    save(folder / "b.safetensors", {"model": nn.Linear(2, 2, bias=False)}, "nano")
    with refused(f"checkpoint {folder}: 'model.weight' is in a.safetensors and in b.safetensors, remove one of them"):
        inspect(folder)


def test_shipped_weights_are_used_for_the_parts_they_hold(trained, tmp_path):
    _, parts = trained
    (tmp_path / "weights").mkdir()
    save(tmp_path / "weights/nano.safetensors", {"audio_codec": parts["audio_codec"]}, "nano", {"trained": "today"})
    shipped = load_part("nano", "audio_codec", audio)
    assert torch.equal(weights(shipped.module), weights(parts["audio_codec"]))
    assert shipped.description == "nano, trained today"
    assert load_part("nano", "video_codec", video).description == "random, seed 0"
    check_part("nano", "video_codec")


def test_tied_and_strided_tensors_can_be_saved(tmp_path):
    module = nn.Module()
    module.a = module.b = nn.Linear(3, 2, bias=False)
    module.c = nn.Parameter(torch.randn(2, 3).t())
    save(tmp_path / "tied.safetensors", {"model": module}, "nano")
    assert set(inspect(tmp_path / "tied.safetensors").part("model")) == {"a.weight", "b.weight", "c"}


def test_a_header_tells_shapes_parts_and_preset_without_torch(trained):
    path, _ = trained
    code = (
        "import json, sys\n"
        "from wangraph.wan_core.checkpoint_header import inspect, check_part\n"
        "info = inspect(sys.argv[1]); check_part(sys.argv[1], 'video_codec'); check_part('tiny', 'model')\n"
        "scale = info.tensors['audio_codec.scale.std']\n"
        "print(json.dumps([info.parts, info.preset.name, scale.dtype, scale.shape, 'torch' in sys.modules]))"
    )
    printed = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True).stdout
    assert json.loads(printed) == [["audio_codec", "video_codec"], "nano", "F32", [16], False]


def test_a_checkpoint_keeps_what_its_tokens_stand_for(trained):
    path, parts = trained
    own = replace(vocabulary("toy_world"), words=(*CONTROL, "left", "right"), spelling={"1": "left"})
    save(path, parts, "nano", vocabulary=own)
    assert vocabulary_of(path) == inspect(path).vocabulary == own


def test_without_a_vocabulary_of_its_own_a_checkpoint_has_that_of_its_preset(trained):
    path, _ = trained
    assert vocabulary_of(path) == vocabulary_of("nano") == vocabulary("toy_world")
    assert vocabulary_of("paper-7b") is None


# what does not fit


def test_a_vocabulary_that_cannot_be_used_is_refused(trained, tmp_path):
    path, parts = trained
    toy = vocabulary("toy_world")
    save(path, parts, "nano", vocabulary=replace(toy, words=(*toy.words, "purple")))
    with refused(
        f"checkpoint {path}: found a vocabulary of 65 words (expected 64 at most, by preset 'nano'), "
        "name another checkpoint"
    ):
        vocabulary_of(path)
    edited(path, lambda _, lines: lines.update(vocabulary="hello"))
    with refused(
        f"checkpoint {path}: found no vocabulary (expected JSON with words, states, gestures, spelling), save it again"
    ):
        vocabulary_of(path)
    folder = tmp_path / "apart"
    folder.mkdir()
    for part, words in (("audio_codec", toy.words), ("video_codec", toy.words[:10])):
        kept = replace(toy, words=words, spelling={})
        save(folder / f"{part}.safetensors", {part: parts[part]}, "nano", vocabulary=kept)
    with refused(f"checkpoint {folder}: found 2 vocabularies (expected one in the metadata), save it again"):
        vocabulary_of(folder)


def test_a_missing_part_is_named_with_those_there_are(trained):
    path, _ = trained
    message = (
        f"checkpoint {path}: no part 'model' (it has: audio_codec, video_codec), "
        "train that part or name another checkpoint"
    )
    with refused(message):
        load_part(path, "model", video)
    with refused(message):
        check_part(path, "model")


def test_another_shape_is_named_with_both_shapes(trained):
    path, _ = trained
    edited(path, lambda tensors, _: tensors.update({"audio_codec.scale.std": torch.ones(15)}))
    with refused(
        f"checkpoint {path}: 'audio_codec.scale.std' is [15] (expected [16] by preset 'nano'), "
        "name a checkpoint of that preset"
    ):
        load_part(path, "audio_codec", audio)


def test_a_missing_tensor_is_named_with_its_shape(trained):
    path, _ = trained
    edited(path, lambda tensors, _: tensors.pop("audio_codec.scale.std"))
    with refused(
        f"checkpoint {path}: no tensor 'audio_codec.scale.std' (expected [16]; 1 missing), "
        "it was made by another version: save it again"
    ):
        load_part(path, "audio_codec", audio)


def test_an_unknown_tensor_is_named(trained):
    path, _ = trained
    edited(path, lambda tensors, _: tensors.update({"audio_codec.extra": torch.ones(1)}))
    with refused(
        f"checkpoint {path}: found tensor 'audio_codec.extra' (preset 'nano' has none of that name; 1 too many), "
        "it was made by another version: save it again"
    ):
        load_part(path, "audio_codec", audio)


def test_whole_numbers_for_weights_are_refused(trained):
    path, _ = trained
    edited(path, lambda tensors, _: tensors.update({"audio_codec.scale.std": torch.ones(16, dtype=torch.int64)}))
    with refused(f"checkpoint {path}: 'audio_codec.scale.std' is I64 (expected torch.float32), save it again"):
        load_part(path, "audio_codec", audio)


def test_weights_that_are_not_numbers_are_refused(trained):
    path, _ = trained
    edited(path, lambda tensors, _: tensors["audio_codec.scale.std"].fill_(torch.nan))
    with refused(f"checkpoint {path}: 'audio_codec.scale.std' holds NaN or infinity, train it again"):
        load_part(path, "audio_codec", audio)


def test_a_checkpoint_without_preset_is_refused(trained):
    path, _ = trained
    edited(path, lambda _, metadata: metadata.pop("preset"))
    with refused(f"checkpoint {path}: found preset none (expected one in the metadata), save it again"):
        preset_of(path)


@pytest.mark.parametrize("cut", [1, 1000])
def test_a_file_that_was_cut_off_is_refused(trained, cut):
    path, _ = trained
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-cut])
    with refused(f"checkpoint {path}: found {size - cut} bytes (expected {size}), it is damaged: copy it again"):
        check_part(path, "audio_codec")


@pytest.mark.parametrize("content", [b"", b"hello, world: no header here", bytes(100), b"\x02" + bytes(7) + b"[]"])
def test_a_file_of_another_kind_is_refused(tmp_path, content):
    path = tmp_path / "other.safetensors"
    path.write_bytes(content)
    with refused(f"checkpoint {path}: no readable header (expected a safetensors file), copy it again"):
        inspect(path)


def test_an_unknown_preset_gets_a_suggestion():
    with refused(
        "checkpoint 'tinny': no such file (presets: nano, paper-0.5b, paper-7b, small, tiny); did you mean 'tiny'?"
    ):
        preset_of("tinny")


def test_another_suffix_and_an_empty_folder_are_refused(tmp_path):
    (tmp_path / "model.pt").touch()
    with refused(f"checkpoint {tmp_path}/model.pt: found '.pt' (expected .safetensors or a folder), convert it"):
        preset_of(tmp_path / "model.pt")
    (tmp_path / "empty").mkdir()
    with refused(f"checkpoint {tmp_path}/empty: found no .safetensors file in the folder (expected one or more)"):
        preset_of(tmp_path / "empty")


# what cannot be saved


def test_numbers_too_large_for_half_precision_are_refused(tmp_path):
    layer = nn.Linear(1, 1, bias=False)
    nn.init.constant_(layer.weight, 1e6)
    path = tmp_path / "large.safetensors"
    with refused(
        f"checkpoint {path}: 'model.weight' holds numbers that torch.float16 cannot (NaN, infinity or too large), "
        "use float32"
    ):
        save(path, {"model": layer}, "nano", dtype=torch.float16)
    assert not path.exists()


def test_a_checkpoint_of_no_preset_or_suffix_is_not_written(tmp_path):
    with refused(
        f"checkpoint {tmp_path}/a.safetensors: found preset 'huge' (available: nano, paper-0.5b, paper-7b, small, tiny)"
    ):
        save(tmp_path / "a.safetensors", {}, "huge")
    with refused(f"checkpoint {tmp_path}/a.pt: found '.pt' (expected .safetensors), rename it"):
        save(tmp_path / "a.pt", {}, "nano")


def test_an_unwritable_folder_is_told_in_words_and_nothing_is_left(tmp_path):
    with pytest.raises(ModelError, match=r"^checkpoint .*: cannot be written \(.*\), check folder and free space$"):
        save(tmp_path / "nowhere/a.safetensors", {"model": nn.Linear(1, 1)}, "nano")
    assert list(tmp_path.iterdir()) == []
