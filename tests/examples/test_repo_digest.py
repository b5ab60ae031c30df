from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

CHECK = Path(__file__).resolve().parents[2] / "examples" / "repo-digest" / "checks" / "digest_check.py"


def git(folder: Path, *args: str, date: str = "2026-01-20T00:00:00Z") -> str:
    command = ["git", "-C", str(folder), *args]
    environment = {"GIT_COMMITTER_DATE": date, "GIT_AUTHOR_DATE": date}
    done = subprocess.run(
        ["env", *(f"{key}={value}" for key, value in environment.items()), *command],
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path, clean_environment: None) -> Path:
    """Return a repository with an old commit, a merge, a rename, a type change, a binary and Python that trips up."""
    folder = tmp_path / "origin ü"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    files = {
        "simple.py": b"def one():\n    return 1\n\n\nclass A:\n    async def two(self):\n        '''a\n        b'''\n",
        "crlf.py": b"def f(): return 1\r\ndef g(a,\r\n  b):\r\n  return 2  # x\r\n  # trailing\r\n",
        "cr.py": b"x = 1\rdef h():\r  pass\r",
        "latin.py": b"# -*- coding: latin-1 -*-\ndef l\xe9():\n  '''\xe9'''\n",
        "nested.py": b"@d(\n 1)\ndef outer():\n    def inner(): return '''\n  '''\n    # c\n\n    return 1 + \\\n  2;\n",
        "broken.py": b"def broken(:\n",
        "binary.c": b"a\0b",
        "no-newline.c": b"int x;",
        "empty.rs": b"",
        "new\nline.go": b"package x\n",
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    (folder / "link.py").symlink_to("simple.py")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "old | first\nline", date="2026-01-01T00:00:00Z")
    (folder / "no-newline.c").write_bytes(b"int x;\n")
    (folder / "binary.c").write_bytes(b"a\0c")
    (folder / "link.py").unlink()
    (folder / "link.py").write_text("real = True\n", encoding="utf-8")
    (folder / "empty.rs").rename(folder / "moved.rs")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "types\n\nbody")
    git(folder, "checkout", "-q", "-b", "side")
    git(folder, "commit", "-q", "--allow-empty", "--allow-empty-message", "-m", "", date="2026-01-20T12:00:00Z")
    git(folder, "checkout", "-q", "main")
    git(folder, "merge", "-q", "--no-ff", "-m", "merge", "side", date="2026-01-21T00:00:00Z")
    return folder


def prepare(origin: Path, target: Path, *options: str) -> tuple[Path, Path]:
    """Return (mirror, workspace), as the host would lay them out."""
    git(origin, "clone", "-q", "--mirror", *options, origin.as_uri(), str(target / "app.git"))
    git(origin, "clone", "-q", (target / "app.git").as_uri(), str(target / "workspace"))
    return target / "app.git", target / "workspace"


