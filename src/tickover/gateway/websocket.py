"""A websocket's frames on their way to a client: secrets blotted out of its messages, whatever frames they come in.

RFC 6455 section 5.2. Every blot is as long as what it covers, so a frame keeps its length; no extension is
negotiated, so a set reserved bit is an error. Nothing is held back beyond the end of a message.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from tickover.gateway.refusal import Refusal
from tickover.gateway.scrub import Scrubber

_FIN, _RESERVED, _OPCODE, _MASKED, _LENGTH = 0x80, 0x70, 0x0F, 0x80, 0x7F
_CONTROL = 8
_LONGEST_CONTROL = 125


class _Frame(NamedTuple):
    header: bytes
    final: bool
    opcode: int
    length: int


class Frames:
    """Rewrites the bytes of one direction, server to client."""

    def __init__(self, scrubber: Callable[[], Scrubber]) -> None:
        self._scrubber = scrubber
        self._held = bytearray()
        self._frame: _Frame | None = None
        self._left = 0
        self._message: Scrubber | None = None
        self._taken = self._given = 0
        self._between: deque[tuple[int, bytes]] = deque()
        self._out = bytearray()

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes; return those that may pass. Raises Refusal for what is no frame."""
        self._held += data
        while self._step():
            pass
        out = bytes(self._out)
        self._out.clear()
        return out

    def _step(self) -> bool:
        """Read one header, control frame or piece of a payload; False when more bytes are needed."""
        if self._frame is None:
            frame = _header(self._held)
            if frame is None:
                return False
            if frame.opcode >= _CONTROL:
                return self._control(frame)
            if (frame.opcode == 0) is not (self._message is not None):
                raise Refusal(502, "websocket", "a frame belongs to no message")
            self._message = self._message or self._scrubber()
            del self._held[: len(frame.header)]
            self._frame, self._left = frame, frame.length
            self._between.append((self._taken, frame.header))
            self._give(b"")
        if self._left and not self._held:
            return False
        self._payload(self._frame)
        return True

    def _payload(self, frame: _Frame) -> None:
        piece = bytes(self._held[: self._left])
        del self._held[: len(piece)]
        self._left -= len(piece)
        self._taken += len(piece)
        message = self._message or self._scrubber()
        self._give(message.feed(piece))
        if self._left:
            return
        self._frame = None
        if frame.final:
            self._give(message.finish())
            self._message = None
            self._taken = self._given = 0

    def _control(self, frame: _Frame) -> bool:
        end = len(frame.header) + frame.length
        if frame.length > _LONGEST_CONTROL or not frame.final:
            raise Refusal(502, "websocket", "a control frame is short and whole")
        if len(self._held) < end:
            return False
        payload = self._scrubber().whole(bytes(self._held[len(frame.header) : end]))
        del self._held[:end]
        self._between.append((self._taken, frame.header + payload))
        self._give(b"")
        return True

    def _give(self, payload: bytes) -> None:
        """Put out payload that may pass, and before each byte of it the headers that stand there."""
        while True:
            while self._between and self._between[0][0] <= self._given:
                self._out += self._between.popleft()[1]
            if not payload:
                return
            count = min(len(payload), self._between[0][0] - self._given) if self._between else len(payload)
            self._out += payload[:count]
            self._given += count
            payload = payload[count:]


def _header(held: bytearray) -> _Frame | None:
    if len(held) < 2:
        return None
    if held[0] & _RESERVED or held[1] & _MASKED:
        raise Refusal(502, "websocket", "the upstream's frame is compressed or masked, which was not agreed on")
    short = held[1] & _LENGTH
    size = {126: 2, 127: 8}.get(short, 0)
    if len(held) < 2 + size:
        return None
    length = int.from_bytes(held[2 : 2 + size], "big") if size else short
    return _Frame(bytes(held[: 2 + size]), bool(held[0] & _FIN), held[0] & _OPCODE, length)
