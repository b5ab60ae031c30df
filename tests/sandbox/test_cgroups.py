"""Control groups: version 2 over a fake tree (no machine we test on has its controllers), version 1 really as root."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tickover.sandbox.launcher.cgroups import Group, Hierarchy, discover, remove_folder


def tree(root: Path, *, controllers: str = "cpu memory pids", own: str = "/service") -> tuple[Path, Path]:
    """Make what a machine with version 2 shows: the root, and our own group."""
    folder = root / own.strip("/")
    folder.mkdir(parents=True)
    for place in {root, folder}:
        (place / "cgroup.controllers").write_text(controllers + "\n")
        (place / "cgroup.subtree_control").write_text("")
        (place / "cgroup.procs").write_text("")
    if folder != root:
        (folder / "cgroup.type").write_text("domain\n")
    mine = root.parent / "self-cgroup"
    mine.write_text(f"0::{own}\n")
    return folder, mine


def test_our_own_group_is_found(tmp_path: Path) -> None:
    folder, mine = tree(tmp_path / "cgroup")
    found = discover(str(tmp_path / "cgroup"), str(mine))
    assert found is not None
    assert (found.version, set(found.folders.values())) == (2, {str(folder)})
    assert found.enforces == ("memory", "pids", "cpu", "freezer")


@pytest.mark.parametrize("controllers", ["", "hugetlb io"])
def test_a_tree_without_controllers_is_none(tmp_path: Path, controllers: str) -> None:
    _, mine = tree(tmp_path / "cgroup", controllers=controllers)
    assert discover(str(tmp_path / "cgroup"), str(mine)) is None


def test_a_group_that_is_gone_is_none(tmp_path: Path) -> None:
    _, mine = tree(tmp_path / "cgroup")
    mine.write_text("0::/elsewhere\n")
    assert discover(str(tmp_path / "cgroup"), str(mine)) is None


def test_limits_and_members_of_version_2(tmp_path: Path) -> None:
    folder, mine = tree(tmp_path / "cgroup")
    hierarchy = discover(str(tmp_path / "cgroup"), str(mine))
    assert hierarchy is not None
    (folder / "cgroup.procs").write_text("4194000\n")  # a process of ours stands in the way: it moves to a leaf
    group = Group.make(hierarchy, "token")
    assert (folder / "tickover-launcher" / "cgroup.procs").read_text() == "4194000"
    assert (folder / "cgroup.subtree_control").read_text() == "+memory +pids +cpu"
    made = folder / "tickover-token"
    (made / "memory.swap.max").write_text("max")
    group.limit(memory=1 << 30, pids=77, cpus=1.5)
    group.join()
    values = {name: (made / name).read_text() for name in os.listdir(made)}
    assert values == {
        "memory.max": "1073741824", "memory.swap.max": "0", "memory.oom.group": "1", "pids.max": "77",
        "cpu.max": "150000 100000", "cgroup.procs": "0",
    }  # fmt: skip


def test_no_limit_asked_is_none_set(tmp_path: Path) -> None:
    folder, mine = tree(tmp_path / "cgroup")
    hierarchy = discover(str(tmp_path / "cgroup"), str(mine))
    assert hierarchy is not None
    Group.make(hierarchy, "token").limit(memory=None, pids=None, cpus=None)
    assert os.listdir(folder / "tickover-token") == []


def test_counters_of_version_2(tmp_path: Path) -> None:
    (tmp_path / "memory.events").write_text("low 0\noom 3\noom_kill 2\n")
    (tmp_path / "cpu.stat").write_text("usage_usec 1500000\nuser_usec 1\n")
    (tmp_path / "memory.peak").write_text("4096\n")
    group = Group(2, dict.fromkeys(("memory", "pids", "cpu", "freezer"), str(tmp_path)))
    assert group.oom_kills() == 2
    assert group.usage() == (1.5, 4096)
    (tmp_path / "memory.peak").unlink()  # before kernel 5.19
    assert group.usage() == (1.5, None)


def test_a_frozen_group_is_waited_for(tmp_path: Path) -> None:
    group = Group(2, {"freezer": str(tmp_path)})
    (tmp_path / "cgroup.events").write_text("populated 1\nfrozen 1\n")
    group.freeze(True)
    assert (tmp_path / "cgroup.freeze").read_text() == "1"


def test_version_1_takes_what_may_be_written(tmp_path: Path) -> None:
    for name in ("memory", "pids", "cpu,cpuacct", "freezer"):
        (tmp_path / name / "mine").mkdir(parents=True)
    for name in ("cpu", "cpuacct"):
        (tmp_path / name).symlink_to("cpu,cpuacct")
    own = tmp_path / "own"
    own.write_text("4:memory:/mine\n3:pids:/mine\n2:cpu,cpuacct:/mine\n1:freezer:/mine\n9:devices:/mine\n0::/\n")
    found = discover(str(tmp_path), str(own))
    assert found is not None
    assert found.version == 1
    assert found.folders["cpu"] == found.folders["cpuacct"] == str(tmp_path / "cpu,cpuacct" / "mine")
    assert "devices" not in found.folders
    assert len(Group.paths_of(found, "token")) == 4
    group = Group.make(found, "token")
    assert set(group.folders) == {"memory", "pids", "cpu", "cpuacct", "freezer"}
    own.write_text("4:memory:/mine\n0::/\n")  # without pids a fork bomb would be free
    assert discover(str(tmp_path), str(own)) is None


def test_a_group_that_cannot_be_made_leaves_none(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    hierarchy = Hierarchy(1, {"memory": str(tmp_path / "a"), "pids": str(tmp_path / "b")})
    with pytest.raises(FileNotFoundError):
        Group.make(hierarchy, "token")
    assert os.listdir(tmp_path / "a") == []


def test_pids_of_others_are_never_signalled(tmp_path: Path) -> None:
    """In another pid namespace a foreign member reads as 0, and a signal to 0 would be one to ourselves."""
    folder = tmp_path / "tickover-x"
    folder.mkdir()
    (folder / "cgroup.procs").write_text("0\n")
    with pytest.raises(OSError, match="cannot empty"):
        remove_folder(str(folder))


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may make control groups here")
def test_a_real_group_holds_freezes_counts_and_goes() -> None:
    hierarchy = discover()
    if hierarchy is None:
        pytest.skip("this machine has no control groups to make")
    group = Group.make(hierarchy, f"test{os.getpid()}")
    paths = Group.paths_of(hierarchy, f"test{os.getpid()}")
    group.limit(memory=64 << 20, pids=10, cpus=0.5)
    child = os.fork()
    if child == 0:
        group.join()
        os.execv("/bin/sleep", ["sleep", "1000"])
    while str(child) not in Path(paths[-1], "cgroup.procs").read_text().split():
        os.sched_yield()
    group.freeze(True)
    group.freeze(False)
    cpu, peak = group.usage()
    assert cpu is not None
    assert peak is not None
    assert group.oom_kills() == 0
    group.remove()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -9
    assert not any(os.path.exists(path) for path in paths)
    group.remove()
