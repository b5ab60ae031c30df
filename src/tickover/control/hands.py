"""The hands of a check: everything it may look at, out of the agent's reach.

A verifying sandbox is new: the base and the setup layer (never the agent's root), another uid where there is one, no
network, an empty home, only pinned files in /check, the workspace read-only at /subject, where no link that the agent
made leads out of it (to /check, or to what the check itself writes). The subject's own code runs only where the check
asks for it, with the trusted copies laid over it first.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Final

from tickover.checks.base import EVIDENCE_BYTES, HttpAnswer, PinnedRun, SubjectFile, Where
from tickover.control.house import House
from tickover.control.keep import Kept
from tickover.control.outreach import count_rows, get_page, read_connector, resolve_refs
from tickover.control.prepare import Prepared, Resolved, machine_limits
from tickover.control.receipts import believed, traffic_of
from tickover.control.record import Recorder
from tickover.control.subject_git import SubjectGit
from tickover.core.check import Subject
from tickover.core.definition import Routine
from tickover.core.errors import TickoverError
from tickover.core.receipt import Receipt
from tickover.sandbox.base import Bind, Overlay, Sandbox, SandboxRefused, SandboxSpec
from tickover.workspace.artifacts import read_file, read_files
from tickover.workspace.base import SUBJECT, Workspace
from tickover.workspace.base import SubjectFile as Found
from tickover.workspace.shelf import Held

CHECK: Final = "/check"
_TOGETHER: Final = 1 << 20  # bytes of each file that are read in one go with others
_ENV: Final = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "HOME": "/home/agent",
    "LANG": "C.UTF-8",
    "PYTHONSAFEPATH": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONNOUSERSITE": "1",
    "GIT_CONFIG_GLOBAL": "/tickover/gitconfig",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_OPTIONAL_LOCKS": "0",
}
_GIT_TRUSTS_OURS_ONLY: Final = {
    # Git takes a repository of another owner for dangerous, and so is the agent's: its configuration starts programs.
    # This makes every owner another one; our mirrors are named in /tickover/gitconfig.
    "GIT_TEST_ASSUME_DIFFERENT_OWNER": "1",
    "GIT_CONFIG_NOSYSTEM": "1",
}


class VerifierHands:
    """Hands over one workspace: as the agent found it (baseline), or as it left it."""

    def __init__(
        self,
        house: House,
        routine: Routine,
        prepared: Prepared,
        workspace: Workspace,
        record: Recorder,
        kept: Kept,
        files: Collection[str] = (),
        *,
        began: float,
    ) -> None:
        self._house = house
        self._routine = routine
        self._prepared = prepared
        self._workspace = workspace
        self._record = record
        self._kept = kept
        self._run = record.run
        self._subject_git = SubjectGit(house, workspace)
        self.began = began
        self._files = files  # will be asked for, so they are read together
        self._found: Mapping[str, Found] | None = None
        self._inward: Held | None = None

    async def run_pinned(self, run: str, *, subject: Subject, timeout_s: float) -> PinnedRun:
        """Run a shell line in a fresh verifying sandbox (see the port)."""
        async with AsyncExitStack() as teardown:
            overlay = await self._overlay(subject, teardown)
            prepared = self._prepared
            return await run_line(
                self._house,
                self._routine,
                prepared.resolved,
                self._run,
                run,
                timeout_s=timeout_s,
                layers=prepared.layers,
                overlays=(overlay,),
                binds=self._workspace.repositories,
                env={} if subject.run else _GIT_TRUSTS_OURS_ONLY,
            )

    async def _overlay(self, subject: Subject, teardown: AsyncExitStack) -> Overlay:
        lowers = self._workspace.subject().lowers
        folders = self._prepared.folders
        if not subject.run:
            if self._workspace.upper is None:
                return self._workspace.subject()
            written = replace(self._workspace, over=None).subject().lowers
            if self._inward is None:
                self._inward = await folders.inward(written, self._workspace.upper)
            inward = () if self._inward.empty else (self._inward.path,)
            return Overlay(SUBJECT, (*written, *inward, *lowers[len(written) :]), None)
        if subject.restore:
            trusted = await self._prepared.resolved.trusted_files(subject.restore)
            restored = await folders.restored(lowers, subject.restore, trusted)
            teardown.callback(folders.discard, restored)
            lowers = (*lowers, *(() if restored.empty else (restored.path,)))
        return Overlay(SUBJECT, lowers, "subject")

    async def read_subject(self, path: str, *, max_bytes: int) -> SubjectFile:
        """Read a file of the workspace through a sandbox."""
        found = (await self._read_together()).get(path)
        if found is None or (found.status == "too_large" and max_bytes > _TOGETHER):
            found = await read_file(self._house.backend, self._workspace, path, max_bytes)
        if found.status == "file" and found.size > max_bytes:
            return SubjectFile("too_large", b"", found.size, found.written, "larger than is read")
        return SubjectFile(found.status, found.data, found.size, found.written, found.reason)

    async def _read_together(self) -> Mapping[str, Found]:
        if self._found is None:
            wanted = dict.fromkeys(self._files, _TOGETHER)
            try:
                self._found = await read_files(self._house.backend, self._workspace, wanted) if wanted else {}
            except TickoverError:  # whoever asks for one of them is told why
                self._found = {}
        return self._found

    async def read_pinned(self, path: str) -> bytes:
        """Read a file of the routine's `checks/`."""
        data = self._prepared.resolved.pinned.get(path)
        if data is None:
            raise TickoverError("check.no_file", f"the routine has no checks/{path}")
        return data

    async def resolve_ref(self, repo: str, where: Where, ref: str) -> str | None:
        """Return the commit a ref names, or None."""
        commit = self._prepared.resolved.subject.get(repo)
        if commit is None:
            raise TickoverError("check.no_repository", f"the routine has no repository `{repo}`")
        if where == "subject":
            return await self._subject_git.resolve(repo, commit, ref)
        try:
            [found] = await resolve_refs(self._house, self._routine, self._record, self._kept, commit.url, [ref])
        except TickoverError as error:
            if error.code in {"repository.no_ref", "repository.empty"}:
                return None
            raise
        return found.sha

    async def count_commits(self, repo: str, where: Where, *, base: str, head: str) -> int:
        """Count the commits of base..head."""
        commit = self._prepared.resolved.subject[repo]
        if where == "subject":
            return await self._subject_git.count(repo, commit, base, head)
        git = self._house.mirrors.git
        said = await git.run(f"--git-dir={commit.mirror}", "rev-list", "--count", "--end-of-options", f"{base}..{head}")
        if said.code != 0:
            raise TickoverError("check.git", f"{base[:12]}..{head[:12]} of {repo} cannot be counted")
        return int(said.out)

    async def http_get(self, url: str, *, timeout_s: float) -> HttpAnswer:
        """Get a page, as the verifier."""
        return await get_page(self._house, self._routine, self._record, self._kept, url, timeout_s=timeout_s)

    async def read_connector(self, name: str, path: str, query: Mapping[str, str]) -> HttpAnswer:
        """Read a connector through the gateway."""
        return await read_connector(self._house, self._routine, self._record, self._kept, name, path, query)

    async def count_rows(self, connector: str, query: str, values: tuple[str, ...]) -> int:
        """Ask a database through the gateway."""
        return await count_rows(self._house, self._routine, self._record, self._kept, connector, query, values)

    async def receipts(self) -> Sequence[Receipt]:
        """Return the run's receipts, if their chain verifies."""
        traffic = await asyncio.to_thread(traffic_of, self._house.store.journal, self._run)
        return await believed(self._house.gateway, traffic, self._run)

    def close(self) -> None:
        """Remove our copy of the agent's objects, and what hides its links."""
        self._subject_git.close()
        if self._inward is not None:
            self._prepared.folders.discard(self._inward)


