"""Secrets and grants in this process's memory: what `MemoryStore` is made of besides runs."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tickover.store.base import Clock, Grant, GrantItem, SecretNotFoundError, SecretRecord
from tickover.store.encoding import decode_json, encode_json
from tickover.store.rules import printable


class MemorySecrets:
    """`Secrets`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._newest: dict[str, SecretRecord] = {}

    def put(
        self, name: str, *, kind: str, sealed: bytes, by: str, binding: Mapping[str, Any] | None = None
    ) -> SecretRecord:
        with self._lock:
            before = self._newest.get(name := printable(name))
            kept = before.binding if binding is None and before is not None and before.sealed else binding
            version = before.version + 1 if before else 1
            copied = None if kept is None else decode_json(encode_json(kept))
            record = SecretRecord(name, version, kind, self._clock(), printable(by), sealed, copied)
            self._newest[name] = record
            return record

    def get(self, name: str) -> SecretRecord:
        with self._lock:
            found = self._newest.get(printable(name))
        if found is None or not found.sealed:
            raise SecretNotFoundError(name)
        return found

    def list(self) -> Sequence[SecretRecord]:
        with self._lock:
            return sorted((each for each in self._newest.values() if each.sealed), key=lambda each: each.name)

    def remove(self, name: str) -> None:
        found = self.get(name)
        with self._lock:
            self._newest[found.name] = replace(found, sealed=b"")


class MemoryGrants:
    """`Grants`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._granted: list[Grant] = []

    def current(self, routine: str) -> Sequence[Grant]:
        with self._lock:
            return [each for each in self._granted if each.routine == printable(routine)]

    def replace(self, routine: str, folder: str, items: Sequence[GrantItem], *, by: str) -> Sequence[Grant]:
        routine, folder, by = printable(routine), printable(folder), printable(by)
        wanted = {item.digest: item for item in items}
        with self._lock:
            at = self._clock()
            mine = [each for each in self._granted if (each.routine, each.folder) == (routine, folder)]
            kept = [each for each in mine if each.digest in wanted]
            new = [
                Grant(routine, digest, item.item, printable(item.says), folder, at, by)
                for digest, item in wanted.items()
                if digest not in {each.digest for each in kept}
            ]
            self._granted = [each for each in self._granted if each not in mine or each in kept] + new
            return [*kept, *new]
