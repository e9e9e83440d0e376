"""Words of the code: a docstring begins with what the thing is or does, and a name does not hide behind a verb of speech."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

ROOMS = ("runtime", "nodes", "wan_core", "tools")

QUESTIONS = {"As", "How", "Of", "What", "When", "Where", "Whether", "Which", "Who", "Whose", "Why"}
"""A first line that begins so leaves open what the thing is: it is a noun phrase, or an imperative with its object."""

SPEECH = {"asked", "heard", "look", "said", "told"}
"""Parts of names that say how something came, and not what it is. (``put`` and ``take`` are a pair like open and close.)"""

REAL_WORDS = {
    "wan_core/embed.py": {"told"},  # the name of a tensor in every checkpoint
    "runtime/plan/plan.py": {"look_ahead"},  # the field's word
    "runtime/plan/timing.py": {"look_ahead"},
    "runtime/ports.py": {"look_ahead"},
    "runtime/schedule/replay.py": {"_look_ahead"},
    "tools/lab/world/user.py": {"_look_away", "_look_aside"},  # a user's gaze
}
"""Names in which such a word is meant."""

HEARING = ("tools/serve/", "tools/talk/", "tools/bench/live")
"""Rooms in which sound is heard by people."""


def files() -> list[Path]:
    """Every Python file of the package's rooms."""
    return sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))


def first_lines(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line number and first line of every docstring."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield node.body[0].lineno, text.splitlines()[0]


def given_names(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line number and name of everything that the file itself names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr


def open_questions(path: Path, text: str) -> list[str]:
    """First lines that begin with a question word."""
    return [
        f"{path}:{line}: {first}"
        for line, first in first_lines(ast.parse(text))
        if re.split(r"[\s,:;]", first, maxsplit=1)[0] in QUESTIONS
    ]


def names_of_speech(path: Path, text: str) -> list[str]:
    """Names with a part that only says how something came."""
    banned = SPEECH - ({"heard"} if path.as_posix().startswith(HEARING) else set())
    meant = REAL_WORDS.get(path.as_posix(), set())
    return [
        f"{path}:{line}: {name}"
        for line, name in given_names(ast.parse(text))
        if name not in meant and banned & {part.lower() for part in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)}
    ]


@pytest.mark.parametrize("rule", [open_questions, names_of_speech])
def test_every_file_keeps_to_plain_words(rule):
    assert [found for path in files() for found in rule(path.relative_to(ROOT), path.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (open_questions, '"""What this file holds."""'),
        (open_questions, 'class A:\n    """Whether: it is so."""'),
        (open_questions, 'def f():\n    """As in `g`."""'),
        (names_of_speech, "def told(): ..."),
        (names_of_speech, "class Asked: ..."),
        (names_of_speech, "def f(is_heard): ..."),
        (names_of_speech, "x.last_look = 1"),
    ],
)
def test_a_planted_offence_is_found(rule, text):
    assert len(rule(Path("runtime/planted.py"), text)) == 1


def test_a_name_is_meant_only_where_it_is_used():
    used = {
        (file, name)
        for file in REAL_WORDS
        for _, name in given_names(ast.parse((ROOT / file).read_text(encoding="utf-8")))
    }
    assert {(file, name) for file, names in REAL_WORDS.items() for name in names} <= used
