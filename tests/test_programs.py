"""What is skipped for want of a program is named; where nothing may be skipped, it fails."""

import subprocess
import sys
from pathlib import Path

import programs
import pytest

HERE = Path(__file__).parent


@pytest.fixture
def without_flite(monkeypatch):
    programs.find.cache_clear()
    monkeypatch.setattr(programs.shutil, "which", lambda name: None if name == "flite" else f"/usr/bin/{name}")
    yield
    programs.find.cache_clear()


def test_a_test_is_skipped_for_the_first_program_that_is_not_there(without_flite):
    assert programs.lacking([]) is None and programs.lacking(["c++"]) is None
    assert programs.lacking(["c++", "flite"]) == "needs flite: apt install flite"


def test_any_name_of_a_program_will_do(monkeypatch):
    programs.find.cache_clear()
    monkeypatch.setattr(programs.shutil, "which", lambda name: "/bin/clang++" if name == "clang++" else None)
    assert programs.find("c++") == "/bin/clang++"
    programs.find.cache_clear()


def test_what_was_skipped_is_counted_by_its_reason():
    flite, cxx = "Skipped: needs flite: apt install flite", "Skipped: needs c++: apt install g++ python3-dev"
    assert programs.summary([flite, "Skipped: no device", cxx, flite]) == [
        "skipped: no device (1 test)",
        "skipped for want of: flite (2 tests), c++ (1 test); to have them: apt install flite; apt install g++ python3-dev",
    ]
    assert programs.summary([]) == []


@pytest.mark.parametrize(("options", "status"), [((), 0), (("--no-skips",), 1)])
def test_a_run_names_what_it_skipped_and_fails_only_if_that_is_forbidden(tmp_path, options, status):
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"{HERE}/test_world_synthesis.py"]
    ran = subprocess.run(
        [*command, "-k", "flite_says", *options],
        env={"PATH": str(tmp_path), "PYTHONPATH": ":".join(sys.path)},
        cwd=HERE.parent,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == status, ran.stdout + ran.stderr
    *_, skipped, last = ran.stdout.splitlines()
    assert skipped == "skipped for want of: flite (1 test); to have them: apt install flite"
    assert last.startswith("1 skipped, ")
