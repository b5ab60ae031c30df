from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tickover.core.errors import TickoverError
from tickover.workspace.git import GitTimeout, GitTooMuch, HostGit


def test_the_environment_is_ours_alone(tmp_path: Path) -> None:
    outside = {"HOME": "/root", "GIT_SSH_COMMAND": "evil", "GIT_DIR": "/x", "HTTPS_PROXY": "p", "LD_PRELOAD": "x"}
    git = HostGit(tmp_path, outside)
    local = git.environment(https=False)
    assert not {"GIT_SSH_COMMAND", "GIT_DIR", "HTTPS_PROXY", "LD_PRELOAD"} & set(local)
    assert local["HOME"] == "/nonexistent"
    assert local["GIT_ALLOW_PROTOCOL"] == "file:https"
    assert git.environment(https=True)["HTTPS_PROXY"] == "p"


async def test_settings_of_ours_are_what_git_sees(tmp_path: Path) -> None:
    said = (await HostGit(tmp_path, {}).run("config", "--list")).out.decode()
    for line in ("safe.directory=*", "core.hookspath=/dev/null", "fetch.fsckobjects=true", "gc.auto=0"):
        assert line in said.splitlines()


async def test_other_protocols_are_refused(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    git = HostGit(tmp_path / "git", {})
    for url in (f"ext::sh -c touch% {canary}", "ssh://example.com/x", "git://example.com/x", "http://example.com/x"):
        said = await git.run("ls-remote", "--", url)
        assert said.code != 0
        assert "not allowed" in said.err
    assert not canary.exists()


async def test_too_much_output_ends_git(tmp_path: Path) -> None:
    with pytest.raises(GitTooMuch):
        await HostGit(tmp_path, {}).run("help", "-a", max_output=100)


async def test_a_hanging_git_is_ended_with_all_it_started(tmp_path: Path) -> None:
    tell = tmp_path / "pid"
    alias = f"alias.hang=!echo $$ > {tell}; exec sleep 300"
    with pytest.raises(GitTimeout):
        await HostGit(tmp_path, {}).run("-c", alias, "hang", timeout_s=1)
    assert ended(int(tell.read_text()))


HANGING = """
import asyncio, sys
from pathlib import Path
from tickover.workspace.git import HostGit

alias = f"alias.hang=!echo $PPID $$ > {sys.argv[1]}/pid; exec sleep 300"
asyncio.run(HostGit(Path(sys.argv[1]), {}).run("-c", alias, "hang"))
"""


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv")
def test_git_does_not_outlive_us(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pid")
    ours = subprocess.Popen([sys.executable, "-c", HANGING, str(tmp_path)])
    git, below = (int(pid) for pid in (tmp_path / "pid").read_text().split())
    ours.kill()
    ours.wait()
    assert ended(git)
    os.kill(below, signal.SIGKILL)  # an alias gets no end of file; what fetches from git does


def ended(pid: int) -> bool:
    """Wait for the end of a process that is not our child."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], 10)[0])
    finally:
        os.close(descriptor)


async def test_git_missing_is_an_error_that_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tickover.workspace.git.PATH", str(tmp_path))
    with pytest.raises(TickoverError, match="git is not installed"):
        HostGit(tmp_path, {})
