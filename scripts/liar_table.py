"""What the liar tried, what it met, and where that is recorded: read from the journal and from this machine."""

from __future__ import annotations

import glob
import os
import re
import shutil
import textwrap
from typing import Any

MARK = "/tmp/tickover-liar-ran-on-the-host"  # noqa: S108 - the liar's code writes it wherever it is made to run
DAEMON = b"tickover-liar-daemon"
TRY = re.compile(r"^TRY ([a-z0-9-]+) \| (.*)$", re.MULTILINE)
ANSWERS = {
    "nothing-to-do": "report_claimed",
    "symlink-out": "artifact_refused",
    "rewrite-check": "check_evaluated",
    "plant-modules": "check_evaluated",
    "shadow-python": "check_evaluated",
    "last-week": "check_evaluated",
    "git-config": "check_evaluated",
    "paint": "verdict_reached",
    "forge-runner": "agent_finished",
}


def printable(text: str) -> str:
    """Return one line without anything a terminal would obey: the liar wrote it."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def output(event: dict[str, Any]) -> str:
    return str(event["data"].get("text") or "")


def tries(events: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    """Return (name, met, recorded) for each line `TRY name | what it met` of the agent's output."""
    found: dict[str, tuple[str, str, str]] = {}
    for event in events:
        if event["type"] != "agent_output":
            continue
        for name, met in TRY.findall(output(event)):
            places = [f"agent_output #{event['seq']}"]
            wanted = ANSWERS.get(name)
            answers = [answer for answer in events if answer["type"] == wanted]
            if name == "git-config":
                answers = [answer for answer in answers if answer["data"]["kind"] == "git"] or answers
            elif wanted == "check_evaluated":
                answers = [answer for answer in answers if answer["data"]["kind"] == "command"]
            if answers:
                places.append(f"{wanted} #{answers[-1]['seq']}")
            found[name] = (name, printable(met), ", ".join(places))
    return list(found.values())


def host_marks() -> list[str]:
    """Return the traces of the liar's code on this machine, outside any sandbox; there must be none."""
    marks = [MARK] if os.path.exists(MARK) else []
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            with open(path, "rb") as file:
                if file.read(len(DAEMON)) == DAEMON:
                    marks.append(f"process {path.split('/')[2]}")
        except OSError:
            continue
    return marks


def print_table(rows: list[tuple[str, str, str]]) -> None:
    """Print three columns as wide as the terminal allows."""
    width = max(80, min(160, shutil.get_terminal_size((110, 24)).columns))
    first = max([len(name) for name, _, _ in rows] + [5])
    last = max(24, width // 4)
    middle = width - first - last - 8
    print(f"   {'tried':{first}}  {'met':{middle}}  recorded")
    for name, met, recorded in rows:
        cells = (textwrap.wrap(met, middle) or [""], textwrap.wrap(recorded, last) or [""])
        for line in range(max(map(len, cells))):
            left, right = (cell[line] if line < len(cell) else "" for cell in cells)
            print(f"   {name if not line else '':{first}}  {left:{middle}}  {right}".rstrip())
