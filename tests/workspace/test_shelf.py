from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tickover.core.errors import TickoverError
from tickover.workspace.shelf import Shelf, remove_tree


class Builder:
    """Makes a folder with one file, and counts."""

    def __init__(self, *, fails: int = 0) -> None:
        self.built = 0
        self.fails = fails

    async def __call__(self, path: Path) -> Mapping[str, Any]:
        self.built += 1
        await asyncio.to_thread(os.mkdir, path)
        (path / "file").write_text(str(self.built))
        if self.built <= self.fails:
            raise OSError("planned")
        return {"bytes": 10}


async def test_built_once_and_taken_from_then_on(tmp_path: Path) -> None:
    shelf, build = Shelf(tmp_path), Builder()
    first = await shelf.get_or_build("k", build)
    second = await shelf.get_or_build("k", build)
    assert (first.built, second.built, build.built) == (True, False, 1)
    assert first.path == second.path
    assert shelf.get("other") is None


async def test_many_who_ask_at_once_get_one_build(tmp_path: Path) -> None:
    build = Builder()
    held = await asyncio.gather(*(Shelf(tmp_path).get_or_build("k", build) for _ in range(8)))
    assert build.built == 1
    assert len({one.path for one in held}) == 1
    assert sum(one.built for one in held) == 1


PROCESS = """
import asyncio, json, os, sys
from pathlib import Path
from tickover.workspace.shelf import Shelf

async def build(path):
    path.mkdir()
    (path / f"by-{os.getpid()}").touch()
    return {}

with asyncio.run(Shelf(Path(sys.argv[1])).get_or_build("k", build)) as held:
    print(json.dumps([held.built, os.listdir(held.path)]))
"""


def test_processes_share_one_build(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROCESS, str(tmp_path)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(3)]
    answers = [json.loads(process.communicate(timeout=60)[0]) for process in processes]
    assert sum(built for built, _ in answers) == 1
    assert len({tuple(names) for _, names in answers}) == 1


async def test_a_failed_build_leaves_nothing_and_the_next_one_tries(tmp_path: Path) -> None:
    shelf, build = Shelf(tmp_path), Builder(fails=1)
    with pytest.raises(OSError, match="planned"):
        await shelf.get_or_build("k", build)
    assert [name for name in os.listdir(tmp_path) if name != "k.lock"] == []
    assert (await shelf.get_or_build("k", build)).built


async def test_a_build_that_makes_nothing_is_remembered(tmp_path: Path) -> None:
    async def nothing(_: Path) -> Mapping[str, Any]:
        return {"bytes": 0}

    shelf = Shelf(tmp_path)
    assert (await shelf.get_or_build("k", nothing)).empty
    again = await shelf.get_or_build("k", nothing)
    assert again.empty
    assert not again.built


async def test_an_old_one_is_built_anew_beside_the_one_in_use(tmp_path: Path) -> None:
    now = 1000.0
    shelf, build = Shelf(tmp_path, clock=lambda: now), Builder()
    old = await shelf.get_or_build("k", build, max_age=100)
    now = 1099.0
    assert not (await shelf.get_or_build("k", build, max_age=100)).built
    now = 1101.0
    new = await shelf.get_or_build("k", build, max_age=100)
    assert new.built
    assert new.path != old.path
    assert (old.path / "file").read_text() == "1"


async def test_a_waiter_gives_up_after_its_time(tmp_path: Path) -> None:
    begun, go = asyncio.Event(), asyncio.Event()

    async def slow(path: Path) -> Mapping[str, Any]:
        begun.set()
        await go.wait()
        os.mkdir(path)
        return {}

    shelf = Shelf(tmp_path)
    building = asyncio.create_task(shelf.get_or_build("k", slow))
    await begun.wait()
    with pytest.raises(TickoverError) as caught:
        await shelf.get_or_build("k", slow, timeout_s=0.1)
    assert caught.value.code == "workspace.busy"
    go.set()
    assert (await building).built


async def test_prune_spares_what_is_used_and_takes_the_longest_idle_first(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    held = {key: await shelf.get_or_build(key, Builder()) for key in ("a", "b", "c", "d")}
    for age, key in enumerate(("a", "b", "c", "d")):
        os.utime(f"{held[key].path}.use", (1000 + age, 1000 + age))
    for key in ("b", "c", "d"):
        held[key].close()
    assert shelf.prune(idle_s=10**10, max_bytes=20) == 20
    assert {key for key in held if held[key].path.exists()} == {"a", "d"}
    held["a"].close()
    assert shelf.prune(idle_s=0) == 20
    assert not any(one.path.exists() for one in held.values())
    assert (await shelf.get_or_build("a", Builder())).built


async def test_what_a_killed_builder_left_is_pruned(tmp_path: Path) -> None:
    (tmp_path / "k-0badcafe").mkdir()
    (tmp_path / "k-0badcafe.use").touch()
    os.utime(tmp_path / "k-0badcafe.use", (1, 1))
    Shelf(tmp_path).prune(idle_s=60)
    assert os.listdir(tmp_path) == []


def test_a_key_is_no_path(tmp_path: Path) -> None:
    for key in ("../x", "", "a/b", "-a", "a-b"):
        with pytest.raises(ValueError, match="not a key"):
            Shelf(tmp_path).get(key)


def test_remove_tree_takes_any_depth_any_mode_and_follows_no_link(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    top = tmp_path / "top"
    top.mkdir()
    here = os.open(top, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=here)
        deeper = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = deeper
    os.close(here)
    (top / "link").symlink_to(outside)
    (top / ".tickover-removing-1").mkdir()
    (top / ".tickover-removing-1" / "planted").touch()
    (top / ".tickover-removing-2").symlink_to(outside)
    (top / "closed").mkdir()
    (top / "closed" / "inner").mkdir()
    (top / "closed" / "inner" / "f").touch()
    (top / "closed" / "inner").chmod(0)
    (top / "closed").chmod(0)
    os.mkfifo(top / "pipe")
    os.link(outside / "kept", top / "hard")
    remove_tree(top)
    assert not top.exists()
    assert (outside / "kept").exists()
    remove_tree(top)
