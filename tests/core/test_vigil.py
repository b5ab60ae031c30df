from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tickover.core.vigil import Vigil


def test_a_silence_is_news_once_and_so_is_its_end() -> None:
    vigil = Vigil(120, heard=0)
    told = []
    for now, answered in ((60, True), (120, False), (179, False), (180, False), (900, False), (901, True), (902, True)):
        vigil, news = vigil.seen(now, answered=answered)
        told.append(news)
    assert told == [None, None, None, "silent", None, "back", None]


def test_a_server_that_never_answered_is_silent_too() -> None:
    assert Vigil(120, heard=0).seen(120, answered=False)[1] == "silent"


@given(st.lists(st.tuples(st.floats(0, 500), st.booleans())))
def test_news_alternates(looks: list[tuple[float, bool]]) -> None:
    vigil, now, told = Vigil(100, heard=0), 0.0, []
    for step, answered in looks:
        now += step
        vigil, news = vigil.seen(now, answered=answered)
        told += [news] if news else []
    assert told == (["silent", "back"] * len(told))[: len(told)]
