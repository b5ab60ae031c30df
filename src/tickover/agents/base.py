"""The agent port: what an agent is given, how its process is started, and how its output becomes facts.

An adapter is one file with a class `Agent`. It decides nothing about the work: every fact it yields is a claim,
because the process it listens to is the agent's own. It does no input or output either: `plan` and the parser
are pure, so that one conformance suite (`tickover.testing.agent_suite`) covers every adapter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Final, Literal, Protocol, TypeAlias

from tickover.core.event import (
    AgentFinished,
    AgentOutput,
    AgentReady,
    AgentStep,
    AgentText,
    AgentToolCall,
    AgentToolResult,
    AgentUsage,
    FindingReported,
    ReportClaimed,
    Scalar,
)
from tickover.core.network import Reach
from tickover.core.own_tools import SERVER

WORKSPACE = "/workspace"
OURS = "/tickover"
"""Where our read-only files lie inside: inputs, runners, settings of an agent."""

OUTPUT = f"{WORKSPACE}/.tickover/output.json"
"""Where the check `output` looks for an agent's result."""

Stream: TypeAlias = Literal["stdout", "stderr"]
AgentFact: TypeAlias = (
    AgentOutput
    | AgentReady
    | AgentText
    | AgentToolCall
    | AgentToolResult
    | AgentUsage
    | AgentStep
    | FindingReported
    | ReportClaimed
    | AgentFinished
)
"""The normal form: all that an adapter may say."""


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block of a `steps` routine: what is run, in which language, for how long at most (seconds)."""

    id: str
    lang: Literal["bash", "sh", "python", "js"]
    code: str
    title: str = ""
    timeout_s: float | None = None


@dataclass(frozen=True, slots=True)
class Skill:
    """The skill a routine names, as found at the trusted commit. `files` are all of its folder: path -> content."""

    name: str
    text: str
    files: Mapping[str, bytes] = field(default_factory=dict)
    executable: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Offer:
    """A connector that the agent is offered: where it answers, and the tools without which the run is no success."""

    name: str
    url: str
    required: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Package:
    """What an agent's program is installed from. `program` is its path below the folder npm installs into."""

    npm: str
    program: str


@dataclass(frozen=True, slots=True)
class Forward:
    """Where the work is done instead: an address, and what kind of thing answers there (`none`: nothing is sent)."""

    to: Literal["claude-routine", "http", "github-workflow", "none"]
    url: str = ""


@dataclass(frozen=True, slots=True)
class ModelAt:
    """A model at an address of the routine's own, and the API that it is asked by. An empty `url` is none."""

    name: str = ""
    url: str = ""
    wire: Literal["anthropic", "openai"] = "anthropic"


AGENTS_OWN: Final = ModelAt()


@dataclass(frozen=True, slots=True)
class AgentTask:
    """One attempt's task. `prompt` is the routine's body, `task` the first user turn where there is no skill.

    `inputs`, `files` (contents of those that are files) and `event` come from outside and are never instructions.
    `boundary` is random, made for this attempt alone, and delimits them in a prompt. `output_limit` bounds the bytes of
    raw output that are kept.
    `program` is the installed build inside the sandbox, `trusted` what the trusted commit tells agents (path ->
    content), `schema` the JSON Schema of the result that a check asks for. An empty `model` or `model_url` is the
    agent's own; `model_at` is one whose API the routine names, too. `bell` is the URL that an agent asks before it
    stops (agents/bell.py), "" if nobody is to be asked. `own_tools` is the URL of the run's own tools, an MCP server.
    """

    boundary: str
    prompt: str = ""
    task: str = "Carry out the routine."
    skill: Skill | None = None
    blocks: tuple[Block, ...] = ()
    argv: tuple[str, ...] = ()
    inputs: Mapping[str, Scalar] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)
    event: bytes | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    workspace: str = WORKSPACE
    output_limit: int = 64 << 20
    program: str = ""
    model: str = ""
    model_url: str = ""
    model_at: ModelAt = AGENTS_OWN
    replace_system_prompt: bool = False
    trusted: Mapping[str, bytes] = field(default_factory=dict)
    schema: str = ""
    offers: tuple[Offer, ...] = ()
    own_tools: str = ""
    bell: str = ""
    forward: Forward | None = None

    def servers(self) -> dict[str, str]:
        """Return every MCP server that the agent is told of: name -> URL."""
        own = {SERVER: self.own_tools} if self.own_tools else {}
        return {**{offer.name: offer.url for offer in self.offers}, **own}


@dataclass(frozen=True, slots=True)
class AgentPlan:
    """How to start the agent: `files` (target -> content) are small and mounted read-only. stdin is /dev/null."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    files: Mapping[str, bytes]
    cwd: str = WORKSPACE


@dataclass(frozen=True, slots=True)
class AgentExit:
    """How the process tree ended. `code` is the exit code, or 128 + signal where `reason` is `signalled`."""

    code: int
    reason: Literal["exited", "signalled", "memory", "disk", "killed", "timed_out", "broken"] = "exited"


class Parser(Protocol):
    """Turns one process's output into facts, piece by piece, in bounded memory, never raising for what it reads."""

    def feed(self, stream: Stream, data: bytes) -> list[AgentFact]:
        """Take the next bytes, cut anywhere. Output is gathered into larger facts, so this often returns nothing."""

    def flush(self) -> list[AgentFact]:
        """Return the output gathered so far. Call a few times a second, so that a transcript is live."""

    def finish(self, exit_: AgentExit) -> list[AgentFact]:
        """Return what is left; the last fact is the one `agent_finished`. Call once."""


class Agent(Protocol):
    """An adapter. `build` names exactly what runs and is part of a run's version; with a `package`, so is its version.

    `speaks` says that it tells when it is ready and what it does,
    so that a watchdog can hear whether it still lives.
    """

    name: ClassVar[str]
    package: ClassVar[Package | None]
    speaks: ClassVar[bool]

    @property
    def build(self) -> str: ...

    def reach(self, env: Mapping[str, str], model: ModelAt = AGENTS_OWN) -> Reach:
        """Say what the agent itself has to reach, where the routine's variables are `env`. Raises UsageError."""

    def plan(self, task: AgentTask) -> AgentPlan:
        """Say how to start. Raises UsageError where the task cannot be this agent's."""

    def parser(self, task: AgentTask) -> Parser: ...
