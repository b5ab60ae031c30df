"""Denials are counted to the last one, and told seldom."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tickover.gateway.denials import MOST_KINDS, Denials
from tickover.gateway.session import Denied


def test_the_first_is_told_at_once_and_the_rest_ever_more_seldom() -> None:
    told: list[Denied] = []
    denials = Denials(told.append)
    for _ in range(12_345):
        denials.add(Denied("evil.test", 443, "not_listed", "no"))
    assert told[0].times == 1
    assert len(told) <= 6
    denials.flush()
    denials.flush()
    assert sum(each.times for each in told) == 12_345


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(1, 5)), max_size=600))
def test_no_denial_is_lost_however_many_kinds(knocks: list[tuple[int, int]]) -> None:
    told: list[Denied] = []
    denials = Denials(told.append)
    for host, times in knocks:
        denials.add(Denied(f"h{host}.test", 443, "not_listed", "no", times=times))
    denials.flush()
    assert sum(each.times for each in told) == sum(times for _, times in knocks)
    assert len({each.host for each in told}) <= MOST_KINDS + 1


def test_hostile_text_is_one_short_printable_line() -> None:
    told: list[Denied] = []
    Denials(told.append).add(Denied("a\x1b[31m\nb" * 999, 1, "c", "s\u202e" * 999, "GET\r\nX", "/\x00" * 999))
    [denied] = told
    assert all(
        text.isprintable() and len(text) <= 300 for text in (denied.host, denied.says, denied.method, denied.path)
    )
