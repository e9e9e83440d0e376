import json
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import call

from wangraph.runtime.errors import GraphError
from wangraph.runtime.node import Node
from wangraph.runtime.plan import catalogue
from wangraph.runtime.plan.catalogue import find_type, known_types, load_types, own_types, resolve, target_of

TOYS = Path(__file__).parent / "graph_toys.py"


class Outer(Node):
    """A node at module level."""


def complaint(name: str, folder: Path) -> str:
    with pytest.raises(GraphError) as caught:
        find_type(name, folder)
    return str(caught.value)


def test_shipped_types_are_found_by_name():
    target, cls = find_type("capture.pattern", Path())
    assert target == "wangraph.nodes.pattern:CapturePattern" and issubclass(cls, Node)


def test_an_unknown_type_lists_the_known_ones(tmp_path):
    message = complaint("capture.fil", tmp_path)
    assert message.startswith("no node type 'capture.fil' (available: backbone.performer, ")
    assert message.endswith("your own: file.py:Class or package.module:Class); did you mean 'capture.file'?")


@pytest.fixture
def install(tmp_path, monkeypatch):
    """``install(package, {type name: target}, **{module: text})``: as pip would leave it."""
    monkeypatch.syspath_prepend(tmp_path)

    def _install(package, types, **modules):
        info = tmp_path / f"{package}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        lines = [f"{name} = {target}" for name, target in types.items()]
        (info / "entry_points.txt").write_text("\n".join(["[wangraph.nodes]", *lines]))
        for module, text in modules.items():
            (tmp_path / f"{module}.py").write_text(text)
        catalogue._plugins.cache_clear()

    yield _install
    catalogue._plugins.cache_clear()


def test_types_of_other_packages_are_known(install):
    install("other", {"other.blur": "other_nodes:Blur"}, other_nodes=TOYS.read_text())
    target, cls = find_type("other.blur", Path())
    assert target == known_types()["other.blur"] == "other_nodes:Blur" and cls.__name__ == "Blur"
    assert "other.blur" not in own_types()


def test_parts_of_wangraph_that_are_plugged_in_come_with_it():
    assert own_types()["cascade.detect"] == "wangraph.tools.lab.cascade:Detect"


def test_a_package_that_takes_a_shipped_name_is_refused_where_the_name_is_used(install):
    install("greedy", {"capture.pattern": "greedy_nodes:Blur"}, greedy_nodes=TOYS.read_text())
    assert complaint("capture.pattern", Path()) == (
        "node type 'capture.pattern': found it in wangraph and in package 'greedy' (expected one), uninstall package "
        "'greedy', or rename the type among its entry points in the group wangraph.nodes"
    )
    assert find_type("capture.file", Path())[0] == "wangraph.nodes.capture:CaptureFile"


def test_two_packages_with_one_name_are_refused(install):
    install("first", {"blur": "first_nodes:Blur"}, first_nodes=TOYS.read_text())
    install("second", {"blur": "first_nodes:Blur"})
    message = complaint("blur", Path())
    assert message.startswith("node type 'blur': found it in package ") and "(expected one), uninstall" in message


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import nothing_like_this\n", "ModuleNotFoundError: No module named 'nothing_like_this', at {file}:1"),
        ("import sys\nsys.exit(3)\n", "SystemExit: 3, at {file}:2"),
    ],
)
def test_a_broken_package_is_told_by_name_and_hides_no_other(install, tmp_path, text, reason):
    install("broken", {"broken.blur": "broken_nodes:Blur"}, broken_nodes=text)
    message = complaint("broken.blur", Path())
    assert message == (
        "node type 'broken.blur' of package 'broken': module 'broken_nodes': importing it raised "
        f"{reason.format(file=tmp_path / 'broken_nodes.py')}, correct it there"
    )
    classes, broken = load_types(["broken.blur", "capture.pattern"])
    assert list(classes) == ["capture.pattern"] and str(broken["broken.blur"]) == message
    assert message in {row.get("error") for row in json.loads(call("nodes", "--json"))}
    call("schema", "-o", str(tmp_path / "schema.json"))
    schema = json.loads((tmp_path / "schema.json").read_text())
    offered = schema["definitions"]["node"]["properties"]["type"]["anyOf"]
    assert {"const": "broken.blur", "description": f"cannot be used: {message}"} in offered
    assert "ok: 3 nodes" in call("check", "hello")


def test_a_file_type_lies_beside_the_graph_and_is_loaded_once(tmp_path):
    (tmp_path / "mine.py").write_text(TOYS.read_text())
    target, cls = find_type("mine.py:Blur", tmp_path)
    assert target == f"{(tmp_path / 'mine.py').resolve()}:Blur"
    assert find_type("mine.py:Blur", tmp_path)[1] is cls is resolve(target)
    assert find_type("mine.py:Sink", tmp_path)[1].__module__ == cls.__module__


def test_another_process_loads_a_file_type_under_the_same_name():
    target, cls = find_type(f"{TOYS}:Blur", Path())
    code = (
        f"import wangraph; from wangraph.runtime.plan.catalogue import resolve; print(resolve({target!r}).__module__)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == cls.__module__


def test_mistakes_in_a_users_file_are_told(tmp_path):
    (tmp_path / "bad.py").write_text("import nothing_like_this\n")
    assert complaint("bad.py:Blur", tmp_path) == (
        f"file '{tmp_path / 'bad.py'}': importing it raised ModuleNotFoundError: No module named 'nothing_like_this', "
        f"at {tmp_path / 'bad.py'}:1, correct it there"
    )
    assert complaint("none.py:Blur", tmp_path) == (
        f"file '{tmp_path / 'none.py'}': not found (expected a Python file), it is sought beside the graph file"
    )
    assert complaint(f"{TOYS}:Blurr", tmp_path) == (
        f"type '{TOYS}:Blurr': no 'Blurr' (it has: Ahead, Answer, Blur, Camera, Forgetful, Patient, Playout, Sink, "
        "Square, Think); did you mean 'Blur'?"
    )
    assert complaint(f"{TOYS}:NOT_A_NODE", tmp_path) == (
        f"type '{TOYS}:NOT_A_NODE': found a int (expected a class derived from wangraph.Node)"
    )
    assert complaint("no_such_pkg.mod:Blur", tmp_path) == (
        "module 'no_such_pkg.mod': not found (expected an installed module), install it, "
        "or name the file: file.py:Class"
    )


def test_a_class_is_named_so_that_it_is_found_again():
    assert resolve(target_of(Outer)) is Outer
    shipped = find_type("capture.pattern", Path())[1]
    assert target_of(shipped) == "wangraph.nodes.pattern:CapturePattern"


def test_a_class_inside_a_function_is_found_in_its_own_process_only():
    class Inner(Node):
        """Seen by this process alone."""

    target = target_of(Inner)
    assert resolve(target) is Inner
    code = f"import wangraph; from wangraph.runtime.plan.catalogue import resolve; resolve({target!r})"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "found a class that only one process can see, move it into a module" in out.stderr
