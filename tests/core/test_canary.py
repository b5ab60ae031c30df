"""What a replay at a new build comes to, told by journals."""

from __future__ import annotations

import pytest

from tickover.core import event as facts
from tickover.core.canary import CanaryNote, CanaryState, Case, CaseResult, judge, unclear, worse
from tickover.core.cause import Cause, CauseCode
from tickover.core.comparison import Comparison, compare
from tickover.core.event import Fact, encode
from tickover.core.evidence import CheckList, CheckResult, EvidenceClass
from tickover.core.finding import FindingCode, found
from tickover.core.receipt import Identity
from tickover.core.row import RunRow
from tickover.core.run import fold
from tickover.core.status import AgentStatus, Execution, Phase

PASS, FAIL, ERROR = CheckResult.PASS, CheckResult.FAIL, CheckResult.ERROR
OVERLOAD = Cause(Phase.AGENT, CauseCode.AGENT_FAILED, "exit code 3\nand what it wrote")


def check(result: CheckResult, class_: EvidenceClass = EvidenceClass.CLAIM, index: int = 0) -> Fact:
    return facts.CheckEvaluated(
        list=CheckList.EXPECT, index=index, kind="command", evidence_class=class_, result=result, summary="so it is"
    )


def finding(code: FindingCode) -> Fact:
    return facts.FindingReported.of(found(code))


def denied(code: str) -> Fact:
    return facts.ConnectionDenied(identity=Identity.AGENT, host="a.test", port=443, code=code, says="", times=1)


def run(
    name: str,
    *told: Fact,
    replay_of: str | None = None,
    execution: Execution = Execution.COMPLETED,
    cause: Cause | None = None,
    started: bool = True,
    code: int = 0,
) -> RunRow:
    judged = (facts.CheckEvaluated, facts.FindingReported)
    story: list[Fact] = [
        facts.RunCreated(routine="r", replay_of=replay_of),
        facts.AttemptStarted(attempt=1),
        facts.VersionResolved(routine_version="v", trusted={}, subject={}, agent_build=f"a@{name}"),
    ]
    if started:
        story += [facts.AgentStarted(), *(each for each in told if not isinstance(each, judged))]
        story += [facts.AgentFinished(status=AgentStatus.COMPLETED, exit=code)]
        story += [facts.PhaseStarted(phase=Phase.VERIFY), *(each for each in told if isinstance(each, judged))]
    story += [facts.AttemptFinished(execution=execution, cause=cause)]
    return fold(encode(fact, run=name, seq=seq, at=float(seq), attempt=1, fence=1) for seq, fact in enumerate(story, 1))


def kept(calls: int = 0, left_out: int = 0) -> Fact:
    return facts.CassetteStored(digest="a" * 64, calls=calls, bytes=100, left_out=left_out)


def then(*told: Fact, left_out: int = 0) -> RunRow:
    return run("then", *(told or (check(PASS),)), kept(left_out=left_out))


def now(*told: Fact, **more: object) -> Comparison:
    return beside(then(), *(told or (check(PASS),)), **more)


def beside(before: RunRow, *told: Fact, name: str = "now", **more: object) -> Comparison:
    return compare(before, run(name, *told, replay_of="then", **more))  # type: ignore[arg-type]


def drift(kind: str, target: str, where: str = "") -> Fact:
    return facts.ReplayDrifted(kind=kind, target=target, where=where)


def test_a_replay_as_recorded_is_the_same() -> None:
    case = judge(now(), None)
    assert (case.result, case.why, case.blind) == (CaseResult.SAME, (), ())
    assert (case.run, case.replay, case.recorded_with) == ("then", "now", "a@then")


@pytest.mark.parametrize(
    "compared",
    [
        now(check(PASS), drift("differs", "POST https://model.test:443/v1/messages", "turn 1, system")),
        now(check(PASS), drift("unknown", "POST https://model.test:443/v1/messages", "turn 4")),
        now(check(PASS), drift("unknown", "GET https://a.test:443/")),
        now(check(PASS), drift("unasked", "POST https://a.test:443/post")),
        now(code=2),
    ],
    ids=["says otherwise", "another turn", "reads more", "asks less", "exit"],
)
def test_what_is_otherwise_is_no_worse(compared: Comparison) -> None:
    assert judge(compared, None).result is CaseResult.DIFFERS


