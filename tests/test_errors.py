"""Where in somebody's code an error came from, and how much of it is told."""

from __future__ import annotations

import importlib.util
import logging
import re
import sys
from pathlib import Path

import engine_toys as toys
import numpy as np
import pytest

from wangraph import Graph, Node, NodeRunner, Output, Param, run
from wangraph.nodes.flow import PythonFunction
from wangraph.runtime import logs
from wangraph.runtime.channel.transport import PeerFull
from wangraph.runtime.engine.options import Options
from wangraph.runtime.engine.run import Run
from wangraph.runtime.errors import GraphError, NodeError, RunError, WangraphError, error_of
from wangraph.runtime.places import place_of, raised
from wangraph.runtime.plan.catalogue import find_type
from wangraph.tools.cli import main
from wangraph.tools.shared.options import load_plan

HEAD = "from wangraph import Input, Node, Output, node\n"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(logs.VARIABLE, "warning")
    return tmp_path


def module(source: str, name: str = "mine.py"):
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source)
    spec = importlib.util.spec_from_file_location(path.stem, path.resolve())
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def caught(call) -> BaseException:
    try:
        call()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def inner(error: BaseException) -> BaseException:
    """Without the frame of `caught`, which is somebody's own."""
    return error.with_traceback(error.__traceback__.tb_next)


# Places


@pytest.mark.parametrize(
    ("source", "place"),
    [
        ("def step():\n    return undefined\n", ", at mine.py:2 in step"),
        ("def step():\n    return helper()\ndef helper():\n    return 1 / 0\n", ", at mine.py:4 in helper"),
        (
            "import numpy as np\ndef step():\n    np.stack([np.ones(1),\n              np.ones(2)])\n",
            ", at mine.py:3 in step",
        ),
        ("import json\ndef step():\n    json.loads('{')\n", ", at mine.py:3 in step"),
        ("from wangraph import Input\ndef step():\n    Input('vid')\n", ", at mine.py:3 in step"),
        ("def step():\n    eval('1 +')\n", ", at mine.py:2 in step"),
    ],
)
def test_the_innermost_line_of_ones_own_is_named(source, place):
    assert place_of(caught(module(source).step)) == place


def test_a_file_elsewhere_is_named_whole_and_an_installed_one_below_the_packages(folder, monkeypatch):
    bad = module("def step():\n    1 / 0\n")
    installed = module("def step():\n    1 / 0\n", "lib/site-packages/pkg/there.py")
    (folder / "other").mkdir()
    monkeypatch.chdir(folder / "other")
    assert place_of(caught(bad.step)) == f", at {folder / 'mine.py'}:2 in step"
    error = caught(installed.step)
    assert re.search(r"test_errors.py:\d+ in caught$", place_of(error)), "the line of one's own that called it"
    assert place_of(inner(error)) == ", at pkg/there.py:2 in step", "where there is none, the innermost of all"
    assert place_of(error.with_traceback(None)) == ""


@pytest.mark.parametrize(("error", "place"), [("errors.MediaError", ""), ("OSError", ", at mine.py:3 in step")])
def test_what_wangraph_words_itself_needs_no_line_of_wangraphs(error, place):
    shipped = module(f"from wangraph.runtime import errors\ndef step():\n    raise {error}('no lens')\n")
    shipped.__name__ = "wangraph.nodes.lens"
    assert place_of(inner(caught(shipped.step))) == place


def test_an_error_without_words_is_its_type(folder):
    error = caught(module("def step():\n    assert False\n").step)
    assert raised(error) == "AssertionError, at mine.py:2 in step"


# In a node


def complaint(source: str, name: str = "Bright") -> str:
    cls = getattr(module(HEAD + source), name)
    with NodeRunner(cls()) as runner, pytest.raises(NodeError) as told:
        runner.step(frames=np.zeros((4, 2, 2, 3), np.uint8))
    assert told.value.__cause__ is not None
    return str(told.value)


BRIGHT = """
class Bright(Node):
    frames = Input("video", "F H W 3", "uint8")
    video = Output("video", "F H W 3", "uint8")

    def step(self, unit, frames):
        return {"video": undefined}
"""


def test_what_a_step_raises_is_told_with_file_line_and_function():
    assert complaint(BRIGHT) == (
        "node 'node', unit 0: NameError: name 'undefined' is not defined, at mine.py:8 in step"
    )


