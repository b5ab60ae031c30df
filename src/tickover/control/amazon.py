"""What the instance itself asks of Amazon's SNS: the certificates that messages name, and, told so, a confirmation.

The addresses are judged by `relay.sns` before they come here: https, and the host of the topic's own region.
"""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

import httpx

from tickover.control.triggers import Installed
from tickover.core.errors import TickoverError, UsageError
from tickover.core.routing import trigger_names
from tickover.core.text import one_line
from tickover.core.trigger import SnsTrigger
from tickover.relay.content import read_content
from tickover.relay.sns import confirmation_of

SECONDS: Final = 10.0
_MOST: Final = 64 << 10
"""Bytes of an answer; a certificate has two thousand."""

_KEPT: Final = 16
_PAUSE: Final = 10.0
"""Seconds in which one certificate that could not be had is not asked for again."""

_ARN: Final = re.compile(rb"<SubscriptionArn>([!-;=?-~]{1,500})</SubscriptionArn>")
Get = Callable[[str], Awaitable[bytes]]


class AmazonError(TickoverError):
    """Amazon was not reached, or answered with an error. It never quotes the address: a confirmation's is a secret."""


async def get(url: str) -> bytes:
    """GET it, without credentials; no redirect is followed. Raises AmazonError."""
    try:
        async with (
            asyncio.timeout(SECONDS),
            httpx.AsyncClient(timeout=SECONDS, follow_redirects=False, trust_env=False) as client,
            client.stream("GET", url) as answer,
        ):
            content = b""
            async for piece in answer.aiter_bytes():
                content += piece
                if len(content) > _MOST:
                    raise AmazonError("sns.too_large", f"the answer has more than {_MOST} bytes")
            if answer.status_code == 200:
                return content
            raise AmazonError("sns.answer", f"{one_line(httpx.URL(url).host)} answered {answer.status_code}")
    except (TimeoutError, httpx.HTTPError) as error:
        host = one_line(httpx.URL(url).host)
        raise AmazonError("sns.unreachable", f"{host} was not reached: {type(error).__name__}") from None


class Certificates:
    """Certificates by their address. Asking is instant; one that is not known is fetched beside, one at a time.

    Used in one event loop. `report` is told what could not be had; whoever asks again later has it tried again.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        get: Get = get,
        report: Callable[[BaseException], None] = lambda _error: None,
    ) -> None:
        self._get = get
        self._clock = clock
        self._report = report
        self._known: OrderedDict[str, bytes] = OrderedDict()
        self._failed: OrderedDict[str, float] = OrderedDict()
        self._task: asyncio.Task[None] | None = None

    def __call__(self, url: str) -> bytes | None:
        """Return the certificate (PEM), or None: then it is being fetched, or was tried a moment ago."""
        if url in self._known:
            self._known.move_to_end(url)
            return self._known[url]
        ago = self._clock() - self._failed.get(url, float("-inf"))
        if self._task is None and not 0 <= ago < _PAUSE:
            self._task = asyncio.create_task(self._fetch(url))
        return None

    async def _fetch(self, url: str) -> None:
        try:
            self._known[url] = await self._get(url)
            if len(self._known) > _KEPT:
                self._known.popitem(last=False)
        except TickoverError as error:
            self._failed[url] = self._clock()
            self._failed.move_to_end(url)
            if len(self._failed) > _KEPT:
                self._failed.popitem(last=False)
            self._report(error)
        finally:
            self._task = None

    async def close(self) -> None:
        """Let go of what is being fetched."""
        if (task := self._task) is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def confirm(source: str, body: bytes, installed: Iterable[Installed], *, get: Get = get) -> str:
    """Confirm the subscription that a stored, verified event asks for; return the subscription's name.

    `source` is what it is filed under. Nothing else than an operator's word comes here: a subscription is never
    confirmed because somebody asked for it. Raises UsageError, AmazonError.
    """
    topic = _topic(source, installed)
    if topic is None:
        raise UsageError("events.no_topic", f"{source} is no trigger `sns` of a pushed routine", hint="`routine list`")
    url = confirmation_of(topic, read_content("", body))
    if url is None:
        text = f"this event does not ask to confirm a subscription to {topic}"
        raise UsageError("events.no_confirmation", text, hint="`tickover events list --provider sns`")
    told = await get(url)
    found = _ARN.search(told)
    if found is None:
        raise AmazonError("sns.answer", "Amazon answered 200, but names no subscription")
    return found[1].decode("ascii")


def _topic(source: str, installed: Iterable[Installed]) -> str | None:
    routine, _, wanted = source.partition("/")
    triggers: list[Any] = [each.routine.on for each in installed if each.routine.name == routine]
    named = [pair for on in triggers for pair in zip(trigger_names(on), on, strict=True)]
    return next((each.topic for name, each in named if name == wanted and isinstance(each, SnsTrigger)), None)
