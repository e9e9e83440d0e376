"""Graph files: the shipped ones and a few that use what these do not, changed as YAML and as text, with settings."""

from __future__ import annotations

import copy
import random
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from ...runtime.errors import UserError
from ...runtime.plan.catalogue import known_types
from ...runtime.plan.check import check, load
from .damage import spoilt, spoilt_bytes
from .reader import Reader

FILES = {
    "sub.yaml": "name: sub\nexports: {inputs: {value: hold.value}, outputs: {out: hold.delayed}}\n"
    "params: {units: 1}\nnodes:\n  hold: {type: flow.delay, params: {units: $units}}\n",
    "text.txt": "0.5 hello\n1 world\n",
    "nodes.py": "from wangraph import Input, Node, Output\n\n\nclass Through(Node):\n"
    "    value = Input('any', '...')\n    out = Output('any', '...')\n\n"
    "    def step(self, unit, value):\n        return {'out': value}\n",
    "broken.py": "def x(:\n",
}
"""Files that graphs name, beside them."""

MORE = (
    "name: uses\nlatency_ms: 200\nparams: {k: '${NOBODY:3}'}\nnodes:\n"
    "  pattern: {type: capture.pattern, params: {seconds: 1}}\n"
    "  inner: {graph: sub.yaml, params: {units: 2}, inputs: {value: pattern.video}}\n"
    "  sync: {type: sync.playout, inputs: {video: inner.out, audio: pattern.audio}}\n"
    "  file: {type: sink.mp4, params: {path: o.mp4}, inputs: {video: sync.video, audio: sync.audio}}\n",
    "extends: hello\nnodes:\n  file: {params: {path: other.mp4}}\n",
    "name: texts\nnodes:\n  t: {type: capture.text, params: {path: text.txt}}\n"
    "  own: {type: 'nodes.py:Through', inputs: {value: t.text}}\n"
    "  out: {type: sink.null, inputs: {value: own.out}}\n",
    "name: circle\nlatency_ms: 300\nprocesses: {main: {lanes: [a, b]}, far: {on_crash: restart}}\nnodes:\n"
    "  p: {type: capture.pattern, lane: a, params: {seconds: 3}}\n"
    "  m: {type: flow.mix, process: far, inputs: {a: p.audio, b: {from: s.audio, delay: 1, init: zeros}}}\n"
    "  s: {type: sync.playout, lane: b, inputs: {audio: m.mixed}}\n",
)

WORDS = [
    "extends",
    "graph",
    "exports",
    "late",
    "hold",
    "wait",
    "gap",
    "empty",
    "init",
    "zeros",
    "delay",
    "look_ahead",
    "memory",
    "network",
    "shared",
    "on_crash",
    "restart",
    "bypass",
    "on_stall",
    "standby",
    "stall_s",
    "threads",
    "priority",
    "device",
    "cuda:0",
    "ladder",
    "budget_ms",
    "optional",
    "lanes",
    "nodes",
    "inputs",
    "params",
    "type",
    "processes",
    "clock",
    "fps",
    "unit_frames",
    "latency_ms",
    "name",
    "from",
    "process",
    "lane",
    "guard",
    "conceal",
    "sub.yaml",
    "hello",
    "text.txt",
    "nodes.py:Through",
    "nodes.py:Nope",
    "broken.py:X",
    "nowhere:X",
    "main",
    "far",
]

ODD: list[Any] = [
    float("nan"), float("inf"), -float("inf"), 1e-300, 10**17, 2**64, 24, 29.97, 44100, " ", "a.", ".a", "/", "..",
    "/dev/zero", "/dev/null", "/proc/self/mem", "~", "$", "$x", "${", "${}", "${NOBODY}",
    "${A:${B}}", "a\nb", "x" * 3000, "0x10", "1e3", "on",
    "!!python/object:os.system", ":", "a:", ":b", "..:X", "x.npy", "1..2", "%s%n", "{0}", "\x1b[31m",
    "2026-01-01", "=", "<<", [[]], {"a": None}, {"": ""},
]  # fmt: skip
"""Values beyond those that spoil any plain data."""

