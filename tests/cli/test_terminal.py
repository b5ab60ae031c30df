from __future__ import annotations

import io
import re

import pytest

from tickover.cli.blocks import Ink, Line, Quote, Table
from tickover.cli.terminal import LOOKS, Terminal


class Tty(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.fixture
def tty(monkeypatch: pytest.MonkeyPatch) -> Tty:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return Tty()


def letters(text: str) -> list[str]:
    return [line.rstrip() for line in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).split("\n")]


def test_what_wraps_stays_below_its_column(tty: Tty) -> None:
    Terminal(tty, no_color=False).show(Table((("check", "word " * 12),)))
    first, second, *_ = letters(tty.getvalue())
    assert first.startswith("  check  word")
    assert second.startswith("         word")


def test_a_line_that_wraps_never_begins_at_the_margin(tty: Tty) -> None:
    Terminal(tty, no_color=False).show(Line("x" * 60, indent=2))
    assert [line[:3] for line in letters(tty.getvalue())[:2]] == ["  x", "  x"]


def test_every_piece_of_a_long_quoted_line_has_its_mark(tty: Tty) -> None:
    Terminal(tty, no_color=False).show(Quote("word " * 20 + "y" * 90 + "\n✔ VERIFIED"))
    shown = [line for line in letters(tty.getvalue()) if line]
    assert len(shown) > 5
    assert all(line.startswith("  │ ") and len(line) <= 40 for line in shown)


def test_wide_letters_are_folded_by_their_columns(tty: Tty) -> None:
    Terminal(tty, no_color=False).show(Quote("漢" * 40))
    assert letters(tty.getvalue())[:3] == ["  │ " + "漢" * 18, "  │ " + "漢" * 18, "  │ " + "漢" * 4]


def test_a_flood_is_shown_while_something_is_going_on(tty: Tty) -> None:
    screen = Terminal(tty, no_color=False)
    screen.busy("the agent works")
    screen.show(Quote("line\n" * 200_000))
    screen.close()
    assert tty.getvalue().count("│\x1b[0m line") + tty.getvalue().count("│ \x1b[0mline") == 200_000


def test_markup_and_escapes_in_text_are_only_text(tty: Tty) -> None:
    Terminal(tty, no_color=True).show(Line("[red]x[/red] :smile: \x1b[31mred"), Quote("[bold]\x1b]0;t\x07"))
    assert letters(tty.getvalue())[:2] == ["[red]x[/red] :smile: red", "  │ [bold]"]


def test_without_colour_no_colour_is_sent(tty: Tty) -> None:
    every = [Line(Ink("word", look)) for look in LOOKS]
    Terminal(tty, no_color=False).show(*every)
    coloured = tty.getvalue()
    tty.truncate(0)
    Terminal(tty, no_color=True).show(*every)
    assert re.search(r"\x1b\[[0-9;]*3[1-7]", coloured)
    assert not re.search(r"\x1b\[[0-9;]*3[1-7]", tty.getvalue())


def test_busy_is_taken_away_again(tty: Tty) -> None:
    screen = Terminal(tty, no_color=False)
    screen.busy("waiting\x1b[2J")
    screen.busy("still waiting")
    screen.close()
    screen.close()
    assert "waiting" in tty.getvalue()
    assert "\x1b[2J" not in tty.getvalue()
    assert tty.getvalue().rindex("\x1b[?25h") > tty.getvalue().rindex("\x1b[?25l")
