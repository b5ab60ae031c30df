"""The screen on a terminal: colours, columns that wrap, and one line at the bottom that says what is going on."""

from __future__ import annotations

from typing import TextIO

from rich.cells import chop_cells
from rich.console import Console
from rich.padding import Padding
from rich.segment import Segment, Segments
from rich.status import Status
from rich.style import Style
from rich.table import Table as Grid
from rich.text import Text

from tickover.cli.blocks import MARK, Block, Cell, Ink, Line, Quote, Table, ink, quoted
from tickover.core.text import one_line

LOOKS = {
    "": Style(),
    "good": Style(color="green", bold=True),
    "bad": Style(color="red", bold=True),
    "warn": Style(color="yellow", bold=True),
    "wait": Style(color="blue", bold=True),
    "dim": Style(dim=True),
    "bold": Style(bold=True),
    "error": Style(color="red", bold=True),
    "badge-good": Style(color="green", bold=True, reverse=True),
    "badge-bad": Style(color="red", bold=True, reverse=True),
    "badge-warn": Style(color="yellow", bold=True, reverse=True),
    "badge-wait": Style(color="blue", bold=True, reverse=True),
    "badge-dim": Style(bold=True, reverse=True, dim=True),
}


class Terminal:
    """A screen that people look at."""

    def __init__(self, file: TextIO, *, no_color: bool) -> None:
        self._console = Console(file=file, no_color=no_color, highlight=False, markup=False, emoji=False)
        self._status: Status | None = None
        with self._console.capture() as mark:
            self._console.print(Text(MARK, LOOKS["dim"]), end="")
        self._mark = mark.get()

    def show(self, *blocks: Block) -> None:
        for block in blocks:
            if isinstance(block, Quote):
                self._quote(block)
            else:
                self._console.print(Padding(_grid(block), (0, 0, 0, block.indent), expand=False))

    def busy(self, what: str) -> None:
        if self._status is None:
            self._status = self._console.status("", spinner="dots", spinner_style="dim")
            self._status.start()
        self._status.update(Text(one_line(what, max(10, self._console.width - 4)), LOOKS["dim"]))

    def close(self) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None

    def _quote(self, quote: Quote) -> None:
        width = max(10, self._console.width - len(MARK))
        lines = [piece for line in quoted(quote).split("\n") for piece in _folded(line, width)]
        text = "".join(f"{self._mark}{line}\n" for line in lines)
        self._console.print(Segments([Segment(text)]), crop=False, end="")


def _folded(line: str, width: int) -> list[str]:
    """Cut a line into pieces that are at most `width` columns wide. Cheap: an agent may write millions of them."""
    if line.isascii():
        return [line[at : at + width] for at in range(0, len(line), width)] or [""]
    return chop_cells(line, width) or [""]


def _text(cell: Cell) -> Text:
    word = ink(cell)
    text = f" {word.text} " if word.look.startswith("badge-") else word.text
    return Text(text, LOOKS[word.look], overflow="fold")


def _grid(block: Line | Table) -> Grid:
    """Return the block as a grid in which the last column wraps: what follows stands below it, never at the margin."""
    grid = Grid.grid(padding=(0, 2, 0, 0), pad_edge=False)
    if isinstance(block, Line):
        grid.add_row(Text.assemble(*(_text(cell) for cell in block.cells), overflow="fold"))
        return grid
    rows = [*([tuple(Ink(head, "dim") for head in block.heads)] if block.heads else []), *block.rows]
    columns = max(map(len, rows), default=0)
    for at in range(columns):
        grid.add_column(overflow="fold", no_wrap=at < columns - 1)
    for row in rows:
        grid.add_row(*(_text(cell) for cell in row))
    return grid
