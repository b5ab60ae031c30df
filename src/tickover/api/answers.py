"""The bodies that /api/v1 takes and gives. OpenAPI is made of these models. Times are RFC 3339 in UTC."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, SecretStr

from tickover.core.event import Scalar
from tickover.core.instance import CredentialKind
from tickover.core.row import AttemptRow, PhaseRow, RunRow
from tickover.core.status import Execution, Outcome

Moment = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
Limit = Annotated[int, Field(ge=1, le=500)]
Scope = Annotated[str, Field(max_length=80)]
RunId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}$")]


class Taken(BaseModel):
    """What comes from outside: a key that is not known is an error."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


# -- what is asked ---------------------------------------------------------------------------------------------------


class RunsQuery(Taken):
    routine: Annotated[str, Field(max_length=64)] | None = None
    execution: Execution | None = None
    outcome: Outcome | None = None
    limit: Limit = 50
    cursor: RunId | None = None


class EventsQuery(Taken):
    after: Annotated[int, Field(ge=0, le=2**53)] = 0
    limit: Limit = 500


class StreamQuery(Taken):
    after: Annotated[int, Field(ge=0, le=2**53)] = 0


class PageQuery(Taken):
    limit: Limit = 100
    cursor: Annotated[int, Field(ge=1, le=2**53)] | None = None


class WaitQuery(Taken):
    wait: Annotated[float, Field(ge=0, le=3600)] = 0


class UsageQuery(Taken):
    days: Annotated[int, Field(ge=1, le=366)] = 30


class FireBody(Taken):
    """A wish to run. At most one of `text` and `event`; both are data from outside, never instructions.

    `inputs` are typed values; `words` are inputs as a person types them, and become what the routine declares.
    """

    inputs: dict[str, Scalar] = {}
    words: dict[str, str] = {}
    text: Annotated[str, Field(max_length=1_000_000)] | None = None
    event: JsonValue = None


class PauseBody(Taken):
    reason: Annotated[str, Field(max_length=500)] = ""


class TokenBody(Taken):
    name: Annotated[str, Field(max_length=100)]
    owner: Annotated[str, Field(max_length=120)]
    role: Literal["viewer", "operator", "admin"] | None = None
    scopes: Annotated[list[Scope], Field(max_length=100)] = []
    days: Annotated[int, Field(ge=1, le=3660)] | None = None


# -- what is answered ------------------------------------------------------------------------------------------------


class Told(BaseModel):
    code: str
    message: str
    hint: str
    where: dict[str, str | int] | None = None
    problems: list[Told] | None = None


class ErrorAnswer(BaseModel):
    """Every error."""

    error: Told


class PhaseAnswer(PhaseRow):
    started: Moment  # type: ignore[assignment]


class AttemptAnswer(AttemptRow):
    started: Moment  # type: ignore[assignment]
    finished: Moment | None = None  # type: ignore[assignment]
    phases: tuple[PhaseAnswer, ...] = ()


class RunAnswer(RunRow):
    """A run: its row, as `tickover runs show --json` prints it."""

    format: int
    created: Moment  # type: ignore[assignment]
    started: Moment | None = None  # type: ignore[assignment]
    finished: Moment | None = None  # type: ignore[assignment]
    retry_at: Moment | None = None  # type: ignore[assignment]
    attempts: tuple[AttemptAnswer, ...] = ()


class RunLine(BaseModel):
    """A run in a list."""

    id: str
    routine: str
    title: str
    trigger: str
    execution: Execution
    outcome: Outcome | None
    reason: str
    exit_code: int | None
    created: Moment
    started: Moment | None
    finished: Moment | None


class RunsAnswer(BaseModel):
    runs: list[RunLine]
    cursor: str | None = Field(description="Give it back to read on; null at the end.")


class EventAnswer(BaseModel):
    run: str
    seq: int
    at: Moment
    attempt: int
    fence: int
    type: str
    data: dict[str, Any]


class EventsAnswer(BaseModel):
    events: list[EventAnswer]
    last_seq: int


class ArtifactAnswer(BaseModel):
    path: str
    bytes: int
    sha256: str


class ArtifactsAnswer(BaseModel):
    artifacts: list[ArtifactAnswer]


class DenialAnswer(BaseModel):
    host: str
    port: int
    code: str
    says: str
    method: str
    path: str
    times: int


class NetworkAnswer(BaseModel):
    """What the gateway saw. `calls` are the receipts as they stand in the journal."""

    sums: dict[str, Any]
    calls: list[dict[str, Any]]
    denied: list[DenialAnswer]


class FiredAnswer(BaseModel):
    run: str
    created: bool = Field(description="False: the same Idempotency-Key had made this run before.")
    row: RunAnswer


class RoutineAnswer(BaseModel):
    name: str
    version: str
    pushed_at: Moment
    pushed_by: str
    paused: bool
    paused_at: Moment | None
    paused_by: str
    paused_reason: str
    fire_url: str


class RoutinesAnswer(BaseModel):
    routines: list[RoutineAnswer]


class VersionAnswer(BaseModel):
    version: str
    at: Moment | None
    by: str


class VersionsAnswer(BaseModel):
    versions: list[VersionAnswer]


