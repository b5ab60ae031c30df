"""What every verb draws with: a few kinds of blocks and the looks of words. Plain text here, rich in `terminal.py`.

Text in a block may come from outside. The painters, and nothing else, make it printable: a block never is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TextIO

from tickover.core.text import one_line, printable

LONGEST = 2000
"""Characters of one cell that are shown; the whole text is in `--json`."""


@dataclass(frozen=True, slots=True)
class Ink:
    """A word with a look: `good bad warn wait dim bold badge-* error`; "" is as it comes."""

    text: str
    look: str = ""


Cell = Ink | str


@dataclass(frozen=True, slots=True, init=False)
class Line:
    """Words set one after the other."""

    cells: tuple[Cell, ...]
    indent: int

    def __init__(self, *cells: Cell, indent: int = 0) -> None:
        object.__setattr__(self, "cells", cells)
        object.__setattr__(self, "indent", indent)


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells in columns. Only the last column wraps."""

    rows: tuple[tuple[Cell, ...], ...]
    indent: int = 2
    heads: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Quote:
    """Somebody else's words, every line behind a mark, so that none can pass for a line of ours."""

    text: str


Block = Line | Table | Quote
MARK = "  │ "


def ink(cell: Cell) -> Ink:
    """Return the cell with its text made fit for a terminal: one line, nothing hidden."""
    word = cell if isinstance(cell, Ink) else Ink(cell)
    text = printable(word.text).replace("\n", " ").replace("\t", " ")
    return Ink(text if len(text) <= LONGEST else one_line(text, LONGEST), word.look)


def quoted(quote: Quote) -> str:
    """Return a quotation's lines, printable, still without their mark. An agent may write very many of them."""
    return printable(quote.text).expandtabs(8)


def plain(block: Block) -> Iterator[str]:
    """Return a block as plain text, in pieces that each end a line."""
    if isinstance(block, Quote):
        yield MARK + quoted(block).replace("\n", f"\n{MARK}")
    elif isinstance(block, Line):
        yield (" " * block.indent + "".join(ink(cell).text for cell in block.cells)).rstrip()
    else:
        rows = [tuple(ink(cell).text for cell in row) for row in (block.heads, *block.rows) if row]
        columns = max(map(len, rows), default=0)
        widths = [max((len(row[at]) for row in rows if at < len(row)), default=0) for at in range(columns)]
        for row in rows:
            cells = [text.ljust(width) for text, width in zip(row, widths, strict=False)]
            yield (" " * block.indent + "  ".join(cells)).rstrip()


class Plain:
    """A screen without colours and without anything that moves: files, pipes, logs."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def show(self, *blocks: Block) -> None:
        for block in blocks:
            for line in plain(block):
                self._file.write(line + "\n")
        self._file.flush()

    def busy(self, what: str) -> None:
        """Say what is being done, where something that vanishes again can be said. Not here."""

    def close(self) -> None:
        """Take away what `busy` said."""
