"""Everything between a sender and a run, in the server's event loop: the door, and the router behind it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from types import TracebackType
from typing import Final, Protocol, Self

from tickover.api.ingest import MAX_BODY, Ingest
from tickover.control.amazon import Certificates, Get, get
from tickover.control.changed_paths import AskPaths
from tickover.control.route import Fired, Router, Silence
from tickover.control.triggers import Installed, Triggers
from tickover.core.errors import TickoverError
from tickover.core.wish import Enqueued, Wish
from tickover.relay.mapper import Mapper
from tickover.store.base import Blobs
from tickover.store.events import Events

KEY_FILE: Final = "hooks.key"
_KEY_BYTES: Final = 32
_PURGE_S: Final = 3600.0
_KNOWN_S: Final = 5.0


class House(Protocol):
    """What `Tickover` offers for events."""

    @property
    def events(self) -> Events: ...
    @property
    def blobs(self) -> Blobs: ...
    def installed(self) -> Iterable[Installed]: ...
    def enqueue(self, wish: Wish) -> Enqueued: ...


class Hooks:
    """`asgi` is mounted at /hooks; from `__aenter__` to `__aexit__` events become runs.

    `secret` gives the value of a name, or raises a TickoverError; a value is kept for a few seconds. `own` are the
    logins under which this instance acts.
    `trouble` is told what the router died of; it is started again. `fired` is told of each run that an event started,
    `app_secret` names the secret of a GitHub App's own webhook; `base_url` is the address that senders use.
    `certificate` fetches the one at an address, for AWS SNS; `changed` says which files a pull request changes.
    """

    def __init__(
        self,
        house: House,
        *,
        secret: Callable[[str], bytes],
        key: bytes,
        clock: Callable[[], float],
        own: Collection[str] = (),
        max_body: int = MAX_BODY,
        alarm: Callable[[Silence], None] = lambda _: None,
        trouble: Callable[[BaseException], None] = lambda _: None,
        fired: Fired = lambda _record, _document, _routine, _run: None,
        app_secret: Callable[[], str | None] = lambda: None,
        base_url: str = "",
        certificate: Get = get,
        changed: AskPaths | None = None,
    ) -> None:
        self._house = house
        self._clock = clock
        self._trouble = trouble
        self._secret = secret
        self._known: dict[str, tuple[float, list[bytes]]] = {}
        self.triggers = Triggers(house.installed, key, clock=clock, app_secret=app_secret)
        self._mapper = Mapper()
        self.router = Router(
            house.events,
            house.blobs,
            self.triggers.targets,
            self._mapper,
            house.enqueue,
            clock=clock,
            own=own,
            alarm=alarm,
            fired=fired,
            changed=changed,
        )
        self._certificates = Certificates(clock=time.monotonic, get=certificate, report=trouble)
        self.asgi = Ingest(
            self.triggers.hook,
            self._values,
            house.events,
            house.blobs,
            clock=clock,
            wake=self.router.wake,
            max_body=max_body,
            base_url=base_url,
            certificate=self._certificates,
        )
        self._tasks: list[asyncio.Task[None]] = []
        self._bell: Callable[[], None] | None = None

    async def __aenter__(self) -> Self:
        listener, let_go = self._house.events.bell()
        loop = asyncio.get_running_loop()

        def heard() -> None:
            with contextlib.suppress(BlockingIOError):
                while listener.recv(16) is not None:
                    self.router.wake()

        def close() -> None:
            loop.remove_reader(listener)
            let_go()

        loop.add_reader(listener, heard)
        self._bell = close
        self._tasks = [asyncio.create_task(each) for each in (self._route(), self._purge())]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._bell is not None:
            self._bell()
        await self.router.close()
        await self._mapper.close()
        await self._certificates.close()

    def _values(self, name: str) -> Sequence[bytes]:
        """Return what verifies, nothing for a secret that is not set; a secret that was set counts soon."""
        now = self._clock()
        at, values = self._known.get(name, (float("-inf"), []))
        if not 0 <= now - at < _KNOWN_S:
            try:
                values = [self._secret(name)]
            except TickoverError as error:
                values = []
                self._trouble(error)
            self._known[name] = (now, values)
        return values

    async def _route(self) -> None:
        """Route for ever: what stops the router is told, and does not stop the next event."""
        while True:
            try:
                await self.router.serve()
            except Exception as error:  # noqa: BLE001 - told; every event is still `received`
                self._trouble(error)
                await asyncio.sleep(1)

    async def _purge(self) -> None:
        while True:
            await asyncio.sleep(_PURGE_S)
            await asyncio.to_thread(self._house.events.purge, self._clock())


def hooks_key(folder: str) -> bytes:
    """Read the key that makes unguessable URLs, making it on first use: DATA/hooks.key, readable by its owner only."""
    path = os.path.join(folder, KEY_FILE)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    unfinished = f"{path}.{os.getpid()}"
    if not os.path.lexists(path):
        with contextlib.suppress(FileExistsError):
            with open(os.open(unfinished, flags, 0o600), "wb") as file:
                file.write(os.urandom(_KEY_BYTES))
                file.flush()
                os.fsync(file.fileno())
            os.link(unfinished, path)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(unfinished)
    with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW), "rb") as file:
        return file.read(_KEY_BYTES)
