"""YAML text -> `Item` tree in which everything knows its line and column. Builds plain data only, within limits.

Scalars follow YAML 1.2: only ``true`` and ``false`` are booleans (``on``, ``no`` are strings), ``1e3`` is a number,
``010`` is ten.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from ..errors import GraphError
from .marks import Item, Mark, shown

MAX_BYTES = 1_000_000
MAX_DEPTH = 32
MAX_ITEMS = 50_000
MAX_QUOTED = 60

_TAG = "tag:yaml.org,2002:"
_NULL = re.compile(r"^(?:~|null|Null|NULL|)$")
_BOOL = re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$")
_INT = re.compile(r"^(?:[-+]?[0-9]{1,18}|0x[0-9a-fA-F]{1,16})$")
_FLOAT = re.compile(r"^[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]{1,3})?$")
RESOLVERS = {"null": _NULL, "bool": _BOOL, "int": _INT, "float": _FLOAT}
"""Which plain scalars are not strings; the writer of graph files quotes by the same table."""


class _Limit(Exception):
    def __init__(self, mark: Any, text: str) -> None:
        super().__init__(text)
        self.mark = mark


class _Loader(yaml.SafeLoader):
    """Composes nodes with marks; refuses deep nesting before it recurses into it."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's own name and type
    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise _Limit(mark, f"found nesting deeper than {MAX_DEPTH} (expected a graph file)")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


for _kind, _pattern in RESOLVERS.items():
    _Loader.add_implicit_resolver(_TAG + _kind, _pattern, None)


def scalar(text: str) -> Any:
    """Value of a plain scalar: None, a bool, an int, a float or the string itself."""
    if _NULL.match(text):
        return None
    if _BOOL.match(text):
        return text.lower() == "true"
    if _INT.match(text):
        return int(text, 16) if text.startswith("0x") else int(text)
    return float(text) if _FLOAT.match(text) else text


def read_document(path: Path) -> Item:
    """The mapping in a YAML file.

    Raises:
        GraphError: unreadable, empty, too large, too deep, not YAML, not a mapping, duplicate keys, object tags.
    """
    name = shown(path)
    try:
        data = path.read_bytes() if path.stat().st_size <= MAX_BYTES else None
    except OSError as error:
        raise GraphError(f"{name}: {error.strerror} (expected a graph file), check the path") from error
    if data is None:
        raise GraphError(
            f"{name}: found {path.stat().st_size} bytes (expected {MAX_BYTES} or less), a graph file is small text"
        )
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise GraphError(
            f"{name}: found byte {data[error.start]:#04x} at offset {error.start} (expected UTF-8 text), "
            "give a graph file in YAML"
        ) from error
    item = parse_text(text, Mark(name), path.parent.absolute())
    if item is None:
        raise GraphError(f"{name}: found an empty file (expected a graph), start with: wangraph new graph NAME")
    if not item.is_mapping:
        raise GraphError(
            f"{item.mark}: found {kind_name(item.value)} (expected a mapping with 'nodes'), "
            "start with: wangraph new graph NAME"
        )
    return item


def parse_text(text: str, at: Mark, folder: Path | None = None) -> Item | None:
    """YAML text -> items; None for empty text. With ``folder`` None, all marks are ``at``: a value from outside."""
    try:
        loader = _Loader(text)  # reading control characters already raises
        node = loader.get_single_node()
        return None if node is None else _Converter(at, folder).item(node, 0)
    except _Limit as limit:
        raise GraphError(f"{_mark(at, limit.mark, folder)}: {limit}, remove it") from limit
    except yaml.MarkedYAMLError as error:
        problem = ", ".join(part for part in (error.context, error.problem) if part)
        mark = error.problem_mark or error.context_mark
        raise GraphError(f"{_mark(at, mark, folder)}: {problem} (expected YAML), correct the text there") from error
    except yaml.reader.ReaderError as error:
        raise GraphError(
            f"{at}: found character {error.character!r} at offset {error.position} (expected text), remove it"
        ) from error


def kind_name(value: Any) -> str:
    """A value as messages name it: ``a list``, ``the string 'x'``, ``5``; the beginning of a long one.

    A file that is no graph may be somebody's secrets: no message repeats more of it than this.
    """
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= MAX_QUOTED else f"{text[:MAX_QUOTED]}..."


def _mark(at: Mark, mark: Any, folder: Path | None) -> Mark:
    return at if mark is None or folder is None else Mark(at.file, mark.line + 1, mark.column + 1)


class _Converter:
    """Composed YAML nodes -> items, counting, so that aliases cannot blow a small file up."""

    def __init__(self, at: Mark, folder: Path | None) -> None:
        self.at = at
        self.folder = folder
        self.count = 0

    def item(self, node: Any, depth: int, key_mark: Mark | None = None) -> Item:
        self.count += 1
        if self.count > MAX_ITEMS:
            raise _Limit(node.start_mark, f"found more than {MAX_ITEMS} values, counting aliases (expected a graph)")
        if depth > MAX_DEPTH:
            raise _Limit(node.start_mark, "found an alias that contains itself (expected plain data)")
        mark = _mark(self.at, node.start_mark, self.folder)
        return Item(self._value(node, depth, mark), mark, key_mark, self.folder)

    def _value(self, node: Any, depth: int, mark: Mark) -> Any:
        kind = node.tag.removeprefix(_TAG)
        if isinstance(node, yaml.MappingNode) and kind == "map":
            return self._mapping(node, depth)
        if isinstance(node, yaml.SequenceNode) and kind == "seq":
            return [self.item(child, depth + 1) for child in node.value]
        if isinstance(node, yaml.ScalarNode) and kind == "str":
            if "\0" in node.value:  # no file, folder or module can be named so
                raise GraphError(f"{mark}: found a zero byte in a text (expected characters), remove it")
            return node.value
        if isinstance(node, yaml.ScalarNode) and kind in RESOLVERS and RESOLVERS[kind].match(node.value):
            return scalar(node.value)
        tag = node.tag.replace(_TAG, "!!")
        raise GraphError(f"{mark}: found the tag '{tag}' (expected plain data), graph files cannot build objects")

    def _mapping(self, node: Any, depth: int) -> dict[str, Item]:
        result: dict[str, Item] = {}
        for key, child in node.value:
            mark = _mark(self.at, key.start_mark, self.folder)
            if not isinstance(key, yaml.ScalarNode):
                raise GraphError(f"{mark}: found a key that is not a word (expected a name), write it as text")
            if key.value in result:
                raise GraphError(
                    f"{mark}: found the key '{key.value}' again (first at {result[key.value].key_mark}), remove one"
                )
            result[key.value] = self.item(child, depth + 1, mark)
        return result
