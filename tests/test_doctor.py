from __future__ import annotations

import importlib.metadata
import json
import os
import resource
import shutil
import sys

import pytest
from click.testing import CliRunner

from wangraph.tools.verbs import doctor
from wangraph.tools.verbs.doctor import CHECKS, Finding, command, examine


@pytest.fixture(autouse=True)
def no_naps(monkeypatch):
    monkeypatch.setattr(doctor, "_NAP_S", 0.0)


def test_every_check_answers_on_this_machine():
    findings = examine()
    topics = {finding.topic.split()[0] for finding in findings}
    assert {"system", "python", "torch", "codecs", "sockets", "shared", "cores", "threads", "clock"} <= topics
    assert all(finding.found for finding in findings)
    assert not any("cannot be told" in finding.found for finding in findings)


def test_whatever_is_not_ok_comes_with_a_remedy():
    assert all(finding.remedy for finding in examine() if finding.state != "ok")


def test_json_and_text_tell_the_same(monkeypatch):
    told = [Finding("python", "ok", "3.11"), Finding("codecs", "lacks", "no [aac]", "pip install av")]
    monkeypatch.setattr(doctor, "examine", lambda: told)
    as_json = CliRunner().invoke(command, ["--json"])
    assert [Finding(**f) for f in json.loads(as_json.output)["findings"]] == told
    text = CliRunner().invoke(command, [])
    assert (as_json.exit_code, text.exit_code) == (0, 0)
    assert text.output == (
        "ok    python  3.11\n"
        "lacks codecs  no [aac]\n"
        "              pip install av\n"
        "1 to mend: see the lines that say lacks\n"
    )


@pytest.mark.parametrize(
    ("module", "check", "remedy"),
    [
        ("torch", doctor._torch, "pip install torch"),
        ("av", doctor._codecs, "pip install av"),
        ("zmq", doctor._sockets, "pip install pyzmq"),
    ],
)
def test_a_package_that_is_not_there_is_lacking_not_fatal(monkeypatch, module, check, remedy):
    monkeypatch.setitem(sys.modules, module, None)
    (finding,) = check()
    assert (finding.state, finding.remedy) == ("lacks", remedy)


def test_a_codec_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr(doctor, "CODECS", (("no_such_codec", "w"), ("aac", "w")))
    (finding,) = doctor._codecs()
    assert finding.state == "lacks"
    assert finding.found.endswith(" without no_such_codec (encoder)")


def test_little_shared_memory_is_told_with_its_remedy(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "shared_folder", lambda: tmp_path)
    monkeypatch.setattr(doctor, "free_bytes", lambda folder: 64 * 10**6)
    assert doctor._shared_memory() == [
        Finding(
            "shared memory",
            "note",
            f"64 MB free in {tmp_path}",
            f"mount -o remount,size=1G {tmp_path}, in a container --shm-size=1g; "
            "small graphs need less, and the run says so before it starts",
        )
    ]


@pytest.mark.parametrize(("text", "cores"), [("max 100000", None), ("150000 100000", 1.5), ("", None), (None, None)])
def test_a_quota_of_cores_is_read_where_there_is_one(tmp_path, text, cores):
    path = tmp_path / "cpu.max"
    if text is not None:
        path.write_text(text)
    assert doctor._quota(path) == cores


def test_one_core_is_told(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0}, raising=False)
    (finding,) = doctor._cores()
    assert finding.state == "note"


def test_processors_are_told_as_a_graph_file_takes_them(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 5, 7, 8}, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    monkeypatch.setattr(doctor, "_quota", lambda path: None)
    (finding,) = doctor._cores()
    assert finding.found == "6 usable of 16: cpus 0-2,5,7-8"


def test_thread_settings_from_outside_are_told(monkeypatch):
    for name in doctor.THREAD_VARIABLES:  # a run inside this process may have set them
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (finding,) = doctor._threads()
    assert finding.state == "note"
    assert finding.found.endswith("OMP_NUM_THREADS=1")


@pytest.mark.parametrize(
    ("limit", "state", "found"),
    [
        (0, "note", "nice cannot be lowered, no SCHED_FIFO"),
        (35, "ok", "nice down to -15, SCHED_FIFO up to 35"),
        (resource.RLIM_INFINITY, "ok", "nice down to -20, SCHED_FIFO up to 40"),
    ],
)
def test_priority_limits_are_told_as_what_they_allow(monkeypatch, limit, state, found):
    monkeypatch.setattr(doctor, "_may_raise", lambda: False)
    monkeypatch.setattr(resource, "getrlimit", lambda which: (limit, limit))
    (finding,) = doctor._priorities()
    assert (finding.state, finding.found) == (state, found)


def test_extras_are_those_that_the_package_declares(monkeypatch):
    declared = ["numpy>=1", 'click; extra == "good"', 'no-such-package>=2; extra == "bad"']
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: declared)
    assert doctor._extras() == [
        Finding("extra bad", "note", "without no-such-package", "pip install 'wangraph[bad]'"),
        Finding("extra good", "ok", "click"),
    ]


def test_a_program_that_is_not_there_is_only_noted(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert {finding.state for finding in doctor._programs()} == {"note"}


def test_a_check_that_fails_is_a_finding_and_the_others_still_answer(monkeypatch):
    def broken() -> list[Finding]:
        raise OSError("no such thing here")

    monkeypatch.setattr(doctor, "CHECKS", (("clock", broken), CHECKS[1]))
    first, second = examine()
    assert first == Finding("clock", "note", "cannot be told: OSError: no such thing here")
    assert second.topic == "python"
