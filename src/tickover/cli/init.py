"""`tickover init`: a first routine that proves its work, in files that are the user's own from then on."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

import click

from tickover.cli.blocks import Line, Table
from tickover.cli.find import own_name
from tickover.cli.output import screen
from tickover.core.errors import UsageError, Where

ROUTINE: Final = """---
name: hello
agent: steps                # runs the fenced blocks below, in order
may: []                     # what it can change outside its sandbox: nothing
expect: [{command: {run: "python3 hello_check.py"}}]
---
```bash
mkdir -p out && seq 100 | awk '{ sum += $1 * $1 } END { print sum }' > out/squares.txt
```
"""
CHECK: Final = '''"""Runs after the agent, in a sandbox of its own, and does the sum again. Its workspace: /subject."""

from pathlib import Path

wanted = str(sum(number * number for number in range(1, 101)))
answer = Path("/subject/out/squares.txt")
found = answer.read_text(errors="replace").strip() if answer.is_file() else "nothing"
if found != wanted:
    raise SystemExit(f"out/squares.txt says {found[:80]}, but the sum is {wanted}")
print(f"the sum of the squares of 1 to 100 is {wanted}, as out/squares.txt says")
'''
FILES: Final = {"routines/hello/ROUTINE.md": ROUTINE, "routines/hello/checks/hello_check.py": CHECK}
IGNORED: Final = ".tickover/"


@click.command(epilog="\b\nExample:\n  tickover init && tickover run hello")
@click.argument("folder", metavar="[DIR]", default=".", type=click.Path(path_type=Path, file_okay=False))
def command(folder: Path) -> None:
    """Write the routine `hello` with its check into DIR/routines, and a line into DIR/.gitignore.

    Nothing that exists is overwritten.
    """
    there = [folder / name for name in FILES if os.path.lexists(folder / name)]
    if there:
        hint = "nothing was written; take another DIR, or delete it first"
        raise UsageError("init.exists", "there is such a file already", hint=hint, where=Where(str(there[0])))
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    ignored = _ignore(folder / ".gitignore")
    rows = [*((name, "written") for name in FILES), (".gitignore", "one line added" if ignored else "has the line")]
    out = screen(sys.stderr)
    out.show(Table(tuple(rows), indent=0), Line(""), Line(f"next: {own_name()} run {folder / 'routines/hello'}"))


def _ignore(path: Path) -> bool:
    """Add our line to .gitignore unless it is there; say whether it was added."""
    text = path.read_text(encoding="utf-8", errors="surrogateescape") if path.exists() else ""
    if IGNORED in {line.strip().lstrip("/") for line in text.splitlines()}:
        return False
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{'' if text.endswith(chr(10)) or not text else chr(10)}{IGNORED}\n")
    return True
