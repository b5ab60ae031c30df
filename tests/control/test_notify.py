"""The postman over the real outbox: once per cause, again after a failure, and after a crash."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tickover.control.notify import TRIES, Postman, wait_after
from tickover.core.callback import Callback, Posting, Told
from tickover.core.cause import Cause, CauseCode
from tickover.core.definition import Notify
from tickover.core.event import Fact, RunCreated, RunFinished, RunMissed, RunRefused, payload
from tickover.core.notice import CommandTarget
from tickover.core.row import RunRow
from tickover.core.status import Execution, Outcome
from tickover.notify.base import Envelope, NotifyError
from tickover.store.base import OUTSIDE
from tickover.store.projection import project_run
from tickover.store.sqlite import SqliteStore

EVERY = ("verified", "noop", "failed", "unverified", "recovered", "missed", "refused", "paused")


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class House:
    """A store with runs that have ended, and a receiver that answers what `answers` says."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.folder = folder
        self.store = SqliteStore(str(folder), project_run, clock=self.clock)
        self.answers: list[Exception] = []
        self.told: list[tuple[str, Any]] = []
        self.rules_: list[Notify] = [Notify(on=EVERY, to="ops")]
        self.outcome_before: Outcome | None = None
        self.targets = {"ops": CommandTarget(kind="command", argv=("true",))}
        self.callbacks: dict[str, Posting] = {}
        self.postman = self.open()

    def open(self) -> Postman:
        return Postman(
            self.store.outbox, self, targets=lambda: self.targets, notifier=lambda _: self,
            secret=lambda _: b"", clock=self.clock, callbacks=lambda: self.callbacks,
        )  # fmt: skip

    async def send(self, message: Any, target: Any, envelope: Envelope, secret: Any) -> str:
        del target, secret
        if self.answers:
            raise self.answers.pop(0)
        self.told.append((envelope.id, message))
        return "ok"

    def row(self, run: str) -> RunRow:
        return RunRow.model_validate(self.store.runs.get(run).row)

    def before(self, row: RunRow) -> Outcome | None:
        return self.outcome_before

    def rules(self, row: RunRow) -> Sequence[Notify]:
        return self.rules_

    def rules_now(self, routine: str) -> Sequence[Notify]:
        return self.rules_

    def more(self, run: str) -> str:
        return f"tickover runs show {run}"

    def end(
        self, run: str, execution: Execution = Execution.MISSED, routine: str = "r", trigger: str = "manual"
    ) -> None:
        why: Fact = (
            RunMissed(reason="off") if execution is Execution.MISSED else RunRefused(cause=Cause(None, CauseCode.CAP))
        )
        end = RunFinished(execution=execution, outcome=Outcome.NONE, exit_code=7)
        facts = [RunCreated(routine=routine, trigger=trigger), why, end]
        self.store.journal.append(run, OUTSIDE, [{"type": each.type, **payload(each)} for each in facts])

    def states(self) -> dict[str | None, str]:
        return {each.run: each.state for each in self.store.outbox.list()}


@pytest.fixture
def house(tmp_path: Path) -> House:
    made = House(tmp_path)
    made.store.outbox.begin(made.clock())
    return made


async def test_an_end_is_told_once(house: House) -> None:
    house.end("a")
    for _ in range(2):
        house.postman.collect()
        await house.postman.deliver()
    [(id_, message)] = house.told
    assert (message.run, message.kinds, message.more) == ("a", ("missed",), "tickover runs show a")
    assert id_.startswith("notice-1-")
    assert house.states() == {"a": "sent"}


async def test_only_what_a_rule_asks_for_is_told_and_each_target_once(house: House) -> None:
    house.rules_ = [Notify(on=("refused",), to="ops"), Notify(on=("refused", "paused"), to="ops")]
    house.end("a")
    house.end("b", Execution.REFUSED)
    house.postman.collect()
    await house.postman.deliver()
    assert [message.run for _, message in house.told] == ["b"]


async def test_a_hundred_ends_of_one_cause_are_one_message_and_later_one_more(house: House) -> None:
    for number in range(100):
        house.end(f"a{number:02}")
    house.postman.collect()
    await house.postman.deliver()
    assert len(house.told) == 1
    house.clock.now += 3601
    house.end("b")
    house.postman.collect()
    await house.postman.deliver()
    assert [message.repeated for _, message in house.told] == [0, 99]


