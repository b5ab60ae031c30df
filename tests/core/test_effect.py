from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickover.core.check import ReceiptCheck
from tickover.core.effect import judge_receipts, unseen, wanted_of
from tickover.core.evidence import EvidenceClass
from tickover.core.network import Asked, Binding, InstanceNetwork, policy_of
from tickover.core.receipt import Begun, Chosen, Ended, Receipt

TO = "POST https://chat.test/api/chat.postMessage"
FULL: dict[str, Any] = {
    "to": TO,
    "request": {"json": {"channel": "C0ENG", "text": {"min_chars": 3}}},
    "response": {"status": 200, "json": {"ok": True}},
    "count": 1,
}
SENT = {"channel": "C0ENG", "text": "hello"}


def check(**change: Any) -> ReceiptCheck:
    return ReceiptCheck.model_validate({key: value for key, value in {**FULL, **change}.items() if value is not None})


def receipt(call: int = 1, *, sent: Any = SENT, answer: Any = ..., end: bool = True, **more: Any) -> Receipt:
    keys = {"at": 1.0, "attempt": 1, "method": "POST", "scheme": "https", "host": "chat.test", "port": 443}
    rest: dict[str, Any] = {"call": call, "path": "/api/chat.postMessage", "rule": "may[0]", "writes": True}
    told = {key: more.pop(key) for key in ("delivery", "status", "why") if key in more}
    asked = Chosen(value=sent) if not isinstance(sent, Chosen | None) else sent
    begun = Begun.model_validate({**keys, **rest, "request_json": asked, **more})
    if not end:
        return Receipt(begun)
    got = Chosen(value={"ok": True}) if answer is ... else answer
    return Receipt(
        begun,
        Ended.model_validate(
            {"call": call, "at": 2.0, "delivery": "answered", "status": 200, "response_json": got, **told}
        ),
    )


UNANSWERED = receipt(9, end=False)
UNREAD = receipt(8, sent=Chosen(complete=False))
OTHERS: dict[str, tuple[Receipt, str]] = {
    "another channel": (
        receipt(sent={"channel": "C0EVIL", "text": "hello"}),
        'what was sent: channel is "C0ENG": got "C0EVIL"',
    ),
    "no body": (receipt(sent=None), "what was sent holds no JSON"),
    "ok is false": (receipt(answer=Chosen(value={"ok": False})), "the answer: ok is true: got false"),
    "the answer is no JSON": (receipt(answer=None), "the answer holds no JSON"),
    "another status": (receipt(status=503), "it was answered 503"),
    "never left": (receipt(delivery="unsent", status=None, why="refused"), "it never left (refused)"),
    "another path": (receipt(path="/api/files.upload"), ""),
    "a path below": (receipt(path="/api/chat.postMessage/x"), ""),
    "a path with quirks": (receipt(path="/api//chat.postMessage"), ""),
    "a path that nobody reads": (receipt(path="/api/../x"), ""),
    "another query": (receipt(query="channel=C0EVIL"), ""),
    "another method": (receipt(method="PUT"), ""),
    "another host": (receipt(host="chat.test.evil.test"), ""),
    "another port": (receipt(port=8443), ""),
    "in the clear": (receipt(scheme="http"), ""),
    "the verifier's own": (receipt(identity="verifier"), ""),
    "the setup script's": (receipt(identity="setup"), ""),
}


@pytest.mark.parametrize(("other", "says"), OTHERS.values(), ids=OTHERS)
def test_a_call_that_is_another_one_proves_nothing_and_takes_nothing_away(other: Receipt, says: str) -> None:
    alone = judge_receipts(check(), [other])
    assert alone.result == "fail"
    assert says in alone.summary
    assert judge_receipts(check(), [other, receipt(2)]).result == "pass"


UNCLEAR = {
    "no end": UNANSWERED,
    "cut before the status": receipt(delivery="cut", status=None),
    "the answer broke off": receipt(delivery="cut", answer=None),
    "the answer is too large": receipt(answer=Chosen(complete=False)),
    "what was sent was not read": UNREAD,
}


@pytest.mark.parametrize("receipt_", UNCLEAR.values(), ids=UNCLEAR)
def test_what_nobody_knows_is_an_error_where_it_decides(receipt_: Receipt) -> None:
    yes = receipt(2)
    assert judge_receipts(check(), [receipt_]).result == "error"
    assert judge_receipts(check(), [yes, receipt_]).result == "error"
    assert judge_receipts(check(count=0), [receipt_]).result == "error"
    assert judge_receipts(check(count={"gte": 1}), [receipt_]).result == "error"
    assert judge_receipts(check(count={"gte": 1}), [yes, receipt_]).result == "pass"
    assert judge_receipts(check(count=1), [yes, receipt(3), receipt_]).result == "fail"
    assert judge_receipts(check(count=3), [receipt_]).result == "fail"


