"""What a request of any dialect says, in one shape."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Conversation:
    """`turn` counts the assistant's turns so far: it alone chooses the answer, so retries get the same one."""

    dialect: str
    model: str
    stream: bool
    system: str
    prompt: str
    """The first user text."""
    users: str
    """Every user text, joined."""
    turn: int
    tool_result: str
    """The newest tool result, "" where there is none."""
    tools: tuple[str, ...]
    """Names of the tools that the request offers."""


def text_of(content: Any) -> str:
    """Return the text in a content of any of the dialects: a string, a part, or a list of parts."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, dict):
        return text_of(content.get("text") or content.get("content") or content.get("output"))
    if isinstance(content, list):
        return "\n".join(filter(None, (text_of(part) for part in content)))
    return str(content)


def runs_of(flags: Iterable[bool]) -> int:
    """Count the unbroken runs of True: a turn of the assistant may be several messages."""
    count, before = 0, False
    for flag in flags:
        count += flag and not before
        before = flag
    return count


def items_of(value: Any) -> list[Json]:
    """Return the maps of a list; anything else is none."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
