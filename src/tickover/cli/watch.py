"""`tickover watch`: a process of its own that raises an alarm when a server is silent."""

from __future__ import annotations

import asyncio
import shlex
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import click

from tickover.cli.blocks import Line
from tickover.cli.output import screen
from tickover.core.errors import TickoverError, UsageError


@click.command(
    epilog="\b\nExample:\n  tickover watch http://127.0.0.1:8080 --command 'mail -s tickover ops@example.com'"
)
@click.argument("url")
@click.option("--silent", type=click.FloatRange(min=1), default=120, show_default=True, help="Seconds until the alarm.")
@click.option("--every", type=click.FloatRange(min=0.05), default=15, show_default=True, help="Seconds between looks.")
@click.option("--command", "program", metavar="COMMAND", help="Start it with the alarm as JSON on stdin.")
@click.option("--webhook", metavar="URL", help="Post the alarm as JSON; rather by TICKOVER_WATCH_WEBHOOK than here.")
def command(*, url: str, silent: float, every: float, program: str | None, webhook: str | None) -> None:
    """Ask the server at URL whether it lives; when it was silent for too long, raise an alarm, once per silence.

    Run it on another machine, or as another service: it shares no memory and no file with the server, and says so
    again when the server is back. It ends by Ctrl-C or SIGTERM.
    """
    if program is None and webhook is None:
        raise UsageError("watch.target", "nobody would hear the alarm", hint="give --command, --webhook or both")
    if not url.startswith(("http://", "https://")):
        raise UsageError("watch.url", f"`{url}` is no address of a server", hint="http://HOST:PORT")
    asyncio.run(_watch(url.rstrip("/"), silent, every, program, webhook))


async def _watch(url: str, silent: float, every: float, program: str | None, webhook: str | None) -> None:
    from tickover.control.watch import watch

    over = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, over.set)
    screen(sys.stderr).show(Line(f"watching {url}: an alarm after {silent:g} s of silence"))
    await watch(
        what=url,
        ask=_asking(url),
        alarm=_alarm(program, webhook),
        limit=silent,
        every=every,
        clock=time.monotonic,
        wall=time.time,
        over=over,
    )


def _asking(url: str) -> Callable[[], Awaitable[bool]]:
    import httpx

    async def ask() -> bool:
        try:
            async with httpx.AsyncClient(timeout=10, follow_redirects=False, trust_env=False) as client:
                return (await client.get(f"{url}/healthz")).status_code == 200
        except httpx.HTTPError:
            return False

    return ask


def _alarm(program: str | None, webhook: str | None) -> Callable[[Any], Awaitable[bool]]:
    from tickover.core.notice import CommandTarget, Message, WebhookTarget
    from tickover.notify.base import Envelope
    from tickover.plugins import find

    targets: list[Any] = []
    if program is not None:
        targets.append(CommandTarget(kind="command", argv=tuple(shlex.split(program))))
    if webhook is not None:
        targets.append(WebhookTarget(kind="webhook", url=webhook))

    def no_secret(name: str) -> bytes:
        raise UsageError("secret.not_found", f"a watcher has no secret `{name}`")

    async def alarm(message: Message) -> bool:
        screen(sys.stderr).show(Line(message.reason))
        envelope, heard = Envelope(f"watch-{int(message.at)}", time.time()), True
        for target in targets:
            try:
                await find("notify", target.kind)().send(message, target, envelope, no_secret)
            except TickoverError as error:
                screen(sys.stderr).show(Line(f"the alarm was not delivered: {error}"))
                heard = False
        return heard

    return alarm
