"""Connectors: services that a routine names instead of addresses. What is known of each is a row of `KINDS`.

A row says where the service answers unless the instance says otherwise, and which of its calls change something: an
entry of `may` becomes rules of the gateway like those of a `request`, so it is enforced and counted in the same way.
All other calls only read. Sources: https://docs.slack.dev/reference/methods, https://docs.github.com/en/rest.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Annotated, Any, Final, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from tickover.core.check import Check, GitHubCheck, SlackCheck, SqlCheck
from tickover.core.enforcement import Rule
from tickover.core.errors import UsageError, Where
from tickover.core.matcher import Fields
from tickover.core.mcp import McpSettings
from tickover.core.permission import ConnectorPermission, Permission
from tickover.core.shape import Form, Maybe, Name, Strict
from tickover.core.sql import SqlSettings
from tickover.core.target import Target, TargetError, read_origin
from tickover.core.text import one_line

REPO: Final = re.compile(r"[A-Za-z0-9-]{1,39}/(?!\.{1,2}$)[A-Za-z0-9._-]{1,100}")
"""OWNER/NAME of a repository, as GitHub spells it."""

_SEGMENT: Final = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,100}")

Address = Annotated[
    str,
    Form(r"https://[^\s/@?#*\\{}]+(?:/[^\s?#*\\{}]*)?", "a connector's address is https://HOST/PATH, without a query"),
]


@dataclass(frozen=True, slots=True)
class Tool:
    """A call that changes something: `path` is below the connector's address, `*` one segment.

    The keys of `may` narrow it: `json` maps a key to the field of the body that has to be one of its values, `path` a
    key to the place in the path that its values are put into, which must be given.
    """

    method: str
    path: str
    json: Mapping[str, str] = field(default_factory=dict)
    places: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Kind:
    """What is known of a service: its address, its calls that change something, the check that reads it back."""

    url: str
    tools: Mapping[str, Tool]
    check: type[Check]


_CHANNEL: Final = {"channels": "channel"}
_REPO: Final = {"repos": "{repo}"}

KINDS: Final[Mapping[str, Kind]] = {
    "slack": Kind(
        "https://slack.com/api",
        {
            "post_message": Tool("POST", "/chat.postMessage", _CHANNEL),
            "update_message": Tool("POST", "/chat.update", _CHANNEL),
            "add_reaction": Tool("POST", "/reactions.add", {**_CHANNEL, "names": "name"}),
        },
        SlackCheck,
    ),
    "github": Kind(
        "https://api.github.com",
        {
            "create_review": Tool("POST", "/repos/{repo}/pulls/*/reviews", {"events": "event"}, _REPO),
            "create_comment": Tool("POST", "/repos/{repo}/issues/*/comments", {}, _REPO),
            "create_review_comment": Tool("POST", "/repos/{repo}/pulls/*/comments", {}, _REPO),
            "create_status": Tool("POST", "/repos/{repo}/statuses/*", {"contexts": "context"}, _REPO),
            "create_pull": Tool("POST", "/repos/{repo}/pulls", {"bases": "base"}, _REPO),
            "create_issue": Tool("POST", "/repos/{repo}/issues", {}, _REPO),
            "update_issue": Tool("PATCH", "/repos/{repo}/issues/*", {}, _REPO),
        },
        GitHubCheck,
    ),
}
"""Connector -> what is known of it."""


Key = Annotated[str, Form(r"[a-z][a-z0-9_]{0,63}", "1 to 64 of a-z, 0-9 and _")]


class ToolSettings(Strict):
    """A call of an own service that changes something: `{key}` in its path, and `fields`, are what `may` narrows.

    `fields` maps a key of `may` to the field of the JSON body that has to be one of its values.
    """

    call: Annotated[
        str,
        Form(
            r"(?:POST|PUT|PATCH|DELETE) (?:/(?:[A-Za-z0-9._~-]+|\*|\{[a-z][a-z0-9_]*\}))+",
            "a call is POST, PUT, PATCH or DELETE, a space, and /PATH with `*` and `{key}` for whole segments",
        ),
    ]
    fields: dict[Key, Annotated[str, Form(r"[A-Za-z0-9_.-]{1,100}", "a field of the body")]] = Field(
        default_factory=dict
    )

    @model_validator(mode="after")
    def _own_keys(self) -> Self:
        tool = self.tool()
        for key in sorted({*tool.json, *tool.places} & {"tool", "max", "json"}):
            text = f"`{key}` means something else in `may`"
            raise PydanticCustomError("choice", "{text}", {"text": text})
        return self

    def tool(self) -> Tool:
        """Return it as those of `KINDS` are."""
        method, path = self.call.split(" ")
        return Tool(method, path, self.fields, {name: f"{{{name}}}" for name in re.findall(r"\{([a-z0-9_]+)\}", path)})


class HttpSettings(Strict):
    """A service of the instance's own: where it answers, whose credentials go there, which of its calls are tools."""

    url: Address
    credential: Maybe[Name] = None
    verifier_credential: Maybe[Name] = None
    tools: dict[Key, ToolSettings] = Field(default_factory=dict)


