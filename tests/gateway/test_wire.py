"""What a wire tells its transport: stop reading when nobody takes it, go on when somebody does."""

from __future__ import annotations

import asyncio

from tickover.gateway.fence import Fence
from tickover.gateway.wire import MOST_HELD, Wire


class Tape(asyncio.Transport):
    """A transport without a socket that remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.reading = True
        self.open = True
        self.aborted = False
        self.written = bytearray()
        self.ended = False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert high == 0, "what is written is sent at once, or known not to be"

    def is_closing(self) -> bool:
        return not self.open

    def close(self) -> None:
        self.open = False

    def abort(self) -> None:
        self.open = False
        self.aborted = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def write_eof(self) -> None:
        self.ended = True

    def can_write_eof(self) -> bool:
        return True


def wire(fence: Fence) -> tuple[Wire, Tape]:
    made, tape = Wire(fence), Tape()
    made.connection_made(tape)
    return made, tape


def fence(most_bytes: int = 1 << 30) -> Fence:
    return Fence(1.0, most_bytes, clock=lambda: 0.0)


async def test_reading_stops_until_what_came_is_taken() -> None:
    one, tape = wire(fence())
    one.data_received(bytes(MOST_HELD))
    assert tape.reading
    one.data_received(b"more")
    assert not tape.reading
    assert len(await one.read()) == MOST_HELD + 4
    assert tape.reading


async def test_a_slow_side_of_a_splice_stops_the_other() -> None:
    shared = fence()
    one, its = wire(shared)
    other, others = wire(shared)
    one.tie(other)
    other.tie(one)
    other.pause_writing()
    assert (its.reading, others.reading) == (False, True)
    other.resume_writing()
    assert its.reading


async def test_a_side_that_was_slow_before_the_splice_stops_the_other_too() -> None:
    shared = fence()
    one, its = wire(shared)
    other, _ = wire(shared)
    other.pause_writing()
    one.tie(other)
    assert not its.reading


async def test_what_came_before_the_splice_is_passed_on_first() -> None:
    shared = fence()
    one, _ = wire(shared)
    other, others = wire(shared)
    one.data_received(b"early")
    one.eof_received()
    one.tie(other)
    assert (bytes(others.written), others.ended) == (b"early", True)
    one.unread(b"x")
    assert await one.read() == b"x"
    assert await one.read() == b""


async def test_a_cut_fence_lets_nothing_be_written_or_begun() -> None:
    shared = fence(most_bytes=10)
    one, tape = wire(shared)
    one.data_received(bytes(11))
    assert (shared.reason, tape.aborted) == ("byte_limit", True)
    assert one.received == 0
    late, lates = wire(shared)
    late.write(b"late")
    assert not lates.written
    assert lates.aborted
