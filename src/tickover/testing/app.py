"""A `Tickover` whose runs are told instead of made: the faces are tested with it. Its store is the real one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from tickover.app import RunRequest, Tickover
from tickover.core.definition import Routine
from tickover.core.event import AccountSeen, Fact, JournalEvent, payload
from tickover.core.row import RunRow
from tickover.sandbox.base import BackendReport
from tickover.store.base import OUTSIDE

__all__ = ["ScriptedTickover", "record"]

Observer = Callable[[JournalEvent], None]


def record(tickover: Tickover, run: str, facts: Sequence[Fact]) -> None:
    """Write a run's whole journal at once. The run must not exist yet."""
    tickover.store.journal.append(run, OUTSIDE, [{"type": fact.type, **payload(fact)} for fact in facts])


_record = record


class ScriptedTickover(Tickover):
    """Tells `script` as the journal of every run asked for, `reports` as what is in force, and `acting` as who acts.

    `requests` and `opened_with_sandbox` are what the face did. Hand `opener()` to the face.
    """

    def __init__(
        self, home: Path, *, run: str = "run-1", script: Sequence[Fact] = (), reports: Sequence[BackendReport] = ()
    ) -> None:
        super().__init__(home, None)
        self._run = run
        self._script = script
        self._reports = list(reports)
        self.requests: list[RunRequest] = []
        self.recorded: list[bool] = []
        self.opened_with_sandbox: list[bool] = []
        self.acting: list[AccountSeen] = []
        self.asked_who: list[Routine | None] = []

    async def opening(self, home: Path | None = None, *, sandbox: bool = True) -> Tickover:
        """Stand in for `Tickover.open`: opening notes what was asked, closing closes."""
        del home
        self.opened_with_sandbox.append(sandbox)
        return self

    async def run(self, request: RunRequest, observe: Observer | None = None, *, record: bool = False) -> RunRow:
        self.requests.append(request)
        self.recorded.append(record)
        _record(self, self._run, self._script)
        for event in self.journal(self._run):
            if observe is not None:
                observe(event)
        return self.run_row(self._run)

    async def who_acts(self, routine: Routine | None = None) -> list[AccountSeen]:
        self.asked_who.append(routine)
        return list(self.acting)

    async def report(self) -> list[BackendReport]:
        return self._reports
