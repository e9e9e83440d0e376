"""Keys of the graph file: each is declared once, as a field of the dataclass that its mapping is read into.

    class Edge(Section):
        delay: int = key(whole(0, 10_000), 0, help="unit k takes unit k - delay of the stream")

All else follows from the declaration: what is read and complained of (`Section.parse`), what is written
(`written`), JSON Schema (`schema`), the arguments of `Graph.add`, what a sub-graph takes, and the tables of
docs/graph-file.md. A key that is dealt with before its mapping is read into the dataclass (``extends``) is declared by
a `Key` as a class attribute.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self, cast

from ..errors import did_you_mean, listing
from .document import kind_name
from .kinds import NAME, STAND_IN, WRONG, At, Schema, ValueKind, named
from .marks import Item, Problems

OnSubgraph = Literal["refused", "own", "all"]
"""What a key means on a node that is a sub-graph: nothing, something of its own, or the same for every node inside."""


@dataclass(frozen=True)
class Key:
    """The declaration of a key.

    Attributes:
        kind: what it may hold.
        help: one sentence.
        default: what stands for a key that is not there, or is null.
        unset: the default in words, where the value does not say it.
        required: whether it must be there.
        remedy: what messages advise besides.
        takes_param: whether ``$name`` may stand for the value; else it is needed before parameters are known.
        on_subgraph: what it means on a node that is a sub-graph.
        is_always_written: also when it has its default.
        name: in the file, and ``field`` in the dataclass, where there is one.
    """

    kind: ValueKind
    help: str
    default: Any = None
    unset: str = ""
    required: bool = False
    remedy: str = ""
    takes_param: bool = True
    on_subgraph: OnSubgraph = "refused"
    is_always_written: bool = False
    name: str = ""
    field: str = ""


def key(kind: ValueKind, default: Any = ..., *, help: str, **more: Any) -> Any:
    """Declare a key as a field of a `Section`; the rest as of `Key`."""
    metadata = {"key": Key(kind, help, None if default is ... else default, **more)}
    if default is ...:
        return dataclasses.field(metadata=metadata)
    if isinstance(default, dict):
        return dataclasses.field(default_factory=dict, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


_declared: dict[type, Mapping[str, Key]] = {}


class Section:
    """Base of what mappings of the graph file are read into.

    Class attributes:
        noun: how messages and documents call one.
        short: the key that a plain value in place of the mapping stands for.
    """

    noun: ClassVar[str]
    short: ClassVar[str] = ""

    @classmethod
    def parse(cls, item: Item, where: str, problems: Problems, **given: Any) -> Self:
        """Read a mapping; mistakes go to ``problems`` and defaults stand in.

        Args:
            given: fields that are no keys.
        """
        return cls(**{**read_keys(cls, item, where, problems), **given})

    @classmethod
    def entry(cls, name: str, item: Item, where: str, problems: Problems) -> Self:
        """Read one of several that stand in the file by name."""
        return cls.parse(item, where, problems)


def keys_of(section: type[Section]) -> Mapping[str, Key]:
    """The keys that a section declares, by their names in the file."""
    if section not in _declared:
        fields = {field.name: field.metadata.get("key") for field in dataclasses.fields(cast(Any, section))}
        found = {}
        for attribute in section.__annotations__:
            made = fields.get(attribute) or vars(section).get(attribute)
            if isinstance(made, Key):
                name = made.name or attribute
                found[name] = replace(made, name=name, field=attribute if attribute in fields else "")
        _declared[section] = found
    return _declared[section]


def read_keys(
    section: type[Section], item: Item, where: str, problems: Problems, leave: Collection[str] = ()
) -> dict[str, Any]:
    """Values of a mapping by field; keys that are not there are left to their defaults.

    Args:
        where: how messages call the mapping.
        leave: keys that may be there and are not read.
    """
    known, values = keys_of(section), dict[str, Any]()
    given = _children(section, item, where, problems)
    children = given or {}
    for name, child in children.items():
        if name not in known:
            hint = did_you_mean(name, known)
            text = f"{where}: unknown key '{name}' (expected: {listing(known)}){hint}"
            problems.add(child.key_mark or child.mark, text)
    for name, declared in known.items():
        found = children.get(name)
        if not declared.field or name in leave:
            continue
        if found is not None and found.value is not None and found.value != declared.kind.blank:
            at = At(where, "" if found is item else name, problems, declared.remedy)
            value = declared.kind.parse(found, at)
            if value is not WRONG:
                values[declared.field] = value
        elif declared.required and given is not None:
            remedy = f", {declared.remedy}" if declared.remedy else ""
            problems.add(item.mark, f"{where}: found no {name} (expected {name}: {declared.kind.sample}){remedy}")
        if declared.required and declared.field not in values:
            values[declared.field] = declared.kind.blank
    return values


def _children(section: type[Section], item: Item, where: str, problems: Problems) -> dict[str, Item] | None:
    if item.is_mapping or item.value is None:
        return item.children()
    if section.short and not item.is_list:
        return {section.short: item}
    expected = f"a mapping of: {listing(keys_of(section))}"
    problems.add(item.mark, f"{where}: found {kind_name(item.value)} (expected {expected})")
    return None


def written(section: type[Section], value: Any) -> Any:
    """A section as a file holds it: the keys that differ from their defaults; ``value`` has its fields."""
    plain = {}
    for name, declared in keys_of(section).items():
        if declared.field:
            found = getattr(value, declared.field)
            if found != declared.default or declared.is_always_written:
                plain[name] = declared.kind.write(found)
    return plain[section.short] if list(plain) == [section.short] else plain


def one(section: type[Section], into: Any = lambda made: made) -> ValueKind:
    """A mapping with keys; ``into`` makes the program's value of the section."""

    def parse(item: Item, at: At) -> Any:
        return into(section.parse(item, at.key, at.problems))

    return ValueKind(
        f"a mapping of {_listed(section)}", parse, reference(section), lambda value: written(section, value)
    )


