from __future__ import annotations

import io
from typing import Any

import pytest

from tickover.core.errors import TickoverError
from tickover.sandbox.bwrap import BwrapBackend
from tickover.workspace.artifacts import read_files
from tickover.workspace.base import TrustedFile, Workspace
from tickover.workspace.folders import Folders


async def test_files_of_ours_belong_to_the_agent(folders: Folders, agent: Any) -> None:
    files = [TrustedFile("a/b.txt", b"text"), TrustedFile("run", b"#!/bin/sh\necho ran\n", executable=True)]
    with await folders.holding(files) as held:
        worked = await agent(
            Workspace((held.path,)), "cat a/b.txt; ./run; echo more >> a/b.txt; stat -c %u a/b.txt a run"
        )
        assert worked.output == "textran\n1000\n1000\n1000\n"
    with await folders.holding(reversed(files)) as again:
        assert not again.built
    with await folders.holding(files, into="app") as below:
        assert (below.path / "app/a/b.txt").exists()


async def test_what_was_there_is_emptied_and_nothing_else(folders: Folders, agent: Any, backend: BwrapBackend) -> None:
    files = {"out/a": b"1", "out/b/c": b"2", "out.txt": b"3", "x/y.log": b"4", "x/z": b"5"}
    with await folders.holding([TrustedFile(path, data) for path, data in files.items()]) as held:
        hidden = await folders.emptied((held.path,), ["out/**", "**/*.log"])
        assert hidden is not None
        with hidden:
            worked = await agent(Workspace((held.path, hidden.path)), "find . -type f | sort; echo new > out/a")
            assert worked.output.split() == ["./out.txt", "./x/z"]
            found = await read_files(backend, worked.workspace, {"out/a": 10, "out/b/c": 10})
            assert found["out/a"].written
            assert found["out/b/c"].status == "missing"
        assert (held.path / "out/a").read_bytes() == b"1"
        assert await folders.emptied((held.path,), ["nothing/**"]) is None
        again = await folders.emptied((held.path,), ["out/**", "**/*.log"])
        assert again is not None
        with again:
            assert not again.built


async def test_a_symlinked_out_is_emptied_as_a_link(
    folders: Folders, agent: Any, checkouts: Any, mirrors: Any, source: Any
) -> None:
    (source.path / "real").mkdir()
    (source.path / "out").symlink_to("real")
    (source.path / "log").symlink_to("real")
    commit = await mirrors.resolve(str(source.path), source.commit({"real/kept": "x"}))
    async with checkouts.workspace({"app": commit}, empty=["out/**", "**/*.gone"]) as workspace:
        worked = await agent(workspace, "ls -d out || true; ls real log; mkdir out; echo y > out/a; ls real")
        assert "No such file" in worked.output
        assert worked.output.split()[-1] == "kept"


async def test_restored_globs_are_exactly_the_trusted_files(folders: Folders, agent: Any, empty: Workspace) -> None:
    script = """
        mkdir -p tests/deep src; echo 'cheat' > tests/test_a.py; echo 'import os' > tests/conftest.py
        echo x > tests/deep/planted; ln -s /etc/passwd conftest.py; echo mine > src/app.py; mkdir pytest.ini; echo x > pytest.ini/x
    """
    worked = await agent(empty, script)
    trusted = [TrustedFile("tests/test_a.py", b"honest"), TrustedFile("pytest.ini", b"[pytest]")]
    lowers = worked.workspace.subject().lowers
    held = await folders.restored(lowers, ["tests/**", "conftest.py", "pytest.ini/**", "pytest.ini"], trusted)
    looked = await agent(
        Workspace((*lowers, held.path)), "find . -type f -o -type l | sort; cat tests/test_a.py pytest.ini"
    )
    assert looked.output.split() == ["./pytest.ini", "./src/app.py", "./tests/test_a.py", "honest[pytest]"]
    before = len(list(folders.shelf.root.iterdir()))
    folders.discard(held)
    assert len(list(folders.shelf.root.iterdir())) == before - 4, "the folder, its note and both locks are gone"


async def test_restoring_replaces_links_on_the_way(folders: Folders, agent: Any, empty: Workspace) -> None:
    worked = await agent(empty, "mkdir elsewhere; ln -s elsewhere tests; ln -s /etc/passwd file")
    lowers = worked.workspace.subject().lowers
    trusted = [TrustedFile("tests/a", b"honest"), TrustedFile("file", b"honest")]
    held = await folders.restored(lowers, ["tests/**", "file"], trusted)
    looked = await agent(Workspace((*lowers, held.path)), "ls -A elsewhere; test ! -L tests; cat tests/a file")
    assert (looked.exit.code, looked.output) == (0, "honesthonest")
    folders.discard(held)


@pytest.mark.parametrize(
    "stream", [b"", b"no frames", b"tickover frames 1\n", b"tickover frames 1\n\x00\x00\x00\x02[]"]
)
async def test_what_is_no_stream_is_an_error_and_leaves_nothing(folders: Folders, stream: bytes) -> None:
    with pytest.raises(TickoverError) as caught:
        await folders.unpacked(io.BytesIO(stream), "0" * 64, "state")
    assert caught.value.code == "workspace.reshape"
    assert [path.name for path in folders.shelf.root.iterdir() if path.is_dir()] == []
