"""Messages and descriptors between two processes, in whatever pieces the socket takes them."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Any

import pytest

from tickover.gateway.channel import Channel, ChannelClosedError, Message


class End:
    """One end, and what arrived at it."""

    def __init__(self, end: socket.socket) -> None:
        self.got: list[tuple[Message, list[int]]] = []
        self.fresh = asyncio.Event()
        self.over = asyncio.Event()
        self.channel = Channel(end, self._received, self.over.set)

    def _received(self, message: Message, descriptors: list[int]) -> None:
        self.got.append((message, descriptors))
        self.fresh.set()

    async def until(self, count: int) -> None:
        async with asyncio.timeout(30):
            while len(self.got) < count:
                self.fresh.clear()
                await self.fresh.wait()


def pair(**options: int) -> tuple[End, End]:
    one, other = socket.socketpair()
    for end in (one, other):
        for name, value in options.items():
            end.setsockopt(socket.SOL_SOCKET, getattr(socket, name), value)
    return End(one), End(other)


async def test_large_and_small_messages_arrive_whole_and_in_order() -> None:
    one, other = pair(SO_SNDBUF=4096, SO_RCVBUF=4096)
    sent: list[Message] = [
        {"n": number, "text": "ü\n" * size} for number, size in enumerate((0, 1, 300_000, 2, 70_000))
    ]
    for message in sent:
        await one.channel.send(message)
        other.channel.post(message)
    await other.until(5)
    await one.until(5)
    assert [message for message, _ in other.got] == [message for message, _ in one.got] == sent
    one.channel.close()
    await asyncio.wait_for(other.over.wait(), 30)


async def test_descriptors_come_with_their_message() -> None:
    one, other = pair(SO_SNDBUF=4096)
    pipes = [os.pipe() for _ in range(6)]
    for number, (read, write) in enumerate(pipes):
        one.channel.post({"n": number, "pad": "x" * 9000}, [read] if number % 2 else [read, write])
        one.channel.post({"none": number})
    for read, write in pipes:
        os.write(write, b"%d" % pipes.index((read, write)))
        os.close(read)
        os.close(write)
    await other.until(12)
    for message, descriptors in other.got:
        assert len(descriptors) == (0 if "none" in message else 2 - message["n"] % 2)
        if descriptors:
            assert os.read(descriptors[0], 9) == b"%d" % message["n"]
            assert not os.get_inheritable(descriptors[0])
        for each in descriptors:
            os.close(each)
    one.channel.close()
    other.channel.close()


async def test_descriptors_that_never_left_are_closed_with_the_channel() -> None:
    one, other = pair(SO_SNDBUF=4096)
    before = len(os.listdir("/proc/self/fd"))
    read, write = os.pipe()
    for _ in range(50):
        one.channel.post({"pad": "x" * 9000}, [read, write])
    os.close(read)
    os.close(write)
    one.channel.close()
    one.channel.close()
    other.channel.close()
    assert len(os.listdir("/proc/self/fd")) <= before - 2


async def test_a_closed_channel_takes_nothing_and_wakes_who_waits() -> None:
    end, other = socket.socketpair()
    one = End(end)
    waiting = asyncio.create_task(one.channel.send({"pad": "x" * (3 << 20)}))
    await asyncio.wait([waiting], timeout=0.05)
    assert not waiting.done()
    other.close()
    with pytest.raises(ChannelClosedError):
        await asyncio.wait_for(waiting, 30)
    with pytest.raises(ChannelClosedError):
        one.channel.post({"late": True})


@pytest.mark.parametrize(("message", "descriptors"), [({"x": "y" * (17 << 20)}, 0), ({}, 129)])
async def test_what_is_too_large_is_refused_before_it_is_sent(message: dict[str, Any], descriptors: int) -> None:
    one, other = pair()
    with pytest.raises(ValueError, match="too large"):
        one.channel.post(message, [0] * descriptors)
    one.channel.close()
    other.channel.close()
