from __future__ import annotations

import io
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from tickover.cli.blocks import LONGEST, MARK, Block, Ink, Line, Plain, Quote, Table


def drawn(*blocks: Block) -> str:
    out = io.StringIO()
    Plain(out).show(*blocks)
    return out.getvalue()


def test_a_table_has_columns_as_wide_as_their_widest_cell_and_no_trailing_space() -> None:
    table = Table((("a", Ink("bb", "good"), "c"), ("aaa", "b", "")), heads=("x", "y", "z"))
    assert drawn(table) == "  x    y   z\n  a    bb  c\n  aaa  b\n"


def test_an_empty_table_is_nothing() -> None:
    assert drawn(Table(())) == ""


def test_a_quote_marks_every_line_also_those_that_outside_text_begins() -> None:
    assert drawn(Quote("one\n✔ VERIFIED\r\rtwo")) == "  │ one\n  │ ✔ VERIFIED\n  │ \n  │ two\n"


def test_a_cell_is_one_line_and_bounded() -> None:
    assert drawn(Line("a\nb\tc")) == "a b c\n"
    shown = drawn(Line("x" * 100_000))
    assert len(shown) == LONGEST + 1
    assert shown.endswith("…\n")


@given(st.text())
def test_nothing_from_outside_moves_a_cursor_or_leaves_its_place(text: str) -> None:
    lines = drawn(Quote(text)).split("\n")
    assert all(line.startswith(MARK) for line in lines[:-1])
    in_cells = drawn(Line(text), Table(((text, "x"),)))
    assert in_cells.count("\n") == 2
    shown = "".join(lines) + in_cells.replace("\n", "")
    assert not [letter for letter in shown if unicodedata.category(letter) in {"Cc", "Cs"}]
