"""The conformance suite of `store.outbox`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import pytest

from tickover.store.outbox import MERGE_WITHIN, Delivery, Draft, Outbox

Opened: TypeAlias = tuple[Outbox, Callable[[str, float], None]]


def draft(target: str = "ops", cause: str = "agent/lost", **body: Any) -> Draft:
    return Draft(target, ("failed",), cause, {"reason": "\udc80 hostile", **body})


class OutboxSuite:
    """Subclass it, and give `open_outbox` your adapter with a function that ends a run at a moment."""

    def open_outbox(self, location: str) -> Opened:
        raise NotImplementedError

    @pytest.fixture
    def opened(self, tmp_path: Any) -> Opened:
        return self.open_outbox(str(tmp_path))

    def test_nothing_is_noticed_before_it_began(self, opened: Opened) -> None:
        outbox, end = opened
        end("old", 100.0)
        assert list(outbox.unnoticed()) == []
        outbox.begin(200.0)
        outbox.begin(0.0)
        end("new", 201.0)
        assert list(outbox.unnoticed()) == ["new"]

    def test_a_run_is_looked_at_once(self, opened: Opened) -> None:
        outbox, end = opened
        outbox.begin(0.0)
        end("b", 20.0)
        end("a", 10.0)
        assert list(outbox.unnoticed()) == ["a", "b"]
        outbox.file("a", "r", 10.0, [], 30.0)
        outbox.file("a", "r", 10.0, [], 30.0)
        assert list(outbox.unnoticed()) == ["b"]
        assert list(outbox.list()) == []

    def test_an_end_that_was_overtaken_is_found(self, opened: Opened) -> None:
        outbox, end = opened
        outbox.begin(0.0)
        end("late", 9_900.0)
        end("a", 10_000.0)
        outbox.file("a", "r", 10_000.0, [], 10_000.0)
        assert list(outbox.unnoticed()) == ["late"]
        end("older", 5_000.0)
        assert list(outbox.unnoticed()) == ["late"]
        assert list(outbox.unnoticed(since=0.0)) == ["older", "late"]

    def test_a_letter_is_due_at_once_and_filed_once(self, opened: Opened) -> None:
        outbox, _ = opened
        outbox.begin(0.0)
        for _ in range(2):
            outbox.file("a", "r", 1.0, [draft(), draft("mail")], 5.0)
        found = outbox.due(5.0)
        assert [(each.run, each.target, each.state, each.tries) for each in found] == [
            ("a", "ops", "waiting", 0),
            ("a", "mail", "waiting", 0),
        ]
        assert found[0].kinds == ("failed",)
        assert found[0].body == {"reason": "\udc80 hostile"}
        assert outbox.next_at() == 5.0
        assert list(outbox.due(4.9)) == []

    def test_one_cause_within_an_hour_is_one_letter(self, opened: Opened) -> None:
        outbox, _ = opened
        outbox.begin(0.0)
        for number, at in enumerate((10.0, 20.0, 10.0 + MERGE_WITHIN - 1)):
            outbox.file(f"a{number}", "r", at, [draft()], at)
        outbox.file("other-routine", "s", 30.0, [draft()], 30.0)
        outbox.file("other-cause", "r", 30.0, [draft(cause="clone/clone_failed")], 30.0)
        outbox.file("other-target", "r", 30.0, [draft("mail")], 30.0)
        states = {each.run: each.state for each in outbox.list()}
        assert [run for run, state in states.items() if state == "merged"] == ["a2", "a1"]
        outbox.file("a3", "r", 10.0 + MERGE_WITHIN, [draft()], 10.0 + MERGE_WITHIN)
        last = outbox.list()[0]
        assert (last.run, last.state, last.body["repeated"]) == ("a3", "waiting", 2)

    def test_without_a_cause_nothing_is_merged(self, opened: Opened) -> None:
        outbox, _ = opened
        outbox.begin(0.0)
        for run in ("a", "b"):
            outbox.file(run, "r", 1.0, [draft(cause="")], 1.0)
        outbox.file(None, "r", 1.0, [draft(cause="")], 1.0)
        outbox.file(None, "r", 1.0, [draft(cause="")], 1.0)
        assert [each.state for each in outbox.list()] == ["waiting"] * 4

    def test_tries_are_written_down_until_it_worked(self, opened: Opened) -> None:
        outbox, _ = opened
        outbox.begin(0.0)
        outbox.file("a", "r", 1.0, [draft()], 1.0)
        [letter] = outbox.due(1.0)
        failed, done = Delivery(2.0, ok=False, says="no route"), Delivery(40.0, ok=True, says="ok")
        outbox.settle(letter.id, failed, again_at=32.0)
        assert list(outbox.due(31.0)) == []
        assert [each.tries for each in outbox.due(32.0)] == [1]
        outbox.settle(letter.id, done, again_at=None)
        assert (outbox.list()[0].state, outbox.list()[0].tries, outbox.next_at()) == ("sent", 2, None)
        assert list(outbox.deliveries(letter.id)) == [failed, done]

    def test_what_is_given_up_stays(self, opened: Opened) -> None:
        outbox, _ = opened
        outbox.begin(0.0)
        outbox.file("a", "r", 1.0, [draft()], 1.0)
        [letter] = outbox.due(1.0)
        outbox.settle(letter.id, Delivery(2.0, ok=False, says="gone"), again_at=None)
        assert [each.state for each in outbox.list()] == ["failed"]
        assert outbox.next_at() is None

    def test_letters_are_read_page_by_page(self, opened: Opened) -> None:
        outbox, _ = opened
        outbox.begin(0.0)
        for run in "abc":
            outbox.file(run, "r", 1.0, [draft(cause="")], 1.0)
        page = outbox.list(limit=2)
        assert [each.run for each in page] == ["c", "b"]
        assert [each.run for each in outbox.list(before=page[-1].id)] == ["a"]

    def test_what_is_told_of_a_run_under_way_is_there_once_and_its_end_is_still_looked_for(
        self, opened: Opened
    ) -> None:
        outbox, end = opened
        outbox.begin(0.0)
        end("a", 10.0)
        for at in (10.0, 11.0):
            outbox.add("a", "r", draft("(marks) pending", ""), at)
        assert [(each.run, each.target, each.created) for each in outbox.due(20.0)] == [("a", "(marks) pending", 10.0)]
        assert list(outbox.unnoticed()) == ["a"]
        outbox.file("a", "r", 10.0, [draft("(marks) end", "")], 30.0)
        assert sorted(each.target for each in outbox.list()) == ["(marks) end", "(marks) pending"]
