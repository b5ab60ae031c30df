"""The facts of a run. The journal is a numbered list of them, and the journal is the truth.

One frozen model per fact. The store keeps only the envelope, `JournalEvent`; `encode` and `decode` lead from one
to the other. A type or version that this build does not know decodes to `UnknownFact` and is kept. Whoever adds
a value to a closed list of a fact (a phase, a cause, a finding code) raises that fact's `version`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias, get_args

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from tickover.core.cause import Cause, CauseCode
from tickover.core.document import encodable
from tickover.core.errors import TickoverError
from tickover.core.evidence import CheckFact, CheckList, CheckResult, EvidenceClass, first_twice
from tickover.core.finding import Finding, FindingCode
from tickover.core.gate_said import GateSaid
from tickover.core.price import Tokens
from tickover.core.receipt import Begun, Ended, Head, Identity, Link
from tickover.core.status import ENDED, AgentStatus, ClaimStatus, Execution, Outcome, Phase
from tickover.core.wanted import RequiredTool

Scalar: TypeAlias = str | int | float | bool


class JournalCorruptError(TickoverError):
    """A journal says something that cannot have happened. `seq` is the event that says it."""

    def __init__(self, message: str, *, run: str = "", seq: int | None = None, hint: str = "") -> None:
        place = f"journal of run {run or '?'}" + ("" if seq is None else f", seq {seq}")
        super().__init__("journal.corrupt", f"{place}: {message}", hint=hint)
        self.run = run
        self.seq = seq


class JournalEvent(BaseModel):
    """The envelope of one fact. `at` is UTC epoch seconds; `fence` is the lease number of the writer."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    run: str = Field(min_length=1)
    seq: int = Field(ge=0)
    at: float
    attempt: int = Field(ge=0)
    fence: int = Field(ge=0)
    type: str
    data: dict[str, Any]


