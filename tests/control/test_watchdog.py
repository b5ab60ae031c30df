from __future__ import annotations

import asyncio

import pytest

from tickover.agents.base import AgentFact
from tickover.control.watchdog import Watchdog
from tickover.core.event import AgentOutput, AgentReady, AgentText, AgentToolResult, AgentUsage
from tickover.core.limits import Duration, Watch

WATCH = Watch(init=Duration(30), first_answer=Duration(120), progress=Duration(600))
READY = AgentReady()
TEXT = AgentText(text="x")
RESULT = AgentToolResult(id="t", ok=True)
OUTPUT = AgentOutput(stream="stdout", text="retrying")
USAGE = AgentUsage()


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("heard", "after", "says"),
    [
        ([], 30, "it did not start within 30 s (`watch.init`)"),
        ([(20, OUTPUT)], 10, "it did not start within 30 s (`watch.init`)"),
        ([(29, READY)], 120, "no first answer came within 120 s (`watch.first_answer`)"),
        ([(1, READY), (100, OUTPUT)], 20, "no first answer came within 120 s (`watch.first_answer`)"),
        ([(1, READY), (1, TEXT)], 600, "it made no progress within 600 s (`watch.progress`)"),
        ([(1, TEXT), (500, RESULT), (500, READY)], 600, "it made no progress within 600 s (`watch.progress`)"),
        ([(1, TEXT), (500, USAGE)], 600, "it made no progress within 600 s (`watch.progress`)"),
    ],
)
async def test_silence_is_noticed_when_it_is_due_and_not_before(
    heard: list[tuple[int, AgentFact]], after: int, says: str
) -> None:
    clock = Clock()
    dog = Watchdog(WATCH, clock)
    for seconds, fact in heard:
        clock.now += seconds
        dog.hear([fact])
    clock.now += after - 1
    waiting = asyncio.create_task(dog.silent())
    await asyncio.wait({waiting}, timeout=0.02)
    assert not waiting.done()
    waiting.cancel()
    clock.now += 1
    assert await dog.silent() == says


async def test_a_sign_of_life_wakes_the_one_who_waits() -> None:
    dog = Watchdog(Watch(init=Duration(1), first_answer=Duration(3600)))
    waiting = asyncio.create_task(dog.silent())
    await asyncio.wait({waiting}, timeout=0.02)
    dog.hear([READY])
    await asyncio.wait({waiting}, timeout=1.5)
    assert not waiting.done()
    waiting.cancel()
