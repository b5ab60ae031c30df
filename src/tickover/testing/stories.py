"""Runs, told as facts: one of each kind of end, for whoever shows runs. `journal` and `folded` make use of them."""

from __future__ import annotations

from collections.abc import Sequence

from tickover.core.cause import Cause, CauseCode
from tickover.core.event import (
    AgentFinished,
    AgentOutput,
    AgentStarted,
    AgentStep,
    ArtifactRefused,
    ArtifactStored,
    AttemptFinished,
    AttemptStarted,
    BaselineChecked,
    CheckEvaluated,
    Fact,
    FindingReported,
    JournalEvent,
    PhaseFinished,
    PhaseStarted,
    ReportClaimed,
    RetryScheduled,
    RunCreated,
    RunFinished,
    RunRefused,
    RunSkipped,
    SandboxStarted,
    VerdictReached,
    VersionResolved,
    encode,
)
from tickover.core.evidence import CheckFact, CheckList, CheckResult, EvidenceClass
from tickover.core.finding import Finding, FindingCode, found
from tickover.core.row import RunRow
from tickover.core.run import fold
from tickover.core.status import AgentStatus, ClaimStatus, Execution, Outcome, Phase

START = 1_795_000_000.0
"""When a story begins: 2026-11-18 11:06:40 UTC."""
COMMIT = "c2a4577e30cce02b61d9cb3731fd476264dc516f"


def journal(facts: Sequence[Fact], *, run: str = "261118-1", step: float = 0.5) -> list[JournalEvent]:
    """Return the journal of a story, its facts `step` seconds apart."""
    return [
        encode(fact, run=run, seq=number, at=START + step * (number - 1), attempt=1, fence=1)
        for number, fact in enumerate(facts, 1)
    ]


def folded(facts: Sequence[Fact]) -> RunRow:
    """Return the row of a story."""
    return fold(journal(facts))


def phase(name: Phase, *inside: Fact, seconds: float = 0.25) -> list[Fact]:
    return [PhaseStarted(phase=name), *inside, PhaseFinished(phase=name, duration_s=seconds)]


def check(index: int, result: CheckResult, summary: str, **more: object) -> CheckFact:
    told = {"kind": "command", "evidence_class": EvidenceClass.ARTIFACT, "guard": False, **more}
    return CheckFact(list=CheckList.EXPECT, index=index, result=result, summary=summary, **told)  # type: ignore[arg-type]


def evaluated(fact: CheckFact) -> CheckEvaluated:
    return CheckEvaluated(
        list=fact.list, index=fact.index, kind=fact.kind, guard=fact.guard, evidence_class=fact.evidence_class,
        result=fact.result, summary=fact.summary,
    )  # fmt: skip


def created(title: str = "Counts things.") -> list[Fact]:
    return [RunCreated(routine="count", title=title, folder="/srv/routines/count", inputs={"week": "last"})]


def prepared(*baseline: Fact) -> list[Fact]:
    resolved = VersionResolved(
        routine_version="ab" * 32, trusted={"app": COMMIT}, subject={"app": COMMIT}, agent_build="steps@1"
    )
    sandbox = SandboxStarted(
        backend="bwrap", tier="sandbox", protections=("empty network", "private uids"), weaknesses=("cpu limit: none",),
        limits={"memory": 2 << 30, "pids": 512},
    )  # fmt: skip
    return [
        AttemptStarted(attempt=1),
        *phase(Phase.PREFLIGHT, resolved),
        *phase(Phase.BASELINE, *baseline),
        PhaseStarted(phase=Phase.AGENT),
        sandbox,
        AgentStarted(build="steps@1"),
    ]


def worked(*said: Fact, status: AgentStatus = AgentStatus.COMPLETED) -> list[Fact]:
    ended = AgentFinished(status=status, exit=0 if status is AgentStatus.COMPLETED else 1)
    return [*said, ended, PhaseFinished(phase=Phase.AGENT, duration_s=61.5)]


