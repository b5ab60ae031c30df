from __future__ import annotations

from tickover.core.pauses import Pauses


def test_the_first_death_is_answered_at_once_and_later_ones_ever_slower() -> None:
    pauses = Pauses()
    assert [pauses.after(1) for _ in range(9)] == [0, 0.5, 1, 2, 4, 8, 16, 30, 30]


def test_a_child_that_lived_long_did_not_die_of_its_start() -> None:
    pauses = Pauses()
    assert [pauses.after(1) for _ in range(4)][-1] == 2
    assert [pauses.after(60), pauses.after(1)] == [0, 0.5]
