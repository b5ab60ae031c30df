"""What the postman hears of real rows: only the server's runs, by the rules of the version that ran, pending ones later."""

from __future__ import annotations

from pathlib import Path

import pytest

from tickover.control.newsdesk import NewsDesk
from tickover.control.registry import Registry
from tickover.core.event import Fact, RunCreated, RunFinished, RunMissed, payload
from tickover.core.status import Execution, Outcome
from tickover.store.base import OUTSIDE
from tickover.store.projection import project_run
from tickover.store.sqlite import SqliteStore


class Place:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = SqliteStore(str(folder / "home"), project_run)
        self.registry = Registry(self.store, folder / "home", lambda: 1000.0)
        self.trouble: list[str] = []
        self.desk = NewsDesk(
            self.store, self.registry, lambda run: f"see {run}", lambda what, _error: self.trouble.append(what)
        )

    def push(self, to: str) -> Path:
        folder = self.folder / "routines" / "work"
        folder.mkdir(parents=True, exist_ok=True)
        front = f"name: work\nagent: steps\nnotify: [{{on: [failed], to: {to}}}]"
        (folder / "ROUTINE.md").write_text(f"---\n{front}\n---\n```bash\ntrue\n```\n")
        return self.registry.push(str(folder), "test").folder

    def run(self, name: str, *, folder: Path | None = None, queued: bool = True) -> None:
        created = RunCreated(routine="work", folder=str(folder or ""), queued=queued)
        end = RunFinished(execution=Execution.MISSED, outcome=Outcome.NONE, exit_code=7)
        facts: list[Fact] = [created, RunMissed(reason="off"), end]
        self.store.journal.append(name, OUTSIDE, [{"type": each.type, **payload(each)} for each in facts])


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_run_is_told_by_the_rules_of_its_own_version(place: Place) -> None:
    old = place.push("old")
    place.run("a", folder=old)
    place.push("new")
    assert [each.to for each in place.desk.rules(place.desk.row("a"))] == ["old"]
    assert [each.to for each in place.desk.rules_now("work")] == ["new"]


def test_a_run_in_the_foreground_is_not_told(place: Place) -> None:
    place.run("a", folder=place.push("ops"), queued=False)
    assert list(place.desk.rules(place.desk.row("a"))) == []


def test_a_version_that_is_gone_is_reported_and_stops_nobody(place: Place) -> None:
    place.run("a", folder=place.folder / "gone" / "routines" / "work")
    assert list(place.desk.rules(place.desk.row("a"))) == []
    assert list(place.desk.rules_now("nothing")) == []
    assert place.trouble == ["notify of run a", "notify of routine nothing"]


def test_runs_that_were_not_judged_say_nothing_of_what_was_before(place: Place) -> None:
    place.run("a")
    place.run("b")
    assert place.desk.before(place.desk.row("b")) is None
    assert place.desk.more("b") == "see b"


def test_a_pending_outcome_is_not_looked_at_until_it_is_decided(tmp_path: Path) -> None:
    rows = iter(
        [
            {"routine": "r", "created": 1.0, "finished": 5.0, "outcome": "pending"},
            {"routine": "r", "created": 1.0, "finished": 900.0, "outcome": "verified"},
        ]
    )
    with SqliteStore(str(tmp_path), lambda _row, _events: next(rows)) as store:
        store.outbox.begin(0.0)
        store.journal.append("a", OUTSIDE, [{"type": "run_created"}])
        assert list(store.outbox.unnoticed()) == []
        store.journal.append("a", OUTSIDE, [{"type": "cancel_requested"}])
        assert list(store.outbox.unnoticed()) == ["a"]
