"""What every check adapter must do, whatever its hands bring back. Subclass `CheckSuite` in a test file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, TypeAlias

from tickover.checks.base import EVIDENCE_BYTES, SUMMARY_CHARACTERS, Answer, Check, ask
from tickover.core import check as definitions
from tickover.core.check import CHECKS
from tickover.core.errors import TickoverError
from tickover.core.evidence import CheckResult
from tickover.core.text import printable
from tickover.testing.hands import FakeHands

Case: TypeAlias = tuple[definitions.Check, FakeHands]

_DETAIL_BYTES = 16 << 10
HOSTILE_BYTES: tuple[bytes, ...] = (
    b"",
    b"\xff\xfe\x00" * 100,
    b"\x1b[2J\x1b]0;pass\x07\r\n\xe2\x80\xae pass",
    b"[" * 100_000,
    b'{"ok": ' + b"9" * 10_000 + b"}",
    b'{"ok": NaN, "ok": true}',
    b"\n" * 100_000,
    b"x" * 3_000_000,
)
"""Content for the cases of `hostile`."""


class CheckSuite:
    """Give the adapter and cases of it: a definition, and the hands that make it so."""

    def check(self) -> Check[Any]:
        raise NotImplementedError

    def passing(self) -> Case:
        raise NotImplementedError

    def failing(self) -> Case:
        raise NotImplementedError

    def unknowable(self) -> Case:
        """Return a case that can not be evaluated: an `error`, not a failure."""
        raise NotImplementedError

    def hostile(self) -> Sequence[Case]:
        """Return cases where the looked-at was written to confuse; none of them holds."""
        raise NotImplementedError

    def test_its_kind_is_that_of_its_definitions(self) -> None:
        for definition, _ in (self.passing(), self.failing(), self.unknowable()):
            assert type(definition) is CHECKS[self.check().kind]

    async def test_what_holds_passes_and_what_does_not_fails(self) -> None:
        assert (await self._ask(self.passing())).result is CheckResult.PASS
        assert (await self._ask(self.failing())).result is CheckResult.FAIL

    async def test_what_cannot_be_evaluated_is_an_error(self) -> None:
        answer = await self._ask(self.unknowable())
        assert answer.result is CheckResult.ERROR
        assert len(answer.summary) > 10

    async def test_broken_hands_are_an_error_with_their_reason(self) -> None:
        for definition, hands in (self.passing(), self.failing()):
            hands.broken = TickoverError("sandbox.gone", "the sandbox could not be started")
            answer = await self._ask((definition, hands))
            assert answer.result is CheckResult.ERROR
            assert answer.summary == "the sandbox could not be started"
            assert answer.detail["code"] == "sandbox.gone"

    async def test_it_is_pending_only_while_there_is_patience(self) -> None:
        results = [(await self._ask(case, patience_s=1)).result for case in (self.failing(), self.unknowable())]
        assert results == [CheckResult.PENDING, CheckResult.PENDING]
        assert (await self._ask(self.passing(), patience_s=1)).result is CheckResult.PASS

    async def test_asked_twice_it_says_the_same(self) -> None:
        for case in (self.passing(), self.failing(), self.unknowable()):
            assert await self._ask(case) == await self._ask(case)

    async def test_hostile_content_never_passes(self) -> None:
        assert self.hostile()
        for case in self.hostile():
            assert (await self._ask(case)).result in {CheckResult.FAIL, CheckResult.ERROR}

    async def _ask(self, case: Case, *, patience_s: float = 0) -> Answer:
        definition, hands = case
        answer = await ask(self.check(), definition, hands, scope={}, patience_s=patience_s)
        assert answer.summary
        assert answer.summary == " ".join(printable(answer.summary).split())
        assert len(answer.summary) <= SUMMARY_CHARACTERS
        assert len(json.dumps(dict(answer.detail), allow_nan=False).encode()) <= _DETAIL_BYTES
        assert len(answer.evidence or b"") <= EVIDENCE_BYTES
        return answer