def test_an_unanswered_call_of_another_kind_decides_nothing() -> None:
    other = receipt(9, sent={"channel": "C0EVIL", "text": "hello"}, end=False)
    assert judge_receipts(check(), [other, receipt(2)]).result == "pass"


def test_an_answer_that_broke_off_is_enough_where_only_its_status_is_asked() -> None:
    cut = receipt(delivery="cut", answer=None)
    assert judge_receipts(check(response={"status": 200}), [cut]).result == "pass"


@given(st.integers(0, 3), st.integers(0, 3), st.integers(0, 3), st.integers(0, 3), st.booleans())
def test_a_count_passes_or_fails_only_where_every_truth_would_have_it_so(
    sure: int, other: int, unclear: int, wanted: int, least: bool
) -> None:
    wanted = max(wanted, 1) if least else wanted
    calls = [receipt(n) for n in range(1, sure + 1)]
    calls += [receipt(10 + n, status=500) for n in range(other)]
    calls += [receipt(20 + n, end=False) for n in range(unclear)]
    said = judge_receipts(check(count={"gte": wanted} if least else wanted), calls)
    truths = {count >= wanted if least else count == wanted for count in range(sure, sure + unclear + 1)}
    expected = "error" if len(truths) == 2 else "pass" if truths == {True} else "fail"
    assert said.result == expected


def test_every_attempt_counts() -> None:
    twice = [receipt(1, attempt=1), receipt(2, attempt=2)]
    assert judge_receipts(check(), twice).result == "fail"
    assert judge_receipts(check(count=2), twice).result == "pass"


@pytest.mark.parametrize(
    ("response", "status", "result"),
    [
        (None, 200, "pass"),
        (None, 204, "pass"),
        (None, 299, "pass"),
        (None, 302, "fail"),
        (None, 199, "fail"),
        (None, 500, "fail"),
        ({"json": {"ok": True}}, 500, "fail"),
        ({"status": 404}, 404, "pass"),
        ({"status": [200, 201]}, 201, "pass"),
        ({"status": {"gte": 400}}, 200, "fail"),
    ],
)
def test_without_a_status_only_success_counts(response: Any, status: int, result: str) -> None:
    assert judge_receipts(check(response=response), [receipt(status=status)]).result == result


def test_without_matchers_any_answered_call_counts() -> None:
    assert judge_receipts(check(request=None, response=None), [receipt(sent=None, answer=None)]).result == "pass"


def test_the_sentences() -> None:
    assert judge_receipts(check(), [receipt()]).summary == f"{TO}: 1 receipt as it should be, exactly 1 asked"
    assert judge_receipts(check(), []).summary == f"{TO}: 0 receipts as it should be, exactly 1 asked"
    said = judge_receipts(check(count={"gte": 2}), [receipt(4, status=500), UNANSWERED])
    assert said.summary == (
        f"{TO}: 0 receipts as it should be, at least 2 asked; "
        "call 9: it left and was never answered, so what it did is unknown; call 4: it was answered 500"
    )


def test_a_star_and_the_clear() -> None:
    star = check(to="POST https://chat.test/api/*")
    assert judge_receipts(star, [receipt()]).result == "pass"
    assert judge_receipts(star, [receipt(path="/api/a/b")]).result == "fail"
    clear = check(to="POST http://chat.test/api/chat.postMessage")
    assert judge_receipts(clear, [receipt(scheme="http", port=80)]).result == "error"
    assert judge_receipts(check(to="POST https://chat.test/a%2Fb"), [receipt()]).result == "error"


def test_a_receipt_is_an_effect() -> None:
    assert check().evidence is EvidenceClass.EFFECT


def test_what_checks_look_at_is_kept_once() -> None:
    wanted = wanted_of([check(), check(request=None), check(response={"json": {"ok": True, "ts": {"exists": True}}})])
    assert [path.text for path in wanted.request] == ["channel", "text"]
    assert [path.text for path in wanted.response] == ["ok", "ts"]


@pytest.mark.parametrize(
    ("to", "says"),
    [
        (TO, ""),
        ("GET https://forge.test/{{ inputs.x }}", ""),
        ("GET https://docs.test/x", "docs.test is only tunnelled"),
        ("GET https://other.test/x", "there will never be such a receipt"),
        ("GET https://banned.test/x", "denied by this instance"),
        ("POST http://chat.test/x", "plain HTTP"),
        ("POST https://10.0.0.1/x", "no host's name"),
    ],
)
def test_a_check_on_what_is_not_seen_is_an_error_of_the_definition(to: str, says: str) -> None:
    asked = [
        Asked("docs.test", "a"),
        Asked("forge.test", "b"),
        Asked("banned.test", "c"),
        Asked("chat.test:443", "may[0]", inspect=True),
    ]
    policy = policy_of(asked, {}, InstanceNetwork(deny=("banned.test",)), [Binding("forge", ("forge.test",))])
    found = unseen(check(to=to), policy)
    assert says in found
    assert bool(found) is bool(says)
