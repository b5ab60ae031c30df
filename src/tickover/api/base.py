"""What the HTTP face needs of the house. `Tickover` offers it; `tickover.testing.desk` has a fake."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from tickover.control.access import Access
from tickover.control.triggers import Installed
from tickover.core.definition import Routine
from tickover.core.event import JournalEvent
from tickover.core.instance import Credential
from tickover.core.row import RunRow
from tickover.core.wish import Enqueued, Wish
from tickover.store.base import SecretRecord
from tickover.store.events import Events
from tickover.store.outbox import Delivery, Letter
from tickover.store.usage import RunSum


class Pushed(Protocol):
    """What became of a push. `version` names these very files."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...


class Registered(Protocol):
    """A routine that the server knows. Times are UTC epoch seconds; `paused_at` is None while it may start."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def pushed_at(self) -> float: ...
    @property
    def pushed_by(self) -> str: ...
    @property
    def paused_at(self) -> float | None: ...
    @property
    def paused_by(self) -> str: ...
    @property
    def paused_reason(self) -> str: ...


class Planned(Protocol):
    """A schedule with its next slot."""

    @property
    def routine(self) -> str: ...
    @property
    def spec(self) -> Mapping[str, Any]: ...
    @property
    def slot(self) -> float | None: ...
    @property
    def fire_at(self) -> float | None: ...
    @property
    def enabled(self) -> bool: ...


class Asks(Protocol):
    """One thing that a routine asks for."""

    @property
    def kind(self) -> str: ...
    @property
    def says(self) -> str: ...


class Asked(Protocol):
    """What a routine asks for beside what it was granted. `digest` names exactly this comparison."""

    @property
    def routine(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def digest(self) -> str: ...
    @property
    def new(self) -> Sequence[Asks]: ...
    @property
    def kept(self) -> Sequence[Asks]: ...
    @property
    def gone(self) -> Sequence[str]: ...


class Kept(Protocol):
    """A secret without its value."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def credential(self) -> Credential | None: ...
    @property
    def in_file(self) -> bool: ...
    @property
    def record(self) -> SecretRecord | None: ...


class Desk(Protocol):
    """The verbs and the reading that routes are made of. Synchronous: a route hands each call to a thread."""

    @property
    def access(self) -> Access: ...

    def run_rows(
        self,
        *,
        routine: str | None = None,
        execution: str | None = None,
        outcome: str | None = None,
        limit: int = 50,
        before: str | None = None,
    ) -> Sequence[RunRow]:
        """Return runs, newest first; `before` is the id of the last run of the page before."""
        ...

    def run_row(self, run: str) -> RunRow:
        """Return a run. Raises NotFoundError."""
        ...

    def journal(self, run: str, after: int = 0) -> Sequence[JournalEvent]: ...

    def wait(self, run: str, after: int, timeout: float) -> int: ...

    def artifact(self, run: str, path: str) -> bytes: ...

    def blob(self, digest: str) -> bytes: ...

    def cancel(self, run: str, by: str) -> None: ...

    def push(self, folder: Path | str, by: str = "") -> Pushed: ...

    def asked(self, name: str) -> Sequence[str]:
        """Say what a pushed routine asks for and was not granted. Raises NotFoundError."""
        ...

    def routines(self) -> Sequence[Registered]: ...

    def routine(self, name: str) -> Registered:
        """Return a routine. Raises NotFoundError."""
        ...

    def definition(self, name: str) -> Routine:
        """Return what the routine says, in the version that runs next. Raises NotFoundError, DefinitionErrors."""
        ...

    def versions(self, name: str) -> Sequence[tuple[str, float, str]]:
        """Return version, moment and who of each push, newest first. Raises NotFoundError."""
        ...

    def schedules(self) -> Sequence[Planned]: ...

    def pause(self, name: str, by: str, reason: str) -> object: ...

    def resume(self, name: str, by: str) -> object: ...

    def enqueue(self, wish: Wish) -> Enqueued: ...

    def letters(self, *, limit: int = 100, before: int | None = None) -> Sequence[tuple[Letter, Sequence[Delivery]]]:
        """Return notices with the attempts to deliver them, newest first."""
        ...

    def usage(self, since: float) -> Sequence[RunSum]: ...

    def pushed_grants(self, name: str) -> Asked:
        """Compare what a pushed routine asks for with what it was granted. Raises NotFoundError."""
        ...

    def grant_pushed(self, name: str, digest: str, *, by: str) -> Asked:
        """Grant what `pushed_grants` showed under this digest. Raises GrantChangedError where it shows another now."""
        ...

    def secret_list(self) -> Sequence[Kept]: ...

    def secret_set(self, name: str, value: bytes, *, by: str, binding: Mapping[str, Any] | None = None) -> Kept:
        """Keep a value as a new version. Raises UsageError; no text of it holds anything of the value."""
        ...

    def secret_remove(self, name: str) -> None:
        """Overwrite a value. Raises NotFoundError."""
        ...

    @property
    def events(self) -> Events: ...

    def installed(self) -> Iterable[Installed]: ...
