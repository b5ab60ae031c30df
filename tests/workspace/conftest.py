"""A source repository, a data folder, a real backend, and an agent of one shell line."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

import pytest

from tickover.sandbox.base import Exit, SandboxSpec
from tickover.sandbox.bwrap import BwrapBackend, BwrapSandbox
from tickover.workspace.base import UPPER, Workspace
from tickover.workspace.checkout import Checkouts
from tickover.workspace.folders import Folders
from tickover.workspace.mirror import Mirrors

ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.com",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.com",
    "GIT_AUTHOR_DATE": "2026-01-05T09:00:00Z",
    "GIT_COMMITTER_DATE": "2026-01-05T09:00:00Z",
}


@dataclass
class Source:
    """A repository that somebody else owns, in whatever state a test brings it."""

    path: Path

    def git(self, *arguments: str, stdin: bytes = b"", folder: Path | None = None) -> str:
        command = ["git", "-c", "safe.directory=*", "-C", str(folder or self.path), *arguments]
        said = subprocess.run(command, env=ENVIRONMENT, input=stdin, capture_output=True, check=True)
        return said.stdout.decode(errors="surrogateescape").strip()

    def commit(self, files: dict[str, str | bytes], message: str = "change") -> str:
        for name, content in files.items():
            path = self.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD")

    def commit_tree(self, entries: bytes, parent: str | None = None) -> str:
        """Make a commit on main of a tree that git would never make itself."""
        tree = self.git("hash-object", "-t", "tree", "--literally", "-w", "--stdin", stdin=entries)
        commit = self.git("commit-tree", tree, "-m", "hostile", *(["-p", parent] if parent else []))
        self.git("update-ref", "refs/heads/main", commit)
        return commit


@dataclass
class Blobs:
    """Bodies in memory."""

    bodies: dict[str, bytes] = field(default_factory=dict)

    def put(self, content: BinaryIO) -> str:
        body = content.read()
        digest = hashlib.sha256(body).hexdigest()
        self.bodies[digest] = body
        return digest


Agent = Callable[..., Awaitable["Worked"]]


@dataclass
class Worked:
    """What one agent did; `workspace` is what it left."""

    exit: Exit
    output: str
    workspace: Workspace


@pytest.fixture
def source(tmp_path: Path) -> Source:
    path = tmp_path / "source"
    path.mkdir()
    path.chmod(0o755)
    source = Source(path)
    source.git("init", "-q", "-b", "main")
    source.commit({"README.md": "one\n", "src/app.py": "print(1)\n", "requirements.txt": "# none\n"}, "first")
    return source


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def mirrors(data: Path) -> Mirrors:
    return Mirrors(data, environ={})


@pytest.fixture
async def backend(data: Path) -> AsyncIterator[BwrapBackend]:
    backend = await BwrapBackend.open(data)
    yield backend
    await backend.close()
    left = os.listdir(data / "sandboxes") + [name for name in os.listdir(data / "stage") if name.startswith("frames-")]
    assert left == [], "a sandbox or a staged file is left behind"


@pytest.fixture
def folders(data: Path, backend: BwrapBackend) -> Folders:
    return Folders(data, backend)


@pytest.fixture
def checkouts(data: Path, backend: BwrapBackend, folders: Folders) -> Checkouts:
    return Checkouts(data, backend, folders)


@pytest.fixture
def blobs() -> Blobs:
    return Blobs()


@pytest.fixture
async def empty(checkouts: Checkouts) -> AsyncIterator[Workspace]:
    """A workspace without repositories."""
    async with checkouts.workspace({}) as workspace:
        yield workspace


@pytest.fixture
async def agent(backend: BwrapBackend) -> AsyncIterator[Agent]:
    """Run `script` in a workspace; its sandbox stays until the end of the test, as it does in a run."""
    started: list[BwrapSandbox] = []

    async def work(workspace: Workspace, script: str, *, layers: tuple[Path, ...] = ()) -> Worked:
        spec = SandboxSpec(
            name=f"agent-{len(started)}",
            argv=["/bin/bash", "-euc", script],
            env={"PATH": "/usr/bin:/bin", "HOME": "/home/agent"},
            cwd="/workspace",
            layers=layers,
            overlays=(workspace.overlay(),),
            binds=workspace.repositories,
        )
        sandbox = await backend.start(spec)
        started.append(sandbox)
        output = b"".join([piece async for _, piece in sandbox.stream()])
        ended = await sandbox.wait()
        left = replace(workspace, upper=sandbox.upper(UPPER))
        return Worked(ended, output.decode(errors="replace"), left)

    yield work
    for sandbox in started:
        await sandbox.destroy()