async def run_line(
    house: House,
    routine: Routine,
    resolved: Resolved,
    run: str,
    line: str,
    *,
    timeout_s: float,
    layers: tuple[Path, ...] = (),
    overlays: tuple[Overlay, ...] = (),
    binds: tuple[Bind, ...] = (),
    env: Mapping[str, str] = _GIT_TRUSTS_OURS_ONLY,
) -> PinnedRun:
    """Run a pinned shell line in /check of a fresh sandbox, with what `layers`, `overlays` and `binds` show."""
    pinned = {f"{CHECK}/{path}": data for path, data in resolved.pinned.items()}
    spec = SandboxSpec(
        name=f"{run}-v-{secrets.token_hex(3)}",
        argv=["/bin/bash", "--norc", "--noprofile", "-c", line],
        env={**_ENV, **_commits(resolved), **env},
        cwd=CHECK,
        layers=layers,
        overlays=overlays,
        binds=binds,
        files={"/tickover/gitconfig": _gitconfig(binds), **(pinned or {f"{CHECK}/.none": b""})},
        limits=machine_limits(routine),
    )
    try:
        sandbox = await house.backend.start(spec)
    except SandboxRefused as error:
        return PinnedRun("not_started", message=str(error))
    try:
        return await ran(sandbox, timeout_s)
    finally:
        await sandbox.destroy()


def _gitconfig(ours: tuple[Bind, ...]) -> bytes:
    return "".join(["[safe]\n", *(f"\tdirectory = {bind.target}\n" for bind in ours)]).encode()


def _commits(resolved: Resolved) -> Mapping[str, str]:
    """Tell a check which commit each repository was cloned at: TICKOVER_COMMIT_NAME."""
    return {
        f"TICKOVER_COMMIT_{name.upper().replace('-', '_')}": commit.sha for name, commit in resolved.subject.items()
    }


async def ran(sandbox: Sandbox, timeout_s: float) -> PinnedRun:
    """Return how a sandbox ended and the ends of its streams; after `timeout_s` seconds it is killed."""
    tails: dict[str, bytearray] = {"stdout": bytearray(), "stderr": bytearray()}

    async def read() -> None:
        async for stream, piece in sandbox.stream():
            tail = tails[stream]
            tail += piece
            del tail[:-EVIDENCE_BYTES]

    reader = asyncio.create_task(read())
    try:
        await asyncio.wait({reader}, timeout=timeout_s)
        timed_out = not reader.done()
        if timed_out:
            await sandbox.kill()
        await reader
    finally:
        reader.cancel()
    ended = await sandbox.wait()
    out, err = bytes(tails["stdout"]), bytes(tails["stderr"])
    if timed_out:
        return PinnedRun("timed_out", stdout=out, stderr=err)
    if ended.reason == "exited":
        return PinnedRun("exited", ended.code, out, err)
    if ended.reason == "broken":
        return PinnedRun("not_started", message=ended.message)
    return PinnedRun("signalled", stdout=out, stderr=err, message=f"{ended.reason} ({ended.code})")
