"""`tickover up`: the server in the foreground. It ends in order on SIGTERM and SIGINT."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

import click

from tickover.app import Tickover
from tickover.cli import options
from tickover.cli.blocks import Line
from tickover.cli.output import Screen, screen
from tickover.cli.words import counted, moment
from tickover.control.server import Server
from tickover.core.errors import TickoverError, UsageError
from tickover.core.noticed import Notice
from tickover.core.text import one_line

if TYPE_CHECKING:
    from tickover.cli.face import HttpFace


class Standing(Protocol):
    """What stands beside the engine while it is entered."""

    def drain(self) -> None:
        """Take no new work; what is under way goes on, and can be asked about."""

    def hurry(self) -> None:
        """End soon when it is left."""


Face = Callable[[Tickover, Server], AbstractAsyncContextManager[Standing | None]]
"""What stands beside the engine in the same event loop, entered after it and left when runs are over: HTTP."""

_DRAIN_S: Final = 30.0


@click.command(
    epilog="\b\nExample:\n  tickover up --drain 300\n\n"
    "SIGTERM and Ctrl-C drain: nothing new begins, what runs may end; meanwhile HTTP answers, /readyz with 503, and\n"
    "events are kept for the next `up`. A second one ends at once.\n"
    "What is cut off then is `lost`, and the next `up` goes on from there."
)
@click.option(
    "--drain",
    type=click.FloatRange(0, 86400),
    default=_DRAIN_S,
    show_default=True,
    metavar="SECONDS",
    help="How long runs may go on after SIGTERM.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address that HTTP listens on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8710, show_default=True, help="Its port; 0 is any.")
@click.option("--public-url", default="", metavar="URL", help="Where callers reach it, if that is another address.")
@click.option("--no-http", is_flag=True, help="Schedules and the queue only: no API, no notices.")
@click.option("--dev", is_flag=True, help="Print the addresses, and a fresh token that lasts 12 hours.")
@options.home
@options.no_color
def command(
    *,
    drain: float,
    host: str,
    port: int,
    public_url: str,
    no_http: bool,
    dev: bool,
    home: Path | None,
    no_color: bool,
) -> None:
    """Run what was pushed: fire its schedules, work off the queue and serve the API, until it is told to stop.

    One server works on a data folder; `tickover run` beside it is fine. What happens is logged to stderr as JSON.
    """
    out = screen(sys.stderr, no_color=no_color)
    http = None if no_http else _http(host=host, port=port, public_url=public_url, dev=dev, out=out)
    try:
        asyncio.run(_up(home, out, drain, http))
    finally:
        out.close()


def _http(**more: Any) -> HttpFace:
    try:
        from tickover.cli.face import HttpFace
    except ModuleNotFoundError as error:
        text = f"HTTP needs the extra `server`: there is no module `{error.name}`"
        hint = "--no-http, or in a checkout .venv/bin/pip install -e '.[server]', else pip install 'tickover[server]'"
        raise UsageError("server.extra", text, hint=hint) from None
    return HttpFace(**more)


async def _up(home: Path | None, out: Screen, drain: float, http: HttpFace | None) -> None:
    async with await options.opener()(home, sandbox=True) as tickover:
        if http is None:
            await serve(tickover, out=out, drain_s=drain)
        else:
            await serve(tickover, out=out, drain_s=drain, face=http.face, noticed=http.noticed)


async def serve(
    tickover: Tickover,
    *,
    out: Screen,
    drain_s: float = _DRAIN_S,
    face: Face = lambda _tickover, _server: nullcontext(),
    noticed: Callable[[Notice], None] = lambda _notice: None,
    stop: asyncio.Event | None = None,
) -> None:
    """Serve until a signal or `stop`, then drain. Raises what engine, scheduler or face died of."""
    told = _Signals(stop or asyncio.Event())

    def report(what: str, error: BaseException) -> None:
        out.show(Line(f"{what}: {one_line(str(error), 400)}"))

    tracing = tickover.tracing(report)

    def heard(notice: Notice) -> None:
        noticed(notice)
        if tracing is not None:
            tracing.noticed(notice)

    async with tracing or nullcontext(), tickover.server(noticed=heard, report=report) as server:
        with told:
            async with face(tickover, server) as standing:
                out.show(Line(_hello(tickover, server)))
                await _first(told.first.wait(), server.failure())
                out.show(Line("draining; once more ends at once"))
                if standing is not None:
                    standing.drain()
                cut_off = await _first(told.second.wait(), server.drain(drain_s))
                if standing is not None and told.second.is_set():
                    standing.hurry()
            if cut_off:
                out.show(Line(f"{counted(cut_off, 'run')} cut off; the next `up` goes on with them"))


T = TypeVar("T")


async def _first(stop: Awaitable[object], work: Awaitable[T]) -> T | None:
    """Return what `work` returned, or None as soon as `stop` is done; an exception that `work` returned is raised."""
    stopping, working = asyncio.ensure_future(stop), asyncio.ensure_future(work)
    try:
        await asyncio.wait({stopping, working}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            return None
        found: T = working.result()
        if isinstance(found, BaseException):
            raise TickoverError("server.died", f"the server cannot go on: {found!r}") from found
        return found
    finally:
        for task in (stopping, working):
            task.cancel()
        await asyncio.gather(stopping, working, return_exceptions=True)


def _hello(tickover: Tickover, server: Server) -> str:
    routines = tickover.routines()
    paused = sum(each.paused_at is not None for each in routines)
    at = tickover.store.schedules.next_fire()
    parts = [f"up: {counted(len(routines), 'routine')}" + (f", {paused} paused" if paused else "")]
    if server.recovered:
        parts.append(f"{counted(server.recovered, 'run')} taken up again")
    if at is not None:
        parts.append(f"next firing {moment(at, time.time())}")
    return "; ".join(parts)


class _Signals:
    """SIGTERM and SIGINT: the first and the second."""

    def __init__(self, first: asyncio.Event) -> None:
        self.first = first
        self.second = asyncio.Event()

    def __enter__(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, self._hear)

    def __exit__(self, *_: object) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().remove_signal_handler(number)

    def _hear(self) -> None:
        (self.second if self.first.is_set() else self.first).set()
