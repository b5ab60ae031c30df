"""The conformance suite of `store.access`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tickover.core.access import Token
from tickover.store.access import Audit, TokenNotFoundError, Tokens


class AccessSuite:
    """Subclass it, and give `open_access` your adapters over one empty place."""

    def open_access(self, location: str, clock: Any) -> tuple[Tokens, Audit]:
        raise NotImplementedError

    @pytest.fixture
    def access(self, tmp_path: Any) -> tuple[Tokens, Audit]:
        self.now = 1000.0
        return self.open_access(str(tmp_path), lambda: self.now)

    @staticmethod
    def token(id_: str = "aaaaaaaaaa", **more: Any) -> Token:
        known: dict[str, Any] = {"name": "ci", "owner": "service:ci", "scopes": ("read", "fire:a"), "created": 5.0}
        return Token(id_, id_[0] * 64, **{**known, **more})

    def test_a_token_comes_back_as_it_was_kept(self, access: tuple[Tokens, Audit]) -> None:
        tokens, _ = access
        kept = self.token(expires=99.5, made_by="somebody \u00fc")
        tokens.add(kept)
        assert tokens.get(kept.id) == kept
        assert list(tokens.list()) == [kept]

    def test_an_id_is_taken_once(self, access: tuple[Tokens, Audit]) -> None:
        tokens, _ = access
        tokens.add(self.token())
        with pytest.raises(ValueError, match="aaaaaaaaaa"):
            tokens.add(replace(self.token(), sha256="b" * 64))

    def test_what_is_not_there(self, access: tuple[Tokens, Audit]) -> None:
        tokens, _ = access
        for ask in (tokens.get, lambda each: tokens.revoke(each, 1.0)):
            with pytest.raises(TokenNotFoundError):
                ask("nothing")
        tokens.touch("nothing", 1.0)

    def test_revoking_twice_keeps_the_first_moment(self, access: tuple[Tokens, Audit]) -> None:
        tokens, _ = access
        tokens.add(self.token())
        assert tokens.revoke("aaaaaaaaaa", 7.0).revoked == 7.0
        assert tokens.revoke("aaaaaaaaaa", 9.0).revoked == 7.0
        assert [each.revoked for each in tokens.list()] == [7.0]

    def test_use_is_kept_to_the_minute(self, access: tuple[Tokens, Audit]) -> None:
        tokens, _ = access
        tokens.add(self.token())
        for now, last in ((100.0, 100.0), (130.0, 100.0), (161.0, 161.0)):
            tokens.touch("aaaaaaaaaa", now)
            assert tokens.get("aaaaaaaaaa").last_used == last

    def test_the_log_is_read_newest_first_page_by_page(self, access: tuple[Tokens, Audit]) -> None:
        _, audit = access
        for number in range(5):
            self.now = float(number)
            audit.note(who="a\udc80", what="run.cancel", target=str(number), origin="o", detail={"n": number})
        page = audit.list(limit=2)
        assert [each.target for each in page] == ["4", "3"]
        rest = audit.list(limit=10, before=page[-1].id)
        assert [(each.target, each.at, each.detail) for each in rest] == [
            (str(number), float(number), {"n": number}) for number in (2, 1, 0)
        ]

    def test_a_refusal_is_an_entry(self, access: tuple[Tokens, Audit]) -> None:
        _, audit = access
        audit.note(who="a", what="w", target="t", origin="o", allowed=False)
        assert [each.allowed for each in audit.list()] == [False]
