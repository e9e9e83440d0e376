"""The table: what is judged of whom, and how far it is."""

import re

import pytest
from rich.console import Console

from wangraph.tools.lab.evaluate.figures import NOTHING, share
from wangraph.tools.lab.evaluate.report import MEASURES, OTHER_AGENTS, as_json, as_table, progress
from wangraph.tools.lab.evaluate.tasks import Findings

RIGHT, WRONG = share([True] * 400), share([False] * 400)
LEARNED = {
    "card named, sound", "words, sound", "flite: words, sound", "person: words, sound", "lips: sound behind mouth",
    "lips: correlation", "blinks", "nods", "persona: looks",
}  # fmt: skip


def goals(row, figure, facts=None):
    rows = {row: Findings({m.name: figure for m in MEASURES}), "reference": Findings({m.name: RIGHT for m in MEASURES})}
    return {name: goal["met"] for name, goal in as_json(rows, facts or {})["goals"].items()}, rows


def test_what_knows_only_the_shipped_voices_and_faces_is_named():
    assert {measure.name for measure in MEASURES if measure.learned} == LEARNED
    assert {m.name for m in MEASURES if m.name.endswith(", sound") or m.name.startswith(("lips", "blinks"))} <= LEARNED


@pytest.mark.parametrize("figure", [RIGHT, WRONG, NOTHING])
def test_of_others_than_the_shipped_agents_it_is_not_judged_and_all_else_is(figure):
    ours, _ = goals("model", figure)
    assert None not in ours.values()
    for row in OTHER_AGENTS:
        theirs, rows = goals(row, figure)
        assert theirs == {name: None if name in LEARNED else met for name, met in ours.items()}
        out = Console(width=200)
        with out.capture() as lines:
            out.print(as_table(rows))
        for line in lines.get().splitlines()[1:]:
            is_judged = theirs.get(line.partition("  ")[0].strip()) is not None
            assert bool(re.search(r" (yes|no) *$", line)) == is_judged, line


def test_where_there_is_no_terminal_each_part_is_told_in_a_line(capsys):
    with progress(2) as advance:
        advance("agent: asks")
        advance("reference: asks")
    told = capsys.readouterr()
    assert told.out == ""
    one, two = (re.sub(r"\d+ s", "N s", line) for line in told.err.splitlines())
    assert (one, two) == ("agent: asks (1 of 2, N s)", "reference: asks (2 of 2, N s)")
