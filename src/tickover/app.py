"""The composition root: the only module that knows concrete adapters. Every face goes through `Tickover`."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from tickover.control.access import Access
from tickover.control.aftermath import Aftermath
from tickover.control.backfill import Backfill
from tickover.control.canary import Canary
from tickover.control.caps import CapsBook
from tickover.control.changed_paths import AskPaths, asking
from tickover.control.dispatch import RunRequest, accept
from tickover.control.enqueue import Desk
from tickover.control.execute import execute
from tickover.control.github import github
from tickover.control.grants import place_of
from tickover.control.house import House
from tickover.control.install import install
from tickover.control.keep import TTL
from tickover.control.keepsake import FOLDER
from tickover.control.marks import CommitMarks
from tickover.control.newsdesk import NewsDesk
from tickover.control.notify import Postman
from tickover.control.playback import replay
from tickover.control.receipts import Traffic, traffic_of, why_broken
from tickover.control.recover import recover
from tickover.control.refuse import refuse
from tickover.control.registry import Pushed, Registry, is_pushed, load_pushed
from tickover.control.route import Target
from tickover.control.scheduler import Scheduler, Watch
from tickover.control.secrets import SecretBook, Shown
from tickover.control.server import Server
from tickover.control.signing import signing_secret
from tickover.control.step import Stepper
from tickover.control.tracing import Tracing
from tickover.control.triggers import Installed
from tickover.control.vault import StoreVault
from tickover.core.account import Accounts
from tickover.core.admission import Caps, by_hand, needs
from tickover.core.callback import Posting, postings
from tickover.core.canary import CanaryNote, Case
from tickover.core.comparison import Comparison
from tickover.core.definition import Routine
from tickover.core.errors import NotFoundError, UsageError
from tickover.core.event import JournalEvent
from tickover.core.github_app import GITHUB_APP
from tickover.core.grant import Ask, GrantChangedError, asks_of, change
from tickover.core.instance import egress_of, read_back_of, verifier_egress_of
from tickover.core.network import Preset
from tickover.core.noticed import Notice
from tickover.core.row import RunRow
from tickover.core.wish import Enqueued, Wish
from tickover.engine.base import Clock
from tickover.engine.clock import WallClock
from tickover.engine.embedded import EmbeddedEngine
from tickover.gateway.client import GatewayClient
from tickover.gateway.packages import Packages, find_packages
from tickover.gateway.presets import PACKAGES, presets
from tickover.gateway.sealing import seal_apart
from tickover.gateway.secrets import KEY_FILE
from tickover.plugins import find
from tickover.routines.instance import config_path, load_instance
from tickover.routines.loader import Loaded, load_folder
from tickover.sandbox.base import BackendReport
from tickover.sandbox.lasting import LastingBackend
from tickover.store.base import OUTSIDE, GrantItem
from tickover.store.blobs import FileBlobs
from tickover.store.events import Events
from tickover.store.outbox import Delivery, Letter
from tickover.store.process import is_gone, this_process
from tickover.store.projection import project_run
from tickover.store.server import RoutineRecord, ScheduleRecord
from tickover.store.sqlite import SqliteStore
from tickover.store.sqlite_events import SqliteEvents
from tickover.store.usage import RunSum
from tickover.workspace.builds import Build, Builds, checked
from tickover.workspace.mirror import Mirrors
from tickover.workspace.sweep import sweep

__all__ = ["GrantView", "RunRequest", "Tickover", "home_folder"]

_OTLP: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")

Observer = Callable[[JournalEvent], None]
Report = Callable[[str, BaseException], None]
"""Told what of (a run, or `schedules`) went wrong, and how."""


def ignore(_what: str, _error: BaseException) -> None:
    """Stand in for a `Report` where nobody listens."""


def home_folder() -> Path:
    """Return where everything is kept: $TICKOVER_HOME, else $XDG_DATA_HOME/tickover, else ~/.local/share/tickover."""
    if given := os.environ.get("TICKOVER_HOME"):
        return Path(given)
    share = os.environ.get("XDG_DATA_HOME")
    return Path(share) / "tickover" if share else Path.home() / ".local/share/tickover"


class GrantView(NamedTuple):
    """What a routine asks for beside what it was granted. `gone` has sentences: it no longer asks for them."""

    routine: str
    folder: Path
    new: tuple[Ask, ...]
    kept: tuple[Ask, ...]
    gone: tuple[str, ...]
    version: str = ""
    """Of a pushed routine: the version that is compared."""

    @property
    def differs(self) -> bool:
        return bool(self.new or self.gone)

    @property
    def digest(self) -> str:
        """Return what names exactly this comparison."""
        told = {"new": [each.item for each in self.new], "kept": [each.item for each in self.kept], "gone": self.gone}
        plain = {key: sorted(items) for key, items in told.items()}
        return hashlib.sha256(json.dumps([self.routine, self.version, plain], sort_keys=True).encode()).hexdigest()


class Tickover:
    """One data folder and everything that works on it. Use as `async with await Tickover.open() as tickover`."""

    def __init__(self, home: Path, backend: LastingBackend | None) -> None:
        self.home = home
        self.backend = backend
        self.store = SqliteStore(str(home), project_run)
        self.blobs = FileBlobs(str(home / "blobs"))
        self.access = Access(self.store.tokens, self.store.audit, clock=time.time, random=secrets.token_bytes)
        self._caps = CapsBook(lambda: config_path(home)[0], lambda: load_instance(home))
        self.registry = Registry(self.store, home, time.time, self._possible)
        self._desk = Desk(self.store, self.blobs, self.registry, self._caps.current, time.time, secrets.token_hex)
        self.secrets = SecretBook(self.store.secrets, home, lambda: load_instance(home))
        self._mirrors = Mirrors(home)
        self._accounts = Accounts()
        self.gateway = GatewayClient(str(home / KEY_FILE), StoreVault(self.store.secrets, home))
        self.lease_s = TTL
        """Seconds that a run of this process lives on when the process does not: nothing of it leaves after that."""
        self._packages: asyncio.Task[Packages] | None = None
        self._report: asyncio.Task[BackendReport] | None = None
        self._cancel: Callable[[], None] | None = None
        self._cancel_wished = False
        self._events: Events | None = None

    @classmethod
    async def open(cls, home: Path | None = None, *, sandbox: bool = True) -> Tickover:
        """Open a data folder; with `sandbox` start the launcher and settle what killed processes left.

        Raises SandboxRefused where no sandbox can be had.
        """
        folder = Path(os.path.abspath(home or home_folder()))  # noqa: ASYNC240 - before anything runs
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # noqa: ASYNC240
        except OSError as error:
            hint = "choose another with --home or TICKOVER_HOME"
            raise UsageError("home.unusable", f"{folder} cannot be made: {error.strerror}", hint=hint) from None
        backend = await LastingBackend.open(folder) if sandbox else None
        self = cls(folder, backend)
        if backend is not None:
            await asyncio.to_thread(sweep, folder)
            await recover(self._house())
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End every sandbox of ours and let go of the files."""
        await asyncio.gather(*filter(None, (self._report, self._packages)), return_exceptions=True)
        await self.gateway.close()
        if self.backend is not None:
            await self.backend.close()
        if self._events is not None:
            self._events.close()
        self.store.close()

    def _house(self) -> House:
        if self.backend is None:
            raise RuntimeError("opened without a sandbox")
        return House(
            data=self.home,
            accounts=self._accounts,
            owner=this_process(),
            is_gone=is_gone,
            store=self.store,
            blobs=self.blobs,
            backend=self.backend,
            mirrors=self._mirrors,
            report=self._report_once,
            instance=self.secrets.instance,
            presets=_presets,
            agent=lambda name: find("agents", name)(),
            check=lambda kind: find("checks", kind)(),
            packages=self._packages_once,
            lease_s=self.lease_s,
            gateway=self.gateway,
        )

    def _packages_once(self) -> Awaitable[Packages]:
        """Ask this machine's package managers once per process."""
        if self._packages is None or (self._packages.done() and self._packages.exception() is not None):
            self._packages = asyncio.create_task(find_packages())
        return asyncio.shield(self._packages)

    def _report_once(self) -> Awaitable[BackendReport]:
        """Start the probe once per process; what it saw is shown on every run."""
        if self._report is None:
            assert self.backend is not None
            self._report = asyncio.create_task(self.backend.report())
        return asyncio.shield(self._report)

    @property
    def caps(self) -> Caps:
        """What the instance allows now. Raises DefinitionErrors for a broken tickover.yaml."""
        return self._caps.current()

    # -- verbs -------------------------------------------------------------------------------------------------------

    def load(self, folder: Path | str) -> Loaded:
        """Load a routine's folder. Raises DefinitionErrors, NotFoundError."""
        return load_folder(str(folder))

    async def run(self, request: RunRequest, observe: Observer | None = None, *, record: bool = False) -> RunRow:
        """Run a routine to its end and return its row; `observe` sees every journal event, in order.

        With `record` its traffic is kept, so that it can be replayed.
        """
        house, loaded = self._house(), self.load(request.folder)
        if record:
            request = replace(request, record=await asyncio.to_thread(self.registry.copy, request.folder))
        counted = needs(loaded.routine.limits, Caps())
        counts = await asyncio.to_thread(self.store.queue.counts, loaded.routine.name, time.time(), counted)
        possible = partial(self._possible, loaded)
        accepted = accept(
            house.store, house.blobs, loaded, request, house.owner, random=secrets.token_hex, possible=possible
        )
        if (refusal := by_hand(loaded.routine.limits, counts)) is not None:
            return await refuse(house, accepted, refusal, observe)

        return await execute(house, accepted, observe, self._cancellable)

    async def replay(self, run: str, *, build: str | None = None, observe: Observer | None = None) -> Comparison:
        """Replay a recorded run offline, at another `build` (NAME@VERSION) of its agent if given.

        Raises NotFoundError where there is no such run or no recording, UsageError for a build of another agent.
        """

        def load(name: str, version: str) -> tuple[Loaded, str]:
            return self.registry.loaded(name, version), str(self.registry.folder(name, version))

        return await replay(
            self._house(), self.run_row(run), load, random=secrets.token_hex, build=build, observe=observe,
            cancellable=self._cancellable,
        )  # fmt: skip

    async def canary(self, build: str, routine: str | None, most: int, told: Callable[[Case], None]) -> CanaryNote:
        """Compare a build on the newest `most` recorded runs. Raises UsageError for what is none, SetupFailed."""
        install, stopped = partial(self.install, build), lambda: self._cancel_wished
        return await Canary(self._house(), build, install, self.replay, time.time, stopped, told).compare(routine, most)

    def _cancellable(self, cancel: Callable[[], None]) -> None:
        self._cancel = cancel
        if self._cancel_wished:
            cancel()

    def _possible(self, loaded: Loaded, routine: Routine) -> None:
        """Raise DefinitionErrors for a host, credential or connector that this instance can never give a run."""
        instance, known = self.secrets.instance(), _presets()
        with loaded.placing():
            egress_of(routine, instance, known)
            verifier_egress_of(routine, instance, known)
            read_back_of(routine, instance, known)

    def push(self, folder: Path | str, by: str = "") -> Pushed:
        """Copy a routine into the data folder, to be run by a server from now on.

        Raises what `load` raises, and DefinitionErrors for what this build cannot do or this instance not give.
        """
        return self.registry.push(str(folder), by)

    def pause(self, name: str, by: str, reason: str) -> RoutineRecord:
        """Start nothing of a pushed routine any more. Raises NotFoundError."""
        return self.registry.pause(name, by, reason)

    def resume(self, name: str, by: str) -> RoutineRecord:
        """Let it start again. Raises NotFoundError."""
        return self.registry.resume(name, by)

    def enqueue(self, wish: Wish) -> Enqueued:
        """Make a durable run that a server works on: queued, or refused with its reason. Raises NotFoundError."""
        return self._desk.enqueue(wish)

    def installed(self) -> list[Installed]:
        """Return what was pushed, as it is in force: what senders' events are for."""
        return [
            Installed(self.registry.loaded(each.name, each.version).routine, each.paused_at is not None)
            for each in self.registry.list()
        ]

    def server(self, *, noticed: Callable[[Notice], None] = lambda _notice: None, report: Report = ignore) -> Server:
        """Return the server of this data folder, to be entered. `report` is told of what went wrong beside any run."""
        clock: Clock = WallClock()
        house = self._house()
        aftermath = Aftermath(self.store, self.registry, self._caps.current, clock.now, noticed)
        stepper = Stepper(house, self.store, self.registry, clock, self._caps.current, aftermath)
        engine = EmbeddedEngine(self.store.queue, clock, at_once=self.caps.concurrent + 8, report=report)
        self.gateway.report = partial(report, "gateway")
        scheduler = Scheduler(
            self.store.schedules, self._desk, clock, watch=Watch(), report=lambda error: report("schedules", error)
        )
        return Server(
            data=self.home,
            store=self.store,
            engine=engine,
            scheduler=scheduler,
            stepper=stepper,
            clock=clock,
            rings=(engine.ring, scheduler.ring),
            vital={}
            if self.backend is None
            else {"sandbox launcher": partial(self.backend.mind, partial(report, "launcher"))},
        )

    def signing_secret(self, name: str) -> bytes:
        """Return a secret of kind `signing`, the only kind opened here. Raises NotFoundError, UsageError."""
        return signing_secret(self.store.secrets, self.home, name)

    def postman(self, *, more: Callable[[str], str], report: Report = ignore) -> Postman:
        """Return who tells people what became of runs. `more` says where a reader finds one."""
        return Postman(
            self.store.outbox,
            NewsDesk(self.store, self.registry, more, report),
            targets=lambda: load_instance(self.home).notify,
            notifier=lambda kind: find("notify", kind)(),
            secret=self.signing_secret,
            marks=self.marks(more=more),
            callbacks=self._callbacks,
        )

    def marks(self, *, more: Callable[[str], str]) -> CommitMarks:
        """Return who marks commits with what became of the runs that they started."""
        return CommitMarks(
            events=self.events,
            blobs=self.blobs,
            outbox=self.store.outbox,
            settings=lambda: load_instance(self.home).github,
            row=self.run_row,
            more=more,
            opened=lambda errand: github(self._house(), self.secrets.instance(), errand),
            clock=time.time,
        )

    def changed_paths(self) -> AskPaths:
        """Return who asks GitHub which files a pull request changes."""
        return asking(lambda errand: github(self._house(), self.secrets.instance(), errand))

    def backfill(self, targets: Callable[[], Sequence[Target]]) -> Backfill:
        """Return who looks for deliveries of GitHub that never arrived. `targets` are the triggers of all routines."""

        def as_app() -> bool:
            instance = self.secrets.instance()
            known = instance.credentials.get(instance.github.credential or "")
            return known is not None and known.kind == GITHUB_APP

        return Backfill(
            events=self.events,
            blobs=self.blobs,
            targets=targets,
            opened=lambda errand: github(self._house(), self.secrets.instance(), errand),
            as_app=as_app,
            note=self.store.schedules.note,
            clock=time.time,
            wake=self.events.ring,
        )

    def tracing(self, report: Report = ignore) -> Tracing | None:
        """Return who sends traces of runs, to be entered; None unless OTEL_EXPORTER_OTLP_(TRACES_)ENDPOINT says where.

        Raises UsageError without the extra `otel`.
        """
        if not any(map(os.environ.get, _OTLP)) or os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
            return None
        try:
            sender = find("telemetry", "otel")()
        except ModuleNotFoundError as error:
            text = f"traces need the extra `otel`: there is no module `{error.name}`"
            raise UsageError("otel.extra", text, hint=f"pip install 'tickover[otel]', or unset {_OTLP[0]}") from None
        return Tracing(self.store.journal.read, sender, partial(report, "traces"))

    def _callbacks(self) -> dict[str, Posting]:
        instance = load_instance(self.home)
        return postings(instance.callbacks, instance.network.private)

    def grants_of(self, folder: Path) -> GrantView:
        """Compare what a routine asks for with what it was granted. Raises DefinitionErrors."""
        pushed = is_pushed(self.home, folder)
        routine = (load_pushed(folder) if pushed else self.load(folder)).routine
        place = place_of(self.home, str(folder))
        granted = {each.digest: each for each in self.store.grants.current(routine.name) if each.folder == place}
        found = change(asks_of(routine, self.secrets.instance()), granted)
        gone = tuple(granted[digest].says for digest in found.gone)
        version = folder.parents[1].name if pushed else ""
        return GrantView(routine.name, folder, found.new, found.kept, gone, version)

    def pushed_folder(self, name: str) -> Path:
        """Return the folder of the version that runs next, which `grants_of` and `grant` take. Raises NotFoundError."""
        return self.registry.folder(name, self.registry.get(name).version)

    def asked(self, name: str) -> list[str]:
        """Say what a pushed routine asks for and was not granted. Raises NotFoundError."""
        return [each.says for each in self.grants_of(self.pushed_folder(name)).new]

    def grant(self, folder: Path, *, by: str) -> None:
        """Grant a routine exactly what it asks for now."""
        self._grant(self.grants_of(folder), by)

    def _grant(self, view: GrantView, by: str) -> None:
        items = [GrantItem(each.digest, each.item, each.says) for each in (*view.kept, *view.new)]
        self.store.grants.replace(view.routine, place_of(self.home, str(view.folder)), items, by=by)

    def pushed_grants(self, name: str) -> GrantView:
        """Compare what a pushed routine asks for with what it was granted. Raises NotFoundError, DefinitionErrors."""
        return self.grants_of(self.pushed_folder(name))

    def grant_pushed(self, name: str, digest: str, *, by: str) -> GrantView:
        """Grant what `pushed_grants` showed under this digest. Raises GrantChangedError where it shows another now."""
        view = self.pushed_grants(name)
        if view.digest != digest:
            raise GrantChangedError(name)
        self._grant(view, by)
        return view

    def secret_list(self) -> list[Shown]:
        """Return every secret, without its value."""
        return self.secrets.list()

    def secret_set(self, name: str, value: bytes, *, by: str, binding: Mapping[str, Any] | None = None) -> Shown:
        """Keep a value that came over HTTP: it is sealed by a process of its own. Raises UsageError."""
        book = SecretBook(self.store.secrets, self.home, lambda: load_instance(self.home), seal_apart)
        book.set(name, value, by=by, binding=binding)
        return book.get(name)

    def secret_remove(self, name: str) -> None:
        """Overwrite a value. Raises SecretNotFoundError."""
        self.secrets.remove(name)

    async def cancel_current(self) -> None:
        """Cancel the run that this process works on; `run` returns when everything is torn down."""
        self._cancel_wished = True
        if self._cancel is not None:
            self._cancel()

    async def report(self) -> list[BackendReport]:
        """Start one sandbox of each backend really, and say what is in force."""
        return [] if self.backend is None else [await self.backend.report()]

    async def install(self, build: str, archives: Sequence[Path] = ()) -> Build:
        """Install NAME@VERSION of an agent, from npm packages or this machine's registry.

        Raises SetupFailed with what npm said, UsageError, NotFoundError, TickoverError where there is no registry.
        """
        name, _, version = build.partition("@")
        package = find("agents", name).package
        if package is None:
            raise UsageError("agent.no_versions", f"`{name}` comes with Tickover: there is nothing to install")
        if not archives:
            return await install(self._house(), name, checked(name, version), package)
        builds = Builds(self.home, self.backend)
        (await builds.get(name, version, package, archives)).close()
        return next(each for each in builds.installed(name) if each.version == version)

    def builds(self) -> list[Build]:
        """List the builds of agents that are installed, the newest of each first."""
        return Builds(self.home).installed()

    def cancel(self, run: str, by: str) -> None:
        """Ask whoever works on a run to stop."""
        name = self.run_row(run).id
        self.store.journal.append(name, OUTSIDE, [{"type": "cancel_requested", "version": 1, "by": by}])
        self.store.queue.wake(name, time.time())

    # -- reading -----------------------------------------------------------------------------------------------------

    @property
    def events(self) -> Events:
        """What came in from outside; opened when first asked for."""
        if self._events is None:
            self._events = SqliteEvents(str(self.home))
        return self._events

    def run_row(self, run: str) -> RunRow:
        """Return a run by its id or a prefix of it that only one has. Raises NotFoundError."""
        with contextlib.suppress(NotFoundError, ValueError):
            return RunRow.model_validate(self.store.runs.get(run).row)
        found = [row for row in self.run_rows(limit=10_000) if row.id.startswith(run) or row.id.endswith(run)]
        if len(found) == 1:
            return found[0]
        text = f"{len(found)} runs begin or end with `{run}`" if found else f"there is no run `{run}`"
        raise NotFoundError("run.not_found", text, hint="`tickover runs list` shows the runs")

    def run_rows(
        self,
        *,
        routine: str | None = None,
        execution: str | None = None,
        outcome: str | None = None,
        limit: int = 50,
        before: str | None = None,
    ) -> list[RunRow]:
        """Return runs, newest first; `before` is the id of the last run of the page before."""
        found = self.store.runs.list(routine=routine, execution=execution, outcome=outcome, limit=limit, before=before)
        return [RunRow.model_validate(record.row) for record in found]

    def routines(self) -> Sequence[RoutineRecord]:
        """Return every pushed routine, by name."""
        return self.registry.list()

    def routine(self, name: str) -> RoutineRecord:
        """Return a pushed routine. Raises NotFoundError."""
        return self.registry.get(name)

    def definition(self, name: str) -> Routine:
        """Return what a pushed routine says, in the version that runs next. Raises NotFoundError, DefinitionErrors."""
        return self.registry.loaded(name, self.registry.get(name).version).routine

    def versions(self, name: str) -> Sequence[tuple[str, float, str]]:
        """Return version, moment and who of each push, newest first. Raises NotFoundError."""
        self.registry.get(name)
        return self.store.routines.versions(name)

    def schedules(self, routine: str | None = None) -> Sequence[ScheduleRecord]:
        """Return the schedules of a pushed routine, or of all (at most 10,000)."""
        return self.store.schedules.all("", 10_000) if routine is None else self.store.schedules.of(routine)

    def journal(self, run: str, after: int = 0) -> Sequence[JournalEvent]:
        """Return the facts of a run beyond `after`, at most one page."""
        return self.store.journal.read(run, after)

    async def traffic(self, run: str) -> tuple[Traffic, str]:
        """Return what the gateway saw of a run, and why its receipts are not to be believed, if so."""
        name = self.run_row(run).id
        found = traffic_of(self.store.journal, name)
        return found, await why_broken(self.gateway, found, name)

    def wait(self, run: str, after: int, timeout: float) -> int:
        """Block until the run has an event beyond `after`, or `timeout` seconds passed; return its last seq."""
        return self.store.journal.wait(run, after, timeout)

    def artifact(self, run: str, path: str) -> bytes:
        """Return a stored artifact. Raises NotFoundError."""
        for artifact in self.run_row(run).artifacts:
            if artifact.path == path:
                return self.blobs.get(artifact.sha256)
        raise NotFoundError("artifact.not_found", f"run {run} has no artifact `{path}`")

    def kept(self, run: str) -> list[Path]:
        """Return the folders that `keep` left of a run: the workspace after each attempt."""
        return sorted((self.home / FOLDER).glob(f"{run}-*"))

    def letters(self, *, limit: int = 100, before: int | None = None) -> Sequence[tuple[Letter, Sequence[Delivery]]]:
        """Return notices with the attempts to deliver them, newest first."""
        outbox = self.store.outbox
        return [(each, outbox.deliveries(each.id)) for each in outbox.list(limit=limit, before=before)]

    def usage(self, since: float) -> Sequence[RunSum]:
        """Return sums over the runs created at or after that time (UTC epoch seconds)."""
        return self.store.usage.since(since)

    def blob(self, digest: str) -> bytes:
        """Return a stored body by its sha256."""
        return self.blobs.get(digest)


def _presets() -> dict[str, Preset]:
    """Return every preset; the hosts of `packages` are found when a run begins."""
    return {**presets(), PACKAGES: Preset(PACKAGES, (), inspect=True)}
