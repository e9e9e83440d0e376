"""docs/graph-file.md: its tables are the declarations of the keys, its graphs pass the check, its Python runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from wangraph.runtime.plan.check import check, load
from wangraph.runtime.plan.keys import Key, keys_of
from wangraph.runtime.plan.spec import ClockSpec, Edge, ExportsSpec, GraphSpec, NodeSpec, ProcessSpec

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "graph-file.md").read_text()
TABLES = {
    "the graph": GraphSpec,
    "the clock": ClockSpec,
    "a node": NodeSpec,
    "an input": Edge,
    "a process": ProcessSpec,
    "exports": ExportsSpec,
}
ON_SUBGRAPH = {"refused": "", "own": "its own", "all": "every node inside"}


def default(key: Key) -> str:
    if key.required:
        return "required"
    return key.unset or ("none" if key.default in (None, (), {}) else f"`{key.default}`")


def table(section) -> str:
    """The keys of a section, as the document shows them."""
    keys = keys_of(section)
    has_subgraphs = any(key.on_subgraph != "refused" for key in keys.values())
    heads = ["key", "holds", "if not given", "meaning", *(["on a sub-graph"] if has_subgraphs else [])]
    rows = [heads, ["-"] * len(heads)]
    for name, key in keys.items():
        row = [f"`{name}`", key.kind.expected, default(key), key.help]
        rows.append([*row, *([ON_SUBGRAPH[key.on_subgraph]] if has_subgraphs else [])])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


@pytest.mark.parametrize("what", TABLES)
def test_a_table_of_keys_says_what_their_declarations_say(what):
    assert f"<!-- keys of {what} -->\n{table(TABLES[what])}<!-- end -->\n" in TEXT


def test_every_table_is_checked():
    assert re.findall(r"<!-- keys of (.*) -->", TEXT) == list(TABLES)


def blocks(language: str) -> list[tuple[str, str]]:
    """(file name, text) of each block; those without a name stand alone."""
    return re.findall(rf"(?:<!-- file: (\S+) -->\n)?```{language}\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clips").symlink_to(ROOT / "graphs" / "clips")
    for name, text in blocks("yaml"):
        if name:
            (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize("text", [text for _, text in blocks("yaml")])
def test_every_graph_in_the_document_passes_the_check(files, text):
    (files / "g.yaml").write_text(text)
    assert check(load("g.yaml")).plan.nodes


def test_the_document_has_graphs_that_refer_to_each_other(files):
    (files / "g.yaml").write_text(next(text for _, text in blocks("yaml") if "halves.yaml" in text))
    checked = check(load("g.yaml"))
    streams = {f"{n.name}.{i.port}": (i.stream, i.delay) for n in checked.plan.nodes.values() for i in n.inputs}
    assert streams["twice/both.inset"] == ("me.video", 5) and streams["twice/later.value"] == ("me.video", 0)
    assert checked.exports.outputs["video"].ports == ("twice/both.video",)


def test_the_python_in_the_document_plans_its_graph(files):
    (text,) = (text for _, text in blocks("python"))
    names: dict[str, object] = {}
    exec(text, names)
    assert "agent/think" in names["g"].plan().nodes
