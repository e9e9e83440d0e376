"""Which dialogues are held together, and that none of the work is lost."""

from types import SimpleNamespace

import pytest

from wangraph.tools.lab.evaluate import probes, rows
from wangraph.tools.lab.evaluate.rows import ROWS_AT_ONCE, Setting, batches, measured, side_by_side
from wangraph.tools.lab.evaluate.tasks import Findings, both
from wangraph.tools.lab.world.voices import Speaker

SPEAKERS = [Speaker("toy", "espeak-ng", "en-us")]


@pytest.mark.parametrize("count", [1, 2, ROWS_AT_ONCE, ROWS_AT_ONCE + 1, 3 * ROWS_AT_ONCE - 1])
def test_nobody_is_left_alone_in_a_batch_and_nobody_is_left_out(count):
    specs = probes.asks(SPEAKERS, count).specs
    found = batches(specs)
    assert [spec for batch in found for spec in batch] == list(specs)
    assert all(len(batch) <= ROWS_AT_ONCE for batch in found)
    assert count == 1 or min(map(len, found)) > 1


@pytest.mark.parametrize("count", [4, 5])
def test_half_of_the_neighbours_of_a_dialogue_and_of_a_twin_are_twins(count):
    probe, met = probes.asides(SPEAKERS, count), []

    def held(specs, units):
        met.extend(specs)
        return list(specs)

    assert both(held, probe) == (list(probe.specs), list(probe.twins))
    is_twin = [any(spec is twin for twin in probe.twins) for spec in met]
    seen = list(zip(is_twin, [*is_twin[1:], is_twin[0]], strict=True))  # as one who is led ablated sees them
    for who in (False, True):
        assert abs(sum(other for mine, other in seen if mine is who) - count / 2) <= 0.5


def ends(job):
    return next(iter([job] if job else []))


def test_the_end_of_an_iterator_in_one_job_is_not_the_end_of_all_jobs():
    with pytest.raises(RuntimeError, match="ended early"):
        list(side_by_side(ends, [1, 0, 2], processes=1))


def test_words_that_the_world_does_not_know_are_named_once_as_soon_as_they_are_found(monkeypatch, capsys):
    setting = Setting("tiny", agent="ws://a")
    strange = {"asks": (), "pauses": ("eleven", "uh"), "cards": ("uh", "purple")}
    told = [((setting, "agent", name), Findings(unknown=words)) for name, words in strange.items()]
    monkeypatch.setattr(rows, "run", lambda jobs, processes: iter(told))
    found = measured([setting], ("agent",), tuple(strange), 1)[setting]["agent"]
    assert found.unknown == ("eleven", "uh", "purple")
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(" (")[0] for line in lines] == [
        "agent: asks",
        "warning: agent: found 'eleven', 'uh' in the agent's text",
        "agent: pauses",
        "agent: cards",
    ]


def test_what_is_found_at_a_station_has_the_unknown_words_of_all_its_dialogues(monkeypatch):
    words = iter([("uh",), (), ("eh", "uh"), ()])

    def held(specs, units):
        return [SimpleNamespace(unknown=next(words)) for _ in specs]

    def task(hold, voices, heard, which):
        hold([1, 2], 3), hold([3, 4], 3)
        return Findings(values={"ms": [1.0]})

    made = SimpleNamespace(voices=None, net=None, runner=lambda row, setting: held)
    monkeypatch.setattr(rows, "tools", lambda setting: made)
    monkeypatch.setitem(rows.TASKS, "asks", task)
    job = (Setting("tiny"), "model", "asks")
    assert rows._done(job) == (job, Findings(values={"ms": [1.0]}, unknown=("uh", "eh")))
