from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from tickover.core.definition import Routine
from tickover.core.own_tools import (
    LARGEST,
    MOST_FILES,
    HandIn,
    Held,
    OwnToolError,
    Recall,
    Remember,
    Report,
    described,
    own_tools_of,
    read_call,
)
from tickover.core.status import ClaimStatus


def routine(agent: str, **more: Any) -> Routine:
    return Routine.model_validate({"name": "work", "agent": agent, "body": "", **more})


def test_who_has_which() -> None:
    assert own_tools_of(routine("loop")) == ("report", "artifact")
    assert own_tools_of(routine("codex", state=True, artifacts=[])) == ("report", "state")
    assert own_tools_of(routine("steps", state=True)) == (), "nobody there could call one"


@pytest.mark.parametrize("tool", ["report", "artifact", "state"])
def test_a_tool_is_described_as_it_is_read(tool: str) -> None:
    told = described(tool)
    shape = told["inputSchema"]
    assert isinstance(shape, dict)
    assert shape["additionalProperties"] is False
    with pytest.raises(OwnToolError, match="has no `more`"):
        read_call(tool, {"more": 1})


@pytest.mark.parametrize(
    ("tool", "arguments", "read"),
    [
        ("report", {"status": "noop", "summary": "x" * 5000}, Report(ClaimStatus.NOOP, "x" * 2000)),
        ("artifact", {"path": "out/a", "content": "é"}, HandIn("out/a", "é".encode())),
        ("artifact", {"path": "/workspace/out/a", "content_base64": "AP8="}, HandIn("out/a", b"\0\xff")),
        ("artifact", {"path": "out/a", "file": "made/b"}, HandIn("out/a", None, "made/b")),
        ("state", {}, Recall("")),
        ("state", {"path": "a/b"}, Recall("state/a/b")),
        ("state", {"path": "a", "content": ""}, Remember("state/a", b"")),
    ],
)
def test_calls(tool: str, arguments: dict[str, JsonValue], read: object) -> None:
    assert read_call(tool, arguments) == read


@pytest.mark.parametrize(
    ("tool", "arguments", "says"),
    [
        ("report", {"status": "verified", "summary": ""}, "one of done, noop, failed"),
        ("report", {"status": "done"}, "`summary` must be text"),
        ("artifact", {"path": "out/a"}, "say one of"),
        ("artifact", {"path": "out/a", "content": "x", "file": "y"}, "say one of"),
        ("artifact", {"path": "out/a", "content_base64": "!"}, "no base64"),
        ("artifact", {"path": "out/a", "file": "../b"}, "`file` must be a path"),
        ("state", {"content": "x"}, "`path` is missing"),
    ],
)
def test_what_is_no_call(tool: str, arguments: dict[str, JsonValue], says: str) -> None:
    with pytest.raises(OwnToolError, match=says):
        read_call(tool, arguments)


@given(
    st.lists(st.sampled_from(["", ".", "..", "a", "b c", "\n", "\0", "\\", "/", "\u202e"]), max_size=5).map("/".join)
)
def test_every_path_that_is_read_stays_below_the_folder_it_is_for(path: str) -> None:
    try:
        call = read_call("state", {"path": path, "content": ""})
    except OwnToolError:
        return
    assert isinstance(call, Remember)
    first, *parts = call.path.split("/")
    assert first == "state"
    assert parts
    assert all(part not in {"", ".", ".."} and part.isprintable() for part in parts)


def test_what_is_held_is_bounded() -> None:
    held = Held()
    held.put("out/a", b"x" * LARGEST)
    held.put("out/a", b"y")
    with pytest.raises(OwnToolError, match="at most"):
        held.put("out/b", b"x" * LARGEST)
    with pytest.raises(OwnToolError, match="cannot be a folder"):
        held.put("out/a/b", b"")
    for number in range(MOST_FILES - 1):
        held.put(f"state/{number}", b"")
    with pytest.raises(OwnToolError, match="at most"):
        held.put("state/more", b"")
    assert held.files["out/a"] == b"y"
