"""What a routine asks of its owner, item by item, and what of it has to be granted before a run.

An item is canonical JSON, so that a routine that asks for anything else, or for the same of another repository, asks
anew. A person who starts a run and watches it needs no grant for hosts that are only read, without a credential.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Collection, Iterable, Iterator
from enum import StrEnum
from typing import Any, NamedTuple

from pydantic import JsonValue

from tickover.core.contract import spoken_names
from tickover.core.definition import Routine
from tickover.core.errors import TickoverError, UsageError
from tickover.core.instance import Instance, credentials_of, read_by_checks
from tickover.core.mcp import McpSettings
from tickover.core.permission import PushPermission
from tickover.core.receipt import canonical_json


class AskKind(StrEnum):
    """What kind of thing is asked for. Hosts are asked for last: they alone may go without a grant."""

    CREDENTIAL = "credential"
    WRITE = "write"
    HOST = "host"


class Ask(NamedTuple):
    """One thing that a routine asks for, and the sentence a person reads before granting it."""

    kind: AskKind
    item: str
    says: str

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.item.encode()).hexdigest()


class NotGrantedError(TickoverError):
    """A run asks for what its owner has not granted. The hint is the command to type."""

    def __init__(self, routine: str, folder: str, missing: Collection[Ask]) -> None:
        what = "; ".join(each.says for each in missing)
        text = f"`{routine}` asks for what has not been granted: {what}"
        super().__init__("grant.needed", text, hint=f"tickover grant {shlex.quote(folder)}")


class GrantChangedError(UsageError):
    """What was read is not what a grant would grant by now."""

    def __init__(self, routine: str) -> None:
        text = f"`{routine}` asks for something else by now"
        super().__init__("grant.changed", text, hint="read it again, and approve that")


class Change(NamedTuple):
    """What a grant would change: items that are new, that stay, and (as digests) that are taken back."""

    new: tuple[Ask, ...]
    kept: tuple[Ask, ...]
    gone: tuple[str, ...]


def asks_of(routine: Routine, instance: Instance) -> tuple[Ask, ...]:
    """List everything a routine asks for: credentials with where they go, writes, hosts."""
    return (*_credentials(routine, instance), *_writes(routine), *_servers(routine, instance), *_hosts(routine))


def waiting(asks: Iterable[Ask], granted: Collection[str], *, foreground: bool) -> tuple[Ask, ...]:
    """List what a run has to wait for. `granted` has digests; `foreground`: a person started it and watches."""
    return tuple(each for each in asks if each.digest not in granted and not (foreground and each.kind is AskKind.HOST))


def change(asks: Iterable[Ask], granted: Collection[str]) -> Change:
    """Compare what is asked with what is granted."""
    asked = tuple(asks)
    digests = {each.digest for each in asked}
    return Change(
        tuple(each for each in asked if each.digest not in granted),
        tuple(each for each in asked if each.digest in granted),
        tuple(digest for digest in granted if digest not in digests),
    )


def _ask(kind: AskKind, says: str, **item: Any) -> Ask:
    return Ask(kind, canonical_json(item).decode(), says)


def _credentials(routine: Routine, instance: Instance) -> Iterator[Ask]:
    for name in credentials_of(routine, instance):
        known = instance.credentials.get(name)
        hosts = ", ".join(known.hosts) if known else ""
        what = f", and all that it can read at {hosts}" if hosts else " (this instance does not have it yet)"
        yield _ask(AskKind.CREDENTIAL, f"the credential `{name}`{what}", credential=name, hosts=_bound(name, instance))
    for name, keys in read_by_checks(routine, instance).items():
        kinds = sorted({key.rpartition(".")[2] for key in keys})
        says = f"that its checks read {', '.join(kinds)} with the credential `{name}`"
        yield _ask(AskKind.CREDENTIAL, says, credential=name, verifier=kinds, hosts=_bound(name, instance))


def _bound(name: str, instance: Instance) -> list[str]:
    """List where a credential may go: what was granted for one place is not granted for another."""
    known = instance.credentials.get(name)
    return sorted(known.hosts) if known else []


def _writes(routine: Routine) -> Iterator[Ask]:
    names = spoken_names(routine)
    for permission in routine.may:
        item: dict[str, Any] = {permission.kind: permission.model_dump(mode="json", by_alias=True)}
        if isinstance(permission, PushPermission) and permission.repo in routine.repositories:
            repository = routine.repositories[permission.repo]
            item |= {"repository": repository.url, "credential": repository.credential}
        yield _ask(AskKind.WRITE, f"to change {permission.sentence(names)}", may=item)


def _servers(routine: Routine, instance: Instance) -> Iterator[Ask]:
    """Yield the MCP servers that are asked: what they read is read outside, and told to the agent."""
    for name, offered in routine.connectors.items():
        known = instance.connectors.get(name)
        if known is not None and known.mcp is not None:
            tools = f"its tools {', '.join(offered.tools)}" if offered.tools else "those of its tools that only read"
            says = f"to ask the MCP server {name} {known.mcp.place}, with {tools}"
            item = {"url": known.mcp.url} if known.mcp.url else {"program": _identity_of(known.mcp)}
            yield _ask(AskKind.HOST, says, mcp=name, tools=list(offered.tools), **item)


def _identity_of(settings: McpSettings) -> JsonValue:
    """Return what a program is and may reach: another one is asked for anew."""
    return None if settings.program is None else settings.program.model_dump(mode="json")


def _hosts(routine: Routine) -> Iterator[Ask]:
    network = routine.environment.network
    if network == "observe":
        yield _ask(AskKind.HOST, "to reach any host that this instance does not deny", network="observe")
    elif not isinstance(network, str):
        for entry in dict.fromkeys(network):
            yield _ask(AskKind.HOST, f"to reach {entry}", host=entry)
