"""A double of a git host over HTTPS: git's own `http-backend` (git-http-backend(1)) behind TLS, with its own record.

Everybody may fetch, unless it is `private`; to push, the password of HTTP Basic has to be the token. Serve it with
`tickover.testing.upstream`.
"""

from __future__ import annotations

import asyncio
import base64
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tickover.testing.upstream import Seen, Talk

CLEAN: Final = {
    "PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull, "GIT_TERMINAL_PROMPT": "0", "GIT_AUTHOR_NAME": "Ada", "GIT_COMMITTER_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.com", "GIT_COMMITTER_EMAIL": "ada@example.com",
}  # fmt: skip
"""The environment of git where nothing of the machine's shall matter."""


@dataclass
class GitServer:
    """The bare repositories below `root`: `/OWNER/NAME.git`. `called` has method, path and status of each call."""

    root: Path
    token: str
    private: bool = False
    called: list[tuple[str, str, str]] = field(default_factory=list)

    def make(self, name: str, commits: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
        """Make a repository of branches, each a commit on the one before it, and return their commits."""
        bare, work = self.root / f"{name}.git", self.root / f"{name}.work"
        bare.mkdir(parents=True)
        work.mkdir(parents=True)
        first = next(iter(commits))
        git(bare, "init", "-q", "--bare", "-b", first)
        git(bare, "config", "http.receivepack", "true")
        git(work, "init", "-q", "-b", first)
        made: dict[str, str] = {}
        for branch, files in commits.items():
            if made:
                git(work, "checkout", "-qb", branch)
            for path, text in files.items():
                (work / path).parent.mkdir(parents=True, exist_ok=True)
                (work / path).write_text(text)
            git(work, "add", "-A")
            git(work, "commit", "-qm", branch)
            made[branch] = git(work, "rev-parse", "HEAD")
        git(work, "push", "-q", bare.as_uri(), "--all")
        shutil.rmtree(work)
        return made

    def adopt(self, name: str, source: Path) -> None:
        """Serve a bare copy of a repository."""
        bare = self.root / f"{name}.git"
        self.root.mkdir(parents=True, exist_ok=True)
        git(self.root, "clone", "-q", "--bare", str(source), str(bare))
        git(bare, "config", "http.receivepack", "true")

    def branches(self, name: str) -> dict[str, str]:
        """Return each branch with its commit."""
        said = git(self.root / f"{name}.git", "for-each-ref", "--format=%(refname:short) %(objectname)", "refs/heads")
        return dict(line.split(" ") for line in said.splitlines())

    async def __call__(self, seen: Seen, talk: Talk) -> None:
        path, _, query = seen.target.partition("?")
        pushes = path.endswith("/git-receive-pack") or "git-receive-pack" in query
        if (pushes or self.private) and not self._knows(seen):
            self.called.append((seen.method, seen.target, "401"))
            await talk.answer(status="401 Unauthorized", headers=(("www-authenticate", 'Basic realm="git"'),))
            return
        status, headers, body = await asyncio.to_thread(answer_of, self.root, seen, user="bot" if pushes else "")
        self.called.append((seen.method, seen.target, status[:3]))
        await talk.answer(body, status=status, headers=headers)

    def _knows(self, seen: Seen) -> bool:
        kind, _, given = (seen.header("authorization") or "").partition(" ")
        try:
            told = base64.b64decode(given, validate=True).decode()
        except ValueError:
            return False
        return kind.lower() == "basic" and told.partition(":")[2] == self.token


def answer_of(root: Path, seen: Seen, *, user: str) -> tuple[str, tuple[tuple[str, str], ...], bytes]:
    """Return what git's own server side answers to a request: a status, header fields and a body.

    It takes its time, and may end without having read its input, of which each event loop makes something else.
    """
    path, _, query = seen.target.partition("?")
    environment = {
        **CLEAN, "GIT_PROJECT_ROOT": str(root), "GIT_HTTP_EXPORT_ALL": "1", "PATH_INFO": path, "QUERY_STRING": query,
        "REQUEST_METHOD": seen.method, "CONTENT_TYPE": seen.header("content-type") or "",
        "HTTP_CONTENT_ENCODING": seen.header("content-encoding") or "", "CONTENT_LENGTH": str(len(seen.body)),
        "GIT_PROTOCOL": seen.header("git-protocol") or "", **({"REMOTE_USER": user} if user else {}),
    }  # fmt: skip
    done = subprocess.run(
        ["git", "http-backend"], env=environment, input=seen.body, stdout=subprocess.PIPE, check=False
    )
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    fields = [(name, value) for name, _, value in (line.partition(": ") for line in head.decode().split("\r\n"))]
    status = next((value for name, value in fields if name == "Status"), "200 OK")
    return status, tuple(each for each in fields if each[0] != "Status"), body


def git(folder: Path, *arguments: str) -> str:
    """Run git in a folder, and return what it said."""
    done = subprocess.run(["git", *arguments], cwd=folder, env=CLEAN, capture_output=True, text=True, check=True)
    return done.stdout.strip()
