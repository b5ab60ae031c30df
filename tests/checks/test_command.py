from __future__ import annotations

from collections.abc import Sequence

import pytest

from tickover.checks.base import EVIDENCE_BYTES, PinnedRun, ask
from tickover.checks.command import Check as CommandAdapter
from tickover.checks.command import transcript
from tickover.core.check import CommandCheck
from tickover.core.evidence import CheckResult
from tickover.testing.check_suite import HOSTILE_BYTES, Case, CheckSuite
from tickover.testing.hands import FakeHands


def definition(run: str = "judge") -> CommandCheck:
    return CommandCheck.model_validate({"run": run, "subject": {"run": True, "restore": ["tests/**"]}, "timeout": "2m"})


def ran(run: PinnedRun) -> Case:
    return definition(), FakeHands(commands={"judge": run})


class TestConformance(CheckSuite):
    def check(self) -> CommandAdapter:
        return CommandAdapter()

    def passing(self) -> Case:
        return ran(PinnedRun("exited", 0, stdout=b"all 12 numbers agree\n"))

    def failing(self) -> Case:
        return ran(PinnedRun("exited", 1, stderr=b"commits: 41, not 42\n"))

    def unknowable(self) -> Case:
        return definition("no-such-program"), FakeHands()

    def hostile(self) -> Sequence[Case]:
        streams = [PinnedRun("exited", 1, stdout=each, stderr=each) for each in HOSTILE_BYTES]
        codes = [PinnedRun("exited", code, stdout=b"PASS exit 0\n") for code in (1, 2, 77, 126, 127, 128, 255, None)]
        ends = [PinnedRun(ended, stdout=b"PASS\n") for ended in ("signalled", "timed_out", "not_started")]
        return [ran(each) for each in (*streams, *codes, *ends)]


@pytest.mark.parametrize(
    ("run", "result", "summary"),
    [
        (PinnedRun("exited", 0), "pass", "exit code 0"),
        (PinnedRun("exited", 0, b"one\ntwo\n\n---\n", b"a warning\n"), "pass", "two"),
        (PinnedRun("exited", 3, b"checking\n", b"Traceback:\nAssertionError: 41 != 42\n"), "fail", "AssertionError: 41 != 42"),
        (PinnedRun("exited", 3, b"41, not 42\n"), "fail", "41, not 42"),
        (PinnedRun("exited", 3), "fail", "exit code 3"),
        (PinnedRun("exited", 126, b"", b"sh: judge: Permission denied\n"), "error", "the command cannot be executed: sh: judge: Permission denied"),
        (PinnedRun("exited", 127), "error", "the command was not found: exit code 127"),
        (PinnedRun("exited", 137, b"ok\n"), "error", "it was killed by signal 9: ok"),
        (PinnedRun("exited", 128), "fail", "exit code 128"),
        (PinnedRun("exited", 255), "fail", "exit code 255"),
        (PinnedRun("exited", None), "error", "it ended without an exit code: exit code None"),
        (PinnedRun("signalled", message="signal 11"), "error", "it was killed: signal 11"),
        (PinnedRun("timed_out", stdout=b"ok\n"), "error", "it did not end within 2m"),
        (PinnedRun("not_started", message="checks/ is not there"), "error", "it could not be started: checks/ is not there"),
    ],
)  # fmt: skip
async def test_what_it_says(run: PinnedRun, result: str, summary: str) -> None:
    check, hands = ran(run)
    assert isinstance(check, CommandCheck)
    answer = await ask(CommandAdapter(), check, hands, scope={})
    assert (answer.result, answer.summary) == (CheckResult(result), summary)


async def test_subject_and_timeout_are_handed_on() -> None:
    hands = FakeHands()
    await ask(CommandAdapter(), definition(), hands, scope={})
    assert hands.asked == [("run_pinned", "judge", definition().subject, 120)]


def test_the_transcript_keeps_the_ends_of_both_streams() -> None:
    assert transcript(PinnedRun("exited", 0, b"a\n", b"b")) == b"--- stdout\na\n--- stderr\nb\n"
    long = transcript(PinnedRun("exited", 0, b"x" * 9_000_000 + b"end", b"y" * 9_000_000 + b"END"))
    assert len(long) <= EVIDENCE_BYTES
    assert b"end\n--- stderr\n" in long
    assert long.endswith(b"END\n")
