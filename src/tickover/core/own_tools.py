"""The tools of the run itself, offered to its agent by MCP at the run's own name: `report`, `artifact`, `state`.

What they take is laid over the workspace when the agent is looked at: they do what it could do with files, too, and
everything they are told is a claim or hostile data, as such a file is.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from pydantic import JsonValue

from tickover.core.definition import Routine
from tickover.core.host import INTERNAL
from tickover.core.shape import RELATIVE
from tickover.core.status import ClaimStatus
from tickover.core.text import one_line

SERVER: Final = "tickover"
"""The name under which agents are told of them; no connector has it."""
PLACE: Final = "/tools"
URL: Final = f"http://{INTERNAL}{PLACE}"

STATE: Final = "state"
"""The folder that `state` reads and writes, below /workspace."""
LARGEST: Final = 16 << 20
"""Bytes of one file, and of all that one attempt hands over by tools."""
MOST_FILES: Final = 500
MOST_LOOKS: Final = 200
"""How often one attempt may have its workspace looked at: to hand over a file of it, or to read its state."""
LARGEST_READ: Final = 256 << 10
"""Bytes of a file that `state` answers with."""
LONGEST_SUMMARY: Final = 2000

TOLD: Final = frozenset({"claude-code", "codex", "acp", "loop"})
"""Agents that can be told of MCP servers."""

_PATH: Final = re.compile(RELATIVE)


class OwnToolError(Exception):
    """A tool could not do it; the agent is told why."""


@dataclass(frozen=True, slots=True)
class Report:
    """How the agent says that its task ended."""

    status: ClaimStatus
    summary: str


@dataclass(frozen=True, slots=True)
class HandIn:
    """An artifact: its path in the workspace, and its content, or the file of the workspace that has it."""

    path: str
    content: bytes | None
    file: str = ""


@dataclass(frozen=True, slots=True)
class Remember:
    """A file of the folder `state`, written."""

    path: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Recall:
    """A file of the folder `state`, read; without a path, the names of all of them."""

    path: str


OwnCall: TypeAlias = Report | HandIn | Remember | Recall


def own_tools_of(routine: Routine) -> tuple[str, ...]:
    """Return the names of the tools that a run of this routine offers to its agent."""
    if routine.agent_name not in TOLD:
        return ()
    return ("report", *(("artifact",) if routine.artifacts else ()), *(("state",) if routine.state else ()))


def described(tool: str) -> dict[str, JsonValue]:
    """Return a tool as `tools/list` has it (https://modelcontextprotocol.io/specification/2025-11-25/server/tools)."""
    says, properties, required = _DESCRIBED[tool]
    shape: dict[str, JsonValue] = {
        "type": "object", "properties": dict(properties), "required": [*required], "additionalProperties": False,
    }  # fmt: skip
    marks: dict[str, JsonValue] = {"readOnlyHint": False, "destructiveHint": False, "openWorldHint": False}
    return {"name": tool, "description": says, "inputSchema": shape, "annotations": marks}


_TEXT: Final[JsonValue] = {"type": "string"}
_PATH_SAYS: Final = "relative, with / between its parts"
_DESCRIBED: Final[Mapping[str, tuple[str, Mapping[str, JsonValue], tuple[str, ...]]]] = {
    "report": (
        "Say how the task ended: done; noop, if there was nothing to do; failed. Checks decide what is true.",
        {"status": {"type": "string", "enum": [each.value for each in ClaimStatus]}, "summary": _TEXT},
        ("status", "summary"),
    ),
    "artifact": (
        (
            "Hand in a result of this run under `path`, for example out/report.md: the text `content`, bytes as "
            "`content_base64`, or a copy of `file`, a file of the workspace."
        ),
        {
            "path": {"type": "string", "description": _PATH_SAYS},
            "content": _TEXT,
            "content_base64": _TEXT,
            "file": {"type": "string", "description": f"a file below the workspace, {_PATH_SAYS}"},
        },
        ("path",),
    ),
    "state": (
        (
            "Read or write what this routine keeps from run to run, text files: with `path` and `content` write a "
            "file, with `path` alone read it, without either list the names. It is kept only if the run is proved."
        ),
        {"path": {"type": "string", "description": _PATH_SAYS}, "content": _TEXT},
        (),
    ),
}


def read_call(tool: str, arguments: Mapping[str, JsonValue]) -> OwnCall:
    """Read the arguments of a call. Raises OwnToolError."""
    _, properties, _ = _DESCRIBED[tool]
    if more := sorted(set(arguments) - set(properties)):
        raise OwnToolError(f"`{tool}` has no `{one_line(more[0], 60)}`; it has {', '.join(properties)}")
    if tool == "report":
        return _report(arguments)
    return _hand_in(arguments) if tool == "artifact" else _state(arguments)


def _report(given: Mapping[str, JsonValue]) -> Report:
    try:
        status = ClaimStatus(_text(given, "status"))
    except ValueError:
        raise OwnToolError(f"`status` is one of {', '.join(each.value for each in ClaimStatus)}") from None
    return Report(status, _text(given, "summary")[:LONGEST_SUMMARY])


def _hand_in(given: Mapping[str, JsonValue]) -> HandIn:
    path = _path(given, "path")
    told = [key for key in ("content", "content_base64", "file") if key in given]
    if len(told) != 1:
        raise OwnToolError("say one of `content`, `content_base64` and `file`")
    if told == ["file"]:
        return HandIn(path, None, _path(given, "file"))
    return HandIn(path, _bytes(given) if told == ["content_base64"] else _content(given))


def _state(given: Mapping[str, JsonValue]) -> Remember | Recall:
    if "path" not in given:
        if "content" in given:
            raise OwnToolError("`path` is missing")
        return Recall("")
    path = f"{STATE}/{_path(given, 'path')}"
    return Remember(path, _content(given)) if "content" in given else Recall(path)


def _text(given: Mapping[str, JsonValue], key: str) -> str:
    value = given.get(key)
    if not isinstance(value, str):
        raise OwnToolError(f"`{key}` must be text")
    return value


def _content(given: Mapping[str, JsonValue]) -> bytes:
    return _text(given, "content").encode("utf-8", "replace")


def _bytes(given: Mapping[str, JsonValue]) -> bytes:
    try:
        return base64.b64decode(_text(given, "content_base64"), validate=True)
    except (binascii.Error, ValueError):
        raise OwnToolError("`content_base64` is no base64") from None


def _path(given: Mapping[str, JsonValue], key: str) -> str:
    """Return a path that stays below the workspace, in one spelling: no empty part, no `.`."""
    path = _text(given, key).removeprefix("/workspace/")
    if not _PATH.fullmatch(path) or any(part in {"", "."} for part in path.split("/")) or not path.isprintable():
        raise OwnToolError(f"`{key}` must be a path below the workspace, {_PATH_SAYS} and no ..")
    return path


class Held:
    """The files that tools were given in one attempt, within their bounds: path below the workspace -> content."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    def put(self, path: str, content: bytes) -> None:
        """Take a file; a later one of the same path replaces it. Raises OwnToolError."""
        size = sum(len(each) for name, each in self.files.items() if name != path) + len(content)
        if size > LARGEST or len({*self.files, path}) > MOST_FILES:
            raise OwnToolError(f"a run hands over at most {LARGEST} bytes in {MOST_FILES} files by its tools")
        for other in self.files:
            if other.startswith(f"{path}/") or path.startswith(f"{other}/"):
                raise OwnToolError(f"{other} is a file already, and cannot be a folder, too")
        self.files[path] = content