class ConnectorSettings(Strict):
    """What only the instance says of a connector: its address, and whose credentials go to it.

    `credential` is the agent's; `verifier_credential` is what the check reads with (without it: the agent's).
    `mcp` makes a connector of an MCP server, `sql` of a database, `http` of any other service, under a name that is
    not one of `KINDS`; each stands alone.
    """

    url: Maybe[Address] = None
    credential: Maybe[Name] = None
    verifier_credential: Maybe[Name] = None
    mcp: Maybe[McpSettings] = None
    sql: Maybe[SqlSettings] = None
    http: Maybe[HttpSettings] = None

    @model_validator(mode="after")
    def _alone(self) -> Self:
        kind = "mcp" if self.mcp else "sql" if self.sql else "http"
        for key in sorted(self.model_fields_set - {kind} if self.own else ()):
            text = f"`{key}` has no meaning beside `{kind}`"
            raise PydanticCustomError("choice", "{text}", {"text": text, "at": (key,)})
        return self

    @property
    def own(self) -> bool:
        """Whether it is a service of the instance's own, under a name of its own."""
        return self.mcp is not None or self.sql is not None or self.http is not None

    @property
    def sent(self) -> tuple[str, ...]:
        """The credentials that go with what the agent asks, or asks for."""
        if self.mcp:
            return self.mcp.carried
        credential = self.http.credential if self.http else self.credential
        return () if credential is None else (credential,)

    @property
    def reading(self) -> str | None:
        """The credential that checks read with."""
        if self.sql:
            return self.sql.credential
        by = self.http or self
        return by.verifier_credential or by.credential


@dataclass(frozen=True, slots=True)
class Connected:
    """A connector of this instance: what is known of it, and what the instance says."""

    name: str
    settings: ConnectorSettings

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""
        own = self.settings.http
        return (own.url if own else self.settings.url or KINDS[self.name].url).rstrip("/")

    @property
    def tools(self) -> Mapping[str, Tool]:
        """Its calls that change something."""
        own = self.settings.http
        return {name: each.tool() for name, each in own.tools.items()} if own else KINDS[self.name].tools

    @property
    def entry(self) -> str:
        """`host:port`, as a policy lists it. Raises TargetError."""
        _, host, port = read_origin(self.url)
        return f"{host}:{port}"


def connected(name: str, settings: Mapping[str, ConnectorSettings], key: str) -> Connected:
    """Return a connector. Raises UsageError, placed at `key`, where this instance has none of that name."""
    if name in settings and (name in KINDS or settings[name].http):
        return Connected(name, settings[name])
    if name in KINDS:
        hint = f"tickover.yaml: `connectors: {{{name}: {{credential: NAME}}}}`"
    else:
        hint = f"there is: {', '.join({**KINDS, **settings})}; or `connectors: {{{name}: {{mcp: {{url: ...}}}}}}` there"
    raise UsageError("connector.unknown", f"this instance has no connector `{name}`", hint=hint, where=Where(key=key))


