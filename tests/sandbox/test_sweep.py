"""What the sweep takes away, and what it must never touch."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tickover.sandbox.launcher import berth, sweep
from tickover.sandbox.launcher.berth import Berth, Machine
from tickover.sandbox.launcher.identity import Slots
from tickover.sandbox.launcher.locks import lock

TOKEN = "0123456789abcdef"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    for name in ("sandboxes", "spare", "base"):
        (tmp_path / name).mkdir()
    return Machine(
        data=str(tmp_path), bwrap="", staging=str(tmp_path / "stage"), skeleton="", as_root=True, hierarchy=None,
        images=False, seccomp=b"", slots=Slots(),
    )  # fmt: skip


@pytest.fixture(autouse=True)
def plain_removal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Machine, "as_owner", lambda _self: [])


def left(machine: Machine) -> list[str]:
    return sorted([*os.listdir(f"{machine.data}/sandboxes"), *os.listdir(f"{machine.data}/spare")])


def abandoned(machine: Machine, name: str, note: object = None) -> Path:
    folder = Path(machine.data) / "sandboxes" / name
    (folder / "rw" / "deep").mkdir(parents=True)
    if note is not None:
        (folder / berth.HOST).write_text(note if isinstance(note, str) else json.dumps(note))
    return folder


def test_abandoned_folders_go_whatever_their_note_says(machine: Machine) -> None:
    for number, note in enumerate(
        [None, "", "no json", "[]", {}, {"token": 1, "groups": 2}, {"token": TOKEN, "groups": []}]
    ):
        abandoned(machine, f"run-{number}", note)
    assert len(sweep.sweep(machine)) == 7
    assert left(machine) == []


def test_a_living_berth_stays_before_and_after_it_has_a_name(machine: Machine) -> None:
    machine.as_root = False
    living, named = Berth(machine, None), Berth(machine, None)
    named.take("run")
    abandoned(machine, "dead")
    assert sweep.sweep(machine) == ["dead"]
    assert left(machine) == sorted([living.token, "run"])
    for one in (living, named):
        one.leave()
        one.end()
    assert set(sweep.sweep(machine)) == {living.token, "run"}


def test_a_name_that_lives_is_not_taken_twice(machine: Machine) -> None:
    machine.as_root = False
    first, second = Berth(machine, None), Berth(machine, None)
    first.take("run")
    with pytest.raises(OSError, match="not empty"):
        second.take("run")
    assert Path(first.folder, berth.HOST).exists()
    for one in (first, second):
        one.leave()
        one.end()


def test_strangers_in_the_folder_are_left_alone(machine: Machine, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "kept").mkdir(parents=True)
    (tmp_path / "sandboxes" / "link").symlink_to(outside)
    (tmp_path / "sandboxes" / "file").write_text("x")
    assert sweep.sweep(machine) == []
    assert (outside / "kept").exists()


@pytest.mark.parametrize(
    "group",
    [
        "/etc/tickover-" + TOKEN,
        "/sys/fs/cgroup/../../etc/tickover-" + TOKEN,
        "/sys/fs/cgroup/memory/system.slice",
        "/sys/fs/cgroup/memory/tickover-ffffffffffffffff",
        "/sys/fs/cgroup/memory/x-tickover-" + TOKEN,
        7,
    ],
)
def test_a_note_names_no_group_but_its_own(machine: Machine, group: object) -> None:
    folder = abandoned(machine, "run", {"token": TOKEN, "groups": [group]})
    assert sweep._groups(str(folder)) == []


def test_a_note_names_its_own_groups(machine: Machine) -> None:
    groups = [f"/sys/fs/cgroup/{name}/tickover-{TOKEN}" for name in ("memory", "pids/service")]
    folder = abandoned(machine, "run", {"token": TOKEN, "groups": groups})
    assert sweep._groups(str(folder)) == groups
    assert sweep._groups(str(abandoned(machine, "bad", {"token": "../../x", "groups": groups}))) == []


def test_a_lock_is_held_by_one(tmp_path: Path) -> None:
    held = lock(str(tmp_path))
    with pytest.raises(BlockingIOError):
        lock(str(tmp_path))
    os.close(held)
    os.close(lock(str(tmp_path)))
