import resource
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import nn

from wangraph.wan_core.errors import ModelError
from wangraph.wan_core.train.loop import Loop, Loss
from wangraph.wan_core.train.schedule import Average, Recipe
from wangraph.wan_core.train.state import load_state, save_state

RECIPE = Recipe(rate=1e-2, warmup_steps=4)
IDENTITY = {"stage": "toy", "preset": "nano", "seed": 0}


class Toy:
    """Learns the sum of four numbers; every batch is drawn."""

    def __init__(self, seed=0):
        torch.manual_seed(seed)
        self.module = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 1))

    def loss(self, generator, progress):
        x = torch.randn(16, 4, generator=generator)
        error = (self.module(x)[:, 0] - x.sum(1)).square().mean()
        return Loss(error, {"error": error})


def weights(loop):
    return torch.cat([p.detach().flatten() for p in loop.task.module.parameters()])


def test_a_loop_that_is_stopped_and_gone_on_with_takes_the_very_same_steps(tmp_path):
    whole = Loop(Toy(), RECIPE, 20, seed=3)
    rows = [whole.step() for _ in range(20)]
    first = Loop(Toy(), RECIPE, 20, seed=3)
    for _ in range(7):
        first.step()
    save_state(tmp_path / "toy.state", first.state(), IDENTITY)
    second = Loop(Toy(seed=1), RECIPE, 1, seed=99)
    second.restore(load_state(tmp_path / "toy.state", IDENTITY))
    assert [second.step() for _ in range(13)] == rows[7:]
    assert torch.equal(weights(second), weights(whole)) and second.is_done
    for name, tensor in whole.average.tensors.items():
        assert torch.equal(second.average.tensors[name], tensor)


def test_a_loop_gone_on_with_without_its_random_numbers_takes_other_steps():
    whole, other = Loop(Toy(), RECIPE, 20, seed=3), Loop(Toy(), RECIPE, 20, seed=3)
    for _ in range(7):
        whole.step()
    state = whole.state()
    other.restore({**state, "generator": torch.Generator().manual_seed(0).get_state()})
    assert whole.step() != other.step()


@pytest.mark.parametrize(
    ("asked", "processor", "dtype"),
    [(True, "AVX512", torch.bfloat16), (True, "AVX2", torch.float32), (False, "AVX512", torch.float32)],
)
def test_products_are_taken_in_bf16_only_where_it_is_asked_for_and_fast(monkeypatch, asked, processor, dtype):
    class Watched(Toy):
        def loss(self, generator, progress):
            seen.append(self.module(torch.ones(1, 4)).dtype)
            return super().loss(generator, progress)

    seen: list[torch.dtype] = []
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: processor)
    Loop(Watched(), replace(RECIPE, bf16=asked), 1, seed=3).step()
    assert seen == [dtype]


def test_the_rate_rises_stays_and_falls():
    rates = [RECIPE.rate_at(step, 100) for step in range(100)]
    assert rates[:4] == pytest.approx([0.0025, 0.005, 0.0075, 0.01])
    assert set(rates[4:55]) == {0.01}
    assert all(after < before for before, after in pairwise(rates[55:]))
    assert RECIPE.rate_at(99, 100) < 2.5e-4 and RECIPE.rate_at(9999, 10_000) == pytest.approx(2e-4)


def test_the_average_follows_quickly_at_first_and_ends_between_the_last_weights():
    module = nn.Linear(1, 1, bias=False)
    average = Average(module)
    for value in range(1, 200):
        nn.init.constant_(module.weight, value)
        average.update(module, keep=0.9)
    assert 180 < average.tensors["weight"].item() < 199
    assert replace(RECIPE, average=0.03).keep_at(10) == 0.0


def test_a_loss_that_is_no_number_stops_the_loop_and_changes_nothing():
    task = Toy()
    loop = Loop(task, RECIPE, 20, seed=0)
    loop.step()
    before = weights(loop)
    task.loss = lambda generator, progress: Loss(task.module(torch.full((1, 4), torch.nan)).sum(), {})
    with pytest.raises(
        ModelError,
        match=r"^training: found loss nan at step 1 \(expected a finite number\), "
        r"resume from the last checkpoint or lower the rate$",
    ):
        loop.step()
    assert torch.equal(weights(loop), before)


def test_a_full_disk_leaves_the_last_state_intact(tmp_path):
    path = tmp_path / "toy.state"
    save_state(path, {"step": 1}, IDENTITY)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(ModelError) as told:
            save_state(path, {"step": 2, "weights": torch.zeros(100_000)}, IDENTITY)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert str(told.value) == (
        f"training {path}: cannot be written (File too large; the last checkpoint is intact), make room and --resume"
    )
    assert load_state(path, IDENTITY) == {"step": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_a_state_of_another_training_is_refused_by_name(tmp_path):
    path = tmp_path / "toy.state"
    save_state(path, {}, IDENTITY)
    with pytest.raises(ModelError) as told:
        load_state(path, {**IDENTITY, "preset": "tiny"})
    assert str(told.value) == f"training {path}: found preset 'nano' (expected 'tiny'), choose another --out"


def test_a_state_that_is_missing_or_damaged_is_refused(tmp_path):
    path = tmp_path / "toy.state"
    with pytest.raises(ModelError, match=r"no such file \(expected a checkpoint to go on from\), leave --resume out$"):
        load_state(path, IDENTITY)
    save_state(path, {"weights": torch.zeros(1000)}, IDENTITY)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ModelError, match=r"damaged \(\w+\), remove it and train again$"):
        load_state(path, IDENTITY)


def test_a_state_of_other_shapes_is_refused():
    other = Toy()
    other.module = nn.Sequential(nn.Linear(4, 9), nn.GELU(), nn.Linear(9, 1))
    with pytest.raises(ModelError, match=r"^training: the state does not fit the model \(.*\), train anew$"):
        Loop(Toy(), RECIPE, 20, 0).restore(Loop(other, RECIPE, 20, 0).state())
