"""From an allowed name to a connection: resolved once, every answer judged, a judged address dialled."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence

from tickover.core.address import AddressError, Judged, screen
from tickover.core.network import Decision
from tickover.gateway.fence import Fence
from tickover.gateway.refusal import Refusal
from tickover.gateway.wire import Wire

MOST_ADDRESSES = 4
"""Addresses of one name that are tried."""

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
Screen = Callable[[Sequence[str], Decision], Sequence[Judged]]


async def system_resolve(host: str, port: int) -> Sequence[str]:
    """Ask this machine's resolver."""
    found = await asyncio.get_running_loop().getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
    )
    return [str(address[0]) for *_, address in found]


def core_screen(addresses: Sequence[str], decision: Decision) -> Sequence[Judged]:
    """Judge as core does, without knowing this machine's own addresses."""
    return screen(addresses, private=decision.private)


class Dialler:
    """Dials what a decision allows, within `connect_s` seconds for all of its addresses together."""

    def __init__(
        self, *, resolve: Resolve = system_resolve, screen: Screen = core_screen, connect_s: float = 10.0
    ) -> None:
        self._resolve = resolve
        self._screen = screen
        self._connect_s = connect_s

    async def dial(self, decision: Decision, fence: Fence) -> Wire:
        """Return the connection. Raises Refusal: 403 `address.KIND`, 502 `unresolvable` `connect_failed`, 504."""
        try:
            async with asyncio.timeout(self._connect_s):
                judged = await self.addresses(decision)
                return await self._first(judged, decision.port, fence)
        except TimeoutError as error:
            raise Refusal(504, "connect_timeout", f"no connection within {self._connect_s:g} s") from error

    async def addresses(self, decision: Decision) -> Sequence[Judged]:
        """Return the addresses of a name that may be dialled. Raises Refusal."""
        try:
            return self._screen(await self._resolve(decision.host, decision.port), decision)
        except (socket.gaierror, UnicodeError) as error:
            raise Refusal(502, "unresolvable", f"{decision.host} has no address") from error
        except AddressError as error:
            raise Refusal(403, error.code, error.message) from error

    async def _first(self, judged: Sequence[Judged], port: int, fence: Fence) -> Wire:
        failed: OSError | None = None
        for each in judged[:MOST_ADDRESSES]:
            try:
                _, wire = await asyncio.get_running_loop().create_connection(
                    lambda: Wire(fence), str(each.address), port, flags=socket.AI_NUMERICHOST
                )
            except OSError as error:
                failed = error
            else:
                return wire
        raise Refusal(502, "connect_failed", str(failed.strerror or failed) if failed else "") from failed