@pytest.mark.parametrize(
    ("compared", "says"),
    [
        (now(check(FAIL)), "expect[0] passed and says fail: so it is"),
        (now(check(ERROR)), "expect[0] passed and says error: so it is"),
        (now(kept()), "expect[0] passed and is not there"),
        (now(check(PASS), execution=Execution.FAILED, cause=OVERLOAD), "it ended as `failed`: exit code 3"),
        (now(check(PASS), finding(FindingCode.DENIED_TOOL)), "finding denied_tool: the agent was denied a tool"),
        (
            now(check(PASS), drift("unknown", "POST https://a.test:443/post")),
            "it asks what it never asked: POST https://a.test:443/post",
        ),
        (now(started=False, execution=Execution.FAILED, cause=OVERLOAD), "the agent did not start: exit code 3"),
    ],
    ids=["fails", "error", "no result", "ended", "finding", "write", "no start"],
)
def test_what_is_worse_and_what_the_recorded_build_shows_too(compared: Comparison, says: str) -> None:
    case = judge(compared, None)
    assert case.result is CaseResult.WORSE
    assert [each for each in case.why if each.startswith(says)], case.why
    well = judge(compared, now())
    assert (well.result, well.control) == (CaseResult.WORSE, "now")
    both = judge(compared, compared)
    assert both.result is CaseResult.UNCLEAR
    assert "so it is not the build's" in both.why[0]


def test_what_only_the_new_build_shows_is_blamed_on_it() -> None:
    compared = now(check(FAIL), finding(FindingCode.TOOL_FAILED))
    case = judge(compared, now(check(PASS), finding(FindingCode.TOOL_FAILED)))
    assert (case.result, case.why) == (CaseResult.WORSE, ("expect[0] passed and says fail: so it is",))


def test_a_check_of_the_world_is_not_asked_and_so_not_worse() -> None:
    before = then(check(PASS, EvidenceClass.STATE))
    case = judge(beside(before, check(ERROR)), None)
    assert case.result is not CaseResult.WORSE
    assert case.blind == ("not asked: expect[0]",)


def test_what_a_replay_refuses_is_no_finding_of_the_agent_s() -> None:
    refused = (denied("replay_unknown"), finding(FindingCode.HOST_DENIED))
    assert worse(now(check(PASS), *refused)) == ()
    assert [each.what for each in worse(now(check(PASS), *refused, denied("not_listed")))] == ["finding host_denied"]


def test_a_check_that_failed_and_passes_is_better() -> None:
    case = judge(beside(then(check(FAIL)), check(PASS)), None)
    assert (case.result, case.why) == (CaseResult.BETTER, ("expect[0] passes",))


def test_a_fault_of_our_own_says_nothing() -> None:
    cause = Cause(Phase.AGENT, CauseCode.INFRASTRUCTURE, "no disk")
    case = judge(now(check(FAIL), execution=Execution.FAILED, cause=cause), None)
    assert (case.result, case.replay) == (CaseResult.UNCLEAR, "now")


def test_what_was_not_recorded_is_told() -> None:
    unread = drift("unread", "POST /mcp/desk")
    case = judge(beside(then(left_out=2), check(PASS), unread), None, unread=["t.test:443"])
    assert case.blind == (
        "not recorded: t.test:443, POST /mcp/desk",
        "2 too large for the recording (over 8 MiB, or it was full)",
    )


@pytest.mark.parametrize(
    ("results", "state", "code", "held"),
    [
        ((), CanaryState.UNCLEAR, 6, False),
        ((CaseResult.SAME, CaseResult.DIFFERS, CaseResult.BETTER), CanaryState.NONE_WORSE, 0, False),
        ((CaseResult.SAME, CaseResult.UNCLEAR), CanaryState.UNCLEAR, 6, False),
        ((CaseResult.WORSE, CaseResult.UNCLEAR), CanaryState.WORSE, 5, True),
    ],
)
def test_what_the_cases_come_to(results: tuple[CaseResult, ...], state: CanaryState, code: int, *, held: bool) -> None:
    cases = tuple(Case(run="r", routine="r", recorded_with="a@1", result=each) for each in results)
    note = CanaryNote(build="a@2", finished=True, cases=cases)
    assert (note.state, note.exit_code, note.held) == (state, code, held)
    unfinished = note.model_copy(update={"finished": False})
    assert (unfinished.state, unfinished.exit_code, unfinished.held) == (CanaryState.UNFINISHED, 6, True)
    assert CanaryNote.model_validate_json(note.model_dump_json()) == note


def test_a_recording_that_cannot_be_replayed() -> None:
    case = unclear(then(), "its layer is gone")
    assert (case.result, case.replay, case.why) == (CaseResult.UNCLEAR, "", ("its layer is gone",))
