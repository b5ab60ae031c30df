"""A run as it happens: each fact of the journal becomes what people should see of it, and not more."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import singledispatchmethod
from typing import Final

from tickover.cli.blocks import Block, Cell, Ink, Line, Quote
from tickover.cli.output import Screen, json_text
from tickover.cli.show import account_text, cause_lines, check_table, finding_table, headline, process
from tickover.cli.words import size, span
from tickover.core.cause import Cause
from tickover.core.event import (
    AccountSeen,
    AgentFinished,
    AgentOutput,
    AgentReady,
    AgentStarted,
    AgentStep,
    AgentText,
    AgentToolCall,
    AgentToolResult,
    AttemptFinished,
    AttemptStarted,
    BaselineChecked,
    CancelRequested,
    CheckEvaluated,
    Fact,
    FindingReported,
    JournalEvent,
    LayerReady,
    PhaseFinished,
    PhaseStarted,
    ReportClaimed,
    RetryScheduled,
    RunCreated,
    RunFinished,
    RunRecovered,
    RunRefused,
    RunSkipped,
    SandboxStarted,
    StateDiscarded,
    StopGateJudged,
    VerdictReached,
    VersionResolved,
    decode,
)
from tickover.core.evidence import CheckResult
from tickover.core.finding import Finding
from tickover.core.status import AgentStatus, Phase

DOING: Final = {
    Phase.PREFLIGHT: "looking whether all is there",
    Phase.LAYER: "preparing the environment",
    Phase.CLONE: "fetching repositories",
    Phase.SANDBOX: "starting the sandbox",
    Phase.BASELINE: "asking every check before the agent begins",
    Phase.AGENT: "the agent works",
    Phase.VERIFY: "asking every check",
    Phase.ARTIFACTS: "taking artifacts out",
    Phase.STATE: "keeping state",
    Phase.CLEANUP: "cleaning up",
}
_NO_HOST: Final = re.compile(  # curl, glibc, musl and Node, of a name that nobody resolves
    r"Could not resolve host|Name or service not known|Temporary failure in name resolution|ENOTFOUND|EAI_AGAIN"
)
_LONG_LINE: Final = 8192  # characters after which an unfinished line of output is shown


class Transcript:
    """Shows a run's events on a screen, in order. `blob` gives the body of output that is too long for the journal.

    `live`: the run is going on, so what it does now is said, too. `began`: when it did, for one whose first events
    are not shown.
    """

    def __init__(self, screen: Screen, blob: Callable[[str], bytes], *, live: bool = True, began: float = 0.0) -> None:
        self._screen = screen
        self._live = live
        self._blob = blob
        self._began = began
        self._cut_off = False
        self._missed_a_host = False
        self._attempts = 0
        self._cause: Cause | None = None
        self._reason = ""
        self._findings: list[Finding] = []
        self._unfinished = {"stdout": "", "stderr": ""}

    def event(self, event: JournalEvent) -> None:
        """Show one event; they come in the order of their numbers."""
        fact = decode(event)
        if not isinstance(fact, AgentOutput):
            self._end_line()
        self._fact(fact, event)

    @singledispatchmethod
    def _fact(self, fact: Fact, event: JournalEvent) -> None:
        """Show a fact. One without a method of its own is for `runs show`."""
        del fact, event

    @_fact.register
    def _(self, fact: RunCreated, event: JournalEvent) -> None:
        self._began = event.at
        self._show(Line(Ink(fact.routine, "bold"), "  ", Ink(f"run {event.run}", "dim")))
        if fact.title:
            self._row(Ink(fact.title, "dim"))

    @_fact.register
    def _(self, fact: VersionResolved, event: JournalEvent) -> None:
        del event
        commits = "".join(f"  {name}@{commit[:12]}" for name, commit in fact.subject.items())
        self._show(Line(Ink(f"version {fact.routine_version[:12]}{commits}", "dim")))

    @_fact.register
    def _(self, fact: AttemptStarted, event: JournalEvent) -> None:
        del event
        self._attempts = fact.attempt
        self._cause = None
        self._findings = []
        if fact.attempt > 1:
            self._show(Line(""), Line(Ink(f"attempt {fact.attempt}", "bold")))

    @_fact.register
    def _(self, fact: PhaseStarted, event: JournalEvent) -> None:
        del event
        self._busy(f"{fact.phase}: {DOING[fact.phase]}")

    @_fact.register
    def _(self, fact: PhaseFinished, event: JournalEvent) -> None:
        del event
        self._row(Ink(fact.phase.value.ljust(9), "dim"), "  ", Ink(span(fact.duration_s), "dim"))

    @_fact.register
    def _(self, fact: SandboxStarted, event: JournalEvent) -> None:
        del event
        self._cut_off = fact.network == "none"
        self._missed_a_host = False
        words = f"{fact.backend} (tier {fact.tier}), network {fact.network}"
        if fact.weaknesses:
            words += f"; not protected: {', '.join(fact.weaknesses)}"
        self._row(Ink(f"sandbox    {words}", "dim"))

    @_fact.register
    def _(self, fact: LayerReady, event: JournalEvent) -> None:
        del event
        made = f"built in {span(fact.duration_s)}" if fact.built else "from the cache"
        self._row(Ink(f"layer      {fact.key[:12]} {made}, {size(fact.bytes)}", "dim"))

    @_fact.register
    def _(self, fact: BaselineChecked, event: JournalEvent) -> None:
        del event
        if fact.result is CheckResult.PASS:
            words = f"{fact.list}[{fact.index}] {fact.kind} already holds, before the agent begins"
            self._row(Ink(f"baseline   {words}", "dim"))

    @_fact.register
    def _(self, fact: AgentStarted, event: JournalEvent) -> None:
        del event
        self._row(Ink(f"agent      {fact.build or 'started'}", "dim"))

    @_fact.register
    def _(self, fact: AgentReady, event: JournalEvent) -> None:
        del event
        connectors = ", ".join(f"{name} {state}" for name, state in fact.connectors.items())
        words = " ".join(filter(None, (fact.version_said, fact.model, connectors)))
        self._row(Ink(f"ready      {words}", "dim"))

    @_fact.register
    def _(self, fact: AccountSeen, event: JournalEvent) -> None:
        del event
        self._row("acts as  ", Ink(account_text(fact), "warn" if fact.problem else "dim"))

    @_fact.register
    def _(self, fact: AgentOutput, event: JournalEvent) -> None:
        del event
        text = fact.text
        if text is None:
            text = self._blob(str(fact.blob)).decode("utf-8", "replace")
        if self._cut_off and not self._missed_a_host:
            self._missed_a_host = _NO_HOST.search(text) is not None
        *lines, rest = (self._unfinished[fact.stream] + text).split("\n")
        self._unfinished[fact.stream] = rest
        if lines:
            self._show(Quote("\n".join(lines)))
        if len(rest) > _LONG_LINE:
            self._end_line()
        if fact.truncated:
            self._end_line()
            self._row(Ink("! more was written than is kept", "warn"))

    @_fact.register
    def _(self, fact: AgentStep, event: JournalEvent) -> None:
        del event
        how = "ok" if fact.ok else "killed" if fact.exit is None else f"exit {fact.exit}"
        title = f"  {fact.title}" if fact.title else ""
        self._row(f"step {fact.id}", Ink(f"  {fact.lang}  {how}  {span(fact.duration_s)}{title}", "dim"))

    @_fact.register
    def _(self, fact: AgentText, event: JournalEvent) -> None:
        del event
        self._show(Quote(fact.text))

    @_fact.register
    def _(self, fact: AgentToolCall, event: JournalEvent) -> None:
        del event
        self._row(Ink(f"tool {fact.tool} {json_text(fact.arguments)}", "dim"))

    @_fact.register
    def _(self, fact: AgentToolResult, event: JournalEvent) -> None:
        del event
        self._row(Ink(f"tool answered {'ok' if fact.ok else 'failed'}", "dim"))
        if fact.text:
            self._show(Quote(fact.text))

    @_fact.register
    def _(self, fact: AgentFinished, event: JournalEvent) -> None:
        del event
        how = f"agent {fact.status}"
        if fact.exit is not None:
            how += f", exit code {fact.exit}"
        if fact.signal is not None:
            how += f", signal {fact.signal}"
        if fact.reason and fact.status is not AgentStatus.COMPLETED:
            how += f": {fact.reason}"
        if fact.said:
            how += f" (its own word: {fact.said})"
        self._row(Ink(how, "dim"))
        if self._missed_a_host and fact.status is not AgentStatus.COMPLETED:
            self._row(
                Ink("hint       no host was open to it: list those it needs, `environment: {network: [HOST]}`", "warn")
            )

    @_fact.register
    def _(self, fact: StopGateJudged, event: JournalEvent) -> None:
        del event
        how = "it was sent back" if fact.says else "it may stop"
        self._row("the agent wanted to stop: " + (f"nobody could judge ({fact.problem})" if fact.problem else how))
        for each in fact.says:
            self._show(Quote(each))

    @_fact.register
    def _(self, fact: ReportClaimed, event: JournalEvent) -> None:
        del event
        self._row(f"the agent claims: {fact.status}", Ink(" (a claim proves nothing)", "dim"))
        if fact.summary:
            self._show(Quote(fact.summary))

    @_fact.register
    def _(self, fact: CheckEvaluated, event: JournalEvent) -> None:
        del event
        self._busy(f"{fact.list}[{fact.index}] {fact.kind}: {fact.result}")

    @_fact.register
    def _(self, fact: FindingReported, event: JournalEvent) -> None:
        del event
        self._findings.append(Finding(fact.code, fact.message, required=fact.required, detail=fact.detail))

    @_fact.register
    def _(self, fact: StateDiscarded, event: JournalEvent) -> None:
        del event
        self._row(Ink(f"state      not kept: {fact.reason}", "dim"))

    @_fact.register
    def _(self, fact: AttemptFinished, event: JournalEvent) -> None:
        del event
        self._cause = fact.cause

    @_fact.register
    def _(self, fact: VerdictReached, event: JournalEvent) -> None:
        del event
        self._reason = fact.reason
        self._under("checks", check_table(fact.evidence))

    @_fact.register
    def _(self, fact: RetryScheduled, event: JournalEvent) -> None:
        wait = max(0.0, fact.at - event.at)
        self._findings_shown()
        if self._cause is not None:
            self._row(f"attempt {self._attempts} ended: {cause_lines(self._cause)[0]}")
        self._row(f"attempt {fact.attempt} starts in {span(wait)}: {fact.why}")
        self._busy(f"waiting for attempt {fact.attempt}, {_clock(fact.at)}")

    @_fact.register
    def _(self, fact: CancelRequested, event: JournalEvent) -> None:
        del event
        self._row(f"cancelled by {fact.by}")

    @_fact.register
    def _(self, fact: RunRefused, event: JournalEvent) -> None:
        del event
        self._cause = fact.cause

    @_fact.register
    def _(self, fact: RunSkipped, event: JournalEvent) -> None:
        del event
        self._reason = fact.reason

    @_fact.register
    def _(self, fact: RunRecovered, event: JournalEvent) -> None:
        del event
        self._row(f"recovered: {fact.note}")

    @_fact.register
    def _(self, fact: RunFinished, event: JournalEvent) -> None:
        self._findings_shown()
        took = event.at - self._began
        self._show(
            Line(""),
            *headline(fact.outcome, self._reason),
            *process(fact.execution, self._cause, took, attempts=self._attempts),
        )
        self._screen.close()

    def _findings_shown(self) -> None:
        self._under("findings", finding_table(self._findings))
        self._findings = []

    def _end_line(self) -> None:
        for stream, rest in self._unfinished.items():
            if rest:
                self._unfinished[stream] = ""
                self._show(Quote(rest))

    def _under(self, title: str, blocks: list[Block]) -> None:
        if blocks:
            self._show(Line(""), Line(Ink(title, "bold")), *blocks)

    def _busy(self, what: str) -> None:
        if self._live:
            self._screen.busy(what)

    def _row(self, *cells: Cell) -> None:
        self._show(Line(*cells, indent=2))

    def _show(self, *blocks: Block) -> None:
        self._screen.show(*blocks)


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S UTC")
