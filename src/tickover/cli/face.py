"""What `tickover up` has beside the engine, in the same event loop: HTTP, and whoever tells people what happened.

The one file of the command line that loads the server's libraries (the extra `server`).
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from tickover.api.app import Api
from tickover.api.hooks import Hooks, hooks_key
from tickover.api.log import open_log
from tickover.api.serve import Listener
from tickover.app import Tickover
from tickover.cli.blocks import Line
from tickover.cli.output import Screen
from tickover.cli.wire import iso
from tickover.control.backfill import Filled
from tickover.control.notify import Postman
from tickover.control.route import Silence
from tickover.control.server import Server
from tickover.control.triggers import Triggers
from tickover.core.errors import TickoverError
from tickover.core.noticed import Notice
from tickover.store.events import EventRecord

_FINISH_S: Final = 10.0  # how long requests under way may take when the server stops
_HURRY_S: Final = 1.0
_AGAIN_S: Final = 30.0
ORIGIN: Final = "command line"
_DEV_DAY_S: Final = 12 * 3600.0
_LOOPBACK: Final = re.compile(r"127\.\d+\.\d+\.\d+|::1|localhost")


def _span(seconds: float) -> str:
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size:.0f} {unit}"
    return f"{seconds:.0f} seconds"


class Standing:
    """HTTP while it stands. It goes on through a drain: senders' events are kept, runs can be followed."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self.finish_s = _FINISH_S

    def drain(self) -> None:
        """Take no new run over the API; /readyz says 503 from now on, /healthz goes on."""
        self._api.drain()

    def hurry(self) -> None:
        """Let nobody wait at the end."""
        self.finish_s = _HURRY_S


