"""Fuzzing: every reader reads or refuses what is spoilt, and what does neither is found, whatever it does."""

from __future__ import annotations

import os
import random
import re

import pytest
from command_line import call

from wangraph.runtime.errors import UserError
from wangraph.tools.fuzz import campaign, trial
from wangraph.tools.fuzz.campaign import run_campaign
from wangraph.tools.fuzz.kinds import KINDS, make_reader, parse_kinds
from wangraph.tools.fuzz.reader import Reader
from wangraph.tools.fuzz.trial import Finding, Tally, chance_of, try_cases

CASES = {
    "wire": 4000,
    "graphs": 150,
    "traces": 120,
    "recordings": 80,
    "profiles": 120,
    "checkpoints": 250,
    "page": 600,
    "agent": 400,
}

FOUND = {"recordings": [(0, 265), (1, 478)], "profiles": [(42, 117)], "traces": [(1, 3649), (1, 7595)]}
"""Seed and number of cases that were findings once."""


@pytest.fixture(scope="module")
def reader_of(tmp_path_factory):
    readers: dict[str, Reader] = {}

    def get(kind: str) -> Reader:
        if kind not in readers:
            readers[kind] = make_reader(kind, tmp_path_factory.mktemp(kind))
        return readers[kind]

    return get


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_spoilt_is_read_or_refused(reader_of, kind, monkeypatch):
    reader, tally, found = reader_of(kind), Tally(), []
    monkeypatch.chdir(reader.folder)
    for _ in try_cases(reader, 42, range(CASES[kind]), tally, found.append):
        pass
    assert found == []
    assert tally.cases == CASES[kind] == tally.declared + tally.accepted
    assert tally.declared and tally.accepted


@pytest.mark.parametrize(("kind", "seed", "number"), [(kind, *at) for kind, cases in FOUND.items() for at in cases])
def test_what_was_found_once_is_found_no_more(reader_of, kind, seed, number, monkeypatch):
    reader, found = reader_of(kind), []
    monkeypatch.chdir(reader.folder)
    for _ in try_cases(reader, seed, range(number, number + 1), Tally(), found.append):
        pass
    assert found == []


def test_a_case_is_made_again_from_its_number_alone(reader_of):
    reader = reader_of("wire")
    cases = [reader.case(chance_of(3, number)) for number in range(50)]
    assert reader.case(chance_of(3, 37)) == cases[37]
    assert reader.case(chance_of(4, 37)) != cases[37]


class Planted(Reader):
    """Reads numbers, and does with some of them what no reader may."""

    declared = (UserError,)

    def case(self, chance: random.Random) -> int:
        return chance.randrange(1000)

    def read(self, case: int) -> None:
        raise UserError("refused")


class Raises(Planted):
    def read(self, case):
        raise KeyError("x")


class Spins(Planted):
    def read(self, case):
        while True:
            pass


class Hoards(Planted):
    def read(self, case):
        bytearray(os.urandom(1000) * 100_000)


class Exits(Planted):
    def read(self, case):
        os._exit(3)


class Waits(Planted):
    def read(self, case):
        os.read(os.pipe()[0], 1)


def placeless(finding: Finding) -> Finding:
    """Without the line of this file."""
    return Finding(finding.number, re.sub(r" at tests/test_fuzz\.py:\d+ in \w+", "", finding.what))


@pytest.fixture
def tried(monkeypatch):
    """Tries two cases of a planted reader, the second of which is refused in words; gives the result."""
    monkeypatch.setattr(trial, "LIMIT_MB", 50.0)
    monkeypatch.setattr(campaign, "POLL_S", 0.05)

    def tries(planted: type[Planted]):
        class Once(Planted):
            def case(self, chance):
                self.n = getattr(self, "n", 0) + 1
                return chance.random()

            def read(self, case):
                (planted if case == chance_of(1, 0).random() else Planted).read(self, case)

        monkeypatch.setattr(campaign, "make_reader", lambda kind, folder: Once(folder))
        return run_campaign(["wire"], 2, 1, 0, lambda kind, result: None)["wire"]

    return tries


@pytest.mark.parametrize(
    ("planted", "what"),
    [
        (Raises, "KeyError: \"'x'\""),
        (Spins, "more than 0.05 s"),
        (Exits, "process ended with exit code 3"),
    ],
)
def test_what_no_reader_may_do_is_found_and_the_next_case_is_tried(tried, planted, what, monkeypatch):
    monkeypatch.setattr(trial, "LIMIT_S", 0.05 if planted is Spins else 60)
    result = tried(planted)
    assert [(placeless(finding), n) for finding, n in result.findings.values()] == [(Finding(0, what), 1)]
    assert (result.tally.cases, result.tally.declared, result.tally.accepted) == (2, 1, 0)


def test_a_reader_that_waits_for_ever_is_found(tried, monkeypatch):
    monkeypatch.setattr(campaign, "STANDSTILL_S", 2.0)
    ((finding, n),) = tried(Waits).findings.values()
    assert (finding.number, n) == (0, 1) and finding.what.endswith(" s without an end")


def test_a_reader_that_takes_much_memory_is_found(tried):
    result = tried(Hoards)
    assert [finding for finding, _ in result.findings.values()] == [Finding(0, "more than 50 MB")]
    assert (result.tally.cases, result.tally.accepted) == (2, 1)


def test_the_command_prints_what_was_tried_and_how_to_try_it_again(monkeypatch):
    printed = call("bench", "fuzz", "--only", "wire,page", "--cases", "50")
    lines = [line.split() for line in printed.splitlines()]
    assert lines[0][:2] == ["kind", "cases"]
    assert [(line[0], line[1], line[4]) for line in lines[1:]] == [("wire", "50", "0"), ("page", "50", "0")]
    monkeypatch.setattr(campaign, "make_reader", lambda kind, folder: Raises(folder))
    printed = call("bench", "fuzz", "--only", "agent", "--cases", "5", "--seed", "7")
    assert re.search(r"agent, 5 times, first in case 0: KeyError at tests/test_fuzz.py:\d+ in read: \"'x'\"", printed)
    assert "again: wangraph bench fuzz --only agent --seed 7 --first 0 --cases 1" in printed


def test_kinds_are_chosen_by_name():
    assert parse_kinds(None) == list(KINDS)
    assert parse_kinds("agent, wire") == ["wire", "agent"]
    with pytest.raises(UserError) as caught:
        parse_kinds("wires")
    assert str(caught.value) == (
        "--only: found 'wires' (expected one or more of: agent, checkpoints, graphs, page, profiles, recordings, "
        "traces, wire); did you mean 'wire'?"
    )
