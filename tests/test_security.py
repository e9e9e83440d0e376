"""SECURITY.md: its promises name tests that there are, and nothing is unpickled, evaluated or given to a shell."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("runtime", "nodes", "wan_core", "tools", "graphs")

MODULES = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "_pickle"}
"""Modules whose files run code when they are read."""

NEVER = {"eval", "exec", "os.system", "os.popen", "yaml.load", "yaml.unsafe_load", "yaml.full_load", "torch.jit.load"}
"""Functions that run what they are given, or build any object from it."""

ONLY_WITH = {"torch.load": ("weights_only", True)}
"""Functions that need an argument not to."""

NOT_WITH = {"np.load": ("allow_pickle", True), "subprocess.run": ("shell", True), "subprocess.Popen": ("shell", True)}
"""Functions that an argument makes do so."""


def offences(source: str) -> Iterator[str]:
    """Lines that read, or run, what is not only data."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            yield from (f"{node.lineno}: {name}" for name in names if name.partition(".")[0] in MODULES)
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            given = {word.arg: ast.literal_eval(word.value) for word in node.keywords if is_plain(word.value)}
            key, value = ONLY_WITH.get(name, NOT_WITH.get(name, ("", None)))
            if name in NEVER or (name in ONLY_WITH and given.get(key) is not value):
                yield f"{node.lineno}: {name}"
            if name in NOT_WITH and given.get(key) is value:
                yield f"{node.lineno}: {name} with {key}"


def is_plain(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant)


def test_nothing_is_unpickled_evaluated_or_given_to_a_shell():
    files = [path for room in ROOMS for path in (ROOT / room).rglob("*.py")]
    assert len(files) > 300
    assert [f"{path.relative_to(ROOT)}:{found}" for path in files for found in offences(path.read_text("utf-8"))] == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import pickle", "1: pickle"),
        ("from joblib import load", "1: joblib"),
        ("x = eval(text)", "1: eval"),
        ("exec(text)", "1: exec"),
        ("yaml.load(file)", "1: yaml.load"),
        ("torch.load(path)", "1: torch.load"),
        ("torch.load(path, weights_only=False)", "1: torch.load"),
        ("np.load(path, allow_pickle=True)", "1: np.load with allow_pickle"),
        ("subprocess.run(text, shell=True)", "1: subprocess.run with shell"),
    ],
)
def test_an_offence_would_be_found(source, found):
    assert list(offences(source)) == [found]


@pytest.mark.parametrize("source", ["model.eval()", "torch.load(path, weights_only=True)", "np.load(path)"])
def test_what_only_looks_like_one_is_none(source):
    assert list(offences(source)) == []


def promises() -> list[tuple[str, list[str]]]:
    """Each promise of SECURITY.md, and the test files that hold it."""
    table = (ROOT / "SECURITY.md").read_text().partition("| promise | held by |")[2].partition("\n\n")[0]
    rows = [line.strip("| ").rsplit(" | ", 1) for line in table.splitlines()[2:]]
    return [(promise, re.findall(r"`(test_\w+\.py)`", held)) for promise, held in rows]


@pytest.mark.parametrize("promise", range(len(promises())))
def test_a_promise_is_held_by_tests_that_there_are(promise):
    text, files = promises()[promise]
    assert files, text
    for name in files:
        assert "\ndef test_" in (ROOT / "tests" / name).read_text(), (text, name)
