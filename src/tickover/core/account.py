"""Which account a credential is, as the service itself says it. Pure: what to ask, and how to read the answer.

Sources: https://docs.slack.dev/reference/methods/auth.test (always 200; only `ok` says whether the token is one),
https://docs.github.com/en/rest/users/users#get-the-authenticated-user (an App's own token is 403 there: it is no user).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from tickover.core.document import DocumentError, read_json
from tickover.core.text import one_line

ASKED: Final[Mapping[str, str]] = {"slack": "/auth.test", "github": "/user"}
"""Connector -> the path below its address that says who asks."""
_REFUSED: Final = frozenset({"not_authed", "invalid_auth", "account_inactive", "token_revoked", "token_expired"})
_LONGEST: Final = 120


class Known(NamedTuple):
    """Who a credential is (`account`), or why nobody knows (`problem`).

    `refused`: the service does not take it. Not `reached`: it did not even answer.
    """

    account: str = ""
    problem: str = ""
    refused: bool = False
    reached: bool = True


def read_account(name: str, status: int, body: bytes) -> Known:
    """Read an answer. It is hostile text: what is no name becomes a problem."""
    if status == 401:
        return Known(problem="it answers 401: the credential is not accepted", refused=True)
    if status != 200:
        return Known(problem=f"it answers {status}, so it does not say who this is")
    try:
        told = read_json(body)
    except DocumentError:
        told = None
    if not isinstance(told, dict):
        return Known(problem="its answer is no JSON object")
    return _slack(told) if name == "slack" else _github(told)


def _slack(told: Mapping[str, Any]) -> Known:
    if told.get("ok") is not True:
        error = _word(told.get("error")) or "no reason"
        return Known(problem=f"it answers {error}", refused=error in _REFUSED)
    user, id_, team = (_word(told.get(key)) for key in ("user", "user_id", "team"))
    who = f"{user} ({id_})" if user and id_ and id_ != user else user or id_
    return Known(f"{who} in {team}" if team else who) if who else Known(problem="its answer names nobody")


def _github(told: Mapping[str, Any]) -> Known:
    login = _word(told.get("login"))
    return Known(login) if login else Known(problem="its answer names nobody")


def _word(value: Any) -> str:
    return one_line(value, _LONGEST) if isinstance(value, str) else ""
