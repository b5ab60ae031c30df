"""The commands of a git push, read from the beginning of its body (gitprotocol-pack(5), `receive-pack`).

Only what git itself would read in the same way is read; signed pushes, push options (some servers act on them) and
shallow clones' pushes are not.
"""

from __future__ import annotations

import re

from tickover.core.enforcement import OtherBody, PushBody
from tickover.core.push import RefUpdate

MOST_BYTES = 1 << 20
MOST_UPDATES = 1000
_LENGTH = re.compile(rb"[0-9a-f]{4}")
_COMMAND = re.compile(rb"([0-9a-f]{40}|[0-9a-f]{64}) ([0-9a-f]{40}|[0-9a-f]{64}) (.+)", re.DOTALL)
_SMALLEST = 4


class CommandReader:
    """Takes the body as it comes; what stands after the commands (the pack) is not looked at."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._updates: list[RefUpdate] = []
        self._size = 0
        self.rest = b""
        """What came after the commands, once all are there."""

    def feed(self, data: bytes) -> PushBody | OtherBody | None:
        """Return the commands once all are there, or why they cannot be read; None while more is needed."""
        self._held += data
        self._size += len(data)
        while len(self._held) >= _SMALLEST:
            found = _LENGTH.fullmatch(bytes(self._held[:_SMALLEST]))
            if not found:
                return OtherBody("it is no list of git's packet lines")
            length = int(found[0], 16)
            if length == 0:
                self.rest = bytes(self._held[_SMALLEST:])
                return PushBody(tuple(self._updates))
            if length <= _SMALLEST:
                return OtherBody("it has a packet that a push has no use for")
            if len(self._held) < length:
                break
            line = bytes(self._held[_SMALLEST:length])
            del self._held[:length]
            if why := self._read(line):
                return OtherBody(why)
        return OtherBody("its list of refs is too long") if self._size > MOST_BYTES else None

    def _read(self, line: bytes) -> str:
        command, _, capabilities = line.removesuffix(b"\n").partition(b"\0")
        if b"push-options" in capabilities.split():
            return "it has push options, and servers act on those"
        found = _COMMAND.fullmatch(command)
        if not found:
            return f"it has a line that is no update of a ref ({command[:20]!r})"
        try:
            ref = found[3].decode()
        except UnicodeDecodeError:
            return "the name of a ref is not UTF-8"
        self._updates.append(RefUpdate(ref, found[1].decode(), found[2].decode()))
        return "" if len(self._updates) <= MOST_UPDATES else "it updates too many refs at once"
