from __future__ import annotations

import io
from typing import Any

from tickover.sandbox.bwrap import BwrapBackend
from tickover.workspace.base import ArtifactLimits, Workspace
from tickover.workspace.folders import Folders
from tickover.workspace.state import capture, unpack


async def begin(folders: Folders, blobs: Any, digest: str | None) -> Workspace:
    with await folders.ground() as ground, await unpack(folders, digest, lambda d: io.BytesIO(blobs.bodies[d])) as held:
        return Workspace((ground.path, held.path))


async def test_state_goes_from_run_to_run(folders: Folders, backend: BwrapBackend, agent: Any, blobs: Any) -> None:
    first = await agent(
        await begin(folders, blobs, None),
        "ls -A state; mkdir state/a; echo 1 > state/a/n; : > state/e; echo 'echo ran' > state/x; chmod +x state/x",
    )
    assert first.output == ""
    one = await capture(backend, first.workspace, blobs.put)
    assert one.digest is not None
    assert (one.files, one.size, one.refused) == (3, 11, ())
    second = await agent(
        await begin(folders, blobs, one.digest), "cat state/a/n; ./state/x; echo 2 > state/a/n; rm state/e"
    )
    assert second.output == "1\nran\n"
    two = await capture(backend, second.workspace, blobs.put)
    assert two.digest not in {None, one.digest}
    third = await agent(await begin(folders, blobs, one.digest), "cat state/a/n state/e")
    assert third.output == "1\n", "a run that was not proved has changed nothing"


async def test_equal_folders_have_equal_digests(
    folders: Folders, backend: BwrapBackend, agent: Any, blobs: Any
) -> None:
    forth = await agent(await begin(folders, blobs, None), "echo a > state/a; mkdir state/d; echo b > state/d/b")
    back = await agent(
        await begin(folders, blobs, None),
        "mkdir state/d; echo b > state/d/b; echo a > state/a; touch -d 2001-01-01 state/a",
    )
    assert (await capture(backend, forth.workspace, blobs.put)).digest == (
        await capture(backend, back.workspace, blobs.put)
    ).digest


async def test_an_empty_state_is_a_state(folders: Folders, backend: BwrapBackend, agent: Any, blobs: Any) -> None:
    worked = await agent(await begin(folders, blobs, None), "rmdir state")
    captured = await capture(backend, worked.workspace, blobs.put)
    assert captured.files == 0
    again = await agent(await begin(folders, blobs, captured.digest), "ls -d state")
    assert again.output == "state\n"


async def test_all_of_it_or_nothing(folders: Folders, backend: BwrapBackend, agent: Any, blobs: Any) -> None:
    for script in (
        "ln -s /etc/passwd state/l",
        "mkfifo state/p",
        "rmdir state; ln -s /etc state",
        "echo x > state/a; chmod 0 state/a",
    ):
        worked = await agent(await begin(folders, blobs, None), f"echo kept > state/kept; rm state/kept; {script}")
        captured = await capture(backend, worked.workspace, blobs.put)
        assert captured.digest is None
        assert captured.refused
    worked = await agent(await begin(folders, blobs, None), "head -c 2000 /dev/zero > state/big")
    captured = await capture(backend, worked.workspace, blobs.put, limits=ArtifactLimits(file_bytes=1000))
    assert captured.digest is None
    assert blobs.bodies == {}
