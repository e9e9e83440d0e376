"""As much of JSON Schema (draft 7) as the schema of graph files uses: what an editor would say of a document."""

from __future__ import annotations

import re
from typing import Any

TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}
KNOWN = {
    *("$ref", "$schema", "title", "definitions", "description", "default", "type", "const", "enum", "anyOf", "allOf"),
    *("if", "then", "required", "properties", "additionalProperties", "items", "minItems", "pattern"),
    *("minimum", "maximum", "exclusiveMinimum"),
}


def accepts(document: Any, schema: Any, root: dict[str, Any]) -> bool:
    """Whether the schema allows the document."""
    if isinstance(schema, bool):
        return schema
    assert set(schema) <= KNOWN, set(schema) - KNOWN
    if "$ref" in schema:
        assert set(schema) == {"$ref"}, "draft 7 ignores what stands beside a reference"
        return accepts(document, root["definitions"][schema["$ref"].removeprefix("#/definitions/")], root)
    return (
        _has_type(document, schema)
        and ("const" not in schema or document == schema["const"])
        and ("enum" not in schema or document in schema["enum"])
        and _fits(document, schema)
        and _inside(document, schema, root)
        and ("anyOf" not in schema or any(accepts(document, option, root) for option in schema["anyOf"]))
        and all(accepts(document, part, root) for part in schema.get("allOf", ()))
        and ("if" not in schema or not accepts(document, schema["if"], root) or accepts(document, schema["then"], root))
    )


def _has_type(document: Any, schema: dict[str, Any]) -> bool:
    names = schema.get("type", list(TYPES))
    names = [names] if isinstance(names, str) else names
    if isinstance(document, bool):
        return "boolean" in names
    return any(isinstance(document, TYPES[name]) for name in names)


def _fits(document: Any, schema: dict[str, Any]) -> bool:
    if isinstance(document, str):
        return re.search(schema.get("pattern", ""), document) is not None
    if isinstance(document, list):
        return len(document) >= schema.get("minItems", 0)
    if isinstance(document, bool) or not isinstance(document, (int, float)):
        return True
    above = schema.get("exclusiveMinimum")
    return schema.get("minimum", document) <= document <= schema.get("maximum", document) and (
        above is None or document > above
    )


def _inside(document: Any, schema: dict[str, Any], root: dict[str, Any]) -> bool:
    if isinstance(document, list):
        return all(accepts(item, schema.get("items", True), root) for item in document)
    if not isinstance(document, dict):
        return True
    known = schema.get("properties", {})
    others = schema.get("additionalProperties", True)
    return all(name in document for name in schema.get("required", ())) and all(
        accepts(value, known.get(name, others), root) for name, value in document.items()
    )
