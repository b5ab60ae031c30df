"""Write docs/reference/cli.md: the help of every verb, as the program prints it.

usage: scripts/cli_reference.py [--check]

With --check nothing is written; the exit code is 1 if the page differs from what the program says.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from tickover.cli import main

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "cli.md"
WIDTH = 100
INTRODUCTION = """\
# Command line

What each verb prints with `--help`: a script writes this page, a test compares it. [Exit codes](exit-codes.md) apart.

Of every verb:

- Data goes to stdout, talk and errors go to stderr. An error is a sentence, the place it speaks of, a hint, and a code
  that stays the same. With `--json` it is one JSON object on stderr: `{"error": {"code", "message", "hint", "where"}}`.
- `--json` prints times in UTC with microseconds, durations in seconds. A run has the number of its form in `format`; it
  grows when a key changes its meaning. `runs logs` and `run` print an object a line: the events of the journal in
  order; the last line of `run` is `{"type": "run", "run": ID, "data": ...}` with the row that `runs show` prints.
- Text of agents, checks and repositories is shown without terminal escapes, control and bidirectional characters. An
  agent's words stand behind a mark, `│`. What is stored stays as it came.
- Colour follows the outcome alone, and says nothing that a shape and a word do not say too. `NO_COLOR` is heard.
- Each option has a variable: `--limit` of `runs list` is `TICKOVER_RUNS_LIST_LIMIT`.
"""


def verbs(command: click.Command, path: str, parent: click.Context | None = None) -> Iterator[tuple[str, str]]:
    """Yield each verb's full name and its help, a group before its verbs."""
    context = click.Context(command, info_name=path.rpartition(" ")[2], parent=parent, **command.context_settings)
    context.terminal_width = WIDTH
    yield path, command.get_help(context)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from verbs(inner, f"{path} {name}", context)


def page() -> str:
    """Return the whole page."""
    parts = [INTRODUCTION]
    for name, text in verbs(main, "tickover"):
        lines = "\n".join(line.rstrip() for line in text.splitlines())
        parts.append(f"## {name}\n\n```text\n{lines}\n```\n")
    return "\n".join(parts)


def run(*, check: bool) -> int:
    """Write the page, or compare it."""
    wanted = page()
    if not check:
        PAGE.write_text(wanted, encoding="utf-8")
        return 0
    if PAGE.exists() and PAGE.read_text(encoding="utf-8") == wanted:
        return 0
    print(f"{PAGE} is not what the program says: run scripts/cli_reference.py", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(run(check="--check" in sys.argv[1:]))
