"""Conformance of secrets and grants: beside `StoreSuite`, for every store. Subclass it and say how to open one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tickover.store.base import Clock, GrantItem, SecretNotFoundError, Store
from tickover.testing.store_suite import HOSTILE


class InstanceSuite:
    """What the owner of an instance said is kept as it was said."""

    now = 1000.0

    def open_store(self, location: str, clock: Clock) -> Store:
        raise NotImplementedError

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        opened = self.open_store(str(tmp_path / "store"), lambda: self.now)
        yield opened
        opened.close()

    # -- secrets -----------------------------------------------------------------------------------------------------

    def test_a_secret_is_kept_with_who_set_it_and_when(self, store: Store) -> None:
        put = store.secrets.put(
            "chat", kind="header", sealed=b"\x01\x00sealed", by="ada", binding={"hosts": ["a.test"]}
        )
        assert put == store.secrets.get("chat")
        assert (put.name, put.version, put.kind, put.sealed) == ("chat", 1, "header", b"\x01\x00sealed")
        assert (put.set_at, put.set_by, put.binding) == (1000.0, "ada", {"hosts": ["a.test"]})
        assert b"sealed".decode() not in repr(put)

    def test_setting_it_again_is_a_new_version_that_keeps_its_binding(self, store: Store) -> None:
        store.secrets.put("chat", kind="header", sealed=b"one", by="ada", binding={"hosts": ["a.test"]})
        self.now = 2000.0
        put = store.secrets.put("chat", kind="basic", sealed=b"two", by="bob")
        assert (put.version, put.kind, put.sealed, put.set_at, put.set_by) == (2, "basic", b"two", 2000.0, "bob")
        assert put.binding == {"hosts": ["a.test"]}
        assert store.secrets.put("chat", kind="basic", sealed=b"3", by="bob", binding={}).binding == {}
        assert [each.version for each in store.secrets.list()] == [3]

    def test_a_removed_secret_is_gone_and_its_numbers_go_on(self, store: Store) -> None:
        store.secrets.put("chat", kind="header", sealed=b"one", by="ada", binding={"hosts": ["a.test"]})
        store.secrets.remove("chat")
        for ask in (store.secrets.get, store.secrets.remove):
            with pytest.raises(SecretNotFoundError):
                ask("chat")
        assert store.secrets.list() == []
        again = store.secrets.put("chat", kind="header", sealed=b"two", by="ada")
        assert (again.version, again.binding) == (2, None)

    def test_secrets_are_listed_by_name(self, store: Store) -> None:
        for name in ("b", "a", "c"):
            store.secrets.put(name, kind="signing", sealed=name.encode(), by="ada")
        assert [each.name for each in store.secrets.list()] == ["a", "b", "c"]

    @pytest.mark.parametrize("text", HOSTILE)
    def test_hostile_names_are_kept_or_not_found_and_nothing_else(self, store: Store, text: str) -> None:
        with pytest.raises(SecretNotFoundError):
            store.secrets.get(text)
        put = store.secrets.put("a", kind="header", sealed=b"x", by=text, binding={"hosts": [text]})
        assert store.secrets.get("a") == put

    # -- grants ------------------------------------------------------------------------------------------------------

    def test_what_is_granted_is_exactly_what_was_said_last(self, store: Store) -> None:
        one, two, three = (GrantItem(word * 8, f'"{word}"', f"may {word}") for word in ("one", "two", "three"))
        store.grants.replace("digest", "/r/digest", [one, two], by="ada")
        self.now = 2000.0
        granted = store.grants.replace("digest", "/r/digest", [two, three, three], by="bob")
        assert [(each.digest, each.granted_at, each.granted_by) for each in granted] == [
            (two.digest, 1000.0, "ada"),
            (three.digest, 2000.0, "bob"),
        ]
        assert list(store.grants.current("digest")) == list(granted)
        assert store.grants.replace("digest", "/r/digest", [], by="bob") == []
        assert store.grants.current("digest") == []

    def test_what_was_taken_back_can_be_granted_again(self, store: Store) -> None:
        one = GrantItem("one", '"one"', "may one")
        for items in ([one], [], [one], [], [one]):
            store.grants.replace("digest", "/r/digest", items, by="ada")
        assert [each.digest for each in store.grants.current("digest")] == ["one"]

    def test_a_grant_is_of_one_routine_in_one_folder(self, store: Store) -> None:
        one = GrantItem("one", '"one"', "may one")
        store.grants.replace("digest", "/r/digest", [one], by="ada")
        store.grants.replace("digest", "/other/digest", [one], by="ada")
        store.grants.replace("digest", "/r/digest", [], by="ada")
        assert [each.folder for each in store.grants.current("digest")] == ["/other/digest"]
        assert store.grants.current("other") == []

    @pytest.mark.parametrize("text", HOSTILE)
    def test_hostile_words_are_kept(self, store: Store, text: str) -> None:
        [granted] = store.grants.replace(text, text, [GrantItem("d", "{}", text)], by=text)
        assert list(store.grants.current(text)) == [granted]
