"""Messages between two processes of ours over a socketpair: JSON, one object per line, with descriptors beside them.

A message that comes with descriptors says how many (`descriptors`); they travel with its first byte (SCM_RIGHTS), so
that they are here when the line is. Either side's end is the channel's end: there is nothing to come back to.
"""

from __future__ import annotations

import array
import asyncio
import json
import os
import socket
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

Message = dict[str, Any]

LONGEST: Final = 16 << 20
"""Bytes of one line."""
MOST_DESCRIPTORS: Final = 128
"""Descriptors of one message; the kernel's own bound is 253 (SCM_MAX_FD)."""
_READ: Final = 256 << 10
_INT: Final = array.array("i").itemsize
_HELD: Final = 1 << 20  # bytes that wait to be sent before `send` waits, too


class ChannelClosedError(Exception):
    """The other process has closed its end, or we have."""


class Channel:
    """One end. `received` is called with each message and its descriptors, in order; `closed` once, at the end."""

    def __init__(
        self, end: socket.socket, received: Callable[[Message, list[int]], None], closed: Callable[[], None]
    ) -> None:
        end.setblocking(False)
        self._end = end
        self._received = received
        self._closed = closed
        self._loop = asyncio.get_running_loop()
        self._line = bytearray()
        self._arrived: deque[int] = deque()
        self._leaving: deque[tuple[memoryview, Sequence[int]]] = deque()
        self._held = 0
        self._room = asyncio.Event()
        self._room.set()
        self.open = True
        self._loop.add_reader(end.fileno(), self._read)

    def post(self, message: Message, descriptors: Sequence[int] = ()) -> None:
        """Send as soon as it can be; descriptors are duplicated, so the caller may close its own at once.

        Raises ChannelClosedError.
        """
        if not self.open:
            raise ChannelClosedError
        if descriptors:
            message = {**message, "descriptors": len(descriptors)}
        line = json.dumps(message, separators=(",", ":")).encode("ascii") + b"\n"
        if len(line) > LONGEST or len(descriptors) > MOST_DESCRIPTORS:
            raise ValueError(f"a message of {len(line)} bytes with {len(descriptors)} descriptors is too large")
        self._leaving.append((memoryview(line), [os.dup(each) for each in descriptors]))
        self._held += len(line)
        if self._held > _HELD:
            self._room.clear()
        if len(self._leaving) == 1:
            self._write()

    async def send(self, message: Message, descriptors: Sequence[int] = ()) -> None:
        """Post, then wait while more waits to be sent than should. Raises ChannelClosedError."""
        self.post(message, descriptors)
        await self._room.wait()
        if not self.open:
            raise ChannelClosedError

    def close(self) -> None:
        """Close this end. Idempotent; `closed` is called once."""
        if not self.open:
            return
        self.open = False
        self._loop.remove_reader(self._end.fileno())
        self._loop.remove_writer(self._end.fileno())
        self._end.close()
        for _, descriptors in self._leaving:
            _close_all(descriptors)
        _close_all(self._arrived)
        self._leaving.clear()
        self._arrived.clear()
        self._room.set()
        self._closed()

    def _write(self) -> None:
        while self.open and self._leaving:
            rest, descriptors = self._leaving[0]
            try:
                sent = self._end.sendmsg([rest], _rights(descriptors), socket.MSG_NOSIGNAL)
            except BlockingIOError:
                self._loop.add_writer(self._end.fileno(), self._write)
                return
            except OSError:
                self.close()
                return
            _close_all(descriptors)
            self._held -= sent
            if sent < len(rest):
                self._leaving[0] = (rest[sent:], ())
            else:
                self._leaving.popleft()
            if self._held <= _HELD:
                self._room.set()
        if self.open:
            self._loop.remove_writer(self._end.fileno())

    def _read(self) -> None:
        try:
            # Not socket.recv_fds: that of Python 3.11 forgets the flags, so that children inherit what arrives.
            space = socket.CMSG_SPACE(MOST_DESCRIPTORS * _INT)
            data, rights, _, _ = self._end.recvmsg(_READ, space, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return
        except OSError:
            data, rights = b"", []
        for _, _, packed in rights:
            self._arrived.extend(array.array("i", packed[: len(packed) - len(packed) % _INT]))
        if not data:
            self.close()
            return
        self._line += data
        if b"\n" not in data:
            if len(self._line) > LONGEST:
                self.close()
            return
        *lines, rest = self._line.split(b"\n")
        self._line = rest
        for line in lines:
            if self.open:
                self._take(bytes(line))

    def _take(self, line: bytes) -> None:
        message: Message = json.loads(line)
        count = message.pop("descriptors", 0)
        if count > len(self._arrived):
            self.close()
            return
        self._received(message, [self._arrived.popleft() for _ in range(count)])


def _rights(descriptors: Sequence[int]) -> list[tuple[int, int, array.array[int]]]:
    return [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []


def _close_all(descriptors: Sequence[int] | deque[int]) -> None:
    for each in descriptors:
        os.close(each)
