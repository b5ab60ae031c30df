from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tickover.core.errors import DefinitionErrors
from tickover.routines import loader
from tickover.routines.loader import load_folder
from tickover.routines.syntax import unreadable

HERE = sys.version_info.minor
ROUTINE = "---\nname: sums\nagent: steps\nexpect:\n  - command: {run: python3 sums.py}\n---\n```bash\ntrue\n```\n"


@pytest.mark.parametrize(
    ("program", "why"),
    [
        (b"import sys\nsys.exit(0)\n", ""),
        (b"def check(:\n    pass\n", "invalid syntax (line 1)"),
        (b"if True:\nprint(1)\n", "(line 2)"),
        (b"a = 'x\xff'\n", "utf-8"),
    ],
)
def test_what_is_no_program_says_where(program: bytes, why: str) -> None:
    said = unreadable(program, HERE)
    assert why in said if why else said == ""


def test_a_python_inside_that_may_know_more_is_not_spoken_for() -> None:
    assert unreadable(b"def check(:", HERE + 1) == ""
    assert unreadable(b"def check(:", None) == ""


def test_it_is_an_error_of_the_definition_at_the_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "minor_inside", lambda: HERE)
    folder = tmp_path / "sums"
    (folder / "checks").mkdir(parents=True)
    (folder / "ROUTINE.md").write_text(ROUTINE)
    (folder / "checks" / "sums.py").write_text("def check(:\n")
    with pytest.raises(DefinitionErrors) as caught:
        load_folder(str(folder))
    [problem] = caught.value.problems
    assert (problem.code, problem.where and problem.where.line) == ("definition.check_syntax", 5)
    assert "checks/sums.py is no Python program: invalid syntax (line 1)" in problem.message
    (folder / "checks" / "sums.py").write_text("print(1)\n")
    assert load_folder(str(folder)).routine.name == "sums"
