"""Which git repository the examples work on: this checkout, an archive of it made into one, or yours."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from preflight import ProblemError

KINDS = {
    "full": "with its whole history",
    "shallow": "a shallow clone: its history is cut, and the digest says where churn is unknown",
    "archive": "an archive without history: a temporary repository of one commit was made from it",
    "remote": "fetched by the run itself",
}


@dataclass(frozen=True)
class Repository:
    """What the routines below `base` work on; `url` is empty where their own `url: "."` already means it."""

    name: str
    kind: str
    url: str
    base: str

    def __str__(self) -> str:
        return f"{self.name} ({self.kind}, {KINDS[self.kind]})"


class Git:
    """Git that reads a checkout of whoever owns it, with no configuration but one file of ours."""

    def __init__(self, scratch: str) -> None:
        config = os.path.join(scratch, "gitconfig")
        with open(config, "w", encoding="ascii") as file:
            file.write("[safe]\n\tdirectory = *\n[core]\n\tfsmonitor = false\n\thooksPath = /dev/null\n")
        kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        self.environment = {**kept, "GIT_CONFIG_GLOBAL": config, "GIT_CONFIG_NOSYSTEM": "1"}

    def ask(self, folder: str, *args: str) -> str:
        """Return what git says; empty if it refuses."""
        command = ["git", "-C", folder, *args]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    def has_commit(self, folder: str) -> bool:
        return bool(self.ask(folder, "rev-parse", "--verify", "HEAD^{commit}"))

    def kind(self, folder: str) -> str:
        return "shallow" if self.ask(folder, "rev-parse", "--is-shallow-repository") == "true" else "full"


def choose(asked: str, root: str, scratch: str) -> Repository:
    """Return the repository asked for; without a question the checkout `root`. `scratch` may be filled.

    Where the checkout itself is an archive, the routines are run from the repository made of it.
    """
    git = Git(scratch)
    whole = git.has_commit(root) and _same(git.ask(root, "rev-parse", "--show-toplevel"), root)
    base = root if whole else _from_archive(git, root, scratch)
    if not asked:
        return Repository("this checkout", git.kind(root) if whole else "archive", "", base)
    if "://" in asked and not asked.startswith("file://"):
        if not asked.startswith("https://"):
            why = "a routine clones by file:// or https:// only; a clone of your own works too."
            raise ProblemError(f"{asked} is neither https nor a path.", why, "scripts/quickstart /path/to/your/clone")
        return Repository(asked, "remote", asked, base)
    path = unquote(urlsplit(asked).path) if asked.startswith("file://") else asked
    folder = git.ask(path, "rev-parse", "--show-toplevel") or git.ask(path, "rev-parse", "--absolute-git-dir")
    if not folder or not git.has_commit(folder):
        why = "the digest is made from a commit of a git repository."
        raise ProblemError(f"{path} is no git repository with a commit.", why, f"git -C {shlex.quote(path)} log -1")
    return Repository(folder, git.kind(folder), Path(folder).resolve().as_uri(), base)


def _same(one: str, other: str) -> bool:
    return bool(one) and os.path.realpath(one) == os.path.realpath(other)


def _from_archive(git: Git, root: str, scratch: str) -> str:
    """Make a repository of one commit from a tree without .git; return its folder."""
    folder = tempfile.mkdtemp(prefix="archive-", dir=scratch)
    copy = os.path.join(folder, "checkout")
    shutil.copytree(
        root, copy, symlinks=True, ignore=shutil.ignore_patterns(".venv", ".git", "__pycache__", ".*_cache")
    )
    author = ["-c", "user.name=The archive", "-c", "user.email=archive@example.com"]
    git.ask(copy, "init", "--quiet", "--initial-branch=main")
    git.ask(copy, "add", "--all")
    git.ask(copy, *author, "commit", "--quiet", "--message=The archive, as it was unpacked")
    if not git.has_commit(copy):
        raise ProblemError(f"{root} could not be made into a repository.", "it has no history to read.", "git init")
    return copy
