"""A commit as a sealed working tree: made once by git inside a sandbox, then the bottom of many a /workspace.

It borrows its objects from the mirror at /repo/NAME.git, so every sandbox that shows the checkout shows the mirror
there too. Branches and tags are those of the moment at which the commit was resolved; they are part of the key.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tickover.core.errors import TickoverError
from tickover.sandbox.base import Backend, Bind, Overlay
from tickover.workspace.base import WORKSPACE, Commit, Workspace
from tickover.workspace.folders import Folders
from tickover.workspace.program import ran
from tickover.workspace.shelf import Held, Shelf

_NAME: Final = re.compile(r"[a-z0-9-]{1,64}")
_FORMAT: Final = 1


def mirror_target(name: str) -> str:
    """Return where the mirror of the repository `name` is shown inside."""
    return f"/repo/{name}.git"


class Checkouts:
    """Sealed working trees below `data`/checkouts. `data` is the backend's data folder."""

    def __init__(self, data: Path, backend: Backend, folders: Folders) -> None:
        self.shelf = Shelf(Path(os.path.realpath(data)) / "checkouts")
        self._backend = backend
        self._folders = folders

    async def get(
        self, name: str, commit: Commit, *, place: str = "", timeout_s: float = 900, disk: int = 20 << 30
    ) -> Held:
        """Return the sealed tree of `commit`, at `place` below /workspace ("" = /workspace itself).

        Raises TickoverError `checkout.failed` when git cannot make it (names too long for this file system, more
        than `disk` bytes, `timeout_s` seconds), `layer.unsafe`, and what the backend raises.
        """
        if not _NAME.fullmatch(name) or (place and not _NAME.fullmatch(place)):
            raise ValueError(f"not a repository's name: {name!r} at {place!r}")
        key = {
            "format": _FORMAT,
            "mirror": commit.mirror.name,
            "commit": commit.sha,
            "branch": commit.branch,
            "default": commit.default_branch,
            "refs": commit.refs,
            "origin": commit.url,
            "name": name,
            "place": place,
        }
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
        shown = f"{commit.mirror.name[:12]}.{commit.sha[:12]}.{digest[:24]}"

        async def build(destination: Path) -> Mapping[str, Any]:
            return {"bytes": await self._make(name, commit, place, destination, timeout_s=timeout_s, disk=disk)}

        return await self.shelf.get_or_build(shown, build, timeout_s=timeout_s)

    async def _make(
        self, name: str, commit: Commit, place: str, destination: Path, *, timeout_s: float, disk: int
    ) -> int:
        mirror = mirror_target(name)
        request = {
            "place": f"{WORKSPACE}/{place}" if place else WORKSPACE,
            "mirror": mirror,
            "commit": commit.sha,
            "branch": commit.branch,
            "default": commit.default_branch,
            "refs": f"{mirror}/tickover/refs-{commit.refs}",
            "origin": commit.url,
        }
        binds = (Bind(commit.mirror, mirror),)
        with await self._folders.ground() as ground:
            overlays = (Overlay(WORKSPACE, (ground.path,), "checkout"),)
            try:
                async with ran(
                    self._backend, "checkout", request,
                    overlays=overlays, binds=binds, sealable=True, timeout_s=timeout_s, disk=disk,
                ) as ended:  # fmt: skip
                    return await ended.sandbox.seal("checkout", destination)
            except TickoverError as error:
                if error.code != "workspace.checkout":
                    raise
                message = f"commit {commit.sha[:12]} of {commit.url} cannot be checked out: {error.message}"
                raise TickoverError("checkout.failed", message) from error

    @contextlib.asynccontextmanager
    async def workspace(
        self, commits: Mapping[str, Commit], *, state: Path | None = None, empty: Sequence[str] = ()
    ) -> AsyncIterator[Workspace]:
        """Give the folders of a run's /workspace: one repository at its top, several each at /workspace/NAME.

        `state` is the sealed folder of the routine's state, `empty` the globs that must not exist before the agent.
        Everything is held until the end of the `with`.
        """
        with contextlib.ExitStack() as held:
            ground = held.enter_context(await self._folders.ground())
            lowers = [ground.path]
            for name, commit in commits.items():
                tree = await self.get(name, commit, place=name if len(commits) > 1 else "")
                lowers.append(held.enter_context(tree).path)
            if commits and empty:
                hidden = await self._folders.emptied(tuple(lowers), empty)
                if hidden is not None:
                    lowers.append(held.enter_context(hidden).path)
            if state is not None:
                lowers.append(state)
            binds = tuple(Bind(commit.mirror, mirror_target(name)) for name, commit in commits.items())
            yield Workspace(tuple(lowers), binds)
