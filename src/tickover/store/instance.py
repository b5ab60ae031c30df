"""What the owner of the instance said, in SQLite: sealed secrets and grants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tickover.store.base import Clock, Grant, GrantItem, SecretNotFoundError, SecretRecord
from tickover.store.database import Database
from tickover.store.encoding import decode_json, encode_json
from tickover.store.rules import printable


class SqliteSecrets:
    """`Secrets`. What a new version replaces is overwritten in the file and in its log."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def put(
        self, name: str, *, kind: str, sealed: bytes, by: str, binding: Mapping[str, Any] | None = None
    ) -> SecretRecord:
        name = printable(name)
        with self._database.writing():
            before, at = self._newest(name), self._clock()
            living = before is not None and before.sealed
            kept = binding if binding is not None or not living or before is None else before.binding
            text = None if kept is None else encode_json(kept)
            version = 1 if before is None else before.version + 1
            self._database.run("drop_secret", {"name": name, "at": at})
            self._database.run("put_secret", (name, version, kind, text, sealed, at, printable(by)))
        self._database.forget_history()
        return SecretRecord(name, version, kind, at, printable(by), sealed, None if text is None else decode_json(text))

    def get(self, name: str) -> SecretRecord:
        with self._database.reading():
            found = self._newest(printable(name))
        if found is None or not found.sealed:
            raise SecretNotFoundError(name)
        return found

    def list(self) -> Sequence[SecretRecord]:
        with self._database.reading():
            return [_secret(found) for found in self._database.run("secrets").fetchall()]

    def remove(self, name: str) -> None:
        with self._database.writing():
            asked = {"name": printable(name), "at": self._clock()}
            if self._database.run("drop_secret", asked).rowcount == 0:
                raise SecretNotFoundError(name)
        self._database.forget_history()

    def _newest(self, name: str) -> SecretRecord | None:
        found = self._database.run("secret_newest", (name,)).fetchone()
        return _secret(found) if found else None


def _secret(found: Sequence[Any]) -> SecretRecord:
    name, version, kind, binding, sealed, at, by = found
    return SecretRecord(name, version, kind, at, by, sealed or b"", None if binding is None else decode_json(binding))


class SqliteGrants:
    """`Grants`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def current(self, routine: str) -> Sequence[Grant]:
        with self._database.reading():
            return self._read(printable(routine))

    def replace(self, routine: str, folder: str, items: Sequence[GrantItem], *, by: str) -> Sequence[Grant]:
        routine, folder, by = printable(routine), printable(folder), printable(by)
        wanted = {item.digest: item for item in items}
        with self._database.writing():
            at = self._clock()
            have = {grant.digest for grant in self._read(routine) if grant.folder == folder}
            gone = [(at, by, routine, folder, digest) for digest in sorted(have - set(wanted))]
            new = [
                (routine, digest, item.item, printable(item.says), folder, at, by)
                for digest, item in wanted.items()
                if digest not in have
            ]
            self._database.run_many("revoke_grant", gone)
            self._database.run_many("put_grant", new)
            return [grant for grant in self._read(routine) if grant.folder == folder]

    def _read(self, routine: str) -> list[Grant]:
        return [Grant(*found) for found in self._database.run("granted", (routine,)).fetchall()]
