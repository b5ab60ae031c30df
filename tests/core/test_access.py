from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickover.core.access import Principal, Token, digest, forge, owner_of, refuse, same, scopes_of, split
from tickover.core.errors import UsageError


def test_a_token_is_shown_once_and_only_a_hash_of_it_is_kept() -> None:
    id_, text, kept = forge(bytes(range(38)))
    assert split(text) == (id_, text.rpartition(id_ + "_")[2])
    secret = text.rpartition(id_ + "_")[2]
    assert kept == digest(secret)
    assert secret not in kept
    assert same(kept, secret)
    assert not same(kept, secret[:-1] + ("A" if secret[-1] != "A" else "B"))


@given(st.binary(min_size=38, max_size=38))
def test_every_token_can_be_taken_apart(random: bytes) -> None:
    id_, text, kept = forge(random)
    found = split(text)
    assert found is not None
    assert found[0] == id_
    assert same(kept, found[1])


@given(st.text(max_size=200))
def test_what_is_no_token_is_none(text: str) -> None:
    assert split(text) is None or text.startswith("tko_")


@pytest.mark.parametrize(
    ("scopes", "need", "routine", "may"),
    [
        (("read",), "read", None, True),
        (("read",), "operate", None, False),
        (("read",), "fire", "a", False),
        (("fire:a",), "fire", "a", True),
        (("fire:a",), "fire", "b", False),
        (("fire:a",), "read", None, False),
        (("fire:*",), "fire", "b", True),
        (("fire:*",), "operate", None, False),
        (("operate",), "read", None, True),
        (("operate",), "fire", "a", True),
        (("operate",), "admin", None, False),
        (("admin",), "admin", None, True),
        ((), "any", None, True),
        ((), "read", None, False),
    ],
)
def test_scopes(scopes: tuple[str, ...], need: str, routine: str | None, may: bool) -> None:
    principal = Principal("person:a", scopes)
    assert principal.may(need, routine) is may  # type: ignore[arg-type]
    assert (refuse(principal, need, routine) is None) is may  # type: ignore[arg-type]


def test_without_a_token_everything_but_the_public_is_401() -> None:
    assert refuse(None, "public") is None
    refused = refuse(None, "any")
    assert refused is not None
    assert (refused.status, refused.exit_code) == (401, 4)


def test_a_token_ends() -> None:
    token = Token("a", "b", "n", "person:a", ("read",), created=0, expires=100)
    assert [token.state(99.9), token.state(100)] == ["live", "expired"]
    assert Token("a", "b", "n", "person:a", (), created=0, revoked=1).state(0) == "revoked"


@pytest.mark.parametrize("scope", ["write", "fire", "fire:", "fire:A B", "READ", "", "admin "])
def test_what_is_no_scope(scope: str) -> None:
    with pytest.raises(UsageError):
        scopes_of(None, [scope])


def test_a_role_is_a_name_for_scopes() -> None:
    assert scopes_of("viewer", ["fire:a", "fire:a"]) == ("read", "fire:a")
    for role, scopes in ((None, []), ("root", [])):
        with pytest.raises(UsageError):
            scopes_of(role, scopes)


@pytest.mark.parametrize("owner", ["me", "person:", "robot:a", "person:a b", "person:\x1b[31m"])
def test_what_is_no_owner(owner: str) -> None:
    with pytest.raises(UsageError):
        owner_of(owner)