class _Fact(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    version: Literal[1] = 1


class RunCreated(_Fact):
    """`queued`: it waits for a server. `key` made it happen once, `due` is when it was to start (UTC epoch seconds).

    `replay_of` is the run whose recording answers in the place of the world.
    """

    type: Literal["run_created"] = "run_created"
    routine: str
    title: str = ""
    trigger: str = "manual"
    inputs: dict[str, Scalar] = {}
    input_files: dict[str, str] = {}
    """Inputs that are files: name -> digest of the content; the input's value is the file's path in the sandbox."""
    event_digest: str | None = None
    isolation: str = "sandbox"
    folder: str = ""
    queued: bool = False
    key: str | None = None
    by: str = ""
    depth: int = 0
    due: float | None = None
    replay_of: str | None = None
    repeats: str | None = None
    """The run that the same event started before: it was put in once more."""


class VersionResolved(_Fact):
    """What exactly runs. `trusted` and `subject` map a repository's name to a commit."""

    type: Literal["version_resolved"] = "version_resolved"
    routine_version: str
    trusted: dict[str, str] = {}
    subject: dict[str, str] = {}
    agent_build: str = ""


class AttemptStarted(_Fact):
    type: Literal["attempt_started"] = "attempt_started"
    attempt: int = Field(ge=1)


class PhaseStarted(_Fact):
    type: Literal["phase_started"] = "phase_started"
    phase: Phase


class PhaseFinished(_Fact):
    type: Literal["phase_finished"] = "phase_finished"
    phase: Phase
    duration_s: float = Field(ge=0)


class SandboxStarted(_Fact):
    type: Literal["sandbox_started"] = "sandbox_started"
    backend: str
    tier: str
    network: str = "none"
    protections: tuple[str, ...] = ()
    weaknesses: tuple[str, ...] = ()
    limits: dict[str, Scalar] = {}


class LayerReady(_Fact):
    """`built` is false for a layer taken from the cache; `log_blob` is the setup script's output."""

    type: Literal["layer_ready"] = "layer_ready"
    key: str
    built: bool
    duration_s: float = Field(default=0.0, ge=0)
    bytes: int = Field(default=0, ge=0)
    log_blob: str | None = None


class AccountSeen(_Fact):
    """Who a run acts as at a `place` (a connector, `push REPO`), asked of the service before the agent starts.

    `account` is its answer, hostile text; "" where nobody was asked, or `problem` says why nobody knows.
    """

    type: Literal["account_seen"] = "account_seen"
    place: str
    credential: str
    account: str = ""
    problem: str = ""


class AgentStarted(_Fact):
    type: Literal["agent_started"] = "agent_started"
    build: str = ""
    required: tuple[RequiredTool, ...] = ()


class AgentReady(_Fact):
    """The agent says that it has started, and what it found. `connectors` maps a name to its own word for the state."""

    type: Literal["agent_ready"] = "agent_ready"
    version_said: str = ""
    model: str = ""
    session: str = ""
    tools: tuple[str, ...] = ()
    connectors: dict[str, str] = {}


class AgentOutput(_Fact):
    """A piece of the agent's raw output: short as `text`, long as the digest of a `blob`. Hostile either way."""

    type: Literal["agent_output"] = "agent_output"
    stream: Literal["stdout", "stderr"]
    text: str | None = None
    blob: str | None = None
    truncated: bool = False

    @model_validator(mode="after")
    def _text_or_blob(self) -> AgentOutput:
        if (self.text is None) == (self.blob is None):
            raise ValueError("exactly one of `text` and `blob` is needed")
        return self


class AgentStep(_Fact):
    """One fenced block of a `steps` routine. `exit` is None where it was killed."""

    type: Literal["agent_step"] = "agent_step"
    id: str
    lang: str
    title: str = ""
    exit: int | None
    duration_s: float = Field(ge=0)
    ok: bool


class AgentText(_Fact):
    type: Literal["agent_text"] = "agent_text"
    text: str


class AgentToolCall(_Fact):
    type: Literal["agent_tool_call"] = "agent_tool_call"
    id: str
    tool: str
    arguments: JsonValue = None


class AgentToolResult(_Fact):
    type: Literal["agent_tool_result"] = "agent_tool_result"
    id: str
    ok: bool
    text: str = ""


class AgentUsage(_Fact):
    """What one answer of a model took. `cost_usd` is None where the price is not known."""

    type: Literal["agent_usage"] = "agent_usage"
    model: str = ""
    input_tokens: int = Field(default=0, ge=0)
    output_tokens: int = Field(default=0, ge=0)
    cost_usd: float | None = Field(default=None, ge=0)


class AgentFinished(_Fact):
    """How the agent ended. `cause` is why it did not complete, where that is known better than that it failed.

    `said` is the agent's own word for its end (`success`, `turn.completed`), shown beside ours and believed by nobody.
    """

    type: Literal["agent_finished"] = "agent_finished"
    status: AgentStatus
    exit: int | None = None
    signal: int | None = None
    reason: str = ""
    cause: CauseCode | None = None
    said: str = ""


class ReceiptBegun(_Fact):
    """A call that the gateway is about to forward. `receipt` is its place in the chain, not in the journal."""

    type: Literal["receipt_begun"] = "receipt_begun"
    receipt: int = Field(ge=1)
    record: Begun
    mac: str

    def link(self) -> Link:
        return Link(seq=self.receipt, record=self.record, mac=self.mac)


class ReceiptEnded(_Fact):
    type: Literal["receipt_ended"] = "receipt_ended"
    receipt: int = Field(ge=1)
    record: Ended
    mac: str

    def link(self) -> Link:
        return Link(seq=self.receipt, record=self.record, mac=self.mac)


class ReceiptsSealed(_Fact):
    """The head of the chain: whatever stands before it can no longer be cut off unseen."""

    type: Literal["receipts_sealed"] = "receipts_sealed"
    receipt: int = Field(ge=0)
    mac: str

    def head(self) -> Head:
        return Head(self.receipt, self.mac)


class ConnectionDenied(_Fact):
    """The gateway refused a connection or a request, `times` over for the same reason. `host` is hostile text."""

    type: Literal["connection_denied"] = "connection_denied"
    host: str
    port: int = Field(ge=0)
    code: str
    says: str
    method: str = ""
    path: str = ""
    identity: Identity = Identity.AGENT
    times: int = Field(default=1, ge=1)


class ModelCalled(_Fact):
    """A call to a language model that left through the gateway, and what it took: counted there, not by the agent.

    `status` is None where no answer came, `cost_usd` where nobody knows the price. `estimated`: the answer did not say
    what it took, or was cut off. `input_tokens` are those that no cache held. `tools` names what was offered where that
    is not as it was in the call before; model and tools are hostile text.
    """

    type: Literal["model_called"] = "model_called"
    host: str
    port: int = Field(ge=0)
    dialect: str
    model: str = ""
    status: int | None = None
    input_tokens: int = Field(default=0, ge=0)
    output_tokens: int = Field(default=0, ge=0)
    cache_read_tokens: int = Field(default=0, ge=0)
    cache_write_tokens: int = Field(default=0, ge=0)
    cost_usd: float | None = Field(default=None, ge=0)
    estimated: bool = False
    tools_digest: str = ""
    tools: tuple[str, ...] | None = None
    identity: Identity = Identity.AGENT

    @property
    def tokens(self) -> Tokens:
        return Tokens(self.input_tokens, self.output_tokens, self.cache_read_tokens, self.cache_write_tokens)


class HostReached(_Fact):
    """A connection was let through: one fact for a host and port of an attempt. `rule` says by what entry."""

    type: Literal["host_reached"] = "host_reached"
    host: str
    port: int = Field(ge=1)
    rule: str
    identity: Identity = Identity.AGENT


class CassetteStored(_Fact):
    """What passed between the attempt's agent and the world is in the blob `digest` (core/cassette.py).

    Of `calls` exchanges, `left_out` are there without their bodies.
    """

    type: Literal["cassette_stored"] = "cassette_stored"
    digest: str
    calls: int = Field(ge=0)
    bytes: int = Field(ge=0)
    left_out: int = Field(default=0, ge=0)


class ReplayDrifted(_Fact):
    """A replay was not as its recording, `times` over (core/player.py). The texts are hostile, and cut short."""

    type: Literal["replay_drifted"] = "replay_drifted"
    kind: str
    target: str
    where: str = ""
    then: str = ""
    now: str = ""
    times: int = Field(default=1, ge=1)


class StopGateJudged(_Fact):
    """The agent wanted to stop for the `number`th time, and its frozen workspace was looked at; no verdict rests on it.

    `says` is what it was told, nothing where it might stop. `problem`: why nobody could judge.
    """

    type: Literal["stop_gate_judged"] = "stop_gate_judged"
    number: int = Field(ge=1)
    checks: tuple[GateSaid, ...] = ()
    says: tuple[str, ...] = ()
    problem: str = ""
    duration_s: float = Field(default=0.0, ge=0)


class ReportClaimed(_Fact):
    type: Literal["report_claimed"] = "report_claimed"
    status: ClaimStatus
    summary: str = ""


class BaselineChecked(_Fact):
    """What a check said before the agent's first action."""

    type: Literal["baseline_checked"] = "baseline_checked"
    list: CheckList
    index: int = Field(ge=0)
    kind: str
    result: CheckResult
    summary: str = ""


class CheckEvaluated(_Fact):
    """What a check said after the agent ended. The same check may be asked again (`within`): the last counts."""

    type: Literal["check_evaluated"] = "check_evaluated"
    list: CheckList
    index: int = Field(ge=0)
    kind: str
    guard: bool = False
    evidence_class: EvidenceClass
    result: CheckResult
    summary: str = ""
    detail: dict[str, JsonValue] = {}
    duration_s: float = Field(default=0.0, ge=0)
    evidence_blob: str | None = None


class FindingReported(_Fact):
    type: Literal["finding"] = "finding"
    code: FindingCode
    message: str
    required: bool = False
    detail: dict[str, JsonValue] = {}

    @classmethod
    def of(cls, finding: Finding) -> FindingReported:
        return cls(code=finding.code, message=finding.message, required=finding.required, detail=finding.detail)


class ArtifactStored(_Fact):
    type: Literal["artifact_stored"] = "artifact_stored"
    path: str
    bytes: int = Field(ge=0)
    sha256: str


class ArtifactRefused(_Fact):
    type: Literal["artifact_refused"] = "artifact_refused"
    path: str
    reason: str


class StateCommitted(_Fact):
    type: Literal["state_committed"] = "state_committed"
    digest: str


class StateDiscarded(_Fact):
    type: Literal["state_discarded"] = "state_discarded"
    reason: str


class AttemptFinished(_Fact):
    """How the attempt's process ended: one of `ENDED`, with its cause where that is not `completed`."""

    type: Literal["attempt_finished"] = "attempt_finished"
    execution: Execution
    cause: Cause | None = None

    @model_validator(mode="after")
    def _ended_for_a_reason(self) -> AttemptFinished:
        if self.execution not in ENDED:
            raise ValueError(f"`{self.execution}` is no way for an attempt to end")
        if (self.execution is Execution.COMPLETED) != (self.cause is None):
            raise ValueError("a cause is needed exactly where the attempt did not complete")
        return self


class VerdictReached(_Fact):
    """The verdict and what it rests on: of each check what it said, once."""

    type: Literal["verdict_reached"] = "verdict_reached"
    outcome: Outcome
    reason: str
    evidence: tuple[CheckFact, ...] = ()
    findings: tuple[Finding, ...] = ()

    @model_validator(mode="after")
    def _one_word_each(self) -> VerdictReached:
        if (twice := first_twice(self.evidence)) is not None:
            raise ValueError(f"{twice} stands twice in the evidence")
        return self


class RetryScheduled(_Fact):
    """Another attempt shall start `at` (UTC epoch seconds); `attempt` is its number."""

    type: Literal["retry_scheduled"] = "retry_scheduled"
    at: float
    why: str
    attempt: int = Field(ge=2)


class CancelRequested(_Fact):
    type: Literal["cancel_requested"] = "cancel_requested"
    by: str


class RunRefused(_Fact):
    type: Literal["run_refused"] = "run_refused"
    cause: Cause


class RunSkipped(_Fact):
    type: Literal["run_skipped"] = "run_skipped"
    reason: str


class RunMissed(_Fact):
    type: Literal["run_missed"] = "run_missed"
    reason: str = ""


class RunRecovered(_Fact):
    type: Literal["run_recovered"] = "run_recovered"
    note: str


class RunFinished(_Fact):
    type: Literal["run_finished"] = "run_finished"
    execution: Execution
    outcome: Outcome
    exit_code: int = Field(ge=0, le=255)


class UnknownFact(BaseModel):
    """A fact written by another build. Nothing is concluded from it, nothing of it is lost."""

    model_config = ConfigDict(frozen=True)

    type: str
    data: dict[str, Any]


KnownFact: TypeAlias = Annotated[
    RunCreated
    | VersionResolved
    | AttemptStarted
    | PhaseStarted
    | PhaseFinished
    | SandboxStarted
    | LayerReady
    | AccountSeen
    | AgentStarted
    | AgentReady
    | AgentOutput
    | AgentStep
    | AgentText
    | AgentToolCall
    | AgentToolResult
    | AgentUsage
    | AgentFinished
    | ReceiptBegun
    | ReceiptEnded
    | ReceiptsSealed
    | ConnectionDenied
    | ModelCalled
    | HostReached
    | CassetteStored
    | ReplayDrifted
    | StopGateJudged
    | ReportClaimed
    | BaselineChecked
    | CheckEvaluated
    | FindingReported
    | ArtifactStored
    | ArtifactRefused
    | StateCommitted
    | StateDiscarded
    | AttemptFinished
    | VerdictReached
    | RetryScheduled
    | CancelRequested
    | RunRefused
    | RunSkipped
    | RunMissed
    | RunRecovered
    | RunFinished,
    Field(discriminator="type"),
]
Fact: TypeAlias = KnownFact | UnknownFact

_MEMBERS: tuple[type[_Fact], ...] = get_args(get_args(KnownFact)[0])
FACT_TYPES: dict[str, type[_Fact]] = {member.model_fields["type"].default: member for member in _MEMBERS}
"""Every known type's name and model, in the order of a run's life."""


def payload(fact: Fact) -> dict[str, Any]:
    """Return the JSON form that the envelope's `data` holds: every field but `type`.

    Half a surrogate pair (`os.fsdecode` makes them of bytes from outside) cannot be written as UTF-8; it
    becomes `?` here, so that no journal, page or API answer can fail on it later.
    """
    if isinstance(fact, UnknownFact):
        return fact.data
    cleaned: dict[str, Any] = encodable(fact.model_dump(mode="json", exclude={"type"}))
    return cleaned


def encode(fact: Fact, *, run: str, seq: int, at: float, attempt: int, fence: int) -> JournalEvent:
    """Put a fact into its envelope."""
    return JournalEvent(run=run, seq=seq, at=at, attempt=attempt, fence=fence, type=fact.type, data=payload(fact))


def decode(event: JournalEvent) -> Fact:
    """Take the fact out of its envelope.

    Unknown types and versions become `UnknownFact`; a known one whose fields are wrong is
    `JournalCorruptError`, because nobody but a damaged disk or a foreign hand writes such a thing.
    """
    model = FACT_TYPES.get(event.type)
    version = event.data.get("version", 1)
    if model is None or version != model.model_fields["version"].default:
        return UnknownFact(type=event.type, data=event.data)
    try:
        return model.model_validate({**event.data, "type": event.type})  # type: ignore[return-value]
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        problem = f"`{event.type}` does not hold together: {where or 'fact'}: {first['msg']}"
        raise JournalCorruptError(problem, run=event.run, seq=event.seq) from error
