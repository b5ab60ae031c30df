"""A routine's definition: every key of ROUTINE.md's front matter, with its type and its default.

`FrontMatter` is the text as written. `Routine` is what a run works with: the body is there, and the environment
is resolved. Rules that bind several keys together stand in `rules.py`, what this build can do in `built.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, Tag

from tickover.core.check import CheckItem
from tickover.core.limits import Duration, Limits, Period, Retry, Watch
from tickover.core.permission import PermissionItem, RequestPermission
from tickover.core.shape import (
    ByShape,
    Flag,
    Form,
    Glob,
    Item,
    Line,
    Maybe,
    Name,
    Scalar,
    Strict,
    Text,
    VariableName,
    Whole,
)
from tickover.core.trigger import GitHubTrigger, TriggerItem

AGENTS = ("steps", "command", "claude-code", "codex", "acp", "loop", "remote")
Agent = Annotated[
    str,
    Form(
        rf"(?:{'|'.join(AGENTS)})(?:@[A-Za-z0-9._+-]{{1,64}})?",
        f"an agent is one of {', '.join(AGENTS)}, with @VERSION to pin it",
    ),
]
Isolation = Literal["sandbox", "container", "microvm"]
Http = Annotated[
    str, Form(r"https?://[^\s/@\\]+(?:/[^\s\\]*)?", "a URL begins with https:// and holds no user or password")
]
HOST = r"(?:\*\.)?[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?(?::[0-9]{1,5})?"


class Input(Strict):
    """A value that the run is given. Without a default it must be given."""

    type: Literal["string", "integer", "number", "boolean"]
    default: Maybe[Scalar] = None


class Repository(Strict):
    """A repository and the two commits of it that matter: `ref` is worked on, `trusted_ref` is believed."""

    url: Annotated[
        str,
        Form(
            r"(?:https://[^\s/@?#\\]+/[^\s@\\]+|file:///[^\s\\]+|\.)",
            "an address is https://HOST/PATH or file:///PATH, without user and password, or . for the routine's own",
        ),
    ]
    ref: Maybe[Line] = None
    trusted_ref: Maybe[Line] = None
    credential: Maybe[Name] = None


class Setup(Strict):
    """What is installed before the clone, seeing only `files` of the trusted commit; kept as a Layer."""

    run: Maybe[Text] = None
    files: tuple[
        Annotated[
            str,
            Form(
                r"(?:[a-z0-9-]{1,64}:)?(?!/)(?!(?:.*/)?\.\.(?:/|$))[^\0\\\r\n:]{1,1024}",
                "a path is relative, without .., with REPO: before it if there are several repositories",
            ),
        ],
        ...,
    ] = ()
    refresh: Period = Duration(7 * 86400)


NetworkList = tuple[Annotated[str, Form(HOST, "a preset's name, a host, *.host or host:port")], ...]


class Environment(Strict):
    """Where the agent works: root filesystem, setup, network, plain variables, names of credentials."""

    base: Line = "host"
    setup: Setup = Setup()
    network: Annotated[
        Annotated[Literal["none", "observe"], Tag("<text>")] | Annotated[NetworkList, Tag("<list>")], ByShape
    ] = "none"
    env: dict[VariableName, str] = Field(default_factory=dict)
    credentials: tuple[Name, ...] = ()


class Connector(Strict):
    """A connector of the instance: which of its tools are offered, and which must be there."""

    tools: tuple[Line, ...] = ()
    required: tuple[Line, ...] = ()


class Remote(Strict):
    """Where `agent: remote` forwards the event; `none` only waits for the slot and judges."""

    to: Literal["claude-routine", "http", "github-workflow", "none"]
    url: Maybe[Http] = None
    credential: Maybe[Name] = None


def forwarding(remote: Remote | None) -> tuple[RequestPermission, ...]:
    """Return what `agent: remote` may do by being one: send the one request, once in a run."""
    if remote is None or remote.url is None:
        return ()
    return (RequestPermission(to=f"POST {remote.url}", credential=remote.credential, max=1),)


class Model(Strict):
    """A model at an address of one's own, for `agent: loop`."""

    name: Line
    url: Http
    wire: Literal["anthropic", "openai"]


class Condition(Strict):
    """A pinned command that is asked before anything is spent: exit 0 run, 10 skip."""

    run: Text