def many(section: type[Section]) -> ValueKind:
    """Mappings with keys, by name."""

    def parse(item: Item, at: At) -> Any:
        owner = "" if at.owner == "graph" else f"{at.owner}: "
        return {
            name: section.entry(name, child, f"{owner}{section.noun} '{name}'", at.problems)
            for name, child in named(item, at, NAME).items()
        }

    return ValueKind(
        f"{section.noun}{'es' if section.noun.endswith('s') else 's'} by name",
        parse,
        {"type": "object", "additionalProperties": {"anyOf": [reference(section), STAND_IN]}},
        lambda value: {name: written(section, entry) for name, entry in value.items()},
        sample="{NAME: {"
        + ", ".join(f"{n}: {k.kind.sample}" for n, k in keys_of(section).items() if k.required)
        + "}}",
        blank={},
    )


def reference(section: type[Section]) -> Schema:
    """Reference to the schema of a section."""
    return {"$ref": f"#/definitions/{section.noun}"}


def schema(section: type[Section]) -> Schema:
    """JSON Schema of a section. No key is required: a file that extends another says only what differs."""
    mapping = {
        "description": section.__doc__.partition("\n")[0] if section.__doc__ else "",
        "type": "object",
        "additionalProperties": False,
        "properties": {name: key_schema(declared) for name, declared in keys_of(section).items()},
    }
    short = keys_of(section)[section.short].kind.schema if section.short else None
    return {"anyOf": [short, mapping]} if short else mapping


def key_schema(declared: Key) -> Schema:
    """JSON Schema of a key's value, or of the parameter that stands for it."""
    about: Schema = {"description": declared.help + (f"; {declared.unset} if not given" if declared.unset else "")}
    if declared.default is not None and not declared.unset and isinstance(declared.default, str | int | float):
        about["default"] = declared.default
    stand_in = STAND_IN if declared.takes_param else {"type": "null"}
    return {**about, "anyOf": [declared.kind.schema, stand_in]}


def _listed(section: type[Section]) -> str:
    return ", ".join(keys_of(section))
