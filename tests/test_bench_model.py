"""The benchmarks of the model: that they measure what they say, and report it in the common form. No times."""

from __future__ import annotations

import json

import pytest
import torch
from dialogue_toys import dialogue

from wangraph.tools.bench import cache, model, pair, plain
from wangraph.wan_core.config import CacheConfig, preset
from wangraph.wan_core.exchange import Decision, ResponseUnit
from wangraph.wan_core.flow import Latents
from wangraph.wan_core.model import DuplexModel
from wangraph.wan_core.reference import Reference

NANO = preset("nano")


def both(units, history=()):
    """Outputs of the plain model and of ours, unit by unit."""
    torch.manual_seed(0)
    duplex = DuplexModel(NANO).eval().requires_grad_(False)
    given, reference = dialogue(batch=1, units=units), Reference(duplex)
    theirs, state = plain.Plain(duplex, list(history)), reference.new_state()
    cache.remember(reference, state.thinker.cache, list(history))
    decision = Decision(torch.zeros(1, 2, dtype=torch.int64), torch.zeros(1, dtype=torch.int64))
    for k in range(units):
        word, latents = theirs.step(given.user_unit(k), decision, 2)
        thought, own = reference.step(state, given.user_unit(k), decision=decision)
        yield (word, *latents), (thought.text_logits, *own)


def test_the_plain_model_says_the_same():
    history = torch.randn(40, 2, *NANO.slice_shape, generator=torch.Generator().manual_seed(0))
    for some in ((), history):
        for one, other in both(8, some):
            for a, b in zip(one, other, strict=True):
                torch.testing.assert_close(a, b, atol=1e-4, rtol=0)


def test_a_plain_model_that_says_something_else_is_found_out(monkeypatch):
    """The planted bug: it rotates nothing."""
    monkeypatch.setattr(plain, "rotate", lambda x, by: x)
    *_, (one, other) = both(3)
    assert max(float((a - b).abs().max()) for a, b in zip(one, other, strict=True)) > 1e-3


@pytest.mark.parametrize("spoilt", ["one", "other", "both"])
def test_what_is_no_number_differs_from_everything(spoilt):
    one, other = torch.zeros(3), torch.full((3,), 0.5)
    assert cache.difference_of([one, one], [one, other]) == 0.5
    for name, tensor in (("one", one), ("other", other)):
        if spoilt in (name, "both"):
            tensor[1] = torch.nan
    assert cache.difference_of([one, torch.zeros(1)], [other, torch.zeros(1)]) == torch.inf


def test_the_cache_bench_reports_what_it_measured():
    on_round = []
    report = cache.run(1, 2, on_round.append, cache.Scale("nano", 5.0, 2, grown_units=4, cap_units=4, chunk_units=2))
    (measured,) = report["rounds"]
    assert on_round == [measured] and report["best"] == 1 and json.dumps(report)
    assert measured["largest_difference"] < 1e-4
    assert {"ours_ms", "plain_ms", "ratio", "growth_bytes_per_unit", "drift_bytes_per_unit"} < measured.keys()
    assert len(cache.table(report).rows[0]) == len(cache.table(report).columns)


def test_the_model_bench_reports_every_stage_at_every_history():
    scale = model.Scale("nano", histories_s=(0.32, 0.8), steps=1, codec_repeats=(1, 3))
    report = model.run(2, 0.32, scale=scale)
    assert json.dumps(report) and report["parameters"]["tokens per unit"] == "12 clean + 4 noisy"
    for measured in report["rounds"]:
        assert list(measured["policies"]) == ["full", "window"]
        for histories in measured["policies"].values():
            assert list(histories) == ["0.32 s", "0.8 s"]
            assert all(set(found) == {*model.STAGES, "sum"} for found in histories.values())
        assert list(measured["processes"]) == ["1 x", "3 x"]
    rows = model.table(report).rows
    assert len(rows) == 2 * (2 * 2 + 2) and all(len(row) == len(model.table(report).columns) for row in rows)
    assert torch.get_num_threads() == 1


def test_two_processes_say_what_one_says_and_stay_in_step():
    ours, theirs = (model.Session(NANO, 3, 1) for _ in range(2))
    with pair.remote(model._alone, (NANO, 3, 1, False, 1)) as performer, torch.inference_mode():
        for _ in range(4):
            performer.ask(ours.think(ours.encode()))
            ours.response = ResponseUnit(*performer.answer())
            theirs.unit()
            assert torch.equal(ours.response.audio, theirs.response.audio)
            assert torch.equal(ours.response.video, theirs.response.video)


@pytest.mark.parametrize(
    ("codecs", "two", "bound", "of_bound"), [(5.0, 20.0, 1.25, 1.0), (30.0, 50.0, 1.25, 0.8), (0.0, 20.0, 1.0, 1.0)]
)
def test_what_two_processes_gain_is_compared_with_the_longest_cycle(codecs, two, bound, of_bound):
    one = {"codecs": codecs, "think": 10.0, "solve": 10.0, "sum": 20.0 + codecs}
    found = pair.compared(one, two)
    assert (found["bound"], found["of_bound"]) == (bound, of_bound)


def test_two_processes_overlap_codecs_with_solving():
    """By a clock that counts what is done here, and a performer that takes as long as it is told."""
    done = []

    class Known:
        response = None

        def __getattr__(self, name):
            return lambda *_: done.append(name) or Latents(torch.zeros(1), torch.zeros(1))

    known = Known()
    pair.in_two(known, known, 1, 1, lambda: 0.0)
    assert done == ["encode", "think", "ask", "encode", "answer", *["think", "ask", "decode", "encode", "answer"] * 2]


def test_where_a_line_meets_the_budget():
    assert model.crossing((10, 300), [20.0, 78.0], 160) == pytest.approx(710)
    assert model.crossing((10, 300), [20.0, 20.0], 160) is None
    assert model.crossing((10,), [20.0], 160) is None
    assert model.crossing((10, 300), [200.0, 500.0], 160) == 0


def test_the_window_is_compared_where_it_is_full():
    config = CacheConfig(policy="window", window_units=375, sink_units=4)
    assert model.window_is_full(config, (10, 60, 120), 0.16) == [False, False, True]
    assert model.spread([2.0, 2.2, 2.1]) == 1.1 and model.spread([]) is None


def test_a_system_that_does_not_tell_its_memory_is_named(monkeypatch):
    monkeypatch.setattr(cache, "STATM", cache.Path("/nowhere/statm"))
    with pytest.raises(cache.UserError, match=(
        r"^bench cache: .*'/nowhere/statm' \(expected Linux\), memory cannot be measured here$"
    )):  # fmt: skip
        cache.resident_bytes()
