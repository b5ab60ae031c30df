from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
Script = Callable[[str], ModuleType]


@pytest.mark.parametrize(
    ("os_release", "family"),
    [
        ('ID=debian\nVERSION_ID="12"\n', "debian"),
        ('PRETTY_NAME="Linux Mint"\nID=linuxmint\nID_LIKE="ubuntu debian"\n', "debian"),
        ("ID=ubuntu\nID_LIKE=debian\n", "debian"),
        ('ID="rocky"\nID_LIKE="rhel centos fedora"\n', "fedora"),
        ("ID=arch\n", "arch"),
        ("ID=alpine\n", "alpine"),
        ('ID="opensuse-tumbleweed"\nID_LIKE="opensuse suse"\n', "suse"),
        ("ID=nixos\n", ""),
        ("", ""),
    ],
)
def test_the_distribution_decides_the_command(script: Script, os_release: str, family: str) -> None:
    preflight = script("preflight")
    assert preflight.family(os_release) == family
    assert "git" in preflight.install_command("git", family)


@pytest.mark.parametrize(
    ("settings", "contained", "command"),
    [
        ({"user.max_user_namespaces": "0"}, False, "sysctl -w user.max_user_namespaces=15000"),
        ({"kernel.unprivileged_userns_clone": "0"}, False, "sysctl -w kernel.unprivileged_userns_clone=1"),
        (
            {"kernel.apparmor_restrict_unprivileged_userns": "1", "user.max_user_namespaces": "96365"},
            False,
            "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        ({}, True, "docker run --security-opt seccomp=unconfined"),
        ({}, False, "sysctl -w user.max_user_namespaces=15000"),
    ],
)
def test_a_refused_namespace_is_explained_by_the_setting_that_refuses(
    script: Script, settings: dict[str, str], contained: bool, command: str
) -> None:
    refused = script("preflight").namespaces_refused("unshare: no", lambda name: settings.get(name, ""), contained)
    assert command in refused.command
    assert "unshare: no" in refused.what
    assert str(refused).count("\n  run: ") == 1


def test_namespaces_switched_off_are_noticed_by_starting_one() -> None:
    off = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'
    ask = f"import sys; sys.path.insert(0, {str(SCRIPTS)!r}); import preflight; preflight.check_namespaces()"
    command = ["unshare", "--user", "--map-root-user", "sh", "-c", off, "sh", sys.executable, "-B", "-c", ask]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "User namespaces are switched off (user.max_user_namespaces = 0" in done.stderr
    assert "run: sysctl -w user.max_user_namespaces=15000" in done.stderr


def test_too_little_disk_is_a_problem(script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    preflight = script("preflight")
    assert preflight.check_disk(str(tmp_path)) > 0
    monkeypatch.setattr(preflight, "DISK_NEEDED", 2**60)
    with pytest.raises(preflight.ProblemError, match=r"are free in .*, 1073741824 are needed"):
        preflight.check_disk(str(tmp_path))


def test_a_missing_program_is_a_problem_with_one_command(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    preflight = script("preflight")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(preflight.ProblemError) as problem:
        preflight.check_git()
    assert problem.value.what == "git was not found."
    assert "git" in problem.value.command
    monkeypatch.setattr(preflight, "INSIDE_PYTHON", str(tmp_path / "python3"))
    with pytest.raises(preflight.ProblemError, match="is missing or older than"):
        preflight.check_inside_python()


def test_an_old_git_is_a_problem(script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    preflight = script("preflight")
    git = tmp_path / "git"
    git.write_text("#!/bin/sh\necho git version 2.11.0\n", encoding="utf-8")
    git.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(preflight.ProblemError, match=r"2\.11\.0 is older than 2\.30"):
        preflight.check_git()


@pytest.mark.parametrize("name", ["quickstart", "test", "find-python.sh"])
def test_shell_scripts_are_posix_and_parse(name: str) -> None:
    subprocess.run(["sh", "-n", str(SCRIPTS / name)], check=True)


def test_a_machine_without_python_gets_one_command(tmp_path: Path) -> None:
    for program in ("dirname", "id"):
        (tmp_path / program).symlink_to(f"/usr/bin/{program}")
    find = tmp_path / "find-python.sh"
    text = (SCRIPTS / "find-python.sh").read_text(encoding="utf-8")
    find.write_text(text.replace("/usr/bin/python3", str(tmp_path / "python3")), encoding="utf-8")
    command = ["env", "-i", f"PATH={tmp_path}", "/bin/sh", str(find)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.count("  run: ") == 1
