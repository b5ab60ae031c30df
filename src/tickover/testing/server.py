"""A server whose attempts are told instead of made: real scheduler, engine, steps and store, on a told clock."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

from tickover.control.aftermath import Aftermath
from tickover.control.dispatch import Accepted
from tickover.control.enqueue import Desk
from tickover.control.house import House
from tickover.control.keep import TTL, Kept
from tickover.control.record import Recorder
from tickover.control.registry import Registry
from tickover.control.scheduler import Scheduler, Watch
from tickover.control.server import Server
from tickover.control.step import Stepper
from tickover.core.admission import Caps
from tickover.core.cause import Cause, CauseCode
from tickover.core.event import AgentStarted, AttemptFinished, AttemptStarted, Fact, VerdictReached, payload
from tickover.core.instance import Instance
from tickover.core.noticed import Notice
from tickover.core.retry import Retry
from tickover.core.row import RunRow
from tickover.core.status import Execution, Outcome
from tickover.engine.embedded import EmbeddedEngine
from tickover.plugins import find
from tickover.store.blobs import FileBlobs
from tickover.store.process import is_gone, this_process
from tickover.store.projection import project_run
from tickover.store.sqlite import SqliteStore
from tickover.testing.clock import FakeClock

VERIFIED: tuple[Fact, ...] = (
    AgentStarted(),
    AttemptFinished(execution=Execution.COMPLETED),
    VerdictReached(outcome=Outcome.VERIFIED, reason="told"),
)
FAILED: tuple[Fact, ...] = (
    AgentStarted(),
    AttemptFinished(execution=Execution.FAILED, cause=Cause(None, CauseCode.AGENT_FAILED, "told")),
    VerdictReached(outcome=Outcome.UNVERIFIED, reason="told"),
)

_GONE = "11111111-0000-0000-0000-000000000000:1:1:1"
"""The name of a process of another boot."""

Told = Callable[[RunRow], tuple[Fact, ...]]
"""What an attempt of this run comes to."""


class ToldServer:
    """A data folder on a told clock. `tell` says what an attempt comes to; `wrong` is what went wrong beside runs."""

    def __init__(self, home: Path, clock: FakeClock | None = None, *, caps: Caps | None = None) -> None:
        self.home = home
        self.clock = clock or FakeClock()
        self.caps = caps or Caps()
        self.tell: Told = lambda _row: VERIFIED
        self.hold: asyncio.Event | None = None
        """While it is there and not set, attempts wait for it before they end."""
        self.lease_s = TTL
        self.noticed: list[Notice] = []
        self.wrong: list[tuple[str, BaseException]] = []
        self.store = SqliteStore(str(home), project_run, clock=self.clock.now)
        with self.store._database.reading():  # noqa: SLF001 - a test of its own ends no machine
            self.store._database.run_sql("PRAGMA synchronous = OFF")  # noqa: SLF001 - no commit waits for the disk
        self.blobs = FileBlobs(str(home / "blobs"))
        self.registry = Registry(self.store, home, self.clock.now)
        self.desk = Desk(self.store, self.blobs, self.registry, lambda: self.caps, self.clock.now, secrets.token_hex)
        self.engine: EmbeddedEngine | None = None

    def push(self, front: str, name: str = "r") -> None:
        """Push a routine of one step with these lines in its front matter."""
        folder = self.home / "sources" / "routines" / name
        folder.mkdir(parents=True, exist_ok=True)
        text = f"---\nname: {name}\nagent: steps\n{front.rstrip()}\n---\n```bash\ntrue\n```\n"
        (folder / "ROUTINE.md").write_text(text, encoding="utf-8")
        self.registry.push(str(folder), "test")

    def rows(self, **filters: Any) -> list[RunRow]:
        """Return runs, oldest first."""
        found = self.store.runs.list(limit=1_000_000, **filters)
        return [RunRow.model_validate(each.row) for each in reversed(found)]

    def row(self, run: str) -> RunRow:
        return RunRow.model_validate(self.store.runs.get(run).row)

    def leave_open(
        self, run: str, *more: Fact, before: Sequence[Fact] = (), started: AgentStarted | None = None
    ) -> None:
        """Write what a server that was killed had written: an attempt under way, its lease not given back.

        `before` and `more` are facts before and after the agent's start.
        """
        self.store.queue.claim(run, 8, self.clock.now())
        lease = self.store.leases.acquire(run, _GONE, 30)
        facts = [AttemptStarted(attempt=1), *before, started or AgentStarted(), *more]
        events = [{"type": fact.type, **payload(fact)} for fact in facts]
        self.store.journal.append(run, lease.fence, events, attempt=1)

    def server(self) -> Server:
        """Make a server, to be entered."""
        aftermath = Aftermath(self.store, self.registry, lambda: self.caps, self.clock.now, self.noticed.append)
        house = House(
            data=self.home,
            owner=this_process(),
            is_gone=is_gone,
            store=self.store,
            blobs=self.blobs,
            backend=cast("Any", None),
            mirrors=cast("Any", None),
            agent=lambda name: find("agents", name)(),
            check=lambda kind: find("checks", kind)(),
            report=cast("Any", None),
            instance=Instance,
            presets=dict,
            packages=cast("Any", None),
            gateway=cast("Any", None),
            lease_s=self.lease_s,
        )
        stepper = Stepper(
            house, self.store, self.registry, self.clock, lambda: self.caps, aftermath, work=self._attempt
        )

        report = self._report
        self.engine = EmbeddedEngine(self.store.queue, self.clock, report=report)
        scheduler = self.scheduler()
        return Server(
            data=self.home,
            store=self.store,
            engine=self.engine,
            scheduler=scheduler,
            stepper=stepper,
            clock=self.clock,
            rings=(self.engine.ring, scheduler.ring),
        )

    def scheduler(self) -> Scheduler:
        """Make a scheduler, to be served by a server."""
        watch = Watch(boot=self.clock.boot, monotonic=self.clock.monotonic)
        return Scheduler(
            self.store.schedules,
            self.desk,
            self.clock,
            watch=watch,
            report=lambda error: self._report("schedules", error),
        )

    def _report(self, what: str, error: BaseException) -> None:
        self.wrong.append((what, error))

    @asynccontextmanager
    async def up(self) -> AsyncIterator[Server]:
        """Be up, quiet at first."""
        async with self.server() as server:
            await self.quiet()
            yield server

    async def quiet(self) -> None:
        """Wait until nothing happens before the clock moves."""
        engine = self.engine
        assert engine is not None
        await self.clock.idle(2, lambda: engine.busy > 0 and self.hold is None)

    async def live(self, until: float) -> None:
        """Let the clock go from one moment that somebody waits for to the next, up to `until`."""
        while (at := self.clock.next()) is not None and at <= until:
            self.clock.advance(max(at - self.clock.now(), 0.0))
            await self.quiet()
        self.clock.advance(max(until - self.clock.now(), 0.0))
        await self.quiet()

    async def _attempt(
        self, house: House, accepted: Accepted, record: Recorder, kept: Kept, number: int
    ) -> Retry | None:
        del house, accepted
        record.attempt = number
        await record.add(AttemptStarted(attempt=number))
        if self.hold is not None:
            waiting = [asyncio.ensure_future(self.hold.wait()), asyncio.ensure_future(kept.gone.wait())]
            try:
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for each in waiting:
                    each.cancel()
        if kept.gone.is_set():
            cause = Cause(None, CauseCode.CANCELLED)
            await record.add(AttemptFinished(execution=Execution.CANCELLED, cause=cause))
            return None
        await record.add(*self.tell(record.row()))
        return None
