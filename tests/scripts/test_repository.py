from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

Script = Callable[[str], ModuleType]


def git(folder: Path, *args: str) -> None:
    command = ["git", "-C", str(folder), "-c", "user.name=A", "-c", "user.email=a@example.com", *args]
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "a checkout ünd mehr"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub/file").write_text("x\n", encoding="utf-8")
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "one")
    git(folder, "commit", "-q", "--allow-empty", "-m", "two")
    return folder


def commits(url: str, target: Path) -> int:
    subprocess.run(["git", "clone", "-q", url, str(target)], check=True)
    command = ["git", "-C", str(target), "rev-list", "--count", "HEAD"]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def test_this_checkout_needs_no_address(script: Script, checkout: Path, tmp_path: Path) -> None:
    chosen = script("repository").choose("", str(checkout), str(tmp_path))
    assert (chosen.kind, chosen.url) == ("full", "")


def test_a_shallow_checkout_says_so(script: Script, checkout: Path, tmp_path: Path) -> None:
    git(checkout, "clone", "-q", "--depth=1", checkout.as_uri(), str(tmp_path / "shallow"))
    chosen = script("repository").choose("", str(tmp_path / "shallow"), str(tmp_path))
    assert (chosen.kind, chosen.url) == ("shallow", "")
    assert "history is cut" in str(chosen)


@pytest.mark.parametrize("inside_another", [False, True])
def test_an_archive_is_made_into_a_repository_of_one_commit(
    script: Script, checkout: Path, tmp_path: Path, inside_another: bool
) -> None:
    archive = (checkout if inside_another else tmp_path) / "unpacked"
    (archive / ".venv").mkdir(parents=True)
    (archive / ".venv/secret").touch()
    (archive / "README").write_text("hello\n", encoding="utf-8")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    chosen = script("repository").choose("", str(archive), str(scratch))
    assert chosen.kind == "archive"
    assert chosen.url == ""
    assert commits(Path(chosen.base).as_uri(), tmp_path / "clone") == 1
    assert (tmp_path / "clone/README").exists()
    assert not (tmp_path / "clone/.venv").exists()
    assert not (archive / ".git").exists()


@pytest.mark.parametrize("as_address", [False, True])
def test_a_path_becomes_the_address_of_its_repository(
    script: Script, checkout: Path, tmp_path: Path, as_address: bool
) -> None:
    folder = checkout / "sub"
    asked = folder.as_uri() if as_address else str(folder)
    chosen = script("repository").choose(asked, str(checkout), str(tmp_path))
    assert (chosen.name, chosen.kind) == (str(checkout), "full")
    assert commits(chosen.url, tmp_path / "clone") == 2


def test_addresses_are_taken_as_they_are(script: Script, checkout: Path, tmp_path: Path) -> None:
    url = "https://git.example.com/acme/app"
    assert script("repository").choose(url, str(checkout), str(tmp_path)).url == url


@pytest.mark.parametrize("asked", ["ssh://git@git.example.com/app", "/nonexistent/repository"])
def test_what_is_no_repository_is_a_problem(script: Script, checkout: Path, tmp_path: Path, asked: str) -> None:
    with pytest.raises(script("preflight").ProblemError, match=r"neither https nor a path|is no git repository"):
        script("repository").choose(asked, str(checkout), str(tmp_path))
