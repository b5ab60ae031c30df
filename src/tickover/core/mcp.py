"""MCP servers as connectors: what the instance says of one, and which of its tools a run may call.

The gateway speaks to the server, message by message; the agent speaks to the gateway (`/mcp/NAME`). A tool that its
server calls read-only reads; every other one writes, and needs an entry of `may`. Sources: the specification
https://modelcontextprotocol.io/specification/2025-11-25 (tools, and `annotations.readOnlyHint`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal, Self

from pydantic import JsonValue, model_validator
from pydantic_core import PydanticCustomError

from tickover.core.enforcement import READ, Allow, Deny, first_misfit
from tickover.core.errors import UsageError, Where
from tickover.core.matcher import Fields
from tickover.core.network import NetworkPolicy
from tickover.core.permission import ConnectorPermission
from tickover.core.program import Program
from tickover.core.receipt import canonical_json
from tickover.core.shape import Form, Maybe, Name, Strict
from tickover.core.text import one_line

PATH: Final = "/mcp/"
"""Where the gateway answers for a server: below this, its name."""

SCHEME: Final = "mcp"
METHOD: Final = "CALL"
"""A call of a tool, as receipts and checks name it: `CALL mcp://NAME/TOOL`."""

LIST: Final = "LIST"
"""A look at a server's tools, as receipts name it: `LIST mcp://NAME/tools`, answered with those that were offered."""

TOOL: Final = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9_.-]{1,128}")
"""A tool's name. Others are not offered: they cannot be told apart in an allowlist, or by a model."""

Feature = Literal["resources", "prompts", "completions", "logging"]
Address = Annotated[
    str,
    Form(r"https://[^\s/@?#*\\{}]+(?:/[^\s?#*\\{}]*)?", "a server's address is https://HOST/PATH, without a query"),
]


class McpSettings(Strict):
    """An MCP server, as only the instance can say: where it answers (streamable HTTP), and whose credential goes there.

    Instead of a `url` it may be a `program`. `allow` lets agents use more of it than tools, for reading.
    """

    url: Maybe[Address] = None
    credential: Maybe[Name] = None
    program: Maybe[Program] = None
    allow: tuple[Feature, ...] = ()

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.url is None) is (self.program is None):
            text = "an MCP server has either a `url` or a `program`"
            raise PydanticCustomError("choice", "{text}", {"text": text})
        if self.program is not None and self.credential is not None:
            text = "a program's credentials stand in `program.credentials`"
            raise PydanticCustomError("choice", "{text}", {"text": text, "at": ("credential",)})
        return self

    @property
    def carried(self) -> tuple[str, ...]:
        """The credentials that go with what is sent to it, or by it."""
        if self.program is not None:
            return tuple(dict.fromkeys(self.program.credentials.values()))
        return () if self.credential is None else (self.credential,)

    @property
    def place(self) -> str:
        """Where it is, for people."""
        if self.program is None:
            return f"at {self.url}"
        reaches = ", ".join(self.program.network)
        return f"that is a program in a sandbox of its own, which reaches {reaches or 'nothing'}"


@dataclass(frozen=True, slots=True)
class ToolRule:
    """One entry of `may` for a tool. `most` is for the whole run, over all attempts."""

    name: str
    tool: str
    json: Fields | None = None
    most: int | None = None


@dataclass(frozen=True, slots=True)
class McpServer:
    """One server as a run may use it. `policy` is the gateway's own way to it: the agent itself has none."""

    name: str
    url: str = ""
    policy: NetworkPolicy = field(default_factory=NetworkPolicy)
    credential: str | None = None
    tools: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    rules: tuple[ToolRule, ...] = ()
    allow: tuple[str, ...] = ()

    def offers(self, tool: str, *, reads: bool) -> bool:
        """Say whether the agent is told of a tool. Without a list, of those that only read."""
        if self.tools and tool not in self.tools:
            return False
        return reads or any(rule.tool == tool for rule in self.rules)

    def names(self, tool: str) -> bool:
        """Say whether the routine names a tool both in `tools` and in `may`: then its server need not list it.

        Servers have tools that they list to nobody, and what an unknown one is answered is for the server to say.
        """
        return tool in self.tools and any(rule.tool == tool for rule in self.rules)


