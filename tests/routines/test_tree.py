from __future__ import annotations

import os
from pathlib import Path

import pytest

from tickover.core.tree import Tree, TreeFile
from tickover.routines.tree import FolderTree, MemoryTree, SubTree, TreeError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "checks" / "deep").mkdir(parents=True)
    (root / "ROUTINE.md").write_text("r")
    (root / "checks" / "a.py").write_text("a")
    (root / "checks" / "deep" / "b.sh").write_text("b")
    (root / "checks" / "deep" / "b.sh").chmod(0o755)
    (root / "checksum").write_text("c")
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "x").write_text("secret")
    return root


def test_a_folder_lists_its_files_with_git_s_modes(folder: Path) -> None:
    assert FolderTree(str(folder)).list("checks") == [
        TreeFile("checks/a.py", 0o100644),
        TreeFile("checks/deep/b.sh", 0o100755),
    ]
    assert [entry.path for entry in FolderTree(str(folder)).list()] == [
        "ROUTINE.md",
        "checks/a.py",
        "checks/deep/b.sh",
        "checksum",
    ]


def test_links_are_not_followed(folder: Path) -> None:
    os.symlink("../../secret", folder / "checks" / "link")
    os.symlink("../outside", folder / "out")
    os.symlink("checks", folder / "inner")
    tree = FolderTree(str(folder))
    assert TreeFile("checks/link", 0o120000) in tree.list()
    assert tree.read("checks/link") == b"../../secret"
    assert tree.read("out/x") is None
    assert tree.list("out") == []
    assert tree.read("inner/a.py") is None


@pytest.mark.parametrize(
    "path",
    [
        "",
        "..",
        "../secret",
        "checks/../../secret",
        "/etc/passwd",
        "checks",
        "gone",
        "a\0b",
        "ROUTINE.md/x",
        "./ROUTINE.md",
    ],
)
def test_paths_that_lead_nowhere(folder: Path, path: str) -> None:
    assert FolderTree(str(folder)).read(path) is None


@pytest.mark.timeout(10)
def test_a_fifo_is_no_file_and_does_not_block(folder: Path) -> None:
    os.mkfifo(folder / "checks" / "pipe")
    tree = FolderTree(str(folder))
    assert tree.read("checks/pipe") is None
    assert "checks/pipe" not in [entry.path for entry in tree.list()]


def test_too_many_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tickover.routines.tree.MAX_FILES", 2)
    with pytest.raises(TreeError, match="more than 2 files"):
        FolderTree(str(folder)).list()


def test_a_file_too_large(folder: Path) -> None:
    with (folder / "big").open("wb") as file:
        file.truncate((64 << 20) + 1)
    with pytest.raises(TreeError, match="larger than 64 MiB"):
        FolderTree(str(folder)).read("big")


@pytest.mark.parametrize("kind", ["folder", "memory"])
def test_a_part_of_a_tree_is_a_tree(folder: Path, kind: str) -> None:
    files = {"checks/a.py": b"a", "checks/deep/b.sh": b"b", "checksum": b"c"}
    tree: Tree = FolderTree(str(folder)) if kind == "folder" else MemoryTree(files)
    part = SubTree(tree, "checks")
    assert [entry.path for entry in part.list()] == ["a.py", "deep/b.sh"]
    assert [entry.path for entry in part.list("deep")] == ["deep/b.sh"]
    assert (part.read("deep/b.sh"), part.read("checksum")) == (b"b", None)
