from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

Script = Callable[[str], ModuleType]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "a checkout ünd mehr"
    folder.mkdir()
    (folder / "pyproject.toml").write_text("[project]\n", encoding="utf-8")
    return folder


def test_the_environment_made_by_hand_is_a_virtual_environment(script: Script, checkout: Path) -> None:
    environment = script("environment").Environment(str(checkout))
    assert environment.by_hand()
    where = "import sys; sys.exit(sys.prefix == sys.base_prefix or not sys.prefix.endswith('.venv'))"
    assert environment.runs("-c", where)
    in_site = f"import sys; sys.exit(not any(path.startswith({str(checkout)!r}) for path in sys.path))"
    assert environment.runs("-I", "-c", in_site)


def test_it_is_ready_until_the_project_asks_for_something_else(script: Script, checkout: Path) -> None:
    module = script("environment")
    environment = module.Environment(str(checkout))
    assert not environment.ready()
    environment.by_hand()
    packages = next((checkout / ".venv/lib").glob("python*/site-packages"))
    (packages / "tickover.py").touch()
    Path(environment.stamp()).write_text(environment.digest(), encoding="ascii")
    assert environment.ready()
    assert environment.ensure() is False
    assert not module.Environment(str(checkout), "dev").ready()
    (checkout / "pyproject.toml").write_text("[project]\nname = 'x'\n", encoding="utf-8")
    assert not module.Environment(str(checkout)).ready()


def test_an_environment_whose_interpreter_does_not_run_is_not_ready(script: Script, checkout: Path) -> None:
    environment = script("environment").Environment(str(checkout))
    (checkout / ".venv/bin").mkdir(parents=True)
    os.symlink("/nonexistent/python", environment.python)
    Path(environment.stamp()).write_text(environment.digest(), encoding="ascii")
    assert not environment.ready()


def test_a_failing_pip_shows_its_last_lines_and_the_command(script: Script, checkout: Path) -> None:
    module = script("environment")
    environment = module.Environment(str(checkout))
    with pytest.raises(module.ProblemError) as problem:
        environment.run_pip(["sh", "-c", "seq 100; echo no such package >&2; exit 1"])
    assert "no such package" in problem.value.what
    assert "\n50\n" not in problem.value.what
    assert problem.value.command.startswith("sh -c ")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_checkout_of_another_user_is_copied_not_written(script: Script, checkout: Path) -> None:
    module = script("environment")
    checkout.chmod(0o555)
    with pytest.raises(module.ProblemError, match="belongs to another user") as problem:
        module.Environment(str(checkout)).ensure()
    checkout.chmod(0o755)
    assert problem.value.command.startswith("mkdir -p ")
