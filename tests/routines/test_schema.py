from __future__ import annotations

import copy
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from tickover.core.definition import Environment, FrontMatter
from tickover.routines.loader import split
from tickover.routines.schema import environment_schema, keys_at, routine_schema
from tickover.routines.yaml import parse

DATA = Path(__file__).parent / "data"
VALIDATOR = Draft202012Validator(routine_schema())


def front_matter(name: str) -> Any:
    text = (DATA / "routines" / name / "ROUTINE.md").read_text()
    return parse(split(text)[0], "f").data


EVERY_KEY = front_matter("every-key")


def loads(data: Any) -> bool | None:
    """None: refused for what no schema can say (a cron line, RE2, a moment, a largest duration)."""
    try:
        FrontMatter.model_validate(data)
    except ValidationError as error:
        beyond = {"cron", "moment"}
        texts = ("pattern of RE2", "at most 36", "nested deeper")
        found = error.errors()
        return None if all(e["type"] in beyond or any(t in e["msg"] for t in texts) for e in found) else False
    return True


def test_the_schemas_are_schemas() -> None:
    Draft202012Validator.check_schema(routine_schema())
    Draft202012Validator.check_schema(environment_schema())


@pytest.mark.parametrize("name", ["weekly-digest", "every-key"])
def test_the_examples_fit(name: str) -> None:
    assert [error.message for error in VALIDATOR.iter_errors(front_matter(name))] == []


def test_the_environment_fits_its_own_schema() -> None:
    data = parse((DATA / "environments" / "python.yaml").read_text(), "f").data
    assert Draft202012Validator(environment_schema()).is_valid(data)
    assert Environment.model_validate(data)
    assert not Draft202012Validator(environment_schema()).is_valid({"netwrok": "none"})


def test_every_top_level_key_is_described() -> None:
    assert set(EVERY_KEY) | {"argv", "remote"} == set(routine_schema()["properties"])


def test_the_keys_of_a_place() -> None:
    assert "timeout" in keys_at(("limits",))
    assert {"file", "http", "receipt"} <= set(keys_at(("expect", 0)))
    assert {"path", "sha256", "guard"} <= set(keys_at(("expect", 0, "file")))
    assert {"glob", "not_glob", "any"} <= set(keys_at(("expect", 0, "http", "status")))
    assert {"setup", "base"} <= set(keys_at(("environment",)))
    assert "type" in keys_at(("inputs", "week"))
    assert {"channels", "tool"} & set(keys_at(("may", 0, "slack"))) == {"tool"}
    assert keys_at(("name", "deeper")) == []


