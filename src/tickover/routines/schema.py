"""The JSON Schema of ROUTINE.md's front matter, made from the classes that the loader validates with."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from pydantic import BaseModel

from tickover.core.definition import Environment, FrontMatter
from tickover.core.matcher import PLACEHOLDER, json_schemas

Schema = dict[str, Any]
Path = tuple[str | int, ...]

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def routine_schema() -> Schema:
    """Make the schema of ROUTINE.md's front matter."""
    return _schema(FrontMatter, "The front matter of ROUTINE.md")


def environment_schema() -> Schema:
    """Make the schema of `environments/NAME.yaml`."""
    return _schema(Environment, "environments/NAME.yaml")


def _schema(model: type[BaseModel], title: str) -> Schema:
    raw = model.model_json_schema(by_alias=True)
    raw["$defs"] = {**raw.get("$defs", {}), **json_schemas()}
    return {"$schema": DIALECT, **_tidy(raw), "title": title}


def _tidy(node: Any) -> Any:
    """Put references for placeholders, refuse keys of another form, drop made-up titles and defaults of null."""
    if isinstance(node, list):
        return [_tidy(each) for each in node]
    if not isinstance(node, dict):
        return node
    if PLACEHOLDER in node:
        rest = {key: _tidy(value) for key, value in node.items() if key not in {PLACEHOLDER, "title"}}
        return {"$ref": f"#/$defs/{node[PLACEHOLDER]}", **rest}
    if isinstance(patterns := node.get("patternProperties"), dict):
        [(pattern, value)] = patterns.items()
        rest = {key: each for key, each in node.items() if key != "patternProperties"}
        return _tidy({**rest, "propertyNames": {"pattern": pattern}, "additionalProperties": value})
    return {
        key: _tidy(value)
        for key, value in node.items()
        if not (key == "title" and isinstance(value, str)) and not (key == "default" and value is None)
    }


def keys_at(path: Path, model: type[BaseModel] = FrontMatter) -> list[str]:
    """List the keys that may stand in the map at `path`, whichever of its forms it has."""
    schema = _cached(model)
    nodes = list(_forms(schema, schema))
    for part in path:
        nodes = [form for node in nodes for child in _children(node, part) for form in _forms(child, schema)]
    return sorted({key for node in nodes for key in node.get("properties", {})})


@cache
def _cached(model: type[BaseModel]) -> Schema:
    return _schema(model, model.__name__)


def _children(node: Schema, part: str | int) -> Iterator[Schema]:
    if isinstance(part, int):
        child = node.get("items")
    else:
        child = node.get("properties", {}).get(part, node.get("additionalProperties"))
    if isinstance(child, dict):
        yield child


def _forms(node: Schema, schema: Schema) -> Iterator[Schema]:
    """Yield the node itself, and what its references and alternatives lead to."""
    yield node
    if "$ref" in node:
        yield from _forms(schema["$defs"][node["$ref"].rpartition("/")[2]], schema)
    for word in ("anyOf", "oneOf"):
        for each in node.get(word, ()):
            if "required" not in each or "type" in each:
                yield from _forms(each, schema)
