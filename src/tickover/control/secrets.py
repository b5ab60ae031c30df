"""The owner's secrets: set, listed, removed. A value goes in sealed, and nothing here ever gives one back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from tickover.core.errors import UsageError
from tickover.core.instance import SIGNING, Credential, Instance
from tickover.core.shape import NAME
from tickover.core.text import one_line
from tickover.gateway.scrub import SHORTEST
from tickover.gateway.secrets import key_for, seal
from tickover.store.base import SecretNotFoundError, SecretRecord, Secrets

LARGEST: Final = 16 * 1024  # bytes: more than any server takes in a header


Sealed = Callable[[str, str, str, bytes], bytes]
"""Seals a value: the data folder, the secret's name and kind, the value."""


def seal_here(folder: str, name: str, kind: str, value: bytes) -> bytes:
    """Seal in this process."""
    return seal(key_for(folder, kind), name=name, kind=kind, value=value)


@dataclass(frozen=True, slots=True)
class Shown:
    """A secret as its owner sees it: everything but the value. `credential` None: nothing says where it may go."""

    name: str
    kind: str
    credential: Credential | None
    in_file: bool
    record: SecretRecord | None
    """None: tickover.yaml has the credential, and no value was set."""


class SecretBook:
    """All secrets of an instance. `configured` is what tickover.yaml says, `sealed` who seals (`seal_here`)."""

    def __init__(
        self, secrets: Secrets, folder: Path, configured: Callable[[], Instance], sealed: Sealed | None = None
    ) -> None:
        self._secrets = secrets
        self._folder = folder
        self._configured = configured
        self._sealed = sealed or seal_here

    def instance(self) -> Instance:
        """Return tickover.yaml with the bindings that were set beside it. Raises DefinitionErrors."""
        kept = {each.name: Credential.model_validate(each.binding) for each in self._secrets.list() if each.binding}
        return self._configured().with_credentials(kept)

    def set(self, name: str, value: bytes, *, by: str, binding: Mapping[str, Any] | None = None) -> SecretRecord:
        """Keep a value, as a new version. `binding` says where it may go, as `credentials` of tickover.yaml would.

        Raises UsageError; no text of it holds anything of the value.
        """
        _check_name(name)
        credential, kept = self._binding(name, binding)
        _check_value(value, credential)
        sealed = self._sealed(str(self._folder), name, credential.kind, value)
        return self._secrets.put(name, kind=credential.kind, sealed=sealed, by=by, binding=kept)

    def get(self, name: str) -> Shown:
        """Return a secret. Raises SecretNotFoundError."""
        for each in self.list():
            if each.name == name:
                return each
        raise SecretNotFoundError(name)

    def list(self) -> list[Shown]:
        """Return every secret and every credential of tickover.yaml, by name."""
        configured = self._configured().credentials
        records = {each.name: each for each in self._secrets.list()}
        return [
            _shown(name, configured.get(name), records.get(name)) for name in sorted(configured.keys() | records.keys())
        ]

    def remove(self, name: str) -> None:
        """Overwrite a value. Raises SecretNotFoundError."""
        self._secrets.remove(name)

    def _binding(self, name: str, given: Mapping[str, Any] | None) -> tuple[Credential, dict[str, Any] | None]:
        """Return what the secret is used as, and what of it is kept in the store."""
        configured = self._configured().credentials.get(name)
        if configured is not None:
            if given:
                text = f"tickover.yaml says already where `{name}` may go, and it is the one that counts"
                raise UsageError("credential.in_file", text, hint="change it there, or take it out there")
            return configured, None
        if not given:
            try:
                given = self._secrets.get(name).binding
            except SecretNotFoundError:
                given = None
            if given is None:
                hint = "--hosts HOST, or `credentials` in tickover.yaml; --kind signing for what is never sent"
                raise UsageError("credential.no_hosts", f"nothing says where `{name}` may go", hint=hint)
        try:
            return Credential.model_validate(given), dict(given)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(str(part) for part in first["loc"])
            text = f"{place}: {first['msg']}" if place else first["msg"]
            raise UsageError("credential.malformed", one_line(text, 300)) from None


def _shown(name: str, configured: Credential | None, record: SecretRecord | None) -> Shown:
    credential = configured
    if credential is None and record is not None and record.binding is not None:
        credential = Credential.model_validate(record.binding)
    kind = credential.kind if credential else record.kind if record else ""
    return Shown(name, kind, credential, configured is not None, record)


def _check_name(name: str) -> None:
    try:
        NAME.check(name)
    except PydanticCustomError as error:
        raise UsageError("secret.name", f"`{one_line(name, 80)}`: {error.message()}") from None


def _check_value(value: bytes, credential: Credential) -> None:
    if len(value) < SHORTEST:
        text = f"the value has {len(value)} bytes; one of fewer than {SHORTEST} cannot be kept out of what is shown"
        raise UsageError("secret.too_short", text)
    if len(value) > LARGEST:
        raise UsageError("secret.too_long", f"the value has more than {LARGEST} bytes")
    if credential.kind != SIGNING and any(byte < 0x20 or byte == 0x7F for byte in value):
        text = "the value holds a line break or another control character, so it cannot stand in a request"
        raise UsageError("secret.control", text, hint="one line feed at its end is dropped; give the rest without")
