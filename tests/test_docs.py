"""What the documents say can be typed: every command parses, every shipped graph is there, the node in the README runs."""

from __future__ import annotations

import contextlib
import fnmatch
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import click
import numpy as np
import pytest

import wangraph
from wangraph import NodeRunner, Validity
from wangraph.runtime.observe.records import Record
from wangraph.runtime.plan.check import check, load
from wangraph.runtime.schedule.events import Firing
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
    _make_files(tmp_path)
    words = shlex.split(line)[1:]
    if words[0] == "--help" or "GRAPH" in words or "NAME" in words:
        return
    parse(words)


def _make_files(folder: Path) -> None:
    """What examples name and a reader would have."""
    for name in ("DIR", "MINE", "VOICES", "FACES", "videos", "training/tiny"):
        (folder / name).mkdir(parents=True)
    for name in ("me.wav", "me.mp4", "my.yaml", "my_graph.yaml"):
        (folder / name).touch()


def parse(words: list[str]) -> None:
    """Parse what comes after ``wangraph``, down to the command that it names; runs nothing."""
    group, name, context = cli, "wangraph", click.Context(cli)
    while isinstance(group, click.Group):
        name, group, words = group.resolve_command(context, words)
        assert group is not None, name
        context = click.Context(group, info_name=name)
    with contextlib.suppress(click.exceptions.Exit):
        group.make_context(name, words)


def all_commands() -> list[tuple[str, click.Command]]:
    """Every command by what is typed for it, those inside groups and the groups themselves."""
    found = []
    for verb in VERBS:
        command = cli.get_command(click.Context(cli), verb)
        found.append((verb, command))
        if isinstance(command, click.Group):
            found += [(f"{verb} {name}", part) for name, part in command.commands.items()]
    return found


@pytest.mark.parametrize(
    ("typed", "command"), all_commands(), ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_command_has_help_whose_examples_parse(typed, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _make_files(tmp_path)
    examples = re.findall(r"^ *wangraph (.+?)(?:  .*)?$", command.help, re.MULTILINE)
    assert any(example.startswith(typed) for example in examples)
    for example in examples:
        parse(shlex.split(re.split(r" (?:&&|\||>) ", example)[0]))


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


def test_the_stateful_node_of_the_page_on_nodes_keeps_and_loses_what_it_says():
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "node.md").read_text(), re.DOTALL)
    source = next(block for block in blocks if block.startswith("# trails.py"))
    names: dict[str, Any] = {"__name__": "readme"}
    exec(source, names)
    bright, dark = (np.full((4, 2, 2, 3), value, np.uint8) for value in (200, 10))
    with NodeRunner(names["Trails"]()) as trails:
        seen = [trails.step(frames=frames)["trails"].max() for frames in (bright, dark, dark)]
        assert trails.gap(1) == [{}]
        assert [*seen, trails.step(frames=dark)["trails"].max()] == [200, 100, 50, 10]


RUNNABLE = ["node.md", "running.md", "trace.md"]
"""Documents whose Python blocks are files: each begins with its name, or is a script that uses those before it."""


@pytest.mark.parametrize("document", RUNNABLE)
def test_every_python_block_of_a_document_runs(document, tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / document).read_text(), re.DOTALL)
    assert blocks
    for number, block in enumerate(blocks):
        named = re.match(r"# (\w+\.py)\n", block)
        file = tmp_path / (named[1] if named else f"block_{number}.py")
        file.write_text(block)
        done = subprocess.run([sys.executable, file.name], cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{document}: {file.name}: {done.stderr}"
        assert bool(done.stdout) == ("print(" in block), f"{document}: {file.name}"


@pytest.mark.parametrize("text", re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "live.md").read_text(), re.DOTALL))
def test_every_graph_of_the_page_on_talking_checks(text, tmp_path):
    (tmp_path / "g.yaml").write_text(text)
    assert check(load(tmp_path / "g.yaml")).plan.nodes


