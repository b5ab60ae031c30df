"""Mapping: what it gives, and that nothing it is given can hurt anybody but its child."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tickover.core.lookup import MISSING
from tickover.core.trigger import FileInput
from tickover.relay import child
from tickover.relay.mapper import Mapper, MappingError, file_inputs

EVENT: dict[str, Any] = {
    "number": 7,
    "ok": True,
    "price": 2.5,
    "none": None,
    "title": "Say {{ nothing }}",
    "amount": 12345,
    "user": {"login": "ada"},
    "labels": [{"name": "a"}, {"name": "b"}],
}


@pytest.fixture
async def mapper() -> AsyncIterator[Mapper]:
    mapper = Mapper(wall=60)
    yield mapper
    await mapper.close()


@pytest.mark.parametrize(
    ("mapping", "expected"),
    [
        ({}, {}),
        ({"n": "$.number", "t": "$.title", "o": "$.ok", "p": "$.price"}, {"n": 7, "t": "Say {{ nothing }}", "o": True, "p": 2.5}),
        ({"n": "$.none", "g": "$.gone", "l": "$.labels[0].name"}, {"l": "a"}),
        ({"a": "plain text"}, {"a": "plain text"}),
        ({"a": "#{{ event.number }} by {{ event.user.login | upcase }}"}, {"a": "#7 by ADA"}),
        ({"a": "{{ event.amount | divided_by: 100.0 }}", "b": "$.number"}, {"a": "123.45", "b": 7}),
        ({"a": "{% for l in event.labels %}-{{ l.name }}{% endfor %}"}, {"a": "-a-b"}),
        ({"a": "{{ event.title }}"}, {"a": "Say {{ nothing }}"}),
        ({"jsonata": '{"text": title & "!", "n": number, "none": null}'}, {"text": "Say {{ nothing }}!", "n": 7}),
        ({"jsonata": "$.number"}, {"jsonata": 7}),
        ({"f": FileInput(file="$.title"), "g": FileInput(file="$.gone")}, {"f": "/tickover/inputs/f"}),
    ],
)  # fmt: skip
async def test_inputs(mapper: Mapper, mapping: dict[str, Any], expected: dict[str, Any]) -> None:
    assert await mapper.inputs(mapping, EVENT) == expected


def test_a_file_holds_a_text_as_it_is_and_all_else_as_json() -> None:
    mapping: dict[str, Any] = {
        "t": FileInput(file="$.t"),
        "l": FileInput(file="$.l"),
        "gone": FileInput(file="$.gone"),
        "n": "$.t",
    }
    assert file_inputs(mapping, {"t": "a\n\u20ac\0", "l": [{"a": 1}]}) == {
        "t": b"a\n\xe2\x82\xac\0",
        "l": b'[{"a": 1}]',
    }


@pytest.mark.parametrize(
    ("mapping", "document", "code"),
    [
        ({"a": "$.user"}, EVENT, "mapping.no_scalar"),
        ({"a": "$.labels[].name"}, EVENT, "mapping.no_scalar"),
        ({"a": "$"}, "x" * 70_000, "mapping.too_long"),
        ({"a": "{{ event.usr.login }}"}, EVENT, "mapping.failed"),
        ({"a": "{% for %}"}, EVENT, "mapping.failed"),
        ({"a": "{{ event.x | nonsense }}"}, EVENT, "mapping.failed"),
        ({"a": "{{ event.x }}"}, MISSING, "mapping.failed"),
        ({"a": "{% include 'etc' %}"}, EVENT, "mapping.failed"),
        ({"a": "{% render '/etc/passwd' %}"}, EVENT, "mapping.failed"),
        ({"jsonata": "{{{"}, EVENT, "mapping.failed"),
        ({"jsonata": "1 + 1"}, EVENT, "mapping.no_map"),
        ({"jsonata": '{"a": labels}'}, EVENT, "mapping.no_scalar"),
        ({"a": "{% for i in (1..99999999) %}x{% endfor %}"}, EVENT, "mapping.failed"),
    ],
)
async def test_what_cannot_be_mapped(mapper: Mapper, mapping: dict[str, Any], document: Any, code: str) -> None:
    with pytest.raises(MappingError) as caught:
        await mapper.inputs(mapping, document)
    assert caught.value.code == code


BOMBS = [
    {"a": "{{ (1..99999999) | join: ',' | size }}"},
    {"jsonata": "($f := function($x){$f($x+1)}; $f(1))"},
    {"jsonata": "$sum([1..9000000].(($*2)))"},
    {"jsonata": "[1..10000000].{'a': $}"},
]


@pytest.mark.parametrize("bomb", BOMBS, ids=["join", "recursion", "range", "maps"])
async def test_a_bomb_costs_one_refusal(mapper: Mapper, bomb: dict[str, str]) -> None:
    for _ in range(2):
        with pytest.raises(MappingError) as caught:
            await mapper.inputs(bomb, EVENT)
        assert caught.value.code in {"mapping.killed", "mapping.memory", "mapping.failed"}
        assert await mapper.inputs({"a": "{{ event.number }}"}, EVENT) == {"a": "7"}


async def test_a_child_that_stands_still_is_killed() -> None:
    mapper = Mapper(wall=0.2)
    try:
        await mapper.inputs({"a": "{{ event.number }}"}, EVENT)
        running = mapper._child
        assert running is not None
        os.kill(running._process.pid, 19)
        with pytest.raises(MappingError) as caught:
            await mapper.inputs({"a": "{{ event.number }}"}, EVENT)
        assert caught.value.code == "mapping.killed"
        assert running._process.returncode == -9
    finally:
        await mapper.close()


def environment(pid: int) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


def limits_of(pid: int) -> dict[str, list[str]]:
    lines = Path(f"/proc/{pid}/limits").read_text(encoding="ascii").splitlines()
    return {line[:26].strip(): line[26:].split()[:2] for line in lines}


async def test_the_child_has_no_environment_and_opens_nothing(mapper: Mapper) -> None:
    await mapper.inputs({"a": "{{ event.number }}"}, EVENT)
    running = mapper._child
    assert running is not None
    pid = running._process.pid
    assert environment(pid) == b""
    limits = limits_of(pid)
    assert limits["Max open files"] == ["3", "3"]
    assert limits["Max address space"] == [str(child.MEMORY)] * 2
    assert limits["Max core file size"] == ["0", "0"]
    assert set(os.listdir(f"/proc/{pid}/fd")) == {"0", "1", "2"}


async def test_cpu_time_is_what_ends_a_bomb(mapper: Mapper) -> None:
    """The kernel ends it by SIGPROF, long before anybody's patience does (-9).

    255 is asyncio's word for a process that was dead before `kill` looked, and so took the code from its watcher.
    """
    await mapper.inputs({"a": "{{ event.number }}"}, EVENT)
    running = mapper._child
    assert running is not None
    with pytest.raises(MappingError):
        await mapper.inputs(BOMBS[1], EVENT)
    assert running._process.returncode in {-27, -6, -11, 255}
