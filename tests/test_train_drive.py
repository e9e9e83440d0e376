import csv

import pytest
import torch
from rich.console import Console
from torch import nn

from wangraph.runtime.errors import MediaError
from wangraph.tools.train import drive as drive_module
from wangraph.tools.train.drive import Budget, Drive, draw_curves, write_curves
from wangraph.wan_core.train.loop import Loop, Loss
from wangraph.wan_core.train.schedule import Recipe


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
