"""`wangraph evaluate`, as it is typed."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from media_files import write_floats
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from train_toys import save_untrained

from wangraph.runtime.errors import MediaError, UserError
from wangraph.runtime.plan.graph import Graph
from wangraph.tools.lab.evaluate.agents import SOLVER
from wangraph.tools.lab.evaluate.recording import in_units
from wangraph.tools.lab.evaluate.report import MEASURES
from wangraph.tools.lab.evaluate.rows import Setting
from wangraph.tools.lab.world import websocket
from wangraph.tools.lab.world.signal import UNIT
from wangraph.tools.verbs.evaluate import command
from wangraph.wan_core import flow
from wangraph.wan_core.errors import ModelError
from wangraph.wan_core.flow import Solver


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_untrained(tmp_path_factory.mktemp("weights") / "nano.safetensors")


def evaluate(*args):
    from wangraph.tools.verbs.evaluate import command

    return CliRunner().invoke(command, [str(arg) for arg in args])


@pytest.mark.slow
def test_figures_come_with_intervals_goals_and_a_reference(checkpoint):
    result = evaluate(
        "model", checkpoint, "--dialogues", 2, "--only", "cards", "--processes", 1, "--no-floors", "--json"
    )
    assert result.exit_code == 0, result.exception
    found = json.loads(result.stdout)
    assert found["weights"] == "nano.safetensors, trained not at all"
    named = found["rows"]["model"]["card named, text"]
    assert named == {"value": 0.0, "low": 0.0, "high": pytest.approx(0.658, abs=1e-3), "n": 2, "unit": "share"}
    assert found["goals"]["card named, text"] == {"goal": ">= 0.9", "met": False}
    assert set(found["rows"]["model"]) <= {measure.name for measure in MEASURES}


def test_there_are_so_many_dialogues():
    result = evaluate("model", "--first", 9990, "--only", "asks")
    assert str(result.exception) == (
        "--first: found 9990, and 48 dialogues from there on (expected 10,000 in all, at most), ask for fewer"
    )


def test_what_cannot_be_talked_with_is_told_before_anything_heavy_is_loaded():
    code = """
import sys
from wangraph.runtime.errors import WangraphError
from wangraph.tools.verbs.evaluate import command
for args in sys.argv[1:]:
    try:
        command.main(args.split(), standalone_mode=False)
    except WangraphError as error:
        print(f"{type(error).__name__}: {error}")