class PushedAnswer(BaseModel):
    """`asks` has sentences: what runs of it wait for, until the owner of the server grants it."""

    name: str
    version: str
    asks: list[str] = []


class SlotAnswer(BaseModel):
    """A schedule and its next slot; `fire_at` is the slot with its stagger."""

    routine: str
    schedule: dict[str, Any]
    slot: Moment | None
    fire_at: Moment | None
    enabled: bool


class SchedulesAnswer(BaseModel):
    schedules: list[SlotAnswer]


class DoneAnswer(BaseModel):
    """It was done, or had been done before."""

    ok: Literal[True] = True


class TokenAnswer(BaseModel):
    id: str
    name: str
    owner: str
    scopes: list[str]
    state: Literal["live", "expired", "revoked"]
    created: Moment
    made_by: str
    expires: Moment | None
    last_used: Moment | None


class NewTokenAnswer(TokenAnswer):
    token: str = Field(description="Shown now and never again.")


class TokensAnswer(BaseModel):
    tokens: list[TokenAnswer]


class WhoAnswer(BaseModel):
    owner: str
    token: str
    scopes: list[str]


class AuditAnswer(BaseModel):
    id: int
    at: Moment
    who: str
    what: str
    target: str
    origin: str
    allowed: bool
    detail: dict[str, Any]


class AuditsAnswer(BaseModel):
    entries: list[AuditAnswer]
    cursor: int | None


class DeliveryAnswer(BaseModel):
    at: Moment
    ok: bool
    says: str


class NoticeAnswer(BaseModel):
    """A message to people: waiting, sent, failed (given up), or merged into the one of the same cause before it."""

    id: int
    run: str | None
    routine: str
    kinds: list[str]
    target: str
    created: Moment
    state: Literal["waiting", "sent", "failed", "merged"]
    merged: int | None
    next_at: Moment | None
    deliveries: list[DeliveryAnswer]


class NoticesAnswer(BaseModel):
    notices: list[NoticeAnswer]
    cursor: int | None


class UsageLine(BaseModel):
    routine: str
    execution: str
    outcome: str | None
    runs: int
    input_tokens: int
    output_tokens: int
    cost_usd: float
    unpriced: int = Field(description="Runs whose cost is not known; they count 0 in `cost_usd`.")


class UsageAnswer(BaseModel):
    since: Moment
    usage: list[UsageLine]


class HealthAnswer(BaseModel):
    status: Literal["ok", "draining"]
    version: str


# -- what the owner decides, and what came in ------------------------------------------------------------------------


class GrantBody(Taken):
    """`digest` is that of the comparison that was read: if the routine asks for anything else by now, it is a 409."""

    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class AskAnswer(BaseModel):
    kind: str
    says: str


class GrantsAnswer(BaseModel):
    """What a routine asks for: `new` is not granted yet, `kept` is, `gone` was and is taken back by a grant."""

    routine: str
    version: str
    digest: str
    new: list[AskAnswer]
    kept: list[AskAnswer]
    gone: list[str]
    granted: bool


class SecretBody(Taken):
    """A value, and where it may go, as `tickover secret set` takes it. No answer, log or audit entry holds it."""

    value: Annotated[SecretStr, Field(max_length=16_384)]
    hosts: Annotated[list[Annotated[str, Field(max_length=300)]], Field(max_length=100)] | None = None
    kind: CredentialKind | None = None
    header: Annotated[str, Field(max_length=200)] | None = None
    prefix: Annotated[str, Field(max_length=200)] | None = None
    param: Annotated[str, Field(max_length=200)] | None = None
    user: Annotated[str, Field(max_length=200)] | None = None


class SecretAnswer(BaseModel):
    """A secret, without its value; `version` None: it has none yet."""

    name: str
    kind: str
    hosts: list[str]
    in_file: bool
    version: int | None
    set_at: Moment | None
    set_by: str | None


class SecretsAnswer(BaseModel):
    secrets: list[SecretAnswer]


class CameQuery(Taken):
    source: Annotated[str, Field(max_length=200)] | None = None
    provider: Annotated[str, Field(max_length=64)] | None = None
    limit: Limit = 50
    cursor: Annotated[str, Field(pattern=r"^e[0-9]{1,18}$")] | None = None


class RoutingAnswer(BaseModel):
    target: str
    at: Moment
    verdict: str
    reason: str
    says: str
    run: str | None
    starts_at: Moment | None
    depth: int
    clauses: list[dict[str, Any]]


class CameAnswer(BaseModel):
    """An event from outside; everything in it but ids and times is its sender's."""

    event: str
    source: str
    provider: str
    name: str
    delivery: str
    received_at: Moment
    headers: dict[str, str]
    size: int
    state: str
    replay_of: str | None
    routings: list[RoutingAnswer]


class CameListAnswer(BaseModel):
    events: list[CameAnswer]
    cursor: str | None


class ReplayBody(Taken):
    to: Annotated[str, Field(max_length=200)] | None = None


class RejectedAnswer(BaseModel):
    at: Moment
    source: str
    reason: str
    count: int
    sample: dict[str, Any]


class RejectionsAnswer(BaseModel):
    rejections: list[RejectedAnswer]
