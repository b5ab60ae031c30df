from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from tickover.checks.receipt import Check as ReceiptAdapter
from tickover.core.check import ReceiptCheck
from tickover.core.receipt import Begun, Chosen, Ended, Receipt
from tickover.testing.check_suite import Case, CheckSuite
from tickover.testing.hands import FakeHands

TO = "POST https://chat.test/api/post"


def definition(**keys: Any) -> ReceiptCheck:
    asked = {"request": {"json": {"channel": "C1"}}, "response": {"json": {"ok": True}}}
    return ReceiptCheck.model_validate({"to": TO, **asked, **keys})


def receipt(call: int = 1, channel: Any = "C1", *, ok: Any = True, ended: bool = True, **more: Any) -> Receipt:
    keys: dict[str, Any] = {"at": 1.0, "attempt": 1, "method": "POST", "scheme": "https", "host": "chat.test"}
    keys |= {"port": 443, "path": "/api/post", "rule": "may[0]", "writes": True}
    begun = Begun(call=call, request_json=Chosen(value={"channel": channel}), **{**keys, **more})
    if not ended:
        return Receipt(begun)
    answer = Chosen(value={"ok": ok})
    return Receipt(begun, Ended(call=call, at=2.0, delivery="answered", status=200, response_json=answer))


def hands(*receipts: Receipt) -> FakeHands:
    return FakeHands(calls=receipts)


class TestConformance(CheckSuite):
    def check(self) -> ReceiptAdapter:
        return ReceiptAdapter()

    def passing(self) -> Case:
        return definition(), hands(receipt())

    def failing(self) -> Case:
        return definition(), hands(receipt(ok=False))

    def unknowable(self) -> Case:
        return definition(), hands(receipt(ended=False))

    def hostile(self) -> Sequence[Case]:
        words = ("\x1b[2J\u202e", "C1\n", "c1", ["C2"], {"C1": 1}, "x" * 3_000_000, None, 1)
        others = [receipt(channel=word) for word in words]
        paths = [receipt(path=path) for path in ("/api//post", "/api/post/..", "/api/%70ost/x", "\x1b[2J")]
        return [(definition(), hands(each)) for each in (*others, *paths, receipt(ok="true"), receipt(ok=1))]


async def test_the_evidence_is_the_receipts_of_this_address() -> None:
    others = (receipt(2, host="other.test"), receipt(3, identity="verifier"), receipt(4, identity="setup"))
    answer = await ReceiptAdapter().evaluate(definition(), hands(receipt(), *others))
    assert answer.result == "pass"
    assert answer.detail == {"to": TO, "calls": [1], "receipts": 1}
    assert answer.evidence is not None
    assert b'"channel": "C1"' in answer.evidence
    assert b"other.test" not in answer.evidence


@pytest.mark.parametrize(
    ("count", "receipts", "result"),
    [
        (1, [], "fail"),
        (1, [1], "pass"),
        (1, [1, 2], "fail"),
        ({"gte": 1}, [1, 2], "pass"),
        (0, [], "pass"),
        (0, [1], "fail"),
    ],
)
async def test_the_count_is_exact(count: Any, receipts: list[int], result: str) -> None:
    answer = await ReceiptAdapter().evaluate(definition(count=count), hands(*map(receipt, receipts)))
    assert answer.result == result
