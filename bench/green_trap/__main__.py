"""The green status trap, measured: real agent CLIs, in the sandbox, through the gateway, against the scripted model.

    python bench/green_trap [--agents A,B] [--small | --cases N] [--jobs N] [--home DIR] [--out FILE.jsonl]

Cases are generated: {agent} x {task} x {fault} x {work done or not} x {wording}. Afterwards a reader that knows
neither the case nor the verdict looks whether the work is there: in the files the agent left, and in what the double
was posted. Printed: for the exit code, the agent's own JSON and Tickover's outcome, how often each was green, amber or
red for work that was done and for work that was not, with Wilson's 95 % intervals. The builds must be installed:
`tickover agent install`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from cases import AGENTS, Case, generated, one_of_each, spread
from place import Place, Result
from tables import tables

from tickover.app import Tickover, home_folder


async def measure(cases: list[Case], home: Path, jobs: int, out: Path | None) -> list[Result]:
    results: list[Result] = []
    with tempfile.TemporaryDirectory() as scratch:
        async with await Tickover.open(home) as tickover:
            place = Place(tickover, Path(scratch))
            waiting = asyncio.Semaphore(jobs)

            async def one(case: Case) -> None:
                async with waiting:
                    began = time.monotonic()
                    result = await place.run(case)
                results.append(result)
                line = json.dumps({**result.as_dict(), "seconds": round(time.monotonic() - began, 1)})
                if out is not None:
                    with out.open("a") as file:
                        file.write(line + "\n")
                wrong = "" if result.right else "   <-- wrong"
                print(
                    f"{len(results):4}/{len(cases)} {case} done={result.done} {result.outcome}{wrong}", file=sys.stderr
                )

            with place:
                await asyncio.gather(*map(one, cases))
    return results


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", default=",".join(AGENTS))
    parser.add_argument("--faults", help="only these, with commas between them")
    parser.add_argument("--small", action="store_true", help="two of each fault: minutes, not hours")
    parser.add_argument("--cases", type=int, help="this many, spread over all; else every one")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--home", type=Path, default=home_folder(), help="the data folder with the installed builds")
    parser.add_argument("--out", type=Path, help="append a JSON line per case")
    words = parser.parse_args()
    agents = words.agents.split(",")
    cases = one_of_each(agents) if words.small else list(generated(agents))
    if words.faults:
        cases = [case for case in cases if case.fault in words.faults.split(",")]
    cases = spread(cases, words.cases or len(cases))
    results = asyncio.run(measure(cases, words.home, words.jobs, words.out))
    print(tables(results))
    return 1 if any(result.false_green for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