def test_arguments_that_do_not_fit_are_told_with_the_place_of_the_definition():
    assert complaint(BRIGHT.replace("unit, frames", "frames")) == (
        "node 'node', unit 0: TypeError: Bright.step() got multiple values for argument 'frames', at mine.py:7 in step"
    )
    function = '@node(frames=Input("video"), video=Output("video"))\ndef dim(frames):\n    return {"video": frames}\n'
    assert complaint(function, "dim") == (
        "node 'node', unit 0: TypeError: dim() got multiple values for argument 'frames', at mine.py:2 in dim"
    )


@pytest.mark.parametrize(("method", "doing"), [("open(self, ctx)", "opening"), ("close(self)", "closing")])
def test_what_opening_and_closing_raise_has_its_place_too(method, doing):
    cls = module(f"{HEAD}class Bright(Node):\n    def {method}:\n        raise OSError('no lens')\n").Bright
    runner = NodeRunner(cls())
    with pytest.raises(NodeError) as told:
        runner.open()
        runner.close()
    name = method.partition("(")[0]
    assert str(told.value) == f"node 'node': OSError while {doing}: no lens, at mine.py:4 in {name}"


def test_the_function_of_a_function_node_is_the_place():
    Path("mine.py").write_text("def louder(value):\n    return value + undefined\n")
    with (
        NodeRunner(PythonFunction(function="louder", file=Path("mine.py"))) as runner,
        pytest.raises(NodeError) as told,
    ):
        runner.step(value=np.ones(1))
    assert str(told.value) == "node 'node', unit 0: NameError: name 'undefined' is not defined, at mine.py:2 in louder"


def graph(cls: type) -> Graph:
    made = Graph("g", latency_ms=160)
    numbers = made.add("numbers", toys.Numbers, units=3)
    made.add("mix", cls, at=1, inputs={"video": numbers["video"]})
    return made


@pytest.mark.parametrize("serial", [True, False])
def test_from_python_the_error_itself_is_the_cause(serial):
    with pytest.raises(
        RunError, match=r"^node 'mix', unit 1: ValueError: the lens fell off, at .*:\d+ in step$"
    ) as told:
        run(graph(toys.Raises), serial=serial, clock="virtual")
    assert isinstance(told.value.__cause__, ValueError) and str(told.value.__cause__) == "the lens fell off"


# While a file is imported

KINDS = "expected one of: any, audio, context, latent, text, tokens, video"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('frames = Input("vid")', f"GraphError: port: found kind 'vid' ({KINDS}), at mine.py:3 in Bright"),
        (
            'frames = Input(\n        "video",\n        "F H-W",\n    )',
            "GraphError: shape 'F H-W': found 'H-W' (expected a size as 4, a symbol as H or a maximum as N<=13), "
            "at mine.py:3 in Bright",
        ),
        ("print(undefined)\n    x = 1", "NameError: name 'undefined' is not defined, at mine.py:3 in Bright"),
        ("x = = 1", "SyntaxError: invalid syntax, at mine.py:3"),
    ],
)
def test_what_a_class_body_raises_is_told_with_line_class_and_port(folder, body, message):
    Path("mine.py").write_text(f"{HEAD}class Bright(Node):\n    {body}\n")
    with pytest.raises(GraphError) as told:
        find_type("mine.py:Bright", folder)
    assert str(told.value) == f"file '{folder / 'mine.py'}': importing it raised {message}, correct it there"


# The whole traceback


def test_a_process_tells_the_traceback_when_it_is_asked_to(capfd, monkeypatch):
    def failed() -> str:
        with pytest.raises(RunError, match=r"^node 'mix', unit 1: ValueError: the lens fell off, at .*:\d+ in step$"):
            Run(graph(toys.Raises).plan(), Options()).start().wait()
        return capfd.readouterr().err

    assert "Traceback" not in failed()
    monkeypatch.setenv(logs.VARIABLE, "debug")
    told = failed()
    assert re.search(
        r"^D [\d:]+ wangraph\.lane: main/loop: a node failed\nTraceback \(most recent call last\):$", told, re.M
    )
    assert 'raise ValueError("the lens fell off")' in told


