"""The description holds: what is answered to anything that it allows, and to much that it does not, is in it."""

from __future__ import annotations

import json
import random
from typing import Any

import httpx
import jsonschema
import pytest
from tests.api.conftest import bearer

from tickover.api.app import table
from tickover.core.event import RunMissed
from tickover.core.wish import Wish
from tickover.testing.desk import MemoryDesk

OPERATIONS = [each for each in table() if each.media != "text/event-stream"]
TEXTS = [
    "",
    "hello",
    "../..",
    "\u0000",
    "\ud7ff\u202e",
    "a" * 400,
    "'; DROP TABLE run; --",
    "{{ 7*7 }}",
    "<script>",
    "-1",
]


def value(schema: dict[str, Any], defs: dict[str, Any], dice: random.Random, depth: int = 0) -> Any:
    """Make something that the schema allows, or nearly."""
    if "$ref" in schema:
        return value(defs[schema["$ref"].rpartition("/")[2]], defs, dice, depth)
    if dice.random() < 0.1:
        return dice.choice([None, True, -1, 1e300, "x", [], {}, [[[[]]]]])
    if choices := schema.get("anyOf"):
        return value(dice.choice(choices), defs, dice, depth)
    if "enum" in schema:
        return dice.choice(schema["enum"])
    match schema.get("type"):
        case "object":
            named = {name: value(each, defs, dice, depth + 1) for name, each in schema.get("properties", {}).items()}
            kept = {
                name: each for name, each in named.items() if dice.random() < 0.7 or name in schema.get("required", ())
            }
            return kept or {dice.choice(TEXTS): dice.choice(TEXTS)}
        case "array":
            return [value(schema.get("items", {}), defs, dice, depth + 1) for _ in range(dice.randrange(3))]
        case "integer" | "number":
            return dice.choice([0, 1, 2, -5, 2**60, 0.5])
        case "boolean":
            return dice.random() < 0.5
        case "null":
            return None
        case _:
            return dice.choice(TEXTS)


async def document(client: httpx.AsyncClient) -> dict[str, Any]:
    told: dict[str, Any] = (await client.get("/api/v1/openapi.json")).json()
    return told


async def test_it_describes_every_route(client: httpx.AsyncClient) -> None:
    told = await document(client)
    assert told["openapi"] == "3.1.0"
    assert {each["operationId"] for path in told["paths"].values() for each in path.values()} == {
        e.name for e in table()
    }
    text = json.dumps(told)
    assert "sha256" not in json.dumps(told["components"]["schemas"]["TokenAnswer"])
    for ref in set(text.split('"$ref": "')[1:]):
        name = ref.partition('"')[0].rpartition("/")[2]
        assert name in told["components"]["schemas"]


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: each.name)
async def test_anything_gets_an_answer_that_is_described(
    client: httpx.AsyncClient, desk: MemoryDesk, log: Any, operation: Any
) -> None:
    told = await document(client)
    defs = told["components"]["schemas"]
    dice = random.Random(operation.name)
    run = desk.enqueue(Wish("hello")).run
    desk.tell(run, RunMissed(reason="\u202e\x1b[31m"))
    headers = bearer(desk.token(role="admin"))
    headers |= {"anthropic-version": "2023-06-01", "anthropic-beta": "experimental-cc-routine-2026-04-01"}
    path = operation.path.replace(":path}", "}")
    described = told["paths"][path][operation.method.lower()]
    for round_ in range(40):
        filled = path
        for name, right in (
            ("run", run),
            ("name", "hello"),
            ("token", "aaaaaaaaaa"),
            ("path", "out/a"),
            ("secret", "ops"),
            ("event", "e1"),
        ):
            chosen = right if dice.random() < 0.8 else dice.choice(TEXTS).encode("utf-8", "replace").decode() or "x"
            filled = filled.replace(
                "{" + name + "}", httpx.URL("", params={"x": chosen}).query.decode()[2:].replace("+", "%20")
            )
        query = {
            each["name"]: value(each["schema"], defs, dice)
            for each in described["parameters"]
            if each["in"] == "query" and each["name"] != "wait" and dice.random() < 0.5
        }
        query = {name: str(each) for name, each in query.items() if each is not None}
        body = None
        if content := described.get("requestBody", {}).get("content"):
            schema = content.get("application/json", {}).get("schema", {})
            body = json.dumps(value(schema, defs, dice)).encode() if round_ % 5 else dice.randbytes(50)
        answer = await client.request(operation.method, filled, params=query, headers=headers, content=body)
        assert answer.status_code < 500, (filled, query, body, answer.text)
        assert "Traceback" not in answer.text
        assert log.errors == []
        if answer.status_code in {404, 405} and "api." in answer.text:
            continue  # the path itself became another
        assert str(answer.status_code) in described["responses"], (answer.status_code, answer.text)
        if operation.name == "fire_drop_in" and answer.status_code != 200:
            assert answer.json()["type"] == "error"
            continue
        schema = described["responses"][str(answer.status_code)]["content"].get("application/json", {}).get("schema")
        if schema:
            jsonschema.validate(answer.json(), {**schema, "components": told["components"]})


async def test_what_nobody_foresaw_tells_nothing(client: httpx.AsyncClient, desk: MemoryDesk, log: Any) -> None:
    class Broken(list[Any]):
        def __iter__(self) -> Any:
            raise RuntimeError("the password is hunter2")

    desk.planned = Broken([1])
    answer = await client.get("/api/v1/schedules", headers=bearer(desk.token("read")))
    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "internal"
    assert "hunter2" not in answer.text
    assert answer.headers["request-id"] in answer.json()["error"]["hint"]
    assert log.errors[0]["request"] == answer.headers["request-id"]
