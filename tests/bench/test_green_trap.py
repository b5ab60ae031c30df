"""The parts of the benchmark that decide what its tables say."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "bench" / "green_trap"


@pytest.fixture
def part(monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module


@pytest.fixture
def cases(part: object) -> ModuleType:
    del part
    return importlib.import_module("cases")


@pytest.fixture
def tables(part: object) -> ModuleType:
    del part
    return importlib.import_module("tables")


@pytest.mark.parametrize(
    ("hits", "of", "interval"),
    [(0, 76, (0.0, 0.0481)), (46, 76, (0.4929, 0.7076)), (5, 5, (0.5655, 1.0)), (0, 0, (0.0, 1.0))],
)
def test_wilson(tables: ModuleType, hits: int, of: int, interval: tuple[float, float]) -> None:
    assert tables.wilson(hits, of) == pytest.approx(interval, abs=1e-3)


def test_there_are_as_many_cases_that_do_the_work_as_not(cases: ModuleType) -> None:
    found = list(cases.generated())
    assert len(found) >= 400
    assert len(set(found)) == len(found)
    assert sum(case.works for case in found) * 2 == len(found)
    assert cases.spread(found, 20) == cases.spread(found, 20)


def test_whoever_is_idle_never_does_the_work_at_once(cases: ModuleType) -> None:
    work = cases.Work(do="DO", wrong="WRONG", elsewhere="ELSEWHERE", lost="LOST", undo="UNDO")
    for case in cases.generated():
        commands = [turn.run for turn in cases.FAULTS[case.fault](work, case.works, "")]
        did = [index for index, each in enumerate(commands) if each in {"DO", "DO; exit 7"}]
        done = bool(did) and "UNDO" not in commands[did[0] :]
        assert done is case.works, case


def test_a_script_is_one(cases: ModuleType) -> None:
    model = importlib.import_module("tickover.testing.model")
    work = cases.Work(do="DO", wrong="WRONG", elsewhere="ELSEWHERE", lost="LOST", undo="UNDO")
    for case in cases.generated():
        model.Script(cases.script(case, work))
