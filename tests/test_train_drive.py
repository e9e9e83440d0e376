import csv
import io
import shutil
from types import SimpleNamespace

import pytest
import torch
from click.testing import CliRunner
from rich.console import Console
from torch import nn

from wangraph.runtime.errors import MediaError, UserError
from wangraph.tools.lab.train import context as training_context
from wangraph.tools.lab.train import drive as drive_module
from wangraph.tools.lab.train.drive import Budget, Drive, draw_curves, write_curves
from wangraph.tools.verbs.train import command
from wangraph.wan_core.train.loop import Loop, Loss
from wangraph.wan_core.train.schedule import Recipe
from wangraph.wan_core.train.state import save_state


class Clocked:
    """A task whose steps take as long as it is told, on a clock of its own."""

    def __init__(self, monkeypatch, seconds):
        self.module, self.now, self.seconds = nn.Linear(1, 1), 0.0, seconds
        monkeypatch.setattr(drive_module.time, "monotonic", lambda: self.now)

    def loss(self, generator, progress):
        self.now += self.seconds(self.now)
        value = self.module(torch.ones(1, 1)).square().sum()
        return Loss(value, {"value": value, "never": torch.tensor(torch.nan)})


def drive(task, folder, budget):
    loop = Loop(task, Recipe(1e-3), 10**9, seed=0)
    return Drive("toy", loop, folder, budget, {"stage": "toy"}, Console(quiet=True))


@pytest.mark.parametrize("slow", [lambda now: 1.0, lambda now: 9.0 if now < 30 else 1.0, lambda now: 1 + now / 200])
def test_a_stage_takes_its_time_whatever_its_steps_take(monkeypatch, tmp_path, slow):
    learned = drive(Clocked(monkeypatch, slow), tmp_path, Budget(400.0))
    learned.run()
    assert learned.elapsed_s == pytest.approx(400, rel=0.05)
    assert learned.loop.step_count == learned.loop.total


def test_steps_when_given_are_taken_however_long_they_take(monkeypatch, tmp_path):
    learned = drive(Clocked(monkeypatch, lambda now: 100.0), tmp_path, Budget(1.0, steps=30))
    learned.run()
    assert learned.loop.step_count == 30


def gone_on_with(task, folder, budget, begun_with=""):
    learned = drive(task, folder, budget)
    learned.begun_with = begun_with
    return learned, learned.resume()


def test_a_stage_that_is_done_goes_on_when_there_is_more_time_and_only_then(monkeypatch, tmp_path):
    task = Clocked(monkeypatch, lambda now: 1 + now / 200)
    first = drive(task, tmp_path, Budget(400.0))
    first.run()
    again, _ = gone_on_with(task, tmp_path, Budget(400.0))
    again.run()
    assert (again.loop.step_count, again.elapsed_s) == (first.loop.step_count, first.elapsed_s)
    less, _ = gone_on_with(task, tmp_path, Budget(100.0))
    less.run()
    assert less.loop.step_count == first.loop.step_count
    more, _ = gone_on_with(task, tmp_path, Budget(900.0))
    more.run()
    assert more.elapsed_s == pytest.approx(900, rel=0.05) and more.loop.is_done
    assert [row["step"] for row in more.rows] == sorted({row["step"] for row in more.rows})


def test_a_stage_that_took_given_steps_goes_on_for_its_time(monkeypatch, tmp_path):
    task = Clocked(monkeypatch, lambda now: 1.0)
    drive(task, tmp_path, Budget(400.0, steps=30)).run()
    timed, _ = gone_on_with(task, tmp_path, Budget(400.0))
    timed.run()
    assert timed.elapsed_s == pytest.approx(400, rel=0.05)


@pytest.mark.parametrize("steps", [None, 333])
def test_an_interrupted_stage_takes_the_steps_that_it_would_have_taken(monkeypatch, tmp_path, steps):
    def interrupted(step):
        if step > 330:  # when the rate falls with the plan of steps
            raise KeyboardInterrupt

    ends = []
    for name, stop in (("whole", None), ("parts", interrupted)):
        torch.manual_seed(0)
        task, folder = Clocked(monkeypatch, lambda now: 1 + now / 200), tmp_path / name
        folder.mkdir()
        learned = drive(task, folder, Budget(1200.0, steps))
        learned.on_checkpoint, learned.checkpoint_steps = stop, 7  # between two rows of the curves
        if stop is not None:
            with pytest.raises(KeyboardInterrupt):
                learned.run()
            learned, _ = gone_on_with(task, folder, Budget(1200.0, steps))
        learned.run()
        ends.append((learned.loop.step_count, learned.rows[-1]["loss"], task.module.weight.item()))
    assert ends[0] == ends[1]


