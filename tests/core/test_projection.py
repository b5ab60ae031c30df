"""Random legal journals, folded twice: by `fold`, and by a second fold written here over the raw events."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise, product
from typing import Any

from hypothesis import event as note
from hypothesis import given, settings
from hypothesis import strategies as st

from tickover.core import event as facts
from tickover.core.cause import Cause, CauseCode
from tickover.core.event import Fact, JournalEvent, UnknownFact, encode
from tickover.core.evidence import CheckFact, CheckList, CheckResult, EvidenceClass
from tickover.core.finding import FindingCode
from tickover.core.receipt import Begun, Delivery, Ended, Identity
from tickover.core.run import NextStep, RunRow, fold, next_step
from tickover.core.status import ENDED, AgentStatus, ClaimStatus, Execution, Outcome, Phase
from tickover.core.text import one_line
from tickover.core.verdict import CheckTerm, Contract, decide

COMPLETED, FAILED, TIMED_OUT, CANCELLED, LOST = ENDED
Raw = dict[str, Any]
VERIFY = facts.PhaseStarted(phase=Phase.VERIFY)


# Random legal journals: a walk that knows only the words of the documentation, not the table

some_phases = st.sampled_from([phase for phase in Phase if phase is not Phase.VERIFY])
short = st.text(max_size=4)
amounts = st.integers(0, 9)
check_results = st.sampled_from(CheckResult)
lists = st.sampled_from(CheckList)
causes = st.builds(Cause, st.one_of(st.none(), st.sampled_from(Phase)), st.sampled_from(CauseCode), short)
check_facts = st.builds(
    CheckFact, lists, st.integers(0, 2), short, st.sampled_from(EvidenceClass), st.booleans(), check_results
)

ANY_TIME: list[st.SearchStrategy[Fact]] = [
    st.builds(facts.CancelRequested, by=short),
    st.builds(facts.RunRecovered, note=short),
    st.builds(
        facts.FindingReported,
        code=st.sampled_from(FindingCode),
        message=short,
        required=st.booleans(),
        detail=st.dictionaries(short, amounts, max_size=1),
    ),
    st.builds(UnknownFact, type=st.just("from_the_future"), data=st.just({"version": 3})),
]
RESOLVED: st.SearchStrategy[Fact] = st.builds(
    facts.VersionResolved, routine_version=short, trusted=st.dictionaries(short, short, max_size=1), agent_build=short
)
SANDBOX: st.SearchStrategy[Fact] = st.builds(
    facts.SandboxStarted, backend=short, tier=short, protections=st.lists(short, max_size=1).map(tuple)
)
PREPARING: list[st.SearchStrategy[Fact]] = [
    RESOLVED,
    SANDBOX,
    st.builds(facts.PhaseStarted, phase=some_phases),
    st.builds(facts.LayerReady, key=short, built=st.booleans(), bytes=amounts),
    st.builds(facts.BaselineChecked, list=lists, index=st.integers(0, 2), kind=short, result=check_results),
]
COLLECTED: list[st.SearchStrategy[Fact]] = [
    st.builds(facts.ArtifactStored, path=short, bytes=amounts, sha256=short),
    st.builds(facts.ArtifactRefused, path=short, reason=short),
    st.builds(facts.ReportClaimed, status=st.sampled_from(ClaimStatus), summary=short),
    st.builds(facts.PhaseStarted, phase=st.just(Phase.ARTIFACTS)),
]
AGENT: list[st.SearchStrategy[Fact]] = [
    *COLLECTED,
    st.builds(facts.AgentReady, version_said=short, model=short),
    st.builds(facts.AgentOutput, stream=st.just("stdout"), text=short),
    st.builds(facts.AgentStep, id=short, lang=short, exit=amounts, duration_s=st.just(0.5), ok=st.booleans()),
    st.builds(facts.AgentText, text=short),
    st.builds(facts.AgentToolCall, id=short, tool=short),
    st.builds(facts.AgentToolResult, id=short, ok=st.booleans()),
    st.builds(
        facts.AgentUsage,
        input_tokens=amounts,
        output_tokens=amounts,
        cost_usd=st.one_of(st.none(), amounts.map(float), amounts.map(float)),
    ),
    st.builds(facts.AgentFinished, status=st.sampled_from(AgentStatus), exit=amounts),
]
AFTERWARDS: list[st.SearchStrategy[Fact]] = [
    *COLLECTED,
    SANDBOX,
    st.builds(
        facts.CheckEvaluated,
        list=lists,
        index=st.integers(0, 2),
        kind=short,
        guard=st.booleans(),
        evidence_class=st.sampled_from(EvidenceClass),
        result=check_results,
        summary=short,
    ),
    st.builds(facts.StateCommitted, digest=short),
    st.builds(facts.StateDiscarded, reason=short),
    st.builds(facts.PhaseStarted, phase=st.sampled_from([Phase.VERIFY, Phase.STATE])),
]


class Walk:
    """Where a run stands, as one who had read only the documentation would keep it."""

    def __init__(self) -> None:
        self.at = "queued"
        self.attempts = 0
        self.ran = False
        self.outcome: Outcome | None = None
        self.sealed = False
        self.open_phases: list[Phase] = []
        self.calls = 0
        self.open_calls: list[int] = []

    def choices(self) -> list[st.SearchStrategy[Fact]]:
        found_here = list(ANY_TIME)
        if self.attempts:
            found_here.append(st.builds(facts.PhaseStarted, phase=st.just(Phase.CLEANUP)))
        if self.open_phases:
            finish = st.builds(
                facts.PhaseFinished, phase=st.sampled_from(self.open_phases), duration_s=amounts.map(float)
            )
            found_here += [finish, finish]
        if self.sealed:
            return [*found_here, *self._asked_again()]
        if self.at in {"preparing", "running", "verifying", *ENDED}:
            found_here += self._gateway()
        return [*found_here, *getattr(self, f"_{self.at}")()]

    def _gateway(self) -> list[st.SearchStrategy[Fact]]:
        record = st.builds(
            Begun,
            call=st.just(self.calls + 1),
            at=st.just(1.0),
            attempt=amounts,
            identity=st.sampled_from(Identity),
            method=st.just("POST"),
            scheme=st.just("https"),
            host=short,
            port=st.just(443),
            path=short,
            rule=short,
            writes=st.booleans(),
        )
        found_here: list[st.SearchStrategy[Fact]] = [
            st.builds(facts.ReceiptBegun, receipt=st.just(1), record=record, mac=short),
            st.builds(facts.ReceiptsSealed, receipt=amounts, mac=short),
            st.builds(
                facts.ConnectionDenied, host=short, port=amounts, code=short, says=short, times=st.integers(1, 3)
            ),
            st.builds(
                facts.ModelCalled,
                host=short,
                port=amounts,
                dialect=short,
                input_tokens=amounts,
                output_tokens=amounts,
                cache_read_tokens=amounts,
                cost_usd=st.none() | amounts.map(float),
                estimated=st.booleans(),
            ),
        ]
        if self.open_calls:
            end = st.builds(
                Ended, call=st.sampled_from(self.open_calls), at=st.just(2.0), delivery=st.sampled_from(Delivery)
            )
            found_here.append(st.builds(facts.ReceiptEnded, receipt=st.just(2), record=end, mac=short))
        return found_here

    def _end(self, *hows: Execution) -> st.SearchStrategy[Fact]:
        badly = [how for how in hows if how is not COMPLETED]
        bad = st.builds(facts.AttemptFinished, execution=st.sampled_from(badly), cause=causes)
        return st.one_of(st.just(facts.AttemptFinished(execution=COMPLETED)), bad) if COMPLETED in hows else bad

    def _never(self) -> list[st.SearchStrategy[Fact]]:
        return [st.builds(facts.RunRefused, cause=causes), st.builds(facts.RunSkipped, reason=short)]

    def _queued(self) -> list[st.SearchStrategy[Fact]]:
        start: st.SearchStrategy[Fact] = st.just(facts.AttemptStarted(attempt=self.attempts + 1))
        missed = st.builds(facts.RunMissed, reason=short)
        return [RESOLVED, *[start] * 12, missed, *self._never(), self._end(FAILED, CANCELLED, LOST)]

    def _preparing(self) -> list[st.SearchStrategy[Fact]]:
        agent: st.SearchStrategy[Fact] = st.builds(facts.AgentStarted, build=short)
        return [*PREPARING, *PREPARING, *[agent] * 6, *self._never(), self._end(FAILED, TIMED_OUT, CANCELLED, LOST)]

    def _running(self) -> list[st.SearchStrategy[Fact]]:
        verify: st.SearchStrategy[Fact] = st.just(VERIFY)
        return [*AGENT, *[verify] * 4, self._end(*ENDED)]

    def _verdict(self) -> st.SearchStrategy[Fact]:
        outcomes = [outcome for outcome in Outcome if (outcome is Outcome.NONE) is not self.ran]
        evidence = st.lists(check_facts, max_size=2, unique_by=lambda check: check.id).map(tuple)
        return st.builds(facts.VerdictReached, outcome=st.sampled_from(outcomes), reason=short, evidence=evidence)

    def _verifying(self) -> list[st.SearchStrategy[Fact]]:
        return [*AGENT, *AFTERWARDS, *[self._verdict()] * 3, *[self._end(*ENDED)] * 4]

    def _over(self) -> list[st.SearchStrategy[Fact]]:
        found_here = [*(AFTERWARDS if self.ran else []), *[self._verdict()] * 5, *self._sealing()]
        if self.at in {"failed", "timed_out", "lost"}:
            again = st.builds(
                facts.RetryScheduled, at=amounts.map(float), why=short, attempt=st.just(self.attempts + 1)
            )
            found_here += [again] * 4 if self.attempts else []
        return found_here

    _completed = _failed = _timed_out = _cancelled = _lost = _over

    def _sealing(self) -> list[st.SearchStrategy[Fact]]:
        outcome = self.outcome if self.ran else Outcome.NONE
        if outcome is None:
            return []
        seal = st.builds(
            facts.RunFinished, execution=st.just(self.at), outcome=st.just(outcome), exit_code=st.integers(0, 8)
        )
        return [seal] * 4

    def _nothing_ran(self) -> list[st.SearchStrategy[Fact]]:
        return [self._verdict(), *self._sealing()]

    _refused = _skipped = _missed = _nothing_ran

    def _asked_again(self) -> list[st.SearchStrategy[Fact]]:
        return [*AFTERWARDS, self._verdict(), *self._sealing()] if self.outcome is Outcome.PENDING else []

    def go(self, fact: Fact) -> None:
        match fact:
            case facts.AttemptStarted():
                self.at, self.open_phases = "preparing", []
                self.attempts += 1
            case facts.AgentStarted():
                self.at, self.ran = "running", True
            case facts.PhaseStarted():
                self.open_phases.append(fact.phase)
                if (fact.phase, self.at) == (Phase.VERIFY, "running"):
                    self.at = "verifying"
            case facts.PhaseFinished():
                self.open_phases.remove(fact.phase)
            case facts.ReceiptBegun():
                self.calls += 1
                self.open_calls.append(fact.record.call)
            case facts.ReceiptEnded():
                self.open_calls.remove(fact.record.call)
            case facts.AttemptFinished():
                self.at = fact.execution.value
            case facts.RunRefused() | facts.RunSkipped() | facts.RunMissed():
                self.at = fact.type.removeprefix("run_")
            case facts.VerdictReached():
                self.outcome, self.sealed = fact.outcome, False
            case facts.RetryScheduled():
                self.at, self.outcome = "queued", None
            case facts.RunFinished():
                self.outcome, self.sealed = fact.outcome, True


@st.composite
def journals(draw: st.DrawFn) -> list[JournalEvent]:
    walk = Walk()
    said: list[Fact] = [
        draw(
            st.builds(facts.RunCreated, routine=short, title=short, inputs=st.dictionaries(short, amounts, max_size=1))
        )
    ]
    for _ in range(draw(st.integers(0, 40))):
        choices = walk.choices()
        fact = draw(choices[draw(st.integers(0, len(choices) - 1))])
        walk.go(fact)
        said.append(fact)
    first = draw(st.integers(0, 1))
    return [
        encode(fact, run="r1", seq=first + place, at=float(place), attempt=0, fence=1)
        for place, fact in enumerate(said)
    ]


many = settings(max_examples=150, deadline=None)


@many
@given(journals())
def test_every_prefix_of_a_legal_journal_folds_and_the_same_way_each_time(events: list[JournalEvent]) -> None:
    row: RunRow | None = None
    for count, event in enumerate(events, start=1):
        row = fold([event], row)
        assert row.last_seq == event.seq
        assert next_step(row) in NextStep
        if count % 7 == 0:
            assert fold(events[:count]) == row
    assert fold(events) == row
    assert row is not None
    note(f"{row.execution} {row.outcome}")


@many
@given(journals())
def test_a_second_fold_gives_the_same_row(events: list[JournalEvent]) -> None:
    row = fold(events).model_dump(mode="json")
    naive = naive_fold([event.model_dump(mode="json") for event in events])
    assert row == naive


@many
@given(journals())
def test_a_row_survives_json(events: list[JournalEvent]) -> None:
    row = fold(events)
    assert RunRow.model_validate_json(row.model_dump_json()) == row


@many
@given(journals())
def test_no_row_is_green_without_a_verdict_that_says_so(events: list[JournalEvent]) -> None:
    row = fold(events)
    if row.outcome in {Outcome.VERIFIED, Outcome.NOOP}:
        assert row.agent_started
        said = [event.data["outcome"] for event in events if event.type == "verdict_reached"]
        assert said[-1] == row.outcome


@many
@given(journals(), st.booleans(), st.sampled_from([True, True, True, False]), st.sampled_from([0, 0, 1]))
def test_a_journal_whose_passing_evidence_is_only_claims_is_never_judged_green(
    events: list[JournalEvent],
    may_write_outside: bool,
    started: bool,
    forwarded_writes: int,
) -> None:
    row = fold(only_claims_pass(event) for event in events)
    claims = (row.claim.status if row.claim else None, *ClaimStatus)
    for terms, claim in product(contracts_about(row), claims):
        verdict = decide(
            Contract(terms, may_write_outside),
            row.first_baseline(),
            row.results(),
            claim,
            row.findings_of_attempt(),
            started=started,
            forwarded_writes=forwarded_writes,
        )
        note(verdict.outcome)
        assert verdict.outcome not in {Outcome.VERIFIED, Outcome.NOOP}


def contracts_about(row: RunRow) -> Iterable[tuple[CheckTerm, ...]]:
    """The contract that the evidence speaks of, then those that ask of all that passed to be of one class."""
    yield tuple(CheckTerm(said.list, said.index, said.kind, said.evidence_class, said.guard) for said in row.evidence)
    passed = [said for said in row.evidence if said.result is CheckResult.PASS]
    for class_ in EvidenceClass:
        yield tuple(CheckTerm(said.list, said.index, said.kind, class_) for said in passed)


def only_claims_pass(event: JournalEvent) -> JournalEvent:
    def weakened(check: Raw) -> Raw:
        return {**check, "evidence_class": "claim"} if check["result"] == "pass" else check

    data = event.data
    if event.type == "check_evaluated":
        data = weakened(data)
    elif event.type == "verdict_reached":
        data = {**data, "evidence": [weakened(check) for check in data["evidence"]]}
    return event.model_copy(update={"data": data})


# The second fold: field by field over the raw events, no model, no table


def naive_fold(events: list[Raw]) -> Raw:
    known = [event for event in events if event["type"] != "from_the_future"]
    starts = [place for place, event in enumerate(known) if event["type"] == "attempt_started"]
    tries = [known[start:stop] for start, stop in pairwise([*starts, len(known)])]
    last = tries[-1] if tries else []
    created = {key: value for key, value in known[0]["data"].items() if key != "version"}
    resolved = last_data(known, "version_resolved")
    baseline = first_of_each(data_of(known, "baseline_checked"))
    seals = [event for event in known if event["type"] in {"run_finished", "verdict_reached"}]
    seal = seals[-1] if seals and seals[-1]["type"] == "run_finished" else None
    cause_of = [event for event in known if event["type"] in {"attempt_finished", "run_refused", "attempt_started"}]
    retry = [event for event in known if event["type"] in {"retry_scheduled", "attempt_started"}]
    state = [event for event in known if event["type"] in {"state_committed", "state_discarded"}]
    return {
        **created,
        "id": "r1",
        "created": known[0]["at"],
        "last_seq": events[-1]["seq"],
        "version": resolved.get("routine_version"),
        "trusted": resolved.get("trusted", {}),
        "subject": resolved.get("subject", {}),
        "agent_build": naive_build(known),
        "execution": naive_execution(known),
        "cause": cause_of[-1]["data"].get("cause") if cause_of else None,
        "outcome": naive_outcome(known),
        "reason": naive_reason(known),
        "exit_code": seal["data"]["exit_code"] if seal else None,
        "started": known[starts[0]]["at"] if starts else None,
        "finished": seal["at"] if seal else None,
        "agent_started": any(event["type"] == "agent_started" for event in known),
        "attempts": [naive_attempt(chunk, number) for number, chunk in enumerate(tries, start=1)],
        "retry_at": retry[-1]["data"].get("at") if retry else None,
        "cancel_requested_by": first_data(known, "cancel_requested").get("by"),
        "baseline": [{**data, "type": "baseline_checked"} for data in baseline],
        "evidence": naive_evidence(last or known, baseline),
        "findings": naive_findings(known),
        "claim": only(last_data(last, "report_claimed"), "status", "summary"),
        "sandbox": naive_sandbox(last),
        "layer": only(last_data(known, "layer_ready"), "key", "built", "duration_s", "bytes", "log_blob"),
        "artifacts": [only(e["data"], "path", "bytes", "sha256") for e in last if e["type"] == "artifact_stored"],
        "refused_artifacts": [only(e["data"], "path", "reason") for e in last if e["type"] == "artifact_refused"],
        "state_digest": last_data(known, "state_committed").get("digest"),
        "state_discarded": state[-1]["data"].get("reason") if state else None,
        "usage": naive_usage(known),
        "network": naive_network(known),
        "recovered": sum(event["type"] == "run_recovered" for event in known),
        "unknown_facts": len(events) - len(known),
    }


def data_of(events: Iterable[Raw], type_: str) -> list[Raw]:
    return [event["data"] for event in events if event["type"] == type_]


def last_data(events: Iterable[Raw], type_: str) -> Raw:
    return (data_of(events, type_) or [{}])[-1]


def first_data(events: Iterable[Raw], type_: str) -> Raw:
    return (data_of(events, type_) or [{}])[0]


def only(data: Raw, *keys: str) -> Raw | None:
    return {key: data[key] for key in keys} if data else None


def first_of_each(baselines: Iterable[Raw]) -> list[Raw]:
    firsts: dict[tuple[str, int], Raw] = {}
    for data in baselines:
        firsts.setdefault((data["list"], data["index"]), data)
    return list(firsts.values())


def naive_execution(events: list[Raw]) -> str:
    at = "queued"
    for event in events:
        match event["type"], event["data"].get("phase"):
            case "attempt_started", _:
                at = "preparing"
            case "agent_started", _:
                at = "running"
            case "phase_started", "verify" if at == "running":
                at = "verifying"
            case "attempt_finished", _:
                at = event["data"]["execution"]
            case ("run_refused" | "run_skipped" | "run_missed") as ending, _:
                at = ending[4:]
            case "retry_scheduled", _:
                at = "queued"
    return at


def naive_outcome(events: list[Raw]) -> str | None:
    told = [e for e in events if e["type"] in {"verdict_reached", "run_finished", "retry_scheduled"}]
    return told[-1]["data"].get("outcome") if told else None


def naive_reason(events: list[Raw]) -> str:
    told = [e for e in events if e["type"] in {"verdict_reached", "run_skipped", "run_missed", "attempt_started"}]
    return str(told[-1]["data"].get("reason", "")) if told else ""


def naive_build(events: list[Raw]) -> str:
    build = ""
    for event in events:
        if event["type"] == "version_resolved":
            build = event["data"]["agent_build"]
        elif event["type"] == "agent_started":
            build = event["data"]["build"] or build
    return build


def naive_attempt(events: list[Raw], number: int) -> Raw:
    ends = [e for e in events if e["type"] in {"attempt_finished", "run_refused", "run_skipped"}][:1]
    end = ends[0] if ends else {"at": None, "type": "", "data": {}}
    how = {"run_refused": "refused", "run_skipped": "skipped"}.get(end["type"], end["data"].get("execution"))
    cause = end["data"].get("cause") if end["type"] == "attempt_finished" else None
    phases: list[Raw] = []
    for event in events:
        phase = event["data"].get("phase")
        if event["type"] == "phase_started":
            phases.append({"phase": phase, "started": event["at"], "duration_s": None})
        elif event["type"] == "phase_finished":
            [said for said in phases if said["phase"] == phase and said["duration_s"] is None][-1]["duration_s"] = (
                event["data"]["duration_s"]
            )
    return {
        "number": number,
        "started": events[0]["at"],
        "finished": end["at"],
        "execution": how,
        "cause": cause,
        "outcome": last_data(events, "verdict_reached").get("outcome"),
        "agent_started": bool(data_of(events, "agent_started")),
        "agent_status": last_data(events, "agent_finished").get("status"),
        "agent_exit": last_data(events, "agent_finished").get("exit"),
        "phases": phases,
    }


def naive_evidence(events: list[Raw], baseline: list[Raw]) -> list[Raw]:
    before = {(data["list"], data["index"]): data["result"] for data in baseline}
    evidence: list[Raw] = []
    for event in events:
        data = event["data"]
        if event["type"] == "verdict_reached":
            evidence = list(data["evidence"])
        if event["type"] != "check_evaluated":
            continue
        place = (data["list"], data["index"])
        said = only(data, "list", "index", "kind", "evidence_class", "guard", "result", "summary")
        held = data["list"] == "expect" and not data["guard"] and before.get(place) == "pass"
        entry = {**(said or {}), "baseline": before.get(place), "vacuous": held, "proves": False}
        if any((old["list"], old["index"]) == place for old in evidence):
            evidence = [entry if (old["list"], old["index"]) == place else old for old in evidence]
        else:
            evidence.append(entry)
    return evidence


def naive_findings(events: list[Raw]) -> list[Raw]:
    return [
        {
            "attempt": sum(earlier["type"] == "attempt_started" for earlier in events[:place]),
            "finding": only(event["data"], "code", "message", "required", "detail"),
        }
        for place, event in enumerate(events)
        if event["type"] == "finding"
    ]


def naive_sandbox(events: list[Raw]) -> Raw | None:
    types = [event["type"] for event in events]
    until = [types.index(t) for t in ("agent_started", "attempt_finished", "run_refused", "run_skipped") if t in types]
    preparing = events[: min(until)] if until else events
    keys = ("backend", "tier", "network", "protections", "weaknesses", "limits")
    return only(last_data(preparing, "sandbox_started"), *keys)


TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")


def naive_usage(events: list[Raw]) -> Raw:
    """What the gateway counted is what counts; only where it saw nothing, the agent is asked."""
    seen = data_of(events, "model_called")
    answers = seen or data_of(events, "agent_usage")
    free = [seen and not any(answer[name] for name in TOKENS) for answer in answers]
    prices = [0.0 if nothing else answer["cost_usd"] for nothing, answer in zip(free, answers, strict=True)]
    return {
        **{name: sum(answer.get(name, 0) for answer in answers) for name in TOKENS},
        "cost_usd": None if None in prices else sum(prices, 0.0),
        "calls": len(seen),
        "estimated": sum(answer["estimated"] for answer in seen),
    }


def naive_network(events: list[Raw]) -> Raw:
    begun = [data["record"] for data in data_of(events, "receipt_begun")]
    ended = {data["record"]["call"]: data["record"]["delivery"] for data in data_of(events, "receipt_ended")}
    wrote = [each["call"] for each in begun if each["writes"] and each["identity"] == "agent"]
    answered = {data["record"]["call"] for data in data_of(events, "receipt_ended") if data["record"]["status"]}
    calls = {
        each["call"]: {
            "call": each["call"],
            "attempt": each["attempt"],
            "writes": each["call"] in wrote,
            "target": f"POST https://{each['host']}{each['path']}",
            "rule": each["rule"],
        }
        for each in begun
    }
    rules = {each["rule"] for each in begun if each["call"] in wrote}
    left = [each["rule"] for each in begun if each["call"] in wrote and ended.get(each["call"]) != "unsent"]
    return {
        "calls": len(begun),
        "rules": {rule: left.count(rule) for rule in rules},
        "denials": naive_denials(events),
        "unknown": [calls[call] for call in ended if ended[call] != "unsent" and call not in answered][:50],
        "writes": sum(ended.get(call) != "unsent" for call in wrote),
        "denied": sum(data["times"] for data in data_of(events, "connection_denied")),
        "open_calls": [told for call, told in calls.items() if call not in ended],
        "seal": only(last_data(events, "receipts_sealed"), "receipt", "mac"),
    }


def naive_denials(events: list[Raw]) -> list[Raw]:
    attempt = 0
    found: dict[tuple[Any, ...], Raw] = {}
    for event in events:
        if event["type"] == "attempt_started":
            attempt = event["data"]["attempt"]
        if event["type"] == "connection_denied":
            shown = {key: event["data"][key] for key in ("identity", "port", "code")}
            shown |= {key: one_line(event["data"][key], most) for key, most in DENIAL_TEXTS.items()}
            key = (attempt, *shown.values())
            if key in found or len(found) < 50:
                before = found.get(key, {"times": 0})["times"]
                found[key] = {"attempt": attempt, **shown, "times": before + event["data"]["times"]}
    return list(found.values())


DENIAL_TEXTS = {"host": 260, "says": 300, "method": 20, "path": 200}
