"""Disk images, sums of folders, and what the watcher makes of them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tickover.sandbox.launcher import disk
from tickover.sandbox.launcher.seal import check_tree

needs_mkfs = pytest.mark.skipif(disk._mkfs() is None, reason="mkfs.ext4 is not installed")
ROOT = os.geteuid() == 0


def test_a_sparse_file_is_copied_with_its_holes(tmp_path: Path) -> None:
    source, copy = tmp_path / "source", tmp_path / "copy"
    with source.open("wb") as file:
        file.truncate(1 << 30)
        for place in (0, 123 << 20, (1 << 30) - 4):
            file.seek(place)
            file.write(b"data")
    disk.copy_sparse(str(source), str(copy))
    assert copy.stat().st_size == 1 << 30
    assert copy.stat().st_blocks * 512 < 1 << 20
    with copy.open("rb") as file:
        for place in (0, 123 << 20, (1 << 30) - 4):
            file.seek(place)
            assert file.read(4) == b"data"


def test_a_file_of_one_hole_is_copied(tmp_path: Path) -> None:
    with (tmp_path / "source").open("wb") as file:
        file.truncate(1 << 20)
    disk.copy_sparse(str(tmp_path / "source"), str(tmp_path / "copy"))
    assert (tmp_path / "copy").stat().st_size == 1 << 20


@needs_mkfs
def test_a_template_is_made_once_per_size(tmp_path: Path) -> None:
    first = disk.template(str(tmp_path), 64 << 20)
    made = os.stat(first)
    assert made.st_size == 64 << 20
    assert disk.template(str(tmp_path), (64 << 20) + 100) == first
    assert os.stat(first).st_mtime_ns == made.st_mtime_ns
    assert disk.template(str(tmp_path), 1) != first  # the least that a file system needs


@needs_mkfs
def test_a_size_that_cannot_be_made_leaves_no_template(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"mkfs|large|space"):
        disk.template(str(tmp_path), 1 << 58)
    assert os.listdir(tmp_path) == []


def test_a_tree_s_bytes_and_its_safe_entries(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "file").write_bytes(b"x" * 100_000)
    (tmp_path / "d" / "link").symlink_to("/etc/shadow")
    os.mkfifo(tmp_path / "d" / "fifo")
    assert check_tree(str(tmp_path)) >= 100_000


@pytest.mark.parametrize("bit", [stat.S_ISUID, stat.S_ISGID])
def test_set_id_bits_are_refused(tmp_path: Path, bit: int) -> None:
    (tmp_path / "tool").touch()
    (tmp_path / "tool").chmod(0o755 | bit)
    with pytest.raises(ValueError, match="set-id bit: 'tool'"):
        check_tree(str(tmp_path))


def test_folders_of_the_base_stay_folders(tmp_path: Path) -> None:
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / "tmp").symlink_to("/oldroot/tmp")
    check_tree(str(tmp_path))
    with pytest.raises(ValueError, match="replaces a folder of the base: 'var/tmp'"):
        check_tree(str(tmp_path), keep_folders={"var/tmp"})


def test_what_is_too_deep_or_closed_is_refused(tmp_path: Path) -> None:
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(700):
        os.mkdir("d", dir_fd=here)
        deeper = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = deeper
    os.close(here)
    with pytest.raises((ValueError, RecursionError, OSError)):
        check_tree(str(tmp_path))


@pytest.mark.parametrize("name", ["user.overlay.redirect", "user.overlay.metacopy"])
def test_attributes_that_redirect_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    try:
        os.setxattr(tmp_path / "file", name, b"/etc")
        os.setxattr(tmp_path, "user.overlay.opaque", b"y")
    except OSError:
        pytest.skip("this file system has no user attributes")
    with pytest.raises(ValueError, match="overlay attribute"):
        check_tree(str(tmp_path))
    os.removexattr(tmp_path / "file", name)
    check_tree(str(tmp_path))


@pytest.mark.root
@pytest.mark.skipif(not ROOT, reason="only root makes device nodes")
def test_devices_are_refused_and_whiteouts_kept(tmp_path: Path) -> None:
    os.mknod(tmp_path / "gone", 0o666 | stat.S_IFCHR, os.makedev(0, 0))
    check_tree(str(tmp_path))
    for kind in (stat.S_IFBLK, stat.S_IFCHR):
        os.mknod(tmp_path / "device", 0o666 | kind, os.makedev(7, 0))
        with pytest.raises(ValueError, match="device: 'device'"):
            check_tree(str(tmp_path))
        (tmp_path / "device").unlink()
