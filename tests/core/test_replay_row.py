"""A replay can never be green: the fold refuses a journal that says so."""

from __future__ import annotations

import pytest

from tickover.core import event as facts
from tickover.core.cause import Cause, CauseCode
from tickover.core.event import Fact, JournalCorruptError, encode
from tickover.core.row import RunRow
from tickover.core.run import fold
from tickover.core.status import Execution, Outcome, Phase


def row_of(*told: Fact, replay_of: str | None = "then") -> RunRow:
    begun = (
        facts.RunCreated(routine="r", replay_of=replay_of),
        facts.AttemptStarted(attempt=1),
        facts.AgentStarted(),
    )
    return fold(
        encode(fact, run="now", seq=seq, at=float(seq), attempt=1, fence=1)
        for seq, fact in enumerate((*begun, *told), 1)
    )


def verdict(outcome: Outcome) -> tuple[Fact, ...]:
    return (
        facts.PhaseStarted(phase=Phase.VERIFY),
        facts.AttemptFinished(execution=Execution.COMPLETED),
        facts.VerdictReached(outcome=outcome, reason="so it is"),
    )


@pytest.mark.parametrize("outcome", [Outcome.VERIFIED, Outcome.NOOP])
def test_a_journal_in_which_a_replay_is_green_does_not_load(outcome: Outcome) -> None:
    assert row_of(*verdict(outcome), replay_of=None).outcome is outcome
    with pytest.raises(JournalCorruptError, match="it says nothing of the world"):
        row_of(*verdict(outcome))


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.UNVERIFIED, Outcome.PENDING])
def test_every_other_outcome_may_be_a_replay_s(outcome: Outcome) -> None:
    assert row_of(*verdict(outcome)).outcome is outcome


def test_drift_is_summed_and_belongs_to_replays() -> None:
    drift = facts.ReplayDrifted(kind="differs", target="POST https://a.test:443/", times=3)
    row = row_of(drift, drift)
    assert (row.drift, len(row.drifts)) == (6, 2)
    with pytest.raises(JournalCorruptError, match="only a replay can drift"):
        row_of(drift, replay_of=None)


def test_a_replay_takes_no_tokens_whatever_its_agent_says() -> None:
    said = facts.AgentUsage(input_tokens=100, output_tokens=10, cost_usd=1.0)
    assert row_of(said).usage.cost_usd == 0.0
    assert row_of(said, replay_of=None).usage.cost_usd == 1.0


def test_the_recording_of_the_last_attempt_is_the_run_s() -> None:
    def kept(digest: str) -> Fact:
        return facts.CassetteStored(digest=digest * 64, calls=2, bytes=100)

    failed = facts.AttemptFinished(execution=Execution.FAILED, cause=Cause(Phase.AGENT, CauseCode.AGENT_FAILED))
    again = (facts.RetryScheduled(at=9.0, why="once more", attempt=2), facts.AttemptStarted(attempt=2))
    row = row_of(kept("a"), failed, *again, facts.AgentStarted(), kept("b"), replay_of=None)
    assert row.cassette is not None
    assert (row.cassette.attempt, row.cassette.digest) == (2, "b" * 64)
