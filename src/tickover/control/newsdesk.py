"""What the postman asks about runs, answered from the store and the pushed versions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from tickover.control.registry import Registry, load_pushed
from tickover.core.definition import Notify
from tickover.core.errors import TickoverError
from tickover.core.row import RunRow
from tickover.core.status import Outcome
from tickover.store.base import Store

_JUDGED: Final = frozenset({Outcome.VERIFIED, Outcome.NOOP, Outcome.FAILED, Outcome.UNVERIFIED})
_LOOK_BACK: Final = 50


class NewsDesk:
    """`control.notify.Desk`. Runs that a person started in the foreground are not told: that person has seen them."""

    def __init__(
        self,
        store: Store,
        registry: Registry,
        more: Callable[[str], str],
        report: Callable[[str, BaseException], None],
    ) -> None:
        self._store = store
        self._registry = registry
        self._more = more
        self._report = report

    def row(self, run: str) -> RunRow:
        return RunRow.model_validate(self._store.runs.get(run).row)

    def before(self, row: RunRow) -> Outcome | None:
        found = self._store.runs.list(routine=row.routine, finished=True, before=row.id, limit=_LOOK_BACK)
        outcomes = (each.row.get("outcome") for each in found)
        return next((Outcome(each) for each in outcomes if each in _JUDGED), None)

    def rules(self, row: RunRow) -> Sequence[Notify]:
        if not row.queued:
            return ()
        try:
            return load_pushed(Path(row.folder)).routine.notify if row.folder else self.rules_now(row.routine)
        except (TickoverError, OSError) as error:
            self._report(f"notify of run {row.id}", error)
            return ()

    def rules_now(self, routine: str) -> Sequence[Notify]:
        try:
            return self._registry.loaded(routine, self._registry.get(routine).version).routine.notify
        except (TickoverError, OSError) as error:
            self._report(f"notify of routine {routine}", error)
            return ()

    def more(self, run: str) -> str:
        return self._more(run)
