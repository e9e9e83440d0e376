"""Code of strangers: a graph file may name Python files, and whoever checks it runs them, unless they say not to."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from wangraph.runtime.errors import UserError
from wangraph.tools.cli import cli

HEAD = "name: g\nnodes:\n  clock: {type: capture.clock}\n"
TRAP = "from pathlib import Path\nPath('ran').touch()\n"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(TRAP)


def invoke(*words: str):
    return CliRunner().invoke(cli, list(words), standalone_mode=False)


@pytest.mark.parametrize("verb", [["check"], ["run"], ["show"], ["simulate", "--profile", "wan-streamer"]])
@pytest.mark.parametrize(
    ("node", "named"),
    [
        ("{type: 'mine.py:Blur', inputs: {tick: clock.tick}}", "mine.py:Blur"),
        ("{type: 'some.module:Blur', inputs: {tick: clock.tick}}", "some.module:Blur"),
        ("{type: flow.python, params: {function: louder, file: mine.py}, inputs: {value: clock.tick}}", "mine.py"),
        ("{type: flow.python, params: {function: 'mine.py:louder'}, inputs: {value: clock.tick}}", "mine.py:louder"),
    ],
)
def test_code_that_a_graph_names_is_not_run_where_that_was_said(verb, node, named):
    Path("g.yaml").write_text(f"{HEAD}  own: {node}\n")
    result = invoke(verb[0], "g.yaml", "--no-code", *verb[1:])
    assert isinstance(result.exception, UserError)
    assert str(result.exception) == (
        f"--no-code: found {named} (expected node types that are installed alone), leave --no-code out if you trust "
        "who wrote it"
    )
    assert not Path("ran").exists()


def test_check_says_what_it_is_about_to_run():
    Path("g.yaml").write_text(f"{HEAD}  own: {{type: 'mine.py:Blur', inputs: {{tick: clock.tick}}}}\n")
    result = invoke("check", "g.yaml")
    assert result.stderr == "check: runs code that the graph names: mine.py:Blur (--no-code refuses to)\n"
    assert Path("ran").exists(), "and then it does"


def test_a_graph_of_shipped_types_is_checked_in_silence():
    Path("g.yaml").write_text(HEAD)
    result = invoke("check", "g.yaml", "--no-code")
    assert (result.exit_code, result.stderr) == (0, "")
