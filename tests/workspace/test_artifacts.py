"""What a hostile agent leaves in out/, met by the collector in a real sandbox. One plant, one test."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from tickover.core.errors import TickoverError
from tickover.sandbox.bwrap import BwrapBackend
from tickover.workspace.artifacts import collect, read_file, read_files, shown
from tickover.workspace.base import ArtifactLimits, Collected, Workspace

OUT = ["out/**"]


@pytest.fixture
def left(backend: BwrapBackend, agent: Any, empty: Workspace, blobs: Any) -> Any:
    """Let an agent run a script, and collect what it left."""

    async def work(script: str, globs: list[str] | None = None, **limits: int) -> Collected:
        worked = await agent(empty, script)
        assert worked.exit.code == 0, worked.output
        return await collect(backend, worked.workspace, globs or OUT, blobs.put, limits=ArtifactLimits(**limits))

    return work


def names(found: Collected) -> list[str]:
    return [file.path for file in found.files]


def reasons(found: Collected) -> dict[str, str]:
    return {refused.path: refused.reason for refused in found.refused}


async def test_files_are_copied_with_their_digests(left: Any, blobs: Any) -> None:
    found = await left(
        "mkdir -p out/a; printf hello > out/a/b; : > out/empty; printf '#!' > out/x; chmod 700 out/x; chmod 600 out/a/b; umask 777; echo no > not-asked"
    )
    assert names(found) == ["out/empty", "out/x", "out/a/b"]
    by_path = {file.path: file for file in found.files}
    assert by_path["out/a/b"].size == 5
    assert by_path["out/a/b"].sha256 == hashlib.sha256(b"hello").hexdigest()
    assert blobs.bodies[by_path["out/a/b"].sha256] == b"hello"
    assert by_path["out/x"].executable
    assert not by_path["out/a/b"].executable
    assert found == Collected(found.files)


async def test_nothing_there_is_nothing(left: Any) -> None:
    assert await left("true") == Collected()


async def test_a_symlink_is_not_followed(left: Any, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("treasure")
    found = await left(
        f"mkdir out; ln -s {secret} out/a; ln -s /etc/passwd out/b; ln -s .. out/c; echo x > out/d; ln -s d out/e"
    )
    assert names(found) == ["out/d"]
    assert set(reasons(found).values()) == {"symbolic link"}
    assert set(reasons(found)) == {"out/a", "out/b", "out/c", "out/e"}


async def test_a_symlinked_out_is_not_followed(left: Any) -> None:
    found = await left("ln -s /etc out")
    assert names(found) == []
    assert reasons(found) == {"out": "symbolic link, not a folder"}


async def test_a_link_that_no_glob_names_is_not_told(left: Any) -> None:
    found = await left("ln -s /etc other; mkdir logs; echo x > logs/a.log; ln -s /etc etc", ["**/*.log"])
    assert names(found) == ["logs/a.log"]
    assert reasons(found) == {}


async def test_a_hardlink_is_copied_as_content(left: Any, blobs: Any) -> None:
    found = await left("mkdir out; echo one > out/a; ln out/a out/b; echo two >> out/b")
    assert names(found) == ["out/a", "out/b"]
    assert len({file.sha256 for file in found.files}) == 1
    assert blobs.bodies[found.files[0].sha256] == b"one\ntwo\n"


async def test_pipes_and_sockets_are_refused_without_waiting(left: Any) -> None:
    found = await left(
        "mkdir out; mkfifo out/p; python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"out/s\")'"
    )
    assert reasons(found) == {"out/p": "named pipe", "out/s": "socket"}


async def test_a_device_cannot_be_made_and_its_double_is_refused(left: Any) -> None:
    found = await left(
        "mkdir out; mknod out/null c 1 3 && exit 9; mknod out/white c 0 0 || true; ln -s /dev/zero out/zero; echo x > out/dev"
    )
    assert names(found) == ["out/dev"]
    assert reasons(found)["out/zero"] == "symbolic link"


async def test_what_cannot_be_read_is_told(left: Any) -> None:
    found = await left("mkdir -p out/shut; echo x > out/a; echo y > out/shut/b; chmod 0 out/a out/shut")
    assert names(found) == []
    assert reasons(found) == {
        "out/a": "cannot be opened: Permission denied",
        "out/shut": "folder cannot be opened: Permission denied",
    }


async def test_ten_thousand_files_meet_a_count(left: Any) -> None:
    found = await left("mkdir out; cd out; for i in {1..10000}; do : > $i; done", files=500, refusals=10)
    assert len(found.files) == 500
    assert len(found.refused) == 10
    assert found.refused_more == 9490
    assert found.complete


async def test_a_walk_gives_up_after_so_many_entries(left: Any) -> None:
    found = await left("mkdir out; cd out; for i in {1..3000}; do : > $i; done", entries=2000)
    assert not found.complete
    assert found.files == ()


async def test_a_tree_deeper_than_any_path_may_be_long(left: Any) -> None:
    found = await left(
        "mkdir out; cd out; echo x > a; python3 -c \"import os\nfor _ in range(3000): os.mkdir('d' * 200); os.chdir('d' * 200)\nopen('f', 'w')\"",
        depth=50,
    )
    assert names(found) == ["out/a"]
    [refused] = found.refused
    assert refused.reason == "more than 50 folders deep"


async def test_a_sparse_file_of_a_terabyte(left: Any) -> None:
    found = await left("mkdir out; echo x > out/a; truncate -s 3G out/big || true; ls -l out/big")
    assert names(found) == ["out/a"]
    assert reasons(found)["out/big"].startswith("3221225472 bytes, more than")


async def test_the_sum_is_bounded(left: Any) -> None:
    found = await left(
        "mkdir out; for i in 1 2 3; do head -c 600 /dev/zero > out/$i; done", total_bytes=1500, file_bytes=1000
    )
    assert names(found) == ["out/1", "out/2"]
    assert reasons(found) == {"out/3": "more than 1500 bytes in all"}


async def test_names_that_are_made_to_mislead(left: Any) -> None:
    script = r"""mkdir out; python3 -c "
