import wave
from dataclasses import replace

import numpy as np
import pytest
import torch

from wangraph.runtime.errors import MediaError, UserError
from wangraph.tools.lab.train import data as data_module
from wangraph.tools.lab.train.contact_sheet import spectrogram, stack, strip, write_png
from wangraph.tools.lab.train.data import DataSpec, make, missing, write_shard
from wangraph.tools.lab.train.labels import LISTENED, POSE, tensors_of
from wangraph.tools.lab.train.persona_prompt import prompt_for, prompt_tokens
from wangraph.tools.lab.train.plan import PLANS, plan_of
from wangraph.tools.lab.train.shards import CALM_UNITS, Media, Tracks, load
from wangraph.tools.lab.world.dialogue import play
from wangraph.tools.lab.world.persona import PERSONAS
from wangraph.tools.lab.world.script import Act, Reaction, fixed
from wangraph.tools.lab.world.tokens import TOKENS, VOCABULARY
from wangraph.tools.lab.world.voices import Bank, digest_of_recordings
from wangraph.wan_core.config import preset
from wangraph.wan_core.vocabulary import PAD


@pytest.fixture(scope="module")
def talk():
    bank = Bank()
    acts = (Act("ask", 300, (("seven", "two"),)), Act("card", 300, colour="blue"), Act("hand", 300))
    return play(5, 60, bank, script=fixed(*acts), size=32)


@pytest.fixture(scope="module")
def rows(talk):
    return tensors_of(talk)


def test_every_unit_of_a_dialogue_has_everything(talk, rows):
    shapes = {name: tuple(tensor.shape) for name, tensor in rows.items()}
    assert shapes["user_audio"] == (60, 2560) and shapes["agent_video"] == (60, 4, 32, 32, 3)
    assert shapes["user_pose"] == (60, len(POSE)) and set(LISTENED) <= set(shapes)
    assert all(shape[0] == len(talk) for shape in shapes.values())
    sound = rows["user_audio"].float().flatten().numpy() / 32767
    assert np.abs(sound - np.clip(talk.user_audio, -1, 1)).max() < 1e-4


