"""A callback: what became of a run, posted where the instance says and signed as Standard Webhooks 1.0.0 has it.

The address is judged as a run's are: its name is resolved once, every answer is judged, a judged address is dialled.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence

from tickover.core.address import AddressError, screen
from tickover.core.callback import Posting, Told, json_of
from tickover.core.target import read_origin
from tickover.core.text import one_line
from tickover.notify.base import Envelope, NotifyError, Secret
from tickover.notify.post import post
from tickover.notify.webhook import signature

MOST_ADDRESSES = 4
"""Addresses of one name that are tried."""

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


async def resolved(host: str, port: int) -> Sequence[str]:
    """Ask this machine's resolver."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    return [str(address[0]) for *_, address in found]


class Notifier:
    """Posts, and takes any 2xx as delivered."""

    def __init__(self, resolve: Resolve = resolved) -> None:
        self._resolve = resolve

    async def send(self, message: Told, target: Posting, envelope: Envelope, secret: Secret) -> str:
        url = target.callback.url
        body = json_of(message)
        headers = {"content-type": "application/json", "user-agent": "tickover", "webhook-id": envelope.id}
        headers["webhook-timestamp"] = str(int(envelope.at))
        headers["webhook-signature"] = signature(secret(target.callback.secret), envelope.id, int(envelope.at), body)
        *others, last = await self._addresses(url, private=target.private)
        for each in others:
            try:
                return _taken(await post(url, body, headers, address=each))
            except NotifyError as error:
                if error.code != "notify.unreachable":
                    raise
        return _taken(await post(url, body, headers, address=last))

    async def _addresses(self, url: str, *, private: bool) -> list[str]:
        _, host, port = read_origin(url)
        try:
            judged = screen(await self._resolve(host, port), private=private)
        except (socket.gaierror, UnicodeError):
            raise NotifyError("unreachable", "the receiver's name has no address", again=True) from None
        except AddressError as error:
            hint = "`network.private` of tickover.yaml can allow it"
            raise NotifyError("address", error.message, again=False, hint=hint) from None
        return [str(each.address) for each in judged[:MOST_ADDRESSES]]


def _taken(said: bytes) -> str:
    return one_line(said.decode("utf-8", "replace")) or "taken"
