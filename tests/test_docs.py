"""What the documents say can be typed: every command parses, every shipped graph is there, the node in the README runs."""

from __future__ import annotations

import contextlib
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest

from wangraph import NodeRunner
from wangraph.tools.cli import VERBS, cli

ROOT = Path(__file__).parents[1]
DOCUMENTS = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "graphs").glob("*.yaml")),
    *sorted((ROOT / "docs").glob("*.md")),
]


def commands() -> list[tuple[str, str]]:
    pattern = re.compile(r"(?:^\$ |`|^# |^    )(wangraph [a-z]+ [^`#|]+)")
    lines = [(path.name, line) for path in DOCUMENTS for line in path.read_text().splitlines()]
    return [(name, match.strip()) for name, line in lines for match in pattern.findall(line)]


@pytest.mark.parametrize(("document", "line"), commands())
def test_every_command_in_the_documents_parses(document, line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("DIR", "training/tiny"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "me.wav").touch()
    words = shlex.split(line)[1:]
    if words[0] == "--help" or "GRAPH" in words:
        return
    command = cli.get_command(click.Context(cli), words[0])
    assert command is not None, f"{document}: no verb '{words[0]}'"
    with contextlib.suppress(click.exceptions.Exit):
        command.make_context(words[0], words[1:])


def test_every_verb_has_help_with_an_example():
    for verb in VERBS:
        command = cli.get_command(click.Context(cli), verb)
        assert command is not None
        parts = command.commands.values() if isinstance(command, click.Group) else [command]
        for part in parts:
            text = part.get_help(click.Context(part, info_name=verb))
            assert f"wangraph {verb}" in text, (verb, part.name)


def test_the_make_targets_in_the_documents_exist():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for path in DOCUMENTS:
        for words in re.findall(r"^\$ make ([a-z ]+?)(?: *#.*)?$", path.read_text(), re.MULTILINE):
            assert set(words.split()) <= targets, path.name


def test_the_node_and_the_graph_of_the_readme_run(tmp_path):
    node, script = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[:2]
    assert len(node.splitlines()) < 20
    (tmp_path / "my_nodes.py").write_text(node)
    (tmp_path / "poster.py").write_text(script.replace("seconds=4", "seconds=0.5"))
    done = subprocess.run([sys.executable, "poster.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.stdout.endswith("0 misses\n"), done.stderr
    assert (tmp_path / "poster.mp4").stat().st_size > 1000


def test_the_stateful_node_of_the_readme_keeps_and_loses_what_it_says():
    source = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[2]
    names: dict[str, Any] = {"__name__": "readme"}
    exec(source, names)
    bright, dark = (np.full((4, 2, 2, 3), value, np.uint8) for value in (200, 10))
    with NodeRunner(names["Trails"]()) as trails:
        seen = [trails.step(frames=frames)["trails"].max() for frames in (bright, dark, dark)]
        assert trails.gap(1) == [{}]
        assert [*seen, trails.step(frames=dark)["trails"].max()] == [200, 100, 50, 10]


def test_the_laws_and_the_code_that_the_readme_names_exist():
    readme = (ROOT / "README.md").read_text()
    file = ""
    for name, test in re.findall(r"`(test_\w+\.py)?(?:::(test_\w+))?`", readme):
        file = name or file
        assert not file or (ROOT / "tests" / file).exists(), file
        assert not test or f"def {test}(" in (ROOT / "tests" / file).read_text(), test
    for path, symbol in re.findall(r"`((?:\w+/)+\w+\.py)(?::(\w+))?`", readme):
        text = (ROOT / path).read_text()
        assert not symbol or re.search(rf"(def|class) {symbol}\b", text), f"{path}:{symbol}"