print(*(name for name in ("torch", "scipy", "wangraph.tools.lab.evaluate.rows") if name in sys.modules))
"""
    args = ["graph nofile.yaml", "graph mirror --set sauce=1", "agent http://127.0.0.1:1",
            "agent ws://127.0.0.1:66000", "agent ws://127.0.0.1:1"]  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, timeout=60)
    no_file, no_key, no_scheme, no_port, nobody, loaded = done.stdout.splitlines() or [done.stderr]
    assert no_file.startswith("GraphError: nofile.yaml: no such graph (expected a file, or one of: cascade, ")
    assert no_key.startswith("GraphError: --set sauce=1: found 'sauce' (available parameters: ")
    expected = "(expected ws://HOST:PORT or wss://HOST:PORT), correct its address"
    assert no_scheme == f"UserError: agent: found 'http://127.0.0.1:1' {expected}"
    assert no_port == f"UserError: agent: found 'ws://127.0.0.1:66000' {expected}"
    assert nobody.startswith("UserError: ws://127.0.0.1:1: cannot be reached (")
    assert nobody.endswith("; expected an agent that listens there), start it first")
    assert loaded == ""


def test_with_an_agent_one_dialogue_is_held_at_a_time_unless_told_otherwise(monkeypatch):
    asked = []

    def look(url, at_once):
        asked.append(at_once)
        raise UserError("nobody")

    monkeypatch.setattr(websocket, "check_agent", look)
    for more in ((), ("--processes", 3)):
        evaluate("agent", "ws://a", *more)
    assert asked == [1, 3]


def recordings(folder, *people):
    folder.mkdir()
    for person in people:
        for digit in range(10):
            write_floats(folder / f"{digit}_{person}_0.wav", np.sin(np.arange(8000) / 9), 16000)
    return folder


def test_strangers_are_asked_for_by_name(tmp_path):
    result = evaluate("model", "--only", "asks-person")
    assert isinstance(result.exception, UserError)
    assert str(result.exception) == (
        "asks-person: found no recordings (expected those of somebody who was not heard in training), "
        "name their folder with --voices"
    )
    folder = recordings(tmp_path / "people", "anna", "bert")
    assert str(evaluate("model", "--only", "asks-person", "--voices", folder).exception) == (
        f"asks-person: found nobody in {folder} who is held out (people: anna, bert), name one with --hold-out"
    )


def test_who_was_heard_in_training_is_no_stranger(tmp_path, checkpoint):
    heard = tmp_path / "heard.safetensors"
    with safe_open(checkpoint, framework="pt") as file:
        save_file(load_file(checkpoint), heard, {**file.metadata(), "people": "anna,carl"})
    folder = recordings(tmp_path / "people", "anna", "bert")
    result = evaluate("model", heard, "--voices", folder, "--hold-out", "anna", "--only", "asks-person",
                      "--processes", 1)  # fmt: skip
    assert isinstance(result.exception, UserError)
    assert str(result.exception) == (
        f"--hold-out: found anna, heard in the training of {heard} (it has heard: anna, carl), name others"
    )


def test_an_unknown_kind_of_dialogue_is_named():
    result = evaluate("model", "--only", "card")
    assert isinstance(result.exception, UserError)
    assert str(result.exception) == (
        "--only: found 'card' (available: asides, asks, asks-flite, asks-person, backchannels, cards, free, hands, "
        "interruptions, pauses, persona, stops, typed); did you mean 'cards'?"
    )


def test_an_agent_is_not_asked_to_be_somebody_else():
    assert str(evaluate("graph", "mirror", "--only", "persona").exception) == (
        "--only: found 'persona' (available: asides, asks, asks-flite, asks-person, backchannels, cards, free, hands, "
        "interruptions, pauses, stops, typed); did you mean 'asks-person'?"
    )


@pytest.mark.parametrize(
    "args",
    [
        "drift --only asks",
        "graph g.yaml --steps 4",
        "model --set a=1",
        "seeds a b --plots out",
        "seeds a b --no-floors",
        "fit-recogniser f --json",
    ],
)
def test_no_command_has_an_option_that_it_would_not_use(args):
    result = evaluate(*args.split())
    (option,) = re.findall("--[a-z-]+", args)
    assert result.exit_code == 2 and f"No such option '{option}'" in result.output


def test_without_a_command_it_says_which_there_are():
    result = evaluate()
    assert result.exit_code == 2
    for line in ("wangraph evaluate model", "wangraph evaluate graph cascade", "wangraph evaluate agent ws://"):
        assert line in result.output


def test_an_unknown_command_is_answered_with_the_known_ones():
    result = evaluate("modle")
    assert isinstance(result.exception, UserError)
    assert str(result.exception) == (
        "evaluate: found 'modle' (available: agent, audio, cascade, drift, fit-recogniser, graph, model, real, seeds); "
        "did you mean 'model'?"
    )


def write_wav(path, rate, channels, seconds=0.5, loud=0.2):
    import wave

    n = int(rate * seconds)
    tone = (loud * 32767 * np.sin(np.arange(n) * 2 * np.pi * 220 / rate)).astype(np.int16)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.repeat(tone[:, None], channels, 1).tobytes())
    return path


@pytest.mark.parametrize(("rate", "channels"), [(16_000, 1), (48_000, 2), (8_000, 1)])
def test_a_recording_of_any_rate_is_listened_to(checkpoint, tmp_path, rate, channels):
    path = write_wav(tmp_path / "me.wav", rate, channels)
    result = evaluate("audio", path, "--checkpoint", checkpoint, "--json")
    assert result.exit_code == 0, result.exception
    moments = json.loads(result.stdout)
    assert {moment["what"] for moment in moments} <= {"heard", "state", "says"}
    assert moments[0]["seconds"] == 0.16


def test_a_silent_recording_is_refused(checkpoint, tmp_path):
    path = write_wav(tmp_path / "me.wav", 16_000, 1, loud=0.0)
    result = evaluate("audio", path, "--checkpoint", checkpoint)
    assert isinstance(result.exception, MediaError)
    assert str(result.exception) == f"{path}: silent (expected somebody who says digits), record it louder"


def test_a_file_that_is_no_recording_is_refused(checkpoint, tmp_path):
    path = tmp_path / "me.wav"
    path.write_bytes(b"not a recording")
    result = evaluate("audio", path, "--checkpoint", checkpoint)
    assert isinstance(result.exception, MediaError)
    assert str(result.exception) == f"{path}: not a readable recording (expected a WAV file), remove or replace it"


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_recording_that_is_not_all_numbers_is_refused(checkpoint, tmp_path, bad):
    path = write_floats(tmp_path / "me.wav", np.where(np.arange(8000) == 4000, bad, 0.1))
    result = evaluate("audio", path, "--checkpoint", checkpoint)
    assert isinstance(result.exception, MediaError)
    assert str(result.exception) == f"{path}: found NaN or infinity (expected finite samples), remove or replace it"


@pytest.mark.parametrize("temperature", ["nan", "inf"])
def test_a_temperature_that_is_no_number_is_refused(temperature):
    result = evaluate("model", "--temperature", temperature)
    assert result.exit_code == 2
    assert result.output.endswith(f"Error: Invalid value for '--temperature': {temperature} is not a finite number.\n")


def test_a_solver_that_cannot_be_is_the_users_error(monkeypatch):
    def refuse(*args, **options):
        raise ModelError("flow: found 0 solver steps (expected 1 or more)")

    monkeypatch.setattr(flow, "Solver", refuse)
    result = evaluate("audio", __file__)
    assert isinstance(result.exception, UserError)
    assert str(result.exception) == "flow: found 0 solver steps (expected 1 or more)"


def test_a_recording_is_played_as_loud_as_users_are_and_time_is_left_to_answer():
    quiet = 0.01 * np.sin(np.arange(5000) * 0.1).astype(np.float32)
    units = in_units(quiet)
    assert all(unit.shape == (UNIT,) and unit.dtype == np.float32 for unit in units)
    whole = np.concatenate(units)
    assert np.abs(whole[8000:13_000]).max() > 0.15
    assert len(whole) >= 8000 + 5000 + 48_000


def test_what_is_measured_is_what_the_graph_runs():
    performer = Graph.load("duplex").plan().nodes["perform"]
    top = Solver(performer.ladder[0]["steps"], audio_temperature=performer.params["audio_temperature"])
    asked = {option.name: option.default for option in command.commands["model"].params}
    assert top == SOLVER == Setting("tiny").solver == Solver(asked["steps"], audio_temperature=asked["temperature"])