@pytest.mark.parametrize(
    ("change", "fits"),
    [
        ({"task": None}, False),
        ({"agent": "stepz"}, False),
        ({"agent": "codex@1.2.3"}, True),
        ({"limits": {"timeout": 5}}, False),
        ({"limits": {"timeout": "0s"}}, False),
        ({"retry": {"backoff": "0s"}}, True),
        ({"limits": {"pids": 64.0}}, True),
        ({"limits": {"pids": True}}, False),
        ({"limits": {"cpus": 0}}, False),
        ({"limits": {"cpus": 0.5}}, True),
        ({"environment": "python"}, True),
        ({"environment": ["python"]}, False),
        ({"environment": {"network": "observe"}}, True),
        ({"environment": {"network": "all"}}, False),
        ({"environment": {"env": {"A B": "x"}}}, False),
        ({"inputs": {"A": {"type": "string"}}}, False),
        ({"expect": [{}]}, False),
        ({"expect": [{"file": {"path": "a"}, "http": {"url": "https://a.test"}}]}, False),
        ({"expect": [{"file": {"path": "../a"}}]}, False),
        ({"expect": [{"file": {"path": "a/..b"}}]}, True),
        ({"expect": [{"file": {"path": "a", "equals": "x", "sha256": "0" * 64}}]}, False),
        ({"expect": [{"file": {"path": "a", "equals": ""}}]}, True),
        ({"expect": [{"git": {"repo": "a"}}]}, False),
        ({"expect": [{"git": {"repo": "a", "ref": "b", "range": "c"}}]}, False),
        ({"expect": [{"git": {"repo": "a", "range": "c", "commits": {"gte": 1, "not_in": [3]}}}]}, True),
        ({"expect": [{"git": {"repo": "a", "range": "c", "commits": {}}}]}, False),
        ({"expect": [{"git": {"repo": "a", "range": "c", "commits": {"gtx": 1}}}]}, False),
        ({"expect": [{"receipt": {"to": "POST https://a.test/*", "stop_gate": {"says": "x"}}}]}, False),
        ({"expect": [{"receipt": {"to": "POST https://a.test/*", "within": "1m"}}]}, False),
        ({"expect": [{"receipt": {"to": "post https://a.test/"}}]}, False),
        ({"expect": [{"receipt": {"to": "POST https://*.test/"}}]}, False),
        ({"expect": [{"http": {"url": "https://u:p@a.test/"}}]}, False),
        ({"expect": [{"http": {"url": "{{ inputs.base }}/x"}}]}, True),
        ({"expect": [{"http": {"url": "https://a.test/", "json": {"a..b": 1}}}]}, False),
        ({"expect": [{"http": {"url": "https://a.test/", "json": {"any": [{"a": 1}], "not": {"b": []}}}}]}, False),
        ({"on": [{"schedule": {}}]}, False),
        ({"on": [{"schedule": {"every": "1h", "cron": "daily"}}]}, False),
        ({"on": [{"api": {}}]}, True),
        ({"on": [{"stripe": {}}]}, False),
        ({"on": [{"strip": {"secret": "a"}}]}, False),
        ({"on": [{"webhook": {"verify": {"secret": "a"}}}]}, False),
        ({"on": [{"webhook": {"verify": {"token": {"header": "a"}, "secret": ["a"]}}}]}, False),
        ({"may": [{"anything": {"tool": "x", "deep": ["a", 1]}}]}, True),
        ({"may": [{"anything": {"tool": "x", "deep": {"a": 1}}}]}, False),
        ({"may": [{"Any Thing": {"tool": "x"}}]}, False),
        ({"may": [{"push": {"repo": "a", "refs": []}}]}, False),
        ({"repositories": {"a": {"url": "https://u@x.test/a"}}}, False),
        ({"repositories": {"a": {"url": "."}}}, True),
    ],
)
def test_schema_and_loader_say_the_same(change: dict[str, Any], fits: bool) -> None:
    data = {"name": "r", "agent": "steps", **change}
    assert (VALIDATOR.is_valid(data), loads(data)) == (fits, fits)


def places(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    found = [path] if path else []
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        found += places(each, (*path, key))
    return found


STRANGE: list[Any] = [
    None, True, False, 0, 1, -1, 2.5, 3.0, "", "x", "A b", "30s", "1GiB", "a/../b", "https://a.test/x",
    "{{ inputs.week }}", [], {}, ["x"], [1, True], {"x": 1}, {"is": None}, {"any": [{"gt": 1}]}, "steps", "none", 10**13,
]  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.integers(min_value=0))
def test_schema_and_loader_agree_on_mutated_definitions(seed: int) -> None:
    dice = random.Random(seed)
    data = copy.deepcopy(EVERY_KEY)
    for _ in range(dice.randint(1, 2)):
        *above, last = dice.choice(places(data))
        holder = data
        for part in above:
            holder = holder[part]
        match dice.randrange(3):
            case 0:
                del holder[last]
            case 1:
                holder[last] = copy.deepcopy(dice.choice(STRANGE))
            case _ if isinstance(holder, dict):
                holder[dice.choice(["x", "any", "guard", "within", "A b", "is", "path", "max"])] = dice.choice(STRANGE)
            case _:
                holder.append(dice.choice(STRANGE))
    verdict = loads(data)
    if verdict is not None:
        assert VALIDATOR.is_valid(data) == verdict
