"""A small part of the benchmark as a test: the real Claude Code CLI, every fault, in the sandbox, through the gateway.

The CLI is installed from this machine's npm registry by `tickover agent install`. The model is the scripted model.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType

import pytest

from tickover.app import Tickover
from tickover.core.errors import TickoverError

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]
FOLDER = Path(__file__).resolve().parents[2] / "bench" / "green_trap"
MISSING = [program for program in ("/usr/bin/node", "/usr/bin/npm") if not os.path.exists(program)]
BUILD = "claude-code@2.1.197"


def unavailable(why: str) -> None:
    """Skip with the reason; root in CI has to have what is needed."""
    if os.getuid() == 0 and os.environ.get("CI"):
        pytest.fail(f"the benchmark has to run here: {why}")
    pytest.skip(f"the benchmark did not run: {why}")


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(FOLDER))
    spec = importlib.util.spec_from_file_location("green_trap_main", FOLDER / "__main__.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    path = list(sys.path)
    spec.loader.exec_module(module)
    sys.path[:] = path
    return module


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Path]:
    if MISSING:
        unavailable(f"there is no {' and no '.join(MISSING)}")
    home = tmp_path / "home"
    try:
        async with await Tickover.open(home) as tickover:
            await tickover.install(BUILD)
    except TickoverError as error:
        unavailable(f"{BUILD} could not be installed: {error}")
    yield home
    shutil.rmtree(home, ignore_errors=True)  # half a gigabyte


async def test_green_is_never_wrong_and_red_is_never_wrong(bench: ModuleType, home: Path, tmp_path: Path) -> None:
    cases = bench.one_of_each(["claude-code"])
    results = await bench.measure(cases, home, 2, tmp_path / "results.jsonl")
    told = bench.tables(results)
    assert len(results) == len(cases)
    assert [str(each.case) for each in results if each.false_green] == [], told
    assert [str(each.case) for each in results if each.done and each.colours["tickover"] == "red"] == [], told
    assert [str(each.case) for each in results if not each.right] == [], told  # amber for everything would pass the two
    assert {each.case.task for each in results if each.done} == {"sum", "post"}, told
    idle = [each for each in results if not each.done]
    assert len(idle) * 3 > len(results) > len(idle) * 1.3, told
    assert [each for each in idle if each.colours["exit code"] == "green"], (
        "the trap was not set: no exit code was wrong"
    )
    assert [each for each in idle if each.colours["own JSON"] == "green"], "the trap was not set: it never said success"