class Notify(Strict):
    on: Annotated[
        tuple[Literal["verified", "noop", "failed", "unverified", "recovered", "missed", "refused", "paused"], ...],
        Field(min_length=1),
    ]
    to: Name


Checks = Annotated[tuple[CheckItem, ...], Field(max_length=100)]
"""Each is asked twice in a sandbox of its own, and all of them stand in one fact of the journal: the verdict."""


class FrontMatter(Strict):
    """The front matter of ROUTINE.md."""

    name: Name
    description: Line = ""
    agent: Agent
    argv: Maybe[Annotated[tuple[str, ...], Field(min_length=1)]] = None
    remote: Maybe[Remote] = None
    model: Maybe[Annotated[Annotated[Line, Tag("<text>")] | Annotated[Model, Tag("<map>")], ByShape]] = None
    skill: Maybe[Name] = None
    task: Text = "Carry out the routine."
    system_prompt: Literal["append", "replace"] = "append"
    isolation: Isolation = "sandbox"
    inputs: dict[Name, Input] = Field(default_factory=dict)
    repositories: dict[Name, Repository] = Field(default_factory=dict)
    environment: Annotated[Annotated[Name, Tag("<text>")] | Annotated[Environment, Tag("<map>")], ByShape] = (
        Environment()
    )
    connectors: dict[Name, Connector] = Field(default_factory=dict)
    on: tuple[TriggerItem, ...] = ()
    may: tuple[PermissionItem, ...] = ()
    expect: Checks = ()
    noop: Checks = ()
    only_if: Maybe[Condition] = None
    notify: tuple[Notify, ...] = ()
    limits: Limits = Limits()
    retry: Retry = Retry()
    watch: Watch = Watch()
    overlap: Literal["skip", "queue", "replace"] = "skip"
    priority: Whole = 0
    artifacts: tuple[Glob, ...] = ("out/**",)
    state: Flag = False
    require_eval: Flag = False
    approve: tuple[PermissionItem, ...] = ()


class Routine(FrontMatter):
    """A routine that a run can work with."""

    environment: Environment = Environment()
    body: str = ""
    body_line: int = 1

    @property
    def agent_name(self) -> str:
        return self.agent.partition("@")[0]

    @property
    def agent_version(self) -> str | None:
        return self.agent.partition("@")[2] or None


class Setting(NamedTuple):
    """One key with its value, as in YAML; None is none. `given`: the file says it, else it is the default."""

    key: str
    value: Any
    given: bool


def settings(routine: FrontMatter) -> list[Setting]:
    """List every key that a routine has, defaults included, in the order of the grammar."""
    matter = FrontMatter.model_construct(
        routine.model_fields_set & set(FrontMatter.model_fields),
        **{name: getattr(routine, name) for name in FrontMatter.model_fields},
    )
    return list(_settings(matter, "", may=bool(routine.may)))


def _settings(model: Strict, prefix: str, *, may: bool) -> Iterator[Setting]:
    dump = model.model_dump(mode="json", by_alias=True)
    for name in type(model).model_fields:
        key = name.removesuffix("_")
        value, given = getattr(model, name), name in model.model_fields_set
        if isinstance(model, GitHubTrigger) and name == "from_fork" and value is None and may:
            yield Setting(f"{prefix}{key}", value=False, given=False)
            continue
        inner = list(_inner(value, f"{prefix}{key}"))
        if not inner:
            yield Setting(f"{prefix}{key}", dump.get(key), given)
        for place, each in inner:
            if not type(each).model_fields:
                yield Setting(place, {}, given=True)
            yield from _settings(each, f"{place}.", may=may)
    for key in model.model_extra or {}:
        yield Setting(f"{prefix}{key}", dump[key], given=True)


def _inner(value: object, place: str) -> Iterator[tuple[str, Strict]]:
    """Yield the maps of known keys in a value, each with its place; nothing of a value with others in it."""
    if isinstance(value, Item):
        yield f"{place}.{value.kind}", value
    elif isinstance(value, Strict):
        yield place, value
    elif isinstance(value, dict) and all(isinstance(each, Strict) for each in value.values()):
        for name, each in value.items():
            yield from _inner(each, f"{place}.{name}")
    elif isinstance(value, tuple):
        for index, each in enumerate(value):
            yield from _inner(each, f"{place}[{index}]")