class HttpFace:
    """Hand `noticed` to the server, and enter `face` beside it."""

    def __init__(self, *, host: str, port: int, public_url: str, dev: bool, out: Screen) -> None:
        self._host = host
        self._port = port
        self._public_url = self._url = public_url.rstrip("/")
        self._dev = dev
        self._out = out
        self._postman: Postman | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._app_secret: str | None = None
        self.log: Any = open_log()

    def noticed(self, notice: Notice) -> None:
        """Hear of a run's end or of a pause, from any thread."""
        if self._postman is None or self._loop is None:
            return
        if notice.kind == "paused":
            self._postman.paused(notice.routine, notice.at, notice.text)
        self._ring()

    def _ring(self) -> None:
        """Let the postman look at once, from any thread."""
        if self._postman is not None and self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is over: the next start finds what was not told
                self._loop.call_soon_threadsafe(self._postman.ring)

    def report(self, what: str, error: BaseException) -> None:
        """Log what went wrong beside any run."""
        self.log.error("server.trouble", what=what, error=str(error))

    def _silent(self, silence: Silence) -> None:
        """Hear, from any thread, that a sender was to be heard and was not."""
        name, now = silence.target.name, time.time()
        self.log.warning("sender.silent", trigger=name, heard=silence.heard)
        if self._postman is None or self._loop is None:
            return
        self._postman.silent(name, now, f"nothing came by {name} for {_span(now - silence.heard)}")
        self._ring()

    @contextlib.asynccontextmanager
    async def face(self, tickover: Tickover, server: Server) -> AsyncIterator[Standing]:
        """Listen, and deliver notices, until it is left; then answer what is under way, and accept nothing more."""
        self._loop = asyncio.get_running_loop()
        self._postman = tickover.postman(more=lambda run: f"{self._url}/api/v1/runs/{run}", report=self.report)
        marks = tickover.marks(more=lambda _run: "")

        def fired(record: EventRecord, document: Any, routine: str, run: str) -> None:
            marks.begun(record, document, routine, run)
            self._ring()

        def app_secret() -> str | None:
            with contextlib.suppress(TickoverError):  # a broken tickover.yaml closes no hook that was open
                self._app_secret = tickover.secrets.instance().github.webhook_secret
            return self._app_secret

        hooks = Hooks(
            tickover,
            secret=tickover.signing_secret,
            key=hooks_key(str(tickover.home)),
            clock=time.time,
            own=tickover.secrets.instance().events.own,
            alarm=self._silent,
            trouble=lambda error: self.report("events", error),
            fired=fired,
            app_secret=app_secret,
            base_url=self._public_url,
            changed=tickover.changed_paths(),
        )
        api = Api(tickover, log=self.log, base_url=self._public_url, hooks=hooks.asgi)
        async with hooks, Listener(api.asgi, host=self._host, port=self._port, finish=api.finish) as listener:
            url = self._url = self._public_url or listener.url
            standing = Standing(api)
            telling = asyncio.create_task(self._tell(self._postman), name="notices")
            filling = asyncio.create_task(self._fill(tickover, hooks.triggers), name="backfill")
            try:
                self._greet(tickover, listener.url)
                for name, address in hooks.triggers.urls(url).items() if self._dev else ():
                    self._out.show(Line(f"{'webhook':<10} {name}  {address}"))
                yield standing
            finally:
                await listener.stop(standing.finish_s)
                telling.cancel()
                filling.cancel()
                await asyncio.gather(telling, filling, return_exceptions=True)
        del server

    async def _tell(self, postman: Postman) -> None:
        """Deliver notices, whatever happens: trouble is logged, and it is tried again."""
        while True:
            try:
                await postman.serve()
            except Exception as error:  # noqa: BLE001 - logged; a notice stays in the outbox
                self.report("notices", error)
            over = asyncio.Event()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_AGAIN_S):
                    await over.wait()

    async def _fill(self, tickover: Tickover, triggers: Triggers) -> None:
        """Look for deliveries that GitHub sent and that never came, as often as tickover.yaml says."""
        backfill = tickover.backfill(lambda: triggers.targets(None))
        while True:
            wait = _AGAIN_S
            try:
                every = tickover.secrets.instance().github.backfill
                if every is not None:
                    wait = float(every)
                    self._filled(await backfill.look(), triggers)
            except Exception as error:  # noqa: BLE001 - logged; the next look begins where this one did
                self.report("backfill", error)
            await asyncio.sleep(wait)

    def _filled(self, found: Sequence[Filled], triggers: Triggers) -> None:
        for each in found:
            if each.recovered or each.asked_again:
                self.log.warning(
                    "events.recovered", source=each.source, recovered=len(each.recovered), asked_again=each.asked_again
                )
            if each.lost is not None and self._postman is not None:
                begin, end = each.lost
                text = f"what GitHub sent between {iso(begin)} and {iso(end)} is not known: it lists three days"
                self.log.error("events.window_lost", source=each.source, begin=iso(begin), end=iso(end))
                for target in triggers.targets(each.source):
                    self._postman.silent(target.name, time.time(), text)

    def _greet(self, tickover: Tickover, url: str) -> None:
        self._out.show(Line(f"listening on {url}"))
        if not _LOOPBACK.fullmatch(self._host) and not self._public_url.startswith("https://"):
            self._out.show(Line("tokens travel in plain text there: put a server with TLS before it, or use loopback"))
        if self._dev:
            _, token = tickover.access.create(
                name="up --dev",
                owner="person:dev",
                role="admin",
                lasts=_DEV_DAY_S,
                by="up --dev",
                origin="command line",
            )
            for name, path in (("API", "/api/v1/openapi.json"), ("metrics", "/metrics"), ("health", "/readyz")):
                self._out.show(Line(f"{name:<10} {url}{path}"))
            self._out.show(Line(f"hooks      {url}/hooks/NAME/TRIGGER"))
            self._out.show(Line(f"fire       {url}/v1/claude_code/routines/NAME/fire"))
            self._out.show(Line(f"token      {token}  (admin, 12 hours, shown this once)"))
