"""What a run's own tools do when its agent calls them: they take its word, its artifacts, and what it wants kept.

Nothing is written where the agent lives. What it hands over is held here, and laid over its workspace for whoever looks
at that: checks, artifacts and state find it as files, with the bounds of files, and believe it no more than those.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace

from pydantic import JsonValue

from tickover.agents.report import REPORT_FILE
from tickover.control.still import Still
from tickover.core.definition import Routine
from tickover.core.errors import TickoverError
from tickover.core.own_tools import (
    LARGEST,
    LARGEST_READ,
    MOST_LOOKS,
    STATE,
    HandIn,
    Held,
    OwnToolError,
    Recall,
    Remember,
    Report,
    own_tools_of,
    read_call,
)
from tickover.core.text import one_line
from tickover.workspace.artifacts import names_in, read_file
from tickover.workspace.base import TrustedFile, Workspace
from tickover.workspace.folders import Folders
from tickover.workspace.inside.globs import Globs


class OwnTools:
    """The tools of one attempt."""

    def __init__(self, routine: Routine, folders: Folders, still: Still) -> None:
        self.names = own_tools_of(routine)
        self._globs = tuple(routine.artifacts)
        self._folders = folders
        self._still = still
        self._held = Held()
        self._looks = 0

    async def use(self, tool: str, arguments: Mapping[str, JsonValue]) -> tuple[bool, str]:
        """Do what a call asks; return whether it could, and what the agent reads (a `Use`)."""
        try:
            if tool not in self.names:
                raise OwnToolError(f"this run has no tool `{one_line(tool, 60)}`")
            return True, await self._do(tool, arguments)
        except OwnToolError as error:
            return False, str(error)
        except (TickoverError, OSError) as error:
            return False, f"it could not be done: {one_line(str(error), 200)}"

    async def _do(self, tool: str, arguments: Mapping[str, JsonValue]) -> str:
        match read_call(tool, arguments):
            case Report(status, summary):
                words = {"status": str(status), "summary": summary}
                self._held.put(REPORT_FILE, json.dumps(words).encode() + b"\n")
                return "noted; checks decide what is true"
            case HandIn() as given:
                return await self._hand_in(given)
            case Remember(path, content):
                self._held.put(path, content)
                return f"{len(content)} bytes are in {path}, and are kept if this run is proved"
            case Recall(path):
                return await self._names() if not path else await self._recall(path)

    async def _hand_in(self, given: HandIn) -> str:
        globs = Globs(self._globs)
        if not globs.matches(globs.states(given.path.split("/"))):
            raise OwnToolError(f"an artifact of this routine is named by {', '.join(self._globs)}, not {given.path}")
        content = await self._file(given.file, LARGEST) if given.content is None else given.content
        self._held.put(given.path, content)
        return f"{len(content)} bytes are handed in as {given.path}"

    async def _recall(self, path: str) -> str:
        content = self._held.files.get(path)
        if content is None:
            content = await self._file(path, LARGEST_READ)
        if len(content) > LARGEST_READ:
            raise OwnToolError(f"{path} has {len(content)} bytes, more than the {LARGEST_READ} that are told")
        return content.decode("utf-8", "replace")

    async def _names(self) -> str:
        self._look()
        async with self._still.held() as workspace:
            there = await names_in(self._folders.backend, workspace, f"{STATE}/**")
        held = (name for name in self._held.files if name.startswith(f"{STATE}/"))
        names = sorted({*there, *held})
        return "\n".join(name.removeprefix(f"{STATE}/") for name in names) or "there is nothing yet"

    async def _file(self, path: str, most: int) -> bytes:
        """Read a file of the workspace as it is now. Raises OwnToolError."""
        self._look()
        async with self._still.held() as workspace:
            found = await read_file(self._folders.backend, workspace, path, most)
        if found.status == "file":
            return found.data
        whys = {"missing": "there is no such file", "too_large": f"it has {found.size} bytes, more than {most}"}
        raise OwnToolError(f"{path}: {whys.get(found.status, found.reason)}")

    def _look(self) -> None:
        self._looks += 1
        if self._looks > MOST_LOOKS:
            raise OwnToolError(f"the workspace was looked at {MOST_LOOKS} times for these tools, and no more")

    @asynccontextmanager
    async def laid_over(self, workspace: Workspace) -> AsyncIterator[Workspace]:
        """Give the workspace with all that was handed over above what the agent wrote. Raises as a sandbox does."""
        files = [TrustedFile(path, content) for path, content in self._held.files.items()]
        if not files:
            yield workspace
            return
        over = await self._folders.restored(workspace.subject().lowers, (), files)
        try:
            yield replace(workspace, over=over.path)
        finally:
            self._folders.discard(over)
