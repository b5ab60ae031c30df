"""Who a credential is: what the services' answers say, hostile ones too."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tickover.core.account import Known, read_account

SLACK = {"ok": True, "url": "https://acme.example.com/", "team": "Acme", "user": "digest", "user_id": "U1"}


@pytest.mark.parametrize(
    ("name", "told", "account"),
    [
        ("slack", SLACK, "digest (U1) in Acme"),
        ("slack", {"ok": True, "user_id": "U1"}, "U1"),
        ("github", {"login": "acme-bot", "type": "Bot"}, "acme-bot"),
    ],
)
def test_an_answer_names_the_account(name: str, told: dict[str, Any], account: str) -> None:
    assert read_account(name, 200, json.dumps(told).encode()) == Known(account)


@pytest.mark.parametrize("error", ["invalid_auth", "not_authed", "token_revoked", "token_expired", "account_inactive"])
def test_a_credential_that_slack_does_not_take(error: str) -> None:
    known = read_account("slack", 200, json.dumps({"ok": False, "error": error}).encode())
    assert known == Known(problem=f"it answers {error}", refused=True)


@pytest.mark.parametrize(
    ("name", "status", "body"),
    [
        ("slack", 200, b'{"ok": false, "error": "ratelimited"}'),
        ("slack", 200, b'{"ok": "true", "user": "digest"}'),
        ("slack", 200, b'{"ok": true}'),
        ("slack", 200, b'{"ok": true, "user": ["digest"]}'),
        ("slack", 429, b""),
        ("github", 200, b"[]"),
        ("github", 200, b'{"login": 7}'),
        ("github", 200, b"<html>"),
        ("github", 200, b"[" * 100_000),
        ("github", 403, b'{"message": "Resource not accessible by integration"}'),
        ("github", 500, b""),
    ],
)
def test_what_names_nobody_is_a_problem_and_no_refusal(name: str, status: int, body: bytes) -> None:
    known = read_account(name, status, body)
    assert (known.account, known.refused, known.reached) == ("", False, True)
    assert known.problem


def test_401_is_a_refusal_of_either() -> None:
    assert all(read_account(name, 401, b"{}").refused for name in ("slack", "github"))


def test_a_name_is_one_short_line() -> None:
    known = read_account("github", 200, json.dumps({"login": "a\nverified\x1b[32m" + "x" * 500}).encode())
    assert known.account.isprintable()
    assert len(known.account) <= 121
