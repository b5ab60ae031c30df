"""`run --keep`: the workspace as the agent left it, copied out to be looked at. Files only, no links, no devices."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Final

from tickover.control.house import House
from tickover.workspace.artifacts import collect
from tickover.workspace.base import ArtifactFile, ArtifactLimits, Workspace

FOLDER: Final = "kept"
_LIMITS: Final = ArtifactLimits(file_bytes=1 << 30, total_bytes=4 << 30, files=100_000, refusals=0)


async def keep_workspace(house: House, workspace: Workspace, run: str) -> Path:
    """Copy the workspace to DATA/kept/RUN and return that. Raises what `collect` raises."""
    taken = await collect(house.backend, workspace, ["**"], house.blobs.put, limits=_LIMITS)
    folder = house.data / FOLDER / run
    await asyncio.to_thread(_write, house, folder, taken.files)
    return folder


def _write(house: House, folder: Path, files: tuple[ArtifactFile, ...]) -> None:
    folder.mkdir(mode=0o700, parents=True)
    for file in files:
        # The path was parsed and escaped by the collector: relative, no `..`, no control characters.
        path = folder.joinpath(*file.path.split("/"))
        path.parent.mkdir(parents=True, exist_ok=True)
        with house.blobs.open(file.sha256) as body, path.open("xb") as copy:
            shutil.copyfileobj(body, copy)
        path.chmod(0o700 if file.executable else 0o600)
