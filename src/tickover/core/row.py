"""The shape of a run's row: what lists, pages and `runs show` print. `core/run.py` folds the journal into it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from tickover.core.cause import Cause
from tickover.core.event import BaselineChecked, Scalar
from tickover.core.evidence import CheckFact, CheckId, CheckResult, Said
from tickover.core.finding import Finding
from tickover.core.gate_said import GateSaid
from tickover.core.receipt import Identity
from tickover.core.status import AgentStatus, ClaimStatus, Execution, Outcome, Phase
from tickover.core.wanted import RequiredTool


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True)


class PhaseRow(_Row):
    """A phase of an attempt. `duration_s` is None while it lasts, and for ever if it was cut off."""

    phase: Phase
    started: float
    duration_s: float | None = None


class AttemptRow(_Row):
    """One try. `outcome` is the verdict on it, None if the run went on without one."""

    number: int
    started: float
    finished: float | None = None
    execution: Execution | None = None
    cause: Cause | None = None
    outcome: Outcome | None = None
    agent_started: bool = False
    agent_status: AgentStatus | None = None
    agent_exit: int | None = None
    phases: tuple[PhaseRow, ...] = ()


class FindingRow(_Row):
    """A finding and the attempt it was made in."""

    attempt: int
    finding: Finding


class ClaimRow(_Row):
    """What the agent said of its work. Shown, never believed."""

    status: ClaimStatus
    summary: str


class GateRow(_Row):
    """What was found when the agent wanted to stop, and what it was told: nothing where it might stop."""

    attempt: int
    number: int
    checks: tuple[GateSaid, ...] = ()
    says: tuple[str, ...] = ()
    problem: str = ""


class SandboxRow(_Row):
    """The sandbox the agent of the last attempt worked in."""

    backend: str
    tier: str
    network: str
    protections: tuple[str, ...]
    weaknesses: tuple[str, ...]
    limits: dict[str, Scalar]


class AccountRow(_Row):
    """Who the last attempt acts as, and where. `account` is the service's own answer, "" where it gave none."""

    place: str
    credential: str
    account: str = ""
    problem: str = ""


class LayerRow(_Row):
    """The setup layer under it."""

    key: str
    built: bool
    duration_s: float
    bytes: int
    log_blob: str | None


class ArtifactRow(_Row):
    """A file that was taken out."""

    path: str
    bytes: int
    sha256: str


class RefusedArtifactRow(_Row):
    """A path that was not taken out, and why."""

    path: str
    reason: str


class UsageRow(_Row):
    """Sums over the run: of the `calls` that the gateway saw, or else what the agent says.

    Of prompts, `input_tokens` are those that no cache held.
    `cost_usd` is None as soon as one price is not known. `estimated` calls did not say what they took.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = 0.0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    calls: int = 0
    estimated: int = 0


NAMED_MOST = 50
"""Denials, and calls without an answer, that a row names; the journal has all."""


class CallRow(_Row):
    """A call that has begun and not ended. While it stands, nobody knows what the server did."""

    call: int
    attempt: int
    writes: bool
    target: str
    rule: str = ""


class DenialRow(_Row):
    """What the gateway refused, `times` over for the same reason in one attempt. Hostile text, cut short."""

    attempt: int
    identity: Identity
    host: str
    port: int
    code: str
    says: str
    method: str = ""
    path: str = ""
    times: int = 1


class SealRow(_Row):
    """Where the chain of receipts was sealed last."""

    receipt: int
    mac: str


class NetworkRow(_Row):
    """Sums over the run. `writes` are the agent's that left, or may have, `rules` the same by what allowed them.

    `unknown` ended without an answer. `denials` are the first of each kind, `denied` counts all.
    """

    calls: int = 0
    writes: int = 0
    rules: dict[str, int] = {}
    denied: int = 0
    denials: tuple[DenialRow, ...] = ()
    open_calls: tuple[CallRow, ...] = ()
    unknown: tuple[CallRow, ...] = ()
    seal: SealRow | None = None


class CassetteRow(_Row):
    """The recording of one attempt (core/cassette.py)."""

    attempt: int
    digest: str
    calls: int
    bytes: int
    left_out: int = 0


class DriftRow(_Row):
    """How a replay is not as its recording. Hostile text, cut short."""

    kind: str
    target: str
    where: str = ""
    then: str = ""
    now: str = ""
    times: int = 1


class RunRow(_Row):
    """What the journal says of a run; all times are UTC epoch seconds.

    `evidence`, `claim`, `sandbox` and `artifacts` are those of the last attempt, `baseline` is the run's first.
    Of a replay (`replay_of`), `drift` counts how often it was not as its recording, `drifts` are the first of them.
    `outcome` is None until there is a verdict, and again while another attempt is on its way.
    """

    id: str
    routine: str
    title: str
    folder: str
    trigger: str
    inputs: dict[str, Scalar]
    event_digest: str | None
    isolation: str
    created: float
    last_seq: int
    input_files: dict[str, str] = {}
    queued: bool = False
    key: str | None = None
    by: str = ""
    depth: int = 0
    due: float | None = None
    repeats: str | None = None
    version: str | None = None
    trusted: dict[str, str] = {}
    subject: dict[str, str] = {}
    agent_build: str = ""
    execution: Execution = Execution.QUEUED
    cause: Cause | None = None
    outcome: Outcome | None = None
    reason: str = ""
    exit_code: int | None = None
    started: float | None = None
    finished: float | None = None
    agent_started: bool = False
    attempts: tuple[AttemptRow, ...] = ()
    retry_at: float | None = None
    cancel_requested_by: str | None = None
    baseline: tuple[BaselineChecked, ...] = ()
    accounts: tuple[AccountRow, ...] = ()
    gates: tuple[GateRow, ...] = ()
    evidence: tuple[CheckFact, ...] = ()
    findings: tuple[FindingRow, ...] = ()
    claim: ClaimRow | None = None
    required: tuple[RequiredTool, ...] = ()
    sandbox: SandboxRow | None = None
    layer: LayerRow | None = None
    artifacts: tuple[ArtifactRow, ...] = ()
    refused_artifacts: tuple[RefusedArtifactRow, ...] = ()
    state_digest: str | None = None
    state_discarded: str | None = None
    usage: UsageRow = UsageRow()
    network: NetworkRow = NetworkRow()
    recovered: int = 0
    unknown_facts: int = 0
    replay_of: str | None = None
    cassette: CassetteRow | None = None
    drift: int = 0
    drifts: tuple[DriftRow, ...] = ()

    @property
    def attempt(self) -> int:
        """The number of the last attempt, 0 before the first."""
        return len(self.attempts)

    def first_baseline(self) -> dict[CheckId, CheckResult]:
        """Return what each check said before the run's first action: what evidence is compared with."""
        return {CheckId(said.list, said.index): said.result for said in self.baseline}

    def results(self) -> dict[CheckId, Said]:
        """Return what each check said last after the agent ended, in the last attempt."""
        return {check.id: check.said for check in self.evidence}

    def findings_of_attempt(self) -> tuple[Finding, ...]:
        """Return the findings of the last attempt: those its verdict is about."""
        return tuple(row.finding for row in self.findings if row.attempt == self.attempt)