def test_what_was_begun_with_other_weights_is_not_gone_on_with(monkeypatch, tmp_path):
    task = Clocked(monkeypatch, lambda now: 1.0)
    learned = drive(task, tmp_path, Budget(1.0, steps=30))
    learned.begun_with = "one"
    learned.run()
    for weights, resumed in (("one", True), ("two", False)):
        again, is_resumed = gone_on_with(task, tmp_path, Budget(1.0, steps=40), weights)
        assert is_resumed == resumed
        assert (again.loop.step_count, again.elapsed_s, bool(again.rows)) == (
            (30, 30.0, True) if resumed else (0, 0.0, False)
        )


def test_curves_hold_a_row_every_twenty_steps_and_leave_out_what_was_never_known(monkeypatch, tmp_path):
    learned = drive(Clocked(monkeypatch, lambda now: 1.0), tmp_path, Budget(1.0, steps=50))
    learned.run()
    rows = list(csv.DictReader(learned.curve_path.open()))
    assert [row["step"] for row in rows] == ["20", "40", "50"]
    assert all(row["never"] == "nan" and float(row["value"]) >= 0 for row in rows)


def test_a_checkpoint_is_written_after_so_many_seconds(monkeypatch, tmp_path):
    learned = drive(Clocked(monkeypatch, lambda now: 10.0), tmp_path, Budget(1.0, steps=30))
    steps = []
    learned.on_checkpoint = steps.append
    learned.run()
    assert steps == [12, 24, 30]


def test_curves_that_cannot_be_written_are_named(tmp_path):
    path = tmp_path / "nowhere" / "toy.csv"
    with pytest.raises(MediaError) as told:
        write_curves(path, [{"step": 1.0}])
    assert str(told.value) == f"{path}: cannot be written (No such file or directory), make room and --resume"


def test_curves_are_drawn_where_matplotlib_is(tmp_path):
    pytest.importorskip("matplotlib")
    rows = [{"step": float(i), "seconds": 1.0, "loss": 1.0 / i, "rate": 1e-3} for i in range(1, 9)]
    assert draw_curves(tmp_path / "toy.png", rows)
    assert (tmp_path / "toy.png").read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_the_extra_that_draws_the_curves_is_named_in_full(tmp_path, monkeypatch):
    monkeypatch.setattr(training_context, "draw_curves", lambda path, rows: False)
    told = io.StringIO()
    context = SimpleNamespace(out=tmp_path, console=Console(file=told, width=200))
    training_context.TrainingContext.finish(
        context, SimpleNamespace(rows=[{"loss": 1.0}], name="toy", curve_path=tmp_path / "toy.csv")
    )
    assert told.getvalue().strip().endswith("toy.csv; pip install 'wangraph[train]' draws them")


@pytest.fixture
def people(tmp_path):
    folder = tmp_path / "people"
    folder.mkdir()
    for digit in range(10):
        (folder / f"{digit}_anna_0.wav").write_bytes(b"never heard")
    return folder


def context_of(people, out):
    return training_context.TrainingContext(
        "nano", 0.01, out, Console(quiet=True), voices=str(people), resume=True, threads=1
    )


def test_the_recordings_of_a_training_are_what_they_are_not_where_they_are(people, tmp_path):
    context = context_of(people, tmp_path / "out")
    moved = context_of(shutil.copytree(people, tmp_path / "moved"), tmp_path / "out")
    assert moved.identity("audio") == context.identity("audio")
    assert moved.media().path(tmp_path, 0) == context.media().path(tmp_path, 0)
    (people / "7_anna_1.wav").write_bytes(b"once more")
    more = context_of(people, tmp_path / "out")
    assert more.identity("audio") != context.identity("audio")
    assert more.media().path(tmp_path, 0) != context.media().path(tmp_path, 0)
    assert more.tracks("held-out").path(tmp_path, 0) != context.tracks("held-out").path(tmp_path, 0)


@pytest.mark.parametrize("state", ["audio", "video"])
def test_a_training_is_not_gone_on_with_on_other_recordings(people, tmp_path, state):
    out = tmp_path / "out"
    before = context_of(people, out)
    save_state(out / f"{state}.state", {}, before.identity(state))
    (people / "7_anna_1.wav").write_bytes(b"once more")
    words = ["codecs", "--preset", "nano", "--voices", str(people), "--out", str(out), "--resume", "--threads", "1"]
    result = CliRunner().invoke(command, words)
    assert isinstance(result.exception, UserError)
    assert str(result.exception) == (
        f"training {out / f'{state}.state'}: found voices {before.recordings!r} "
        f"(expected {context_of(people, out).recordings!r}), choose another --out"
    )
    assert not list(before.data.iterdir())  # nothing was made before
