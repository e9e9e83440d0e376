"""No verb overwrites what it reads, or what is something else than it writes."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import call

from wangraph.runtime.errors import UserError
from wangraph.tools.shared.targets import JSON, PAGE, PROFILE, RECORDING, TRACE, Target, check_kind, check_targets

TOYS = Path(__file__).parent / "engine_toys.py"

GRAPH = """\
name: toy
latency_ms: 160
params: {out: seen.txt, lines: words.txt}
nodes:
  numbers: {type: "toys.py:Numbers", params: {units: 3}}
  typed: {type: capture.text, params: {path: $lines}}
  words: {type: sink.null, inputs: {value: typed.text}}
  digest: {type: "toys.py:Digest", params: {path: $out}, inputs: {video: numbers.video}}
"""

PROFILED = "version: 1\nsource: assumed\nnodes:\n" + "".join(
    f"  {name}: {{cost_ms: 1}}\n" for name in ("numbers", "typed", "words", "digest")
)

OTHER = "it would be lost: name another"
REPLACES = "found a file that is no "


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "toys.py").write_text(TOYS.read_text())
    (tmp_path / "words.txt").write_text("0.1 hello\n")
    (tmp_path / "g.yaml").write_text(GRAPH)
    (tmp_path / "p.yaml").write_text(PROFILED)
    return tmp_path


def kept(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("profile g.yaml -o g.yaml", "-o: g.yaml: is the graph itself (expected another file)"),
        ("profile g.yaml -o ./toys.py", "-o: toys.py: is the code of node 'digest' (expected another file)"),
        ("profile g.yaml -o words.txt", "-o: words.txt: is what node 'typed' reads (expected another file)"),
        (
            "profile g.yaml -o other.yaml",
            "-o: other.yaml: found a file that is no profile (expected none, or a profile to replace)",
        ),
        ("profile g.yaml -o seen.txt", "-o: seen.txt: is what node 'digest' writes (expected another file)"),
        ("record g.yaml -o g.yaml", "-o: g.yaml: is the graph itself (expected another file)"),
        (
            "record g.yaml -o other.yaml",
            "-o: other.yaml: found a file that is no recording (expected none, or a recording to replace)",
        ),
        ("record g.yaml -o r.mcap --trace r.mcap", "-o: r.mcap: is what --trace writes (expected another file)"),
        ("run g.yaml --trace g.yaml", "--trace: g.yaml: is the graph itself (expected another file)"),
        ("run g.yaml --trace link.yaml", "--trace: link.yaml: is the graph itself (expected another file)"),
        (
            "run g.yaml --trace other.yaml",
            "--trace: other.yaml: found a file that is no trace (expected none, or a trace to replace)",
        ),
        (
            "run g.yaml --json g.yaml",
            "--json: g.yaml: found a file that is no JSON file (expected none, or a JSON file to replace)",
        ),
        ("run g.yaml --trace x --json x", "--json: x: is what --trace writes (expected another file)"),
        ("run g.yaml --set out=g.yaml", "node 'digest': {folder}/g.yaml: is the graph itself (expected another file)"),
        ("simulate g.yaml --profile p.yaml --trace p.yaml", "--trace: p.yaml: is the profile (expected another file)"),
        ("simulate g.yaml --profile p.yaml --trace g.yaml", "--trace: g.yaml: is the graph itself (expected another file)"),
        (
            "schema -o g.yaml",
            "-o: g.yaml: found a file that is no JSON file (expected none, or a JSON file to replace)",
        ),
        ("timeline p.yaml -o g.yaml", "-o: g.yaml: found a file that is no page (expected none, or a page to replace)"),
        (
            "bench clock --json g.yaml",
            "--json: g.yaml: found a file that is no JSON file (expected none, or a JSON file to replace)",
        ),
    ],
)  # fmt: skip
def test_what_a_verb_reads_or_would_not_have_written_is_not_overwritten(folder, words, message):
    (folder / "link.yaml").symlink_to("g.yaml")
    (folder / "other.yaml").write_text("precious: true\n")
    before = kept(folder)
    with pytest.raises(UserError) as caught:
        call(*words.split())
    remedy = ", or give --force" if REPLACES in message else ""
    assert str(caught.value) == f"{message.format(folder=folder)}, {OTHER}{remedy}"
    assert kept(folder) == before


def test_a_recording_is_not_overwritten_by_the_graph_that_it_is_played_into(folder):
    call("record", "g.yaml", "-o", "r.mcap", "--clock", "virtual", "--quiet")
    with pytest.raises(UserError) as caught:
        call("replay", "r.mcap", "g.yaml", "--set", "out=r.mcap")
    assert str(caught.value) == (f"node 'digest': {folder}/r.mcap: is the recording (expected another file), {OTHER}")


def test_what_a_verb_has_written_it_may_replace(folder):
    for _ in range(2):
        call("run", "g.yaml", "--clock", "virtual", "--quiet", "--trace", "t.trace", "--json", "s.json")
        call("record", "g.yaml", "--clock", "virtual", "--quiet", "-o", "r.mcap")
        call("simulate", "g.yaml", "--profile", "p.yaml", "--units", "5", "--trace", "sim.trace")
        call("schema", "-o", "schema.json")
        call("timeline", "t.trace", "-o", "page.html")
        call("timeline", "t.trace", "--format", "perfetto", "-o", "page.json")
    files = {TRACE: "t.trace", RECORDING: "r.mcap", JSON: "s.json", PAGE: "page.html", PROFILE: "p.yaml"}
    for kind, file in files.items():
        for other in {*files.values()} - {file}:
            with pytest.raises(UserError, match=f"found a file that is no {kind.name} "):
                check_kind(Target("-o", Path(other), kind))
        check_kind(Target("-o", Path(file), kind))


def test_devices_empty_files_and_none_are_no_loss(folder):
    from wangraph.tools.shared.options import load_plan

    (folder / "empty").touch()
    for path in (None, Path("empty"), Path("new"), Path("/dev/null")):
        check_kind(Target("--trace", path, TRACE))
    (folder / "empty").write_text("no longer")
    with pytest.raises(UserError, match=r"^--trace: empty: found a file that is no trace "):
        check_kind(Target("--trace", Path("empty"), TRACE))
    plan, options = load_plan("g.yaml"), ("-o", "--json")
    check_targets(plan, [Target(option, Path("/dev/null"), JSON) for option in options])
    with pytest.raises(UserError) as caught:
        check_targets(plan, [Target(option, Path("new"), JSON) for option in options])
    assert str(caught.value) == "--json: new: is what -o writes (expected another file), it would be lost: name another"
