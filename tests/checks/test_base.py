from __future__ import annotations

from tickover.checks.base import Answer, ask, bounded
from tickover.checks.http import Check as HttpCheck
from tickover.core.check import HttpCheck as HttpDefinition
from tickover.core.evidence import CheckResult
from tickover.testing.hands import FakeHands

DEFINITION = HttpDefinition.model_validate({"url": "https://status.test/{{inputs.week}}/{{state.last_commit}}"})
SCOPE = {"inputs": {"week": "a/b"}, "state": {"last_commit": "c0ffee"}}


async def test_templates_are_filled_before_the_check_sees_them() -> None:
    hands = FakeHands()
    await ask(HttpCheck(), DEFINITION, hands, scope=SCOPE)
    assert [what[1] for what in hands.asked] == ["https://status.test/a%2Fb/c0ffee"]


async def test_a_value_that_is_not_there_is_an_error_at_once() -> None:
    hands = FakeHands()
    answer = await ask(HttpCheck(), DEFINITION, hands, scope={"inputs": {"week": "x"}}, patience_s=60)
    assert answer.result is CheckResult.ERROR, "waiting brings no value"
    assert answer.detail == {"code": "template.missing"}
    assert "state.last_commit" in answer.summary
    assert not hands.asked


def test_an_answer_is_made_fit_to_show() -> None:
    answer = bounded(Answer(CheckResult.FAIL, "\x1b[32mverified\r\n" + "x" * 900, evidence=b"y" * 2_000_000))
    assert answer.summary.startswith("verified x")
    assert len(answer.summary) == 300
    assert len(answer.evidence or b"") == 1 << 20