async def test_what_fails_is_tried_again_later_and_then_given_up(house: House) -> None:
    house.end("a")
    house.postman.collect()
    house.answers = [NotifyError("unreachable", "no route", again=True) for _ in range(TRIES)]
    for number in range(TRIES):
        assert await house.postman.deliver() == 1
        assert await house.postman.deliver() == 0
        house.clock.now += wait_after(number)
    assert house.states() == {"a": "failed"}
    says = [each.says for each in house.store.outbox.deliveries(1)]
    assert len(says) == TRIES
    assert all("no route" in each for each in says)


async def test_a_callback_waits_in_the_outbox_until_it_was_taken(house: House) -> None:
    house.rules_ = []
    house.callbacks = {
        "ci": Posting(Callback(url="https://ci.example.com/", secret="s", routines=("r",)), private=False)
    }
    house.end("a", trigger="api")
    house.end("b")
    house.postman.collect()
    house.answers = [NotifyError("unreachable", "no route", again=True)]
    await house.postman.deliver()
    assert house.states() == {"a": "waiting"}
    house.clock.now += wait_after(0)
    house.postman = house.open()  # the server was started again
    await house.postman.deliver()
    [(id_, told)] = house.told
    assert isinstance(told, Told)
    assert (told.run, told.execution, id_.startswith("notice-1-")) == ("a", "missed", True)
    assert house.states() == {"a": "sent"}


async def test_a_receiver_may_ask_for_more_time_but_not_for_ever(house: House) -> None:
    for run, after, wanted in (("a", 900.0, 900.0), ("b", 1e9, 3600.0), ("c", 1.0, 30.0)):
        house.end(run, routine=run)
        house.postman.collect()
        house.answers = [NotifyError("refused", "later", again=True, after=after)]
        await house.postman.deliver()
        assert house.store.outbox.list()[0].next_at == house.clock.now + wanted


async def test_trouble_of_one_letter_stops_no_other(house: House) -> None:
    house.end("a", routine="one")
    house.end("b", routine="two")
    house.postman.collect()
    house.answers = [RuntimeError("the password is hunter2")]
    await house.postman.deliver()
    assert sorted(house.states().values()) == ["failed", "sent"]
    assert "hunter2" not in str([house.store.outbox.deliveries(each.id) for each in house.store.outbox.list()])


async def test_a_target_that_the_instance_does_not_have_is_a_failed_letter(house: House) -> None:
    house.targets = {}
    house.end("a")
    house.postman.collect()
    await house.postman.deliver()
    assert house.states() == {"a": "failed"}
    assert "no target `ops`" in house.store.outbox.deliveries(1)[0].says


async def test_what_ended_while_nobody_ran_is_told_by_the_next(house: House) -> None:
    house.end("a")
    house.postman.collect()
    house.end("b", Execution.REFUSED)
    house.store.close()
    house.store = SqliteStore(str(house.folder), project_run, clock=house.clock)
    after = house.open()
    serving = asyncio.create_task(after.serve())
    while len(house.told) < 2:
        await asyncio.wait({serving}, timeout=0.05)
        assert not serving.done()
    house.end("c", routine="other")
    after.ring()
    while len(house.told) < 3:
        await asyncio.wait({serving}, timeout=0.05)
    serving.cancel()
    assert sorted(str(message.run) for _, message in house.told) == ["a", "b", "c"]


async def test_a_pause_is_told(house: House) -> None:
    house.postman.paused("r", 5.0, "5 runs in a row failed")
    await house.postman.deliver()
    [(_, message)] = house.told
    assert (message.kinds, message.reason, message.run) == (("paused",), "5 runs in a row failed", None)
    assert message.subject == "r: paused"


async def test_a_silence_is_told_to_whom_missed_is(house: House) -> None:
    house.rules_ = [Notify(on=("missed",), to="ops"), Notify(on=("failed",), to="others")]
    house.postman.silent("work/github", house.clock.now, "nothing came by work/github for 7 days")
    await house.postman.deliver()
    [(_, message)] = house.told
    assert (message.kinds, message.routine) == (("missed",), "work")
    assert message.reason == "nothing came by work/github for 7 days"
    assert message.hint == "tickover events list --source work/github"