def test_the_command_tells_the_traceback_when_it_is_asked_to(folder, caplog, capsys, monkeypatch):
    (folder / "mine.py").write_text("raise ValueError('no luck')\n")
    (folder / "g.yaml").write_text('name: g\nnodes:\n  bright: {type: "mine.py:Bright"}\n')
    monkeypatch.setattr(sys, "argv", ["wangraph", "--log-level", "debug", "check", "g.yaml"])
    with caplog.at_level(logging.DEBUG, "wangraph"), pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert capsys.readouterr().err == (
        "check: runs code that the graph names: mine.py:Bright (--no-code refuses to)\n"
        f"error: g.yaml:3:18: node 'bright': file '{folder / 'mine.py'}': importing it raised ValueError: no luck, "
        "at mine.py:1, correct it there\n"
    )
    assert [(r.name, r.getMessage()) for r in caplog.records if r.name.startswith("wangraph")] == [
        ("wangraph.catalogue", f"file '{folder / 'mine.py'}': importing it failed"),
        ("wangraph", "how the error below came about"),
    ]
    assert all(record.exc_info for record in caplog.records)


@pytest.mark.parametrize(("given", "taken"), [("debug", "debug"), ("loud", "warning"), (None, "warning")])
def test_a_process_takes_the_level_of_the_one_that_started_it(monkeypatch, given, taken):
    if given is None:
        monkeypatch.delenv(logs.VARIABLE)
    else:
        monkeypatch.setenv(logs.VARIABLE, given)
    seen = []
    monkeypatch.setattr(logging, "basicConfig", lambda **kwargs: seen.append(kwargs["level"]))
    logs.take_level()
    assert seen == [taken.upper()]


# What is no ordinary exception


class NoText(Exception):
    """Fails when it is asked what it says."""

    def __str__(self):
        raise RuntimeError("in str")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (SystemExit(0), "SystemExit: 0"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (NoText(), "NoText: (its text raised RuntimeError)"),
        (ValueError("half \ud800 a pair"), "ValueError: half ? a pair"),
        (ValueError("x" * 3_000_000), "ValueError: " + "x" * 2000 + "... (3000000 characters)"),
    ],
    ids=["exit", "interrupt", "no text", "surrogate", "huge"],
)
def test_whatever_a_body_raises_is_told_with_node_and_unit(error, message):
    class Bad(Node):
        out = Output("tokens", "1", "int64")

        def step(self, unit):
            raise error

    with NodeRunner(Bad()) as bad, pytest.raises(NodeError) as caught:
        bad.step()
    assert str(caught.value).startswith(f"node 'node', unit 0: {message}, at ")


@pytest.mark.parametrize(
    "body",
    [
        "import sys; sys.exit(0)",
        f"{HEAD}class Bright(Node):\n    @classmethod\n    def check(cls, params): raise SystemExit(0)\n",
    ],
    ids=["file", "check"],
)
def test_check_never_passes_because_a_file_ended_the_interpreter(folder, body):
    (folder / "mine.py").write_text(body)
    (folder / "g.yaml").write_text('name: g\nnodes:\n  bright: {type: "mine.py:Bright"}\n')
    with pytest.raises(GraphError, match=r"(importing it|check\(\)) raised SystemExit: 0, at "):
        load_plan("g.yaml")


class Unmade(Node):
    """Cannot be made."""

    how: str = Param("error")
    out = Output("tokens", "1", "int64")

    def __init__(self, **params):
        super().__init__(**params)
        if self.how == "exit":
            raise SystemExit(0)
        raise RuntimeError("no lens")

    def step(self, unit):
        return {"out": unit.index}


@pytest.mark.parametrize(("how", "message"), [("error", "RuntimeError while it was made: no lens"),
                                              ("exit", "SystemExit while it was made: 0")])  # fmt: skip
@pytest.mark.parametrize("clock", ["system", "virtual"])
def test_what_a_constructor_raises_is_told_with_its_node(clock, how, message):
    made = Graph("g", latency_ms=160)
    made.add("lens", Unmade, how=how)
    with pytest.raises(NodeError) as told:
        run(made, clock=clock, units=2)
    assert re.fullmatch(rf"node 'lens': {message}, at .*test_errors.py:\d+ in __init__", str(told.value))


def every_class_below(cls):
    return [found for sub in cls.__subclasses__() for found in (sub, *every_class_below(sub))]


def test_an_error_of_another_process_is_raised_again_whatever_its_class_takes():
    text = "where: found this (expected that), do so"
    known = [WangraphError, *every_class_below(WangraphError)]
    assert PeerFull in known
    for cls in known:
        again = error_of(cls.__name__, text)
        assert type(again) is cls and str(again) == text
