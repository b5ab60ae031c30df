"""What the command line costs before it does anything, as ratios to a bare interpreter in the same run.

    python bench/startup.py [--rounds N]

Goal: `tickover --help` at most 6x `python -c pass` and at most 1.3x `python -c 'import click'`.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "python -c 'import click'": [sys.executable, "-c", "import click"],
    "tickover --help": [str(Path(sys.executable).with_name("tickover")), "--help"],
    "tickover schema": [str(Path(sys.executable).with_name("tickover")), "schema"],
}


def once(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    return (time.perf_counter() - began) * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for command in COMMANDS.values():
        once(command)
    for _ in range(rounds):  # interleaved, so that a busy moment touches every row
        for name, command in COMMANDS.items():
            times[name].append(once(command))
    medians = {name: statistics.median(values) for name, values in times.items()}
    bare, click = medians["python -c pass"], medians["python -c 'import click'"]
    print(f"{'command':28} {'median ms':>10} {'x pass':>7} {'x click':>8}   n={rounds}")
    for name, value in medians.items():
        print(f"{name:28} {value:10.1f} {value / bare:7.1f} {value / click:8.2f}")


if __name__ == "__main__":
    main()
