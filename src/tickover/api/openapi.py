"""OpenAPI 3.1 of the operations, made of the models that they use."""

from __future__ import annotations

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from tickover import __version__
from tickover.api.answers import ErrorAnswer
from tickover.api.operation import Operation

_REF: Final = "#/components/schemas/{model}"
_PARAMETER: Final = re.compile(r"\{(\w+)(?::(\w+))?\}")
_ALL: Final = (400, 401, 403, 408, 413, 500, 503)


def describe(operations: Sequence[Operation]) -> dict[str, Any]:
    """Return the document."""
    models = {model for each in operations for model in (each.query, each.body, each.answer) if model} | {ErrorAnswer}
    keyed = sorted(((model, _mode(model, operations)) for model in models), key=lambda pair: pair[0].__name__)
    names, schema = models_json_schema(keyed, ref_template=_REF)
    refs = {model: names[model, mode] for model, mode in keyed}
    paths: dict[str, dict[str, Any]] = {}
    for each in operations:
        path = _PARAMETER.sub(r"{\1}", each.path)
        paths.setdefault(path, {})[each.method.lower()] = _operation(each, refs, schema["$defs"])
    return {
        "openapi": "3.1.0",
        "info": {"title": "Tickover", "version": __version__, "license": {"name": "MIT", "identifier": "MIT"}},
        "paths": paths,
        "components": {
            "schemas": schema["$defs"],
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _mode(model: type[BaseModel], operations: Sequence[Operation]) -> Any:
    return "validation" if any(model in {each.query, each.body} for each in operations) else "serialization"


def _operation(each: Operation, refs: dict[type[BaseModel], Any], defs: dict[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = {
        "operationId": each.name,
        "summary": each.says,
        "description": _needs(each),
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name, _ in _PARAMETER.findall(each.path)
        ],
        "responses": _responses(each, refs),
        "security": [] if each.need == "public" else [{"token": []}],
    }
    if each.query is not None:
        told["parameters"] += _query(defs[refs[each.query]["$ref"].rpartition("/")[2]])
    if each.need == "fire":
        schema = {"type": "string", "maxLength": 255}
        told["parameters"].append({"name": "Idempotency-Key", "in": "header", "required": False, "schema": schema})
    if each.body is not None:
        told["requestBody"] = {"content": {"application/json": {"schema": refs[each.body]}}}
    elif each.upload is not None:
        told["requestBody"] = {"content": {each.upload: {}}}
    return told


def _query(schema: dict[str, Any]) -> list[dict[str, Any]]:
    required = schema.get("required", ())
    return [
        {"name": name, "in": "query", "required": name in required, "schema": value}
        for name, value in schema.get("properties", {}).items()
    ]


def _responses(each: Operation, refs: dict[type[BaseModel], Any]) -> dict[str, Any]:
    content = {each.media: {"schema": refs[each.answer]} if each.answer else {}}
    told: dict[str, Any] = {"200": {"description": "Done", "content": content}}
    error = {"application/json": {"schema": refs[ErrorAnswer]}}
    for status in sorted({*_ALL, *each.errors}):
        told[str(status)] = {"description": HTTPStatus(status).phrase, "content": error}
    if each.media == "text/event-stream":
        told["204"] = {"description": "There is nothing more"}
    return told


def _needs(each: Operation) -> str:
    if each.need == "public":
        return "Needs no token."
    if each.need == "any":
        return "Needs a valid token."
    scope = "fire:NAME" if each.need == "fire" else each.need
    return f"Needs the scope `{scope}`."
