"""The agent's commits, seen safely: its `.git` is opened only inside a sandbox, its objects only after fsck.

Git runs over the workspace in a sandbox and writes a bundle to stdout. Whatever the agent's configuration makes that
git do happens in there; what comes out is a bundle, which our own git unpacks with every object checked, into a bare
repository that knows the mirror's objects.
"""

from __future__ import annotations

import asyncio
import secrets
import shutil
from pathlib import Path
from typing import Final

from tickover.control.house import House
from tickover.core.errors import TickoverError
from tickover.core.text import one_line
from tickover.sandbox.base import ResourceLimits, Sandbox, SandboxSpec
from tickover.workspace.base import SUBJECT, Commit, Workspace
from tickover.workspace.git import Said
from tickover.workspace.lock import FileLock
from tickover.workspace.sweep import COPIES

_MOST: Final = 1 << 30  # bytes of a bundle, of a file made of it, and of memory to make it
_BUNDLE: Final = "git bundle create -q - HEAD --branches --tags"
_TIMEOUT: Final = 60.0  # seconds: the agent may have made something that never answers


class SubjectGit:
    """Copies of the repositories of one workspace, made when they are first asked for."""

    def __init__(self, house: House, workspace: Workspace) -> None:
        self._house = house
        self._workspace = workspace
        self._copies: dict[str, Path | TickoverError] = {}
        self._folder = house.data / "stage" / f"{COPIES}{secrets.token_hex(6)}"
        self._use: FileLock | None = None

    async def resolve(self, repo: str, commit: Commit, ref: str) -> str | None:
        """Return the commit that `ref` (HEAD, a branch, a tag, a commit) names in the agent's clone."""
        copy = await self._copy(repo, commit)
        for name in (ref, f"refs/heads/{ref}", f"refs/tags/{ref}"):
            said = await self._git(copy, "rev-parse", "--verify", "-q", "--end-of-options", f"{name}^{{commit}}")
            if said.code == 0:
                return said.out.decode().strip()
        return None

    async def count(self, repo: str, commit: Commit, base: str, head: str) -> int:
        """Count the commits of base..head."""
        copy = await self._copy(repo, commit)
        said = await self._git(copy, "rev-list", "--count", "--end-of-options", f"{base}..{head}")
        if said.code != 0:
            raise TickoverError("check.git", f"{base[:12]}..{head[:12]} cannot be counted in the agent's clone")
        return int(said.out)

    def close(self) -> None:
        if self._use is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._use.remove()
            self._use.close()

    async def _git(self, copy: Path, *arguments: str) -> Said:
        return await self._house.mirrors.git.run(
            f"--git-dir={copy}", *arguments, max_file=_MOST, max_memory=_MOST, timeout_s=_TIMEOUT
        )

    async def _copy(self, repo: str, commit: Commit) -> Path:
        if repo not in self._copies:
            try:
                self._copies[repo] = await self._make(repo, commit)
            except TickoverError as error:  # it would be the same again, and may have taken minutes
                self._copies[repo] = error
        copy = self._copies[repo]
        if isinstance(copy, TickoverError):
            raise copy
        return copy

    async def _make(self, repo: str, commit: Commit) -> Path:
        if self._use is None:
            self._use = await FileLock.take(self._folder.with_suffix(".use"))
            self._folder.mkdir()
        bundle = self._folder / f"{repo}.bundle"
        await self._bundle(repo, bundle)
        return await self._unpack(bundle, self._folder / f"{repo}.git", commit)

    async def _bundle(self, repo: str, destination: Path) -> None:
        several = len(self._workspace.repositories) > 1
        spec = SandboxSpec(
            name=f"bundle-{secrets.token_hex(6)}",
            argv=["/bin/bash", "-c", _BUNDLE],
            env={"PATH": "/usr/bin:/bin", "HOME": "/home/agent", "GIT_OPTIONAL_LOCKS": "0"},
            cwd=f"{SUBJECT}/{repo}" if several else SUBJECT,
            overlays=(self._workspace.subject(),),
            binds=self._workspace.repositories,
            limits=ResourceLimits(),
        )
        sandbox = await self._house.backend.start(spec)
        try:
            async with asyncio.timeout(_TIMEOUT):
                said = await _kept(sandbox, destination)
                ended = await sandbox.wait()
        except TimeoutError:
            raise TickoverError("check.subject_git", f"the agent's clone was not read within {_TIMEOUT:g} s") from None
        finally:
            await sandbox.destroy()
        if ended.code != 0:
            why = one_line(said.decode(errors="replace")) or f"git ended with {ended.code}"
            raise TickoverError("check.subject_git", f"the agent's clone cannot be read: {why}")

    async def _unpack(self, bundle: Path, copy: Path, commit: Commit) -> Path:
        git = self._house.mirrors.git
        kind = "sha256" if len(commit.sha) == 64 else "sha1"
        made = await git.run("init", "-q", "--bare", "--template=", f"--object-format={kind}", str(copy))
        if made.code != 0:
            raise TickoverError("check.subject_git", f"cannot make a copy: {one_line(made.err)}")
        (copy / "objects/info").mkdir(exist_ok=True)
        (copy / "objects/info/alternates").write_text(f"{commit.mirror}/objects\n")
        specs = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*", "+HEAD:refs/tickover/HEAD"]
        said = await self._git(copy, "fetch", "-q", "--no-write-fetch-head", "--", str(bundle), *specs)
        if said.code != 0:
            raise TickoverError("check.subject_git", f"the agent's objects do not pass: {one_line(said.err, 300)}")
        # HEAD of the copy is where the agent's HEAD was, whatever branch that is.
        await self._git(copy, "update-ref", "--no-deref", "HEAD", "refs/tickover/HEAD")
        return copy


async def _kept(sandbox: Sandbox, destination: Path) -> bytes:
    """Write what comes out to a file of ours; return the end of what git says besides."""
    said = b""
    written = 0
    with destination.open("wb") as file:
        async for stream, piece in sandbox.stream():
            if stream == "stderr":
                said = (said + piece)[-4096:]
                continue
            written += len(piece)
            if written > _MOST:
                raise TickoverError("check.subject_git", "the agent's clone holds more than 1 GiB of objects")
            file.write(piece)
    return said
