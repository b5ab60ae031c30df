from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tickover.workspace.folders import Folders
from tickover.workspace.lock import FileLock
from tickover.workspace.mirror import Mirrors
from tickover.workspace.sweep import prune, sweep


async def test_only_what_dead_processes_left_is_removed(data: Path, folders: Folders) -> None:
    with await folders.ground() as ground:
        shelf = folders.shelf.root
        (shelf / "k-0badcafe" / "deep").mkdir(parents=True)
        (shelf / "k-0badcafe.use").touch()
        (shelf / "k-0badcafe.log").touch()
        (shelf / "b-11111111").mkdir()
        (data / "stage" / "frames-dead").touch()
        (data / "stage" / "subject-dead" / "app.git").mkdir(parents=True)
        (data / "stage" / "subject-dead.use").touch()
        (data / "stage" / "subject-living").mkdir()
        reading = FileLock.try_take(data / "stage" / "subject-living.use")
        living = FileLock.try_take(data / "stage" / "frames-living")
        building = FileLock.try_take(shelf / "b-11111111.use", shared=True)
        assert living is not None
        assert building is not None
        assert reading is not None
        with living, building, reading:
            assert sweep(data) == ["layers/folders/k-0badcafe", "stage/frames-dead", "stage/subject-dead"]
        assert sweep(data) == ["layers/folders/b-11111111", "stage/frames-living", "stage/subject-living"]
        assert sweep(data) == []
        assert list((data / "stage").iterdir()) == []
        assert ground.path.exists()


async def test_prune_spares_what_is_in_use(data: Path, folders: Folders, mirrors: Mirrors, source: Any) -> None:
    commit = await mirrors.resolve(str(source.path))
    os.utime(commit.mirror / "tickover/now", (1, 1))
    with await folders.ground() as ground:
        await mirrors.resolve(str(source.path), commit.sha)
        prune(data, idle_s=60)
        assert commit.mirror.exists(), "a pinned commit is a use, too"
        prune(data, idle_s=-1)
        assert ground.path.exists()
    prune(data, idle_s=-1)
    assert not ground.path.exists()
    assert not commit.mirror.exists()
