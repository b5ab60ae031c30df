"""One TCP connection: read and written in turns at first, then tied to another (`splice`) with few copies.

Reading stops while nobody takes what came, and while the other side of a splice cannot send: memory stays constant.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from typing import cast

from tickover.gateway.fence import Fence

MOST_HELD = 65_536
_NO_LINGER = struct.pack("ii", 1, 0)


class Wire(asyncio.Protocol):
    """A connection under a fence. `received` counts the bytes that came from the peer."""

    def __init__(self, fence: Fence, arrived: Callable[[Wire], None] | None = None) -> None:
        self._fence = fence
        self._arrived = arrived
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._held = bytearray()
        self.ended = False
        self._peer: Wire | None = None
        self._waiting: asyncio.Future[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self.closed: asyncio.Future[None] = self._loop.create_future()
        self.ending: asyncio.Future[None] = self._loop.create_future()
        """Done once the peer sends no more, whether or not it still listens."""
        self.received = 0
        self.last_activity = self._loop.time()

    # What the event loop tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        connection = transport.get_extra_info("socket")
        if connection is not None:  # asyncio does so only where a listener was made with its protocol's number
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Without this uvloop sends what is written only when the loop comes round, later than the fence was asked.
        self._transport.set_write_buffer_limits(high=0)
        self._fence.add(self)
        if self._arrived and not self._transport.is_closing():
            self._arrived(self)

    def data_received(self, data: bytes) -> None:
        if not self._fence.passes(len(data)):
            return
        self.received += len(data)
        self.last_activity = self._loop.time()
        if self._peer:
            self._peer.write(data)
            return
        self._held += data
        if len(self._held) > MOST_HELD:
            self.pause()
        self._wake()

    def eof_received(self) -> bool:
        self.ended = True
        if not self.ending.done():
            self.ending.set_result(None)
        if self._peer:
            self._peer.write_eof()
            if self._peer.ended:
                self.close()
                self._peer.close()
        self._wake()
        return True

    def pause_writing(self) -> None:
        self._writable.clear()
        if self._peer:
            self._peer.pause()

    def resume_writing(self) -> None:
        self._writable.set()
        if self._peer:
            self._peer.resume()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - either way it is over
        self._fence.discard(self)
        self.ended = True
        self._writable.set()
        self._wake()
        for future in (self.closed, self.ending):
            if not future.done():
                future.set_result(None)
        if self._peer:
            self._peer.close()

    # What the gateway does.

    @property
    def _live(self) -> asyncio.Transport:
        if self._transport is None:
            raise RuntimeError("the connection is not made yet")
        return self._transport

    @property
    def local(self) -> tuple[str, int]:
        """The address and port that the peer has dialled."""
        host, port = self._live.get_extra_info("sockname")[:2]
        return str(host), int(port)

    @property
    def writable(self) -> bool:
        """Whether the peer takes what is written."""
        return self._writable.is_set()

    @property
    def remote(self) -> str:
        """The peer's address."""
        peer = self._live.get_extra_info("peername")
        return str(peer[0]) if peer else ""

    async def read(self) -> bytes:
        """Return what has come, at least one byte; nothing at the end of the stream."""
        while not self._held and not self.ended:
            self._waiting = self._loop.create_future()
            await self._waiting
        data = bytes(self._held)
        self._held.clear()
        self.resume()
        return data

    def take(self) -> bytes:
        """Return what has come and was not read, without waiting."""
        data = bytes(self._held)
        self._held.clear()
        return data

    @property
    def quiet(self) -> bool:
        """Whether the peer has said nothing that was not read, not even that this is the end."""
        return not self._held and not self.ended and not (self._transport is None or self._transport.is_closing())

    def unread(self, data: bytes) -> None:
        """Put back what was read too far."""
        self._held[:0] = data

    def write(self, data: bytes) -> None:
        if self._transport and not self._transport.is_closing() and self._fence.passes():
            self._transport.write(data)

    def write_eof(self) -> None:
        """Say that nothing more comes; a peer that has reset the connection need not hear it."""
        if self._transport and not self._transport.is_closing() and self._transport.can_write_eof():
            with contextlib.suppress(OSError):
                self._transport.write_eof()

    async def drain(self) -> None:
        """Wait until the peer has taken enough of what was written."""
        await self._writable.wait()

    def close(self) -> None:
        """Close; what was written still goes out."""
        if self._transport:
            self._transport.close()

    def reset(self) -> None:
        """Break off: what the kernel has not sent yet is dropped with it (RST)."""
        if self._transport:
            connection = self._transport.get_extra_info("socket")
            if connection is not None and connection.fileno() >= 0:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            self._transport.abort()

    def pause(self) -> None:
        """Take no more from the peer."""
        if self._transport and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._transport and not self._transport.is_closing():
            self._transport.resume_reading()

    def tie(self, other: Wire) -> None:
        """Send all that has come, and all that comes, to another connection."""
        self._peer = other
        other.write(bytes(self._held))
        self._held.clear()
        if self.ended:
            other.write_eof()
        if other.writable:
            self.resume()
        else:
            self.pause()

    async def splice(self, other: Wire, *, idle_s: float) -> bool:
        """Pass all bytes both ways until both ends are closed; False if nothing passed for `idle_s` seconds."""
        self.tie(other)
        other.tie(self)
        if (self.ended and other.ended) or self.closed.done() or other.closed.done():
            self.close()
            other.close()
        while True:
            quiet = self._loop.time() - max(self.last_activity, other.last_activity)
            if quiet >= idle_s:
                self.reset()
                other.reset()
                return False
            _, open_still = await asyncio.wait({self.closed, other.closed}, timeout=idle_s - quiet)
            if not open_still:
                return True

    def _wake(self) -> None:
        if self._waiting and not self._waiting.done():
            self._waiting.set_result(None)
