from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickover.core.text import one_line, printable


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("plain, grüße, 日本 👩‍💻\tx\n", "plain, grüße, 日本 👩‍💻\tx\n"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b[2J\x1b[1;1Hverified", "verified"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;https://evil.test\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b]52;c;c2VjcmV0\x07", ""),
        ("\x1bPpayload\x1b\\after", "after"),
        ("\x1b]unfinished title", "]unfinished title"),
        ("\x1b[31", "[31"),
        ("\x9b31mred", "31mred"),
        ("50 %\r100 %\r\nend\r", "50 %\n100 %\nend\n"),
        ("a\u2028b\x85c", "a\nb\nc"),
        ("bell\x07 back\x08 nul\0 del\x7f", "bell back nul del"),
        ("user\u202egnp.exe\u2066x\u2069", "usergnp.exex"),
        ("\U000e0049\U000e0067nore", "nore"),
        ("half\ud800", "half\ufffd"),
        ("\x1b(Bset \x1bcreset", "set reset"),
        ("\x1b\x1b[31mx", "x"),
    ],
)
def test_what_is_shown(hostile: str, shown: str) -> None:
    assert printable(hostile) == shown


_PIECES = st.sampled_from(["\x1b", "\x1b[", "\x1b]", "\x07", "\x9d", "31m", "\\", "\u202e", "\ud800", "\r", "\n", "x"])


@given(st.lists(_PIECES | st.text(max_size=3)).map("".join))
def test_nothing_shown_moves_hides_or_fails_to_encode(text: str) -> None:
    shown = printable(text)
    assert {unicodedata.category(letter) for letter in shown if letter not in "\n\t"}.isdisjoint(
        {"Cc", "Cs", "Zl", "Zp"}
    )
    assert not set(shown) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f")
    shown.encode()
    assert printable(shown) == shown


@pytest.mark.parametrize("piece", ["\x1b]", "\x1b[1", "\x1b]a\x1b", "\x1b ", "\x1bP\x9c"])
def test_hostile_text_takes_linear_time(piece: str) -> None:
    begun = time.process_time()
    printable(piece * 200_000)
    assert time.process_time() - begun < 5


def test_one_line_is_short_and_one() -> None:
    assert one_line("\x1b[31m first\r\n second ") == "first second"
    assert one_line("x" * 300) == "x" * 199 + "…"
    assert one_line("abcdef", limit=4) == "abc…"
