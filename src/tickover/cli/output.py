"""Where words and data go: a screen for people, JSON for programs."""

from __future__ import annotations

import json
import os
import sys
from typing import Any, Protocol, TextIO

from tickover.cli.blocks import Block, Plain


class Screen(Protocol):
    """Something blocks are shown on."""

    def show(self, *blocks: Block) -> None: ...

    def busy(self, what: str) -> None: ...

    def close(self) -> None: ...


def screen(file: TextIO | None = None, *, no_color: bool = False) -> Screen:
    """Return rich on a terminal, plain text elsewhere. Letters that the encoding lacks become `?`."""
    out = file or sys.stdout
    if hasattr(out, "reconfigure"):
        out.reconfigure(errors="replace")
    if not out.isatty():
        return Plain(out)
    from tickover.cli.terminal import Terminal

    return Terminal(out, no_color=no_color or bool(os.environ.get("NO_COLOR")))


def json_text(value: Any, *, indent: int | None = None) -> str:
    """Return JSON in ASCII: nothing in it can move a cursor."""
    return json.dumps(value, indent=indent, allow_nan=False).replace("\x7f", "\\u007f")


def print_json(value: Any) -> None:
    """Write one document to stdout."""
    sys.stdout.write(json_text(value, indent=2) + "\n")


def print_json_line(value: Any) -> None:
    """Write one document of a stream to stdout, at once."""
    sys.stdout.write(json_text(value) + "\n")
    sys.stdout.flush()