def test_labels_are_in_the_unit_in_which_the_cue_is_complete(talk, rows):
    heard = [(cue.words[0], (cue.at - 1) // 2560) for cue in talk.cues if cue.kind == "word"]
    assert [(TOKENS[word] - TOKENS["zero"] + 1, unit) for word, unit in heard] == [
        (int(rows["digit"][unit]), int(unit)) for unit in rows["digit"].nonzero().flatten()
    ]
    ends = [(cue.at - 1) // 2560 for cue in talk.cues if cue.kind == "end"]
    assert rows["end"].nonzero().flatten().tolist() == ends
    assert set(rows["card"].tolist()) == {0, 3} and rows["hand"].sum() > 3


def test_doing_nothing_counts_where_a_pause_or_a_backchannel_might_be_mistaken(tmp_path):
    bank = Bank(cache=tmp_path)
    acts = (
        Act(
            "ask", 300, (("seven",), ("two", "three", "four")), 900, reaction=Reaction("backchannel", 300, (("okay",),))
        ),
        Act("aside", 300, (("one",),)),
    )
    talk = play(5, 60, bank, script=fixed(*acts), size=0)
    holds = tensors_of(talk)["holds"].nonzero().flatten().tolist()
    pause = next(cue.at for cue in talk.cues if cue.kind == "pause")
    backchannel = next(cue.at for cue in talk.cues if cue.kind == "speech" and cue.manner == "backchannel")
    quiet = [cue.at for cue in talk.cues if cue.kind == "quiet"]
    assert len(quiet) == 2, "the backchannel's and the side talk's"
    wanted = [-(-(at + ms * 16) // 2560) for at, ms in ((pause, 80), (backchannel, 240), *((at, 80) for at in quiet))]
    assert holds == sorted(set(wanted))
    state = [talk.states[unit] for unit in holds]
    assert state[0] == "listen" and "stop" not in state, "the ideal agent did nothing there"


def test_the_ideal_agents_words_and_states_are_kept(talk, rows):
    words = [int(token) for token in rows["agent_text"] if token != PAD]
    assert words[:3] == [TOKENS["eight"], TOKENS["three"], TOKENS["blue"]]
    assert [VOCABULARY.states[state] for state in rows["event"][:, 0]] == list(talk.states)


def tracks(rows=6, units=20, scenario=0):
    chance = torch.Generator().manual_seed(0)
    quiet = {name: torch.zeros(rows, units, dtype=torch.int8) for name in LISTENED}
    return {
        **quiet,
        **{name: torch.zeros(rows, units, dtype=torch.int8) for name in ("holds", "unseen", "unheard")},
        "user_audio": torch.randint(-999, 999, (rows, units, 2560), generator=chance, dtype=torch.int16),
        "user_frames": torch.randn(rows, units, 2, 2, 16, generator=chance).half(),
        "agent_latents": torch.randn(rows, units, 8, 16, generator=chance).half(),
        "agent_frames": torch.randn(rows, units, 2, 2, 16, generator=chance).half(),
        "agent_loudness": torch.zeros(rows, units),
        "user_text": torch.zeros(rows, units, dtype=torch.int16),
        "agent_text": torch.zeros(rows, units, dtype=torch.int16),
        "event": torch.zeros(rows, units, 2, dtype=torch.int8),
        "persona": torch.zeros(rows, dtype=torch.int8),
        "scenario": torch.arange(rows, dtype=torch.int8) % 6 if scenario is None else torch.full((rows,), scenario),
    }


def test_windows_begin_at_zero_or_where_nothing_was_going_on():
    data = tracks()
    data["speaking"][:, 8] = 1
    reader = Tracks(data, 4, 6, 12, torch.device("cpu"))
    starts = {reader._start(0, 6, torch.Generator().manual_seed(seed)) for seed in range(200)}
    assert starts == {0, *range(CALM_UNITS, 9), *range(9 + CALM_UNITS, 15)}


def test_the_same_generator_draws_the_same_batch():
    reader = Tracks(tracks(), 4, 6, 12, torch.device("cpu"), long_share=0.1)
    one, two = (reader.draw(torch.Generator().manual_seed(7), 0.5, torch.ones(6)) for _ in range(2))
    assert torch.equal(one.user_audio, two.user_audio) and one.shape == (4, 6)
    assert reader.draw(torch.Generator().manual_seed(7), 0.95, torch.ones(6)).shape == (2, 12)


def test_basics_come_first_and_harder_scenarios_more_often():
    reader = Tracks(tracks(rows=12, scenario=None), 64, 6, 12, torch.device("cpu"), basics_until=0.2)
    chance = torch.Generator().manual_seed(0)
    assert set(reader.draw(chance, 0.1, torch.ones(6)).scenario.tolist()) == {0, 1}
    difficulty = torch.tensor([1.0, 1, 1, 9, 1, 1])
    drawn = torch.cat([reader.draw(chance, 0.5, difficulty).scenario for _ in range(10)])
    assert (drawn == 3).float().mean() > 0.5 and len(set(drawn.tolist())) == 6


def test_an_agent_is_another_persona_only_where_it_is_told_so():
    data = tracks(rows=12)
    data["persona"][6:9], data["persona"][9:] = 1, 2
    data["user_text"] += data["persona"][:, None]  # to know them again
    never = Tracks(data, 8, 6, 12, torch.device("cpu"))
    always = Tracks(data, 8, 6, 12, torch.device("cpu"), basics_until=0.2, prompt_share=1.0)
    chance = torch.Generator().manual_seed(0)
    for _ in range(5):
        batch = never.draw(chance, 0.5, torch.ones(6))
        assert batch.prefix is None and set(batch.user_text.unique().tolist()) == {0}
        assert not batch.labels["persona"].any()
        batch = always.draw(chance, 0.5, torch.ones(6))
        assert torch.equal(batch.prefix.user.text, prompt_tokens()[batch.user_text[:, 0]])
        assert torch.equal(batch.labels["persona"], 1 + batch.user_text)  # in every unit
    assert always.draw(chance, 0.1, torch.ones(6)).prefix is None  # basics come first


def test_every_persona_is_told_in_other_words():
    assert prompt_tokens().shape == (3, 4) and len(set(map(tuple, prompt_tokens().tolist()))) == 3
    assert prompt_for(PERSONAS["otto"]) == "one is zero"


def test_clips_with_speech_are_drawn_more_often_than_silence():
    audio = torch.zeros(4, 40, 2560, dtype=torch.int16)
    audio[0, 10:12] = 8000
    data = {"agent_audio": audio, "user_audio": audio}
    videos = Media(data, 64, 2, 1.0, torch.device("cpu"))
    loud = videos.sounds(torch.Generator().manual_seed(0)).abs().amax((1, 2)) > 0.1
    assert 0.1 < loud.float().mean() < 0.6  # 3 of 156 windows are


@pytest.fixture
def spec():
    return DataSpec("media", "nano", dialogues=5, units=3, seed=0, per_shard=2)


@pytest.fixture
def silent_world(monkeypatch):
    """Dialogues without a synthesiser: a number each."""
    made = []

    class NoBank:
        def split(self, split):
            return []

    monkeypatch.setattr(DataSpec, "bank", lambda spec: NoBank())
    monkeypatch.setattr(
        data_module,
        "_dialogue",
        lambda spec, bank, number: made.append(number) or {"number": torch.full((spec.units,), number)},
    )
    return made


def test_shards_are_made_once_and_only_what_is_missing_again(spec, silent_world, tmp_path):
    assert sorted(make(spec, tmp_path, 1)) == [0, 1, 2]
    assert silent_world == [0, 1, 2, 3, 4]
    assert load(spec, tmp_path)["number"][:, 0].tolist() == [0, 1, 2, 3, 4]
    spec.path(tmp_path, 1).unlink()
    silent_world.clear()
    assert missing(spec, tmp_path) == [1] == list(make(spec, tmp_path, 1))
    assert silent_world == [2, 3] and list(make(spec, tmp_path, 1)) == []


def test_the_last_shard_of_fewer_dialogues_is_made_whole_when_there_are_more(spec, silent_world, tmp_path):
    list(make(spec, tmp_path, 1))
    more = replace(spec, dialogues=7)
    silent_world.clear()
    assert missing(more, tmp_path) == [2, 3] == sorted(make(more, tmp_path, 1))
    assert silent_world == [4, 5, 6] and missing(more, tmp_path) == []
    assert load(more, tmp_path)["number"][:, 0].tolist() == [0, 1, 2, 3, 4, 5, 6]


def test_equal_specs_are_equal_data_whatever_else_was_made_in_between(spec, silent_world, tmp_path):
    list(make(replace(spec, dialogues=6), tmp_path, 1))
    assert missing(spec, tmp_path) == []
    assert load(spec, tmp_path)["number"][:, 0].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.slow
def test_two_processes_make_the_same_data_as_one(tmp_path):
    spec = DataSpec("media", "nano", dialogues=4, units=3, seed=0, per_shard=2)
    for processes in (1, 2):
        assert sorted(make(spec, tmp_path / str(processes), processes)) == [0, 1]
    one, two = (load(spec, tmp_path / name) for name in ("1", "2"))
    assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def test_other_data_are_other_files_and_more_of_the_same_are_not(spec, tmp_path):
    path = spec.path(tmp_path, 0)
    assert replace(spec, dialogues=9).path(tmp_path, 0) == path
    for change in ({"seed": 1}, {"units": 4}, {"hold_out": ("lucas",)}, {"codecs": "x"}, {"split": "held-out"}):
        assert replace(spec, **change).path(tmp_path, 0) != path
    anna, ben = (replace(spec, voices="people", recordings=digest) for digest in ("anna", "anna and ben"))
    assert len({path, anna.path(tmp_path, 0), ben.path(tmp_path, 0)}) == 3
    assert replace(anna, voices="elsewhere").path(tmp_path, 0) == anna.path(tmp_path, 0)


def test_a_damaged_shard_is_named(spec, silent_world, tmp_path):
    list(make(spec, tmp_path, 1))
    spec.path(tmp_path, 2).write_bytes(b"no")
    assert missing(spec, tmp_path) == []
    with pytest.raises(MediaError, match=r"-0002.safetensors: cannot be read \(.*\), remove it to have it made again$"):
        load(spec, tmp_path)


def test_a_shard_that_cannot_be_written_leaves_nothing_behind(tmp_path):
    with pytest.raises(MediaError, match=r"cannot be written \(.*\), make room and go on with --resume$"):
        write_shard(tmp_path / "nowhere" / "x.safetensors", {"a": torch.zeros(3)})
    assert list(tmp_path.iterdir()) == []


def record(path, samples, rate=16_000, channels=1):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((np.repeat(samples, channels) * 32767).astype(np.int16).tobytes())


@pytest.fixture
def people(tmp_path):
    folder = tmp_path / "people"
    folder.mkdir()
    for digit in range(10):
        rate, channels = ((16_000, 1), (48_000, 2), (44_100, 1))[digit % 3]
        tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(int(rate * 0.4)) / rate)
        record(folder / f"{digit}_anna_0.wav", tone, rate, channels)
    return folder


def only_people(folder):
    digest = digest_of_recordings(folder)
    return DataSpec("media", "nano", 1, 2, 0, voices=str(folder), recordings=digest, hold_out=("espeak-ng", "flite"))


def test_stereo_and_other_rates_are_read(people, tmp_path):
    bank = only_people(people).bank()
    (anna,) = bank.split("train")
    lengths = [len(takes[0]) for takes in bank.takes(anna).values()]
    assert len(lengths) == 10 and max(lengths) - min(lengths) < 800


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"RIFF but no sound", "not a readable recording (expected a WAV file), remove or replace it"),
        (np.zeros(8000), "silent (expected a spoken word), remove or replace it"),
        (np.zeros(0), "silent (expected a spoken word), remove or replace it"),
    ],
)
def test_a_broken_silent_or_empty_recording_stops_training_by_name_before_it_begins(people, tmp_path, content, told):
    path = people / "4_anna_0.wav"
    path.write_bytes(content) if isinstance(content, bytes) else record(path, content)
    with pytest.raises(MediaError) as error:
        list(make(only_people(people), tmp_path / "data", 1))
    assert str(error.value) == f"{path}: {told}"
    assert list((tmp_path / "data").iterdir()) == []


def test_a_preset_without_a_plan_is_refused():
    with pytest.raises(UserError, match=r"^preset: found 'tinny' \(to train: .*\); did you mean 'tiny'\?$"):
        plan_of("tinny")


def test_plans_leave_time_for_the_data():
    for plan in PLANS.values():
        assert 0.5 < sum(plan.shares.values()) < 0.95
        assert plan.units <= plan.track_units and plan.long_units <= plan.track_units


def test_a_sheet_is_a_picture_that_others_can_read(tmp_path):
    import av

    frames = np.zeros((3, 32, 32, 3), np.uint8)
    frames[1] = (250, 10, 60)
    sound = np.sin(np.arange(16_000)).astype(np.float32)
    sheet = stack([strip(frames), spectrogram(sound, 192)])
    write_png(tmp_path / "sheet.png", sheet)
    with av.open(str(tmp_path / "sheet.png")) as file:
        read = next(file.decode(video=0)).to_ndarray(format="rgb24")
    assert np.array_equal(read, sheet) and read.shape == (164, 192, 3)


def test_the_shipped_model_learns_on_dialogues_longer_than_it_remembers():
    plan = PLANS["tiny"]
    assert preset("tiny").cache.seen_units < min(plan.long_units, plan.roll_units) and plan.long_share > 0