def test_the_times_in_the_page_on_scheduling_are_those_of_a_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "scheduling.md").read_text()
    (tmp_path / "three.yaml").write_text(re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)[0])

    def firings(*faults: str) -> dict[tuple[str, int], Firing]:
        log = wangraph.run("three.yaml", clock="virtual", units=4, inject=faults).log
        return {(e.node, e.first): e for e in log if isinstance(e, Firing)}

    def ms(ns: int) -> str:
        return f"{ns / 1e6:.0f}"

    calm = firings()
    for node in ("camera", "beside"):
        assert f"| {ms(calm[node, 0].started_ns)} to {ms(calm[node, 0].finished_ns)} |" in page
    assert f"begins to play | {ms(calm['sync', 0].started_ns)} |" in page
    assert "^260     ^420     ^580" in page and [ms(calm["sync", k].started_ns) for k in range(3)] == [
        "260",
        "420",
        "580",
    ]
    fault = re.search(r"--inject '(.*?)'", page)[1]
    held = firings(fault)
    assert f"| {ms(held['beside', 1].finished_ns)} | `beside` is done with unit 1, 240 ms after its due" in page
    assert ms(held["beside", 1].finished_ns - held["beside", 1].due_ns) == "240"
    assert held["beside", 2].mode == "skip" and held["beside", 3].mode == "step"
    assert f"| {ms(held['beside', 3].finished_ns)} | `beside.video` of unit 3 settles" in page


def test_the_records_in_the_page_on_traces_are_those_that_are_written():
    page = (ROOT / "docs" / "trace.md").read_text()
    for record in get_args(Record):
        fields = ", ".join(f"`{name}`" for name in record.__struct_fields__)
        assert f"| `{record.__struct_config__.tag}` | {fields} |" in page, record
    for validity in Validity:
        assert f"{validity.value} {validity.name.lower()}" in page


def test_the_laws_and_the_code_that_the_documents_name_exist():
    page = (ROOT / "docs" / "laws.md").read_text()
    file = ""
    for name, test in re.findall(r"`(test_\w+\.py)?(?:::(test_\w+))?`", page):
        file = name or file
        assert not file or (ROOT / "tests" / file).exists(), file
        assert not test or f"def {test}(" in (ROOT / "tests" / file).read_text(), test
    for path, symbol in re.findall(r"`((?:\w+/)+\w+\.py)(?::(\w+))?`", page):
        text = (ROOT / path).read_text()
        assert not symbol or re.search(rf"(def|class) {symbol}\b", text), f"{path}:{symbol}"


def test_every_promise_has_a_test_that_exists_and_rows_that_were_measured():
    page = (ROOT / "docs" / "reliability.md").read_text()
    rows = re.findall(r"^\| ([A-Z][^|]+) \| ([^|]+) \| ([^|]+) \|$", page, re.MULTILINE)
    measured = {line.split()[0] for line in re.search(r"```console\n(.*?)```", page, re.DOTALL)[1].splitlines() if line}
    assert len(rows) >= 10
    for promise, tests, kinds in rows:
        named = re.findall(r"\((\.\./tests/\w+\.py)\) `(test_\w+)`", tests)
        assert named, promise
        for path, test in named:
            assert f"def {test}(" in (ROOT / "docs" / path).read_text(), f"{path}: {test}"
        if not kinds.startswith("column"):
            for pattern in re.findall(r"`([^`]+)`", kinds):
                was_measured = (
                    f"$ {pattern}" in page if pattern.startswith("wangraph ") else fnmatch.filter(measured, pattern)
                )
                assert was_measured, f"{promise}: {pattern} was not measured"


@pytest.mark.parametrize("document", [d for d in DOCUMENTS if d.suffix == ".md"], ids=lambda path: path.name)
def test_every_link_of_a_document_leads_somewhere(document):
    text = document.read_text()
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", text):
        name, _, anchor = link.partition("#")
        target = (document.parent / name).resolve() if name else document
        assert target.exists(), f"{document.name}: {link}"
        if anchor and target.suffix == ".md":
            headings = re.findall(r"^#+ (.+)$", target.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in headings}, (
                f"{document.name}: {link}"
            )