def read_by(check: Check) -> str | None:
    """Return the connector that a check reads, None for other checks."""
    return check.connector if isinstance(check, SqlCheck) else check.kind if check.kind in KINDS else None


def is_connector(permission: Permission) -> bool:
    """Say whether a permission is for a connector that is known here."""
    return isinstance(permission, ConnectorPermission) and permission.kind in KINDS


def connector_rules(index: int, permission: ConnectorPermission, by: Connected) -> tuple[Rule, ...]:
    """Make the gateway's rules of one entry of `may`: all count together. Raises UsageError with its place."""
    key = f"may[{index}].{permission.kind}"
    if permission.json_ is not None:
        text = f"`json` is for tools of MCP servers, and `{permission.kind}` is none"
        raise UsageError("connector.unknown_key", text, where=Where(key=f"{key}.json"))
    tools = by.tools
    tool = tools.get(permission.tool)
    if tool is None:
        raise _wrong(f"{key}.tool", f"`{permission.kind}` has no tool", permission.tool, tools)
    given = {name: _several(value, f"{key}.{name}") for name, value in permission.fields.items()}
    for name in given:
        if name not in tool.json and name not in tool.places:
            text = f"`{permission.tool}` of {permission.kind} is not narrowed by"
            raise _wrong(f"{key}.{name}", text, name, (*tool.places, *tool.json))
    for name in tool.places:
        if name not in given:
            text = f"`{permission.tool}` of {permission.kind} needs `{name}`: where it may change something"
            raise UsageError("connector.needs", text, where=Where(key=key))
    body = {field_: list(given[name]) for name, field_ in tool.json.items() if name in given}
    return tuple(
        Rule(
            f"may[{index}]",
            _target(tool.method, by.url + path, key),
            next(iter(by.settings.sent), None),
            Fields(body) if body else None,
            permission.max,
        )
        for path in _paths(tool, given, key)
    )


def _paths(tool: Tool, given: Mapping[str, tuple[Any, ...]], key: str) -> Iterator[str]:
    for values in product(*(given[name] for name in tool.places)):
        path = tool.path
        for (name, place), value in zip(tool.places.items(), values, strict=True):
            if place == "{repo}" and (not isinstance(value, str) or not REPO.fullmatch(value)):
                text = f"{one_line(str(value), 60)} is no repository: it is OWNER/NAME"
                raise UsageError("connector.repo", text, where=Where(key=f"{key}.{name}"))
            if place != "{repo}" and not _SEGMENT.fullmatch(str(value)):
                text = f"{one_line(str(value), 60)} cannot stand in the path: it is letters, digits, `.`, `_`, `-`"
                raise UsageError("connector.place", text, where=Where(key=f"{key}.{name}"))
            path = path.replace(place, str(value))
        yield path


def _several(value: Any, key: str) -> tuple[Any, ...]:
    values = tuple(value) if isinstance(value, list | tuple) else (value,)
    if not values:
        raise UsageError("connector.needs", "an empty list allows nothing: leave the entry out", where=Where(key=key))
    return values


def _target(method: str, url: str, key: str) -> Target:
    try:
        return Target.parse(f"{method} {url}")
    except TargetError as error:
        raise UsageError(error.code, error.message, hint=error.hint, where=Where(key=key)) from None


def _wrong(key: str, text: str, given: str, known: Iterable[str]) -> UsageError:
    names = list(known)
    near = difflib.get_close_matches(given, names, 1)
    hint = f"did you mean `{near[0]}`?" if near else f"there is: {', '.join(names) or 'none'}"
    return UsageError("connector.unknown_key", f"{text} `{one_line(given, 60)}`", hint=hint, where=Where(key=key))