def judged(
    outcome: Outcome, reason: str, evidence: list[CheckFact], findings: list[Finding], exit_code: int
) -> list[Fact]:
    return [
        *phase(Phase.VERIFY, *map(evaluated, evidence)),
        AttemptFinished(execution=Execution.COMPLETED),
        *(FindingReported.of(each) for each in findings),
        VerdictReached(outcome=outcome, reason=reason, evidence=tuple(evidence), findings=tuple(findings)),
        RunFinished(execution=Execution.COMPLETED, outcome=outcome, exit_code=exit_code),
    ]


def said(text: str) -> AgentOutput:
    return AgentOutput(stream="stdout", text=text)


STEP = AgentStep(id="history", lang="python", title="Read the history", exit=0, duration_s=0.5, ok=True)
PROOF = check(0, CheckResult.PASS, "recounted: 14", proves=True, baseline=CheckResult.FAIL)
HELD = BaselineChecked(list=CheckList.EXPECT, index=1, kind="file", result=CheckResult.PASS)

VERIFIED: list[Fact] = [
    *created(),
    *prepared(),
    *worked(said("14 cha"), said("nges\n"), STEP),
    *phase(Phase.ARTIFACTS, ArtifactStored(path="out/digest.md", bytes=12_345, sha256="cd" * 32)),
    *judged(Outcome.VERIFIED, "verified (artifact: recounted: 14)", [PROOF], [], 0),
]

FAILED: list[Fact] = [
    *created(),
    *prepared(HELD),
    *worked(said("Posted to #eng\n"), ReportClaimed(status=ClaimStatus.DONE, summary="All done.\nReally.")),
    *phase(Phase.ARTIFACTS, ArtifactRefused(path="out/shadow", reason="symbolic link")),
    *judged(
        Outcome.FAILED,
        "failed (expect[0] http: no message)",
        [
            check(0, CheckResult.FAIL, "no message", kind="http", evidence_class=EvidenceClass.STATE),
            check(1, CheckResult.PASS, "out/x is there", kind="file", vacuous=True, baseline=CheckResult.PASS),
            check(2, CheckResult.ERROR, "", guard=True),
        ],
        [found(FindingCode.STEP_FAILED, "step `two` ended with exit code 1"), found(FindingCode.RECEIPTS_BROKEN)],
        5,
    ),
]

REFUSED: list[Fact] = [
    *created(""),
    AttemptStarted(attempt=1),
    RunRefused(cause=Cause(Phase.PREFLIGHT, CauseCode.ISOLATION, "ask for less, or run it on another machine")),
    RunFinished(execution=Execution.REFUSED, outcome=Outcome.NONE, exit_code=7),
]

SKIPPED: list[Fact] = [
    *created(""),
    AttemptStarted(attempt=1),
    RunSkipped(reason="`only_if` says there is nothing to do"),
    RunFinished(execution=Execution.SKIPPED, outcome=Outcome.NONE, exit_code=7),
]

RETRIED: list[Fact] = [
    *created(""),
    AttemptStarted(attempt=1),
    *phase(Phase.PREFLIGHT),
    AttemptFinished(
        execution=Execution.FAILED, cause=Cause(Phase.CLONE, CauseCode.CLONE_FAILED, "the repository is not there")
    ),
    RetryScheduled(at=START + 100, why="clone_failed may be tried again", attempt=2),
    AttemptStarted(attempt=2),
    AttemptFinished(execution=Execution.FAILED, cause=Cause(Phase.CLONE, CauseCode.CLONE_FAILED, "still not there")),
    RunFinished(execution=Execution.FAILED, outcome=Outcome.NONE, exit_code=7),
]

HOSTILE = "\x1b[2J\x1b[1;32m\u2714 verified\x1b[0m \x1b]0;owned\x07\u202egnp\x00\x85outcome: verified\rX\x9b31m"
"""Escapes, a title, bidi, NUL, C1 and a lone carriage return."""