import os
for name in (b'a\nb', b'\xff\xfe', b'\x1b[31mred', b'..x', b'-rf', b' ', b'back\\\\slash', '\u202ertl'.encode(), '\u00fc'.encode()):
    open(b'out/' + name, 'wb').write(b'x')
os.makedirs('out/' + 'n' * 255)
open('out/' + 'n' * 255 + '/' + 'm' * 255, 'w')
" """
    found = await left(script)
    assert found.refused == ()
    assert sorted(names(found)) == sorted(
        [
            r"out/\x0a".replace(r"\x0a", r"a\x0ab"), r"out/\xff\xfe", r"out/\x1b[31mred", "out/..x", "out/-rf", "out/ ",
            r"out/back\\slash", r"out/\xe2\x80\xaertl", "out/ü", f"out/{'n' * 255}/{'m' * 255}",
        ]
    )  # fmt: skip


def test_shown_names_stay_different() -> None:
    assert shown("a\\x0ab") != shown("a\nb")
    assert shown("plain/ünïcode name") == "plain/ünïcode name"


async def test_attributes_and_modes_of_the_agent_do_not_come_out(left: Any) -> None:
    found = await left("mkdir out; echo x > out/a; chmod 6755 out/a || true; chmod 1777 out")
    assert names(found) == ["out/a"]


@pytest.mark.parametrize("glob", ["../x", "/etc/*", "a//b", "", "out/../../x", "."])
async def test_a_glob_that_leads_elsewhere_is_an_error(left: Any, glob: str) -> None:
    with pytest.raises(TickoverError) as caught:
        await left("true", [glob])
    assert caught.value.code == "artifacts.glob"


async def test_a_digest_that_the_store_disputes_is_an_error(
    backend: BwrapBackend, agent: Any, empty: Workspace
) -> None:
    worked = await agent(empty, "mkdir out; echo x > out/a")
    with pytest.raises(TickoverError) as caught:
        await collect(backend, worked.workspace, OUT, lambda _: "0" * 64)
    assert caught.value.code == "artifacts.broken"


# -- single files ------------------------------------------------------------------------------------------------------


async def test_single_files_as_a_check_sees_them(
    backend: BwrapBackend, agent: Any, mirrors: Any, checkouts: Any, source: Any
) -> None:
    source.commit(
        {"old": "old\n", "touched": "same\n", "same-size": "aaaa", "folder/x": "x", ".tickover/report.json": "{}"}
    )
    commit = await mirrors.resolve(str(source.path))
    async with checkouts.workspace({"app": commit}) as workspace:
        before = await read_files(backend, workspace, {"old": 100, "new": 100})
        assert (before["old"].status, before["old"].data, before["old"].written) == ("file", b"old\n", False)
        assert before["new"].status == "missing"
        worked = await agent(
            workspace,
            "echo new > new; touch touched; printf bbbb > same-size; touch -d '2026-01-05 09:00:00 UTC' same-size;"
            "ln -s /etc/passwd link; ln -s folder linked; head -c 101 /dev/zero > big; mkfifo pipe; chmod +x old;"
            "rm folder/x; echo y > 'a*'",
        )
        asked = [
            "old",
            "new",
            "touched",
            "same-size",
            "link",
            "linked/x",
            "big",
            "pipe",
            "folder",
            "folder/x",
            "a*",
            "gone",
        ]
        found = await read_files(backend, worked.workspace, dict.fromkeys([*asked, ".tickover/report.json"], 100))
    assert {path: found[path].status for path in asked} == {
        "old": "file", "new": "file", "touched": "file", "same-size": "file", "link": "refused", "linked/x": "refused",
        "big": "too_large", "pipe": "refused", "folder": "refused", "folder/x": "missing", "a*": "file", "gone": "missing",
    }  # fmt: skip
    written = {path for path, file in found.items() if file.written}
    assert written == {"new", "touched", "same-size", "a*"}
    assert found["new"].data == b"new\n"
    assert found["link"].reason == "symbolic link"
    assert (found["big"].size, found["big"].data) == (101, b"")
    assert found[".tickover/report.json"].data == b"{}"


async def test_a_single_file_at_the_edge_of_its_size(backend: BwrapBackend, agent: Any, empty: Workspace) -> None:
    worked = await agent(empty, "head -c 100 /dev/zero > a; : > b")
    assert (await read_file(backend, worked.workspace, "a", 100)).data == bytes(100)
    assert (await read_file(backend, worked.workspace, "a", 99)).status == "too_large"
    assert (await read_file(backend, worked.workspace, "b", 0)).status == "file"


async def test_each_file_has_its_own_limit(backend: BwrapBackend, agent: Any, empty: Workspace) -> None:
    worked = await agent(empty, "head -c 50 /dev/zero > a; head -c 50 /dev/zero > b")
    found = await read_files(backend, worked.workspace, {"a": 100, "b": 10})
    assert (found["a"].status, found["b"].status) == ("file", "too_large")


async def test_only_regular_bytes_reach_the_host(left: Any, tmp_path: Path) -> None:
    """Nothing of the agent's tree is opened by this process: the plant would block or betray it."""
    before = set(os.listdir("/proc/self/fd"))
    await left("mkdir out; mkfifo out/p; echo x > out/a")
    assert len(set(os.listdir("/proc/self/fd")) - before) <= 1