def check(mirror: Path, workspace: Path, commit: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [
        "env",
        f"DIGEST_REPOSITORY={mirror}",
        f"DIGEST_SUBJECT={workspace}",
        f"TICKOVER_COMMIT_APP={commit or git(mirror, 'rev-parse', 'HEAD')}",
        *(sys.executable, "-I", str(CHECK)),
    ]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def test_the_digest_of_a_difficult_repository_is_recomputed_equal(
    repository: Path, tmp_path: Path, run_blocks: Callable[[str, Path], str]
) -> None:
    mirror, workspace = prepare(repository, tmp_path)
    run_blocks("repo-digest", workspace)
    digest = json.loads((workspace / "out/digest.json").read_text(encoding="utf-8"))
    assert digest["totals"] == {
        "commits": 3,
        "merges": 1,
        "authors": 1,
        "added": 2,
        "deleted": 2,
        "file_changes": 5,
        "binary_changes": 1,
        "churn_unknown": 0,
    }
    assert [one["subject"] for one in digest["commits"]] == ["merge", "", "types"]
    assert digest["python"] == {"files": 7, "functions": 8, "unparsed": 1}
    assert digest["longest_functions"][0] == {"path": "nested.py", "line": 3, "name": "outer", "lines": 7}
    assert (workspace / "out/digest.md").read_text(encoding="utf-8").count("Ada \\| \\`L\\`") == 4
    done = check(mirror, workspace)
    assert (done.returncode, done.stderr) == (0, "")
    assert "all equal" in done.stdout


def test_a_shallow_clone_says_so_and_does_not_invent_churn(
    repository: Path, tmp_path: Path, run_blocks: Callable[[str, Path], str]
) -> None:
    mirror, workspace = prepare(repository, tmp_path, "--depth=1")
    run_blocks("repo-digest", workspace)
    digest = json.loads((workspace / "out/digest.json").read_text(encoding="utf-8"))
    assert digest["window"] == {"days": None, "since": None, "shallow": True}
    assert digest["totals"]["churn_unknown"] == 1
    assert digest["commits"][0]["added"] is None
    assert "shallow clone" in (workspace / "out/digest.md").read_text(encoding="utf-8")
    assert check(mirror, workspace).returncode == 0


@pytest.mark.parametrize(
    ("path", "old", "new", "named"),
    [
        ("out/digest.json", '"added": 2', '"added": 3', "digest.json.totals.added: the routine says 3, recomputed 2"),
        ("out/digest.json", '"functions": 8', '"functions": 8.0', "digest.json.python.functions"),
        ("out/digest.json", '"merges": 1', '"merges": true', "digest.json.totals.merges"),
        ("out/digest.json", '"merges": 1', '"merges": 9, "merges": 1', "stands twice"),
        ("out/digest.json", '"name": "outer"', '"name": "other"', "digest.json.longest_functions[0].name"),
        ("out/digest.json", "{", "", "not JSON"),
        ("out/digest.md", "- deleted: 2", "- deleted: 20", "digest.md: -- deleted: 20"),
        ("out/digest.md", "| 7 |", "| 8 |", "digest.md: "),
    ],
)
def test_one_thing_changed_fails_and_is_named(
    *,
    repository: Path,
    tmp_path: Path,
    run_blocks: Callable[[str, Path], str],
    path: str,
    old: str,
    new: str,
    named: str,
) -> None:
    mirror, workspace = prepare(repository, tmp_path)
    run_blocks("repo-digest", workspace)
    written = workspace / path
    text = written.read_text(encoding="utf-8")
    assert old in text
    written.write_text(text.replace(old, new, 1), encoding="utf-8")
    done = check(mirror, workspace)
    assert (done.returncode, done.stderr) == (1, "")
    assert named in done.stdout


def test_a_digest_of_another_commit_fails(
    repository: Path, tmp_path: Path, run_blocks: Callable[[str, Path], str]
) -> None:
    mirror, workspace = prepare(repository, tmp_path)
    git(workspace, "checkout", "-q", "HEAD^")
    run_blocks("repo-digest", workspace)
    done = check(mirror, workspace)
    assert done.returncode == 1
    assert "digest.json.commit: the routine says" in done.stdout


@pytest.mark.parametrize("trick", ["link", "fifo", "missing"])
def test_a_digest_that_is_no_plain_file_fails_at_once(
    repository: Path, tmp_path: Path, run_blocks: Callable[[str, Path], str], trick: str
) -> None:
    mirror, workspace = prepare(repository, tmp_path)
    run_blocks("repo-digest", workspace)
    written = workspace / "out/digest.json"
    written.rename(tmp_path / "elsewhere.json")
    if trick == "link":
        written.symlink_to(tmp_path / "elsewhere.json")
    elif trick == "fifo":
        subprocess.run(["mkfifo", str(written)], check=True)
    done = check(mirror, workspace)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("out/digest.json: ")
