"""Telling people, in order: a run's end becomes letters in the outbox; they are delivered, or given up at last.

A run's end is looked for in the store, not heard: a message whose run ended while nothing ran is written by the next
start. Delivering is at least once; a receiver knows a repeat by its id.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from tickover.core.callback import PREFIX, Posting, Told, told_of, wanted
from tickover.core.definition import Notify
from tickover.core.errors import TickoverError
from tickover.core.notice import Kind, Message, Target, cause_of, kinds_of, message_of
from tickover.core.row import RunRow
from tickover.core.status import Outcome
from tickover.notify.base import Envelope, Notifier, NotifyError, Secret
from tickover.store.base import Clock
from tickover.store.outbox import Delivery, Draft, Letter, Outbox

TRIES: Final = 8
FIRST_WAIT: Final = 30.0
LONGEST_WAIT: Final = 3600.0
"""Seconds between tries: 30, 120, 480, 1920, 3600 ...; after eight, some five hours, a letter is given up."""
_RECHECK: Final = 60.0
_WEEK: Final = 7 * 86400.0


class Desk(Protocol):
    """What is asked about runs. `rules` are those of the version that ran."""

    def row(self, run: str) -> RunRow: ...

    def before(self, row: RunRow) -> Outcome | None:
        """Return the outcome of the routine's latest run before this one that was judged."""
        ...

    def rules(self, row: RunRow) -> Sequence[Notify]: ...

    def rules_now(self, routine: str) -> Sequence[Notify]:
        """Return the rules of the version that runs next."""
        ...

    def more(self, run: str) -> str:
        """Return where a reader finds the run: a link, or a command."""
        ...


class Postman:
    """One per server. `targets` and `callbacks` are read at each letter: a change of them needs no restart."""

    def __init__(
        self,
        outbox: Outbox,
        desk: Desk,
        *,
        targets: Callable[[], Mapping[str, Target]],
        notifier: Callable[[str], Notifier],
        secret: Secret,
        clock: Clock = time.time,
        callbacks: Callable[[], Mapping[str, Posting]] = dict,
    ) -> None:
        self._outbox = outbox
        self._desk = desk
        self._targets = targets
        self._notifier = notifier
        self._secret = secret
        self._clock = clock
        self._callbacks = callbacks
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """Look again: a run has ended. Call it in the loop that serves."""
        self._rung.set()

    async def serve(self) -> None:
        """Collect and deliver until cancelled."""
        await asyncio.to_thread(self._outbox.begin, self._clock())
        await asyncio.to_thread(self.collect, since=self._clock() - _WEEK)
        while True:
            self._rung.clear()
            await asyncio.to_thread(self.collect)
            if await self.deliver():
                continue
            due = await asyncio.to_thread(self._outbox.next_at)
            pause = _RECHECK if due is None else min(max(due - self._clock(), 0.05), _RECHECK)
            try:
                async with asyncio.timeout(pause):
                    await self._rung.wait()
            except TimeoutError:
                continue

    def collect(self, *, since: float | None = None) -> int:
        """Write the letters of every run that ended and was not looked at; return how many runs that were."""
        count = 0
        while runs := self._outbox.unnoticed(since=since):
            for run in runs:
                self._collect(self._desk.row(run))
            count += len(runs)
        return count

    def _collect(self, row: RunRow) -> None:
        assert row.finished is not None
        kinds = kinds_of(row, self._desk.before(row))
        drafts = _drafts(
            self._desk.rules(row), kinds, cause_of(row, kinds), message_of(row, kinds, self._desk.more(row.id))
        )
        told = told_of(row, self._desk.more(row.id)).model_dump(mode="json")
        drafts += [Draft(f"{PREFIX}{name}", ("callback",), "", told) for name in wanted(self._callbacks(), row)]
        self._outbox.file(row.id, row.routine, row.finished, drafts, self._clock())

    def paused(self, routine: str, at: float, reason: str) -> None:
        """Write the letters of a routine that was paused."""
        self._tell("paused", routine, at, reason, f"tickover routine resume {routine}")

    def silent(self, trigger: str, at: float, reason: str) -> None:
        """Write the letters of a trigger (ROUTINE/TRIGGER) that was to be heard from and was not: events are missed."""
        routine = trigger.partition("/")[0]
        self._tell("missed", routine, at, reason, f"tickover events list --source {trigger}")

    def _tell(self, kind: Kind, routine: str, at: float, reason: str, hint: str) -> None:
        message = Message(kinds=(kind,), routine=routine, at=at, reason=reason, hint=hint)
        drafts = _drafts(self._desk.rules_now(routine), frozenset({kind}), "", message)
        self._outbox.file(None, routine, at, drafts, self._clock())

    async def deliver(self) -> int:
        """Deliver what is due, and return how many letters that were."""
        letters = await asyncio.to_thread(self._outbox.due, self._clock())
        await asyncio.gather(*(self._deliver(letter) for letter in letters))
        return len(letters)

    async def _deliver(self, letter: Letter) -> None:
        again_at = None
        try:
            says, ok = await self._send(letter), True
        except NotifyError as error:
            says, ok = str(error), False
            if error.again and letter.tries + 1 < TRIES:
                again_at = self._clock() + max(min(error.after or 0, LONGEST_WAIT), wait_after(letter.tries))
        except TickoverError as error:
            says, ok = str(error), False
        except Exception as error:  # noqa: BLE001 - one letter must not stop the others; it is kept in the outbox
            says, ok = f"an error of Tickover itself: {type(error).__name__}", False
        delivery = Delivery(self._clock(), ok, says)
        await asyncio.to_thread(self._outbox.settle, letter.id, delivery, again_at=again_at)

    async def _send(self, letter: Letter) -> str:
        envelope = Envelope(f"notice-{letter.id}-{int(letter.created)}", self._clock())
        if letter.target.startswith(PREFIX):
            posting = self._callbacks().get(letter.target.removeprefix(PREFIX))
            if posting is None:
                raise NotifyError("target", f"the instance has no `{letter.target}` any more", again=False)
            told: Any = Told.model_validate(dict(letter.body))
            return await self._notifier("callback").send(told, posting, envelope, self._secret)
        target: Any = self._targets().get(letter.target)
        if target is None:
            text = f"the instance has no target `{letter.target}`"
            raise NotifyError("target", text, again=False, hint="name it under `notify` in tickover.yaml")
        message = Message.model_validate(dict(letter.body))
        return await self._notifier(target.kind).send(message, target, envelope, self._secret)


def wait_after(tries: int) -> float:
    """Return the seconds to the next try after that many earlier ones and the one that just failed."""
    return min(FIRST_WAIT * 4.0**tries, LONGEST_WAIT)


def _drafts(rules: Sequence[Notify], kinds: frozenset[Kind], cause: str, message: Message) -> list[Draft]:
    """Return one draft per target that any rule names for these kinds."""
    told: dict[str, Draft] = {}
    body = message.model_dump(mode="json")
    for rule in rules:
        if kinds.intersection(rule.on) and rule.to not in told:
            told[rule.to] = Draft(rule.to, tuple(sorted(kinds)), cause, body)
    return list(told.values())