def tool_rules(index: int, permission: ConnectorPermission) -> ToolRule:
    """Make the rule of one entry of `may`. Raises UsageError with its place."""
    key = f"may[{index}].{permission.kind}"
    for name in permission.fields:
        text = f"a tool of an MCP server is not narrowed by `{one_line(name, 60)}`"
        hint = f"say what its arguments must hold: `json: {{{one_line(name, 60)}: ...}}`"
        raise UsageError("connector.unknown_key", text, hint=hint, where=Where(key=f"{key}.{name}"))
    if not TOOL.fullmatch(permission.tool):
        raise _no_name(permission.tool, f"{key}.tool")
    return ToolRule(f"may[{index}]", permission.tool, permission.json_, permission.max)


def check_tools(tools: Iterable[str], key: str) -> None:
    """Raise UsageError for what can be no tool's name."""
    for tool in tools:
        if not TOOL.fullmatch(tool):
            raise _no_name(tool, key)


def _no_name(tool: str, key: str) -> UsageError:
    text = f"`{one_line(tool, 60)}` is no tool's name: letters, digits, _, - and ., at most 128"
    return UsageError("connector.tool_name", text, where=Where(key=key))


def judge_call(
    server: McpServer, tool: str, arguments: Mapping[str, JsonValue], *, reads: bool, counts: Mapping[str, int]
) -> Allow | Deny:
    """Decide about one call of a tool that its server has. `reads`: the server calls it read-only.

    `counts` has how many calls have left in this run under each rule, over all attempts.
    """
    name = server.name
    if server.tools and tool not in server.tools:
        return Deny("mcp_not_offered", f"`connectors.{name}.tools` does not list {tool}")
    rules = [rule for rule in server.rules if rule.tool == tool]
    denied: Deny | None = None
    for rule in rules:
        answer = _by_rule(server, rule, arguments, counts)
        if isinstance(answer, Allow):
            return answer
        denied = denied or answer
    if denied:
        return denied
    if reads:
        return Allow(READ, server.credential, None, f"{name} says that {tool} only reads")
    return Deny("no_rule", f"{name} does not say that {tool} only reads, and `may` has no entry for it")


def _by_rule(
    server: McpServer, rule: ToolRule, arguments: Mapping[str, JsonValue], counts: Mapping[str, int]
) -> Allow | Deny:
    if rule.json is not None and not rule.json.matches(dict(arguments), throughout=True):
        wrong = first_misfit(rule.json, dict(arguments), throughout=True)
        return Deny("body", f"{rule.name} does not allow these arguments: {wrong}")
    gone = counts.get(rule.name, 0)
    if rule.most is not None and gone >= rule.most:
        return Deny("max", f"{rule.name} allows {rule.most} in the whole run, and {gone} left already")
    return Allow(rule.name, server.credential, rule.name, f"{rule.name} allows {rule.tool} of {server.name}")


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool as its server described it. The description is hostile text for a model to read."""

    name: str
    described: dict[str, JsonValue]

    @property
    def reads(self) -> bool:
        """Whether the server calls it read-only."""
        annotations = self.described.get("annotations")
        return isinstance(annotations, dict) and annotations.get("readOnlyHint") is True

    @property
    def digest(self) -> str:
        """SHA-256 of all that was said of it, in hexadecimal."""
        return hashlib.sha256(canonical_json(self.described)).hexdigest()


_KEPT: Final = ("name", "title", "description", "inputSchema", "outputSchema", "annotations")


def read_tools(listed: Any) -> list[Tool]:
    """Read the `tools` of an answer to `tools/list`; what is no tool, or has no plain name, is passed over."""
    found = []
    for each in listed if isinstance(listed, list) else ():
        name = each.get("name") if isinstance(each, dict) else None
        if isinstance(name, str) and TOOL.fullmatch(name) and isinstance(each.get("inputSchema"), dict):
            found.append(Tool(name, {key: each[key] for key in _KEPT if key in each}))
    return found


class Pins:
    """The tools of one server, as they were at first sight. One that is described otherwise later is gone."""

    def __init__(self) -> None:
        self._digests: dict[str, str] = {}
        self.tools: dict[str, Tool] = {}
        """What can be called."""
        self.known = False

    def see(self, tools: Iterable[Tool]) -> list[str]:
        """Take a whole list; return the names of those that changed, or came twice, since they were seen first."""
        seen: dict[str, Tool] = {}
        changed = []
        for tool in tools:
            if self._digests.setdefault(tool.name, tool.digest) != tool.digest:
                changed.append(tool.name)
            else:
                seen[tool.name] = tool
        self.tools = {name: tool for name, tool in seen.items() if name not in changed}
        self.known = True
        return changed