MARKS = [
    "&a ", "*a ", "!!python/object/apply:os.system [id]\n", "!!binary aGk=", "<<: ", "? ", "--- \n", "...\n", "[" * 40,
    "{a: " * 40, "!!set {a}", "!!omap []", "%YAML 9.9\n---\n", "&x [*x]", "\\ud800", "\x07", "\u2028", "\ufeff", "\t",
]  # fmt: skip
"""Signs that mean something to YAML."""


class Graphs(Reader):
    """See the module. What it names as code lies in ``folder``, and is harmless."""

    declared = (UserError,)

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        for name, text in FILES.items():
            (folder / name).write_text(text)
        shipped = [path for path in (files("wangraph") / "graphs").iterdir() if path.name.endswith(".yaml")]
        self._texts = [path.read_text("utf-8") for path in sorted(shipped, key=lambda path: path.name)] + list(MORE)
        self._trees = [yaml.safe_load(text) for text in self._texts]
        self._words = [*WORDS, *known_types()]

    def case(self, chance: random.Random) -> tuple[str, dict[str, str]]:
        """A graph's text, and what ``--set`` changes in it."""
        at = chance.randrange(len(self._trees))
        if chance.random() < 0.75:
            tree = copy.deepcopy(self._trees[at])
            for _ in range(chance.choice([1, 1, 1, 2, 3, 6])):
                tree = self._other(tree, chance)
            text = yaml.safe_dump(tree, sort_keys=False, allow_unicode=chance.random() < 0.5)
        else:
            text = _other_text(self._texts[at], chance)
        sets = {}
        if chance.random() < 0.25:
            for _ in range(chance.choice([1, 1, 3])):
                key = ".".join(chance.choice(self._words) for _ in range(chance.choice([1, 2, 2, 3])))
                sets[key] = str(self._leaf(chance))
        return text, sets

    def read(self, case: tuple[str, dict[str, str]]) -> None:
        """Check it, as ``wangraph check`` does."""
        text, sets = case
        path = self.folder / "g.yaml"
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        check(load(path, sets))

    def _other(self, tree: Any, chance: random.Random) -> Any:
        """A tree of YAML with one thing changed: spoilt, or another value or word in a place."""
        if chance.random() < 0.4:
            return spoilt(tree, chance)
        places = list(_places(tree))
        if not places:
            return self._leaf(chance)
        parent, key = chance.choice(places)
        how = chance.random()
        if how < 0.6:
            parent[key] = self._leaf(chance)
        elif how < 0.75 and isinstance(parent, dict):
            parent[chance.choice(self._words)] = self._leaf(chance)
        elif how < 0.9:
            other, there = chance.choice(places)
            parent[key] = copy.deepcopy(other[there])
        else:
            parent[key] = [parent[key]] * chance.choice([1, 2, 100])
        return tree

    def _leaf(self, chance: random.Random) -> Any:
        how = chance.random()
        if how < 0.5:
            return copy.deepcopy(chance.choice(ODD))
        if how < 0.8:
            return chance.choice(self._words)
        if how < 0.9:
            return chance.randrange(-5, 400)
        return {chance.choice(self._words): chance.choice(self._words) for _ in range(chance.randrange(6))}


def _places(tree: Any) -> Any:
    """Every (mapping or list, key) below a tree."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        yield tree, key
        yield from _places(value)


def _other_text(text: str, chance: random.Random) -> str:
    """A text with marks of YAML put in, pieces doubled and lost, or bytes spoilt."""
    if chance.random() < 0.4:
        return spoilt_bytes(text.encode(), chance).decode("utf-8", "replace")
    for _ in range(chance.choice([1, 1, 2, 5])):
        at = chance.randrange(len(text) + 1)
        how = chance.random()
        if how < 0.5:
            text = text[:at] + chance.choice(MARKS) + text[at:]
        elif how < 0.7:
            text = text[:at] + text[at + chance.randrange(1, 30) :]
        else:
            other = chance.randrange(len(text) + 1)
            text = text[:at] + text[other : other + 60] + text[at:]
    return text
