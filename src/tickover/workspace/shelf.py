"""Sealed folders kept by key: built once whoever asks, used by many at a time, removed when nobody uses them.

ROOT/KEY.json       {"folder": NAME, "built_at": ..., ...}: there when the folder is complete, replaced as a whole
ROOT/KEY.lock       held by whoever builds
ROOT/KEY-TOKEN/     a sealed folder; an older one of the same key may still be in use
ROOT/KEY-TOKEN.use  held shared by whoever uses it, its time is the last use
ROOT/KEY-TOKEN.log  if the builder wrote one
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import secrets
import stat
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Self

from tickover.workspace.lock import FileLock

_KEY: Final = re.compile(r"[a-z0-9][a-z0-9_.]{0,99}")
Build = Callable[[Path], Awaitable[Mapping[str, Any]]]
"""Makes the folder at the given path (which does not exist), or no folder, and returns what shall be noted."""


class Held:
    """A sealed folder in use: it is not removed before `close`, the end of a `with`, or our death."""

    def __init__(self, path: Path, note: Mapping[str, Any], use: FileLock, *, built: bool) -> None:
        self.path = path
        self.note = note
        self.built = built
        self._use = use

    @property
    def empty(self) -> bool:
        """Whether the build made no folder: `path` does not exist."""
        return not self.path.exists()

    def close(self) -> None:
        """Let it be removed. Idempotent."""
        self._use.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Shelf:
    """The sealed folders of one kind, below `root`. `clock` gives UTC seconds."""

    def __init__(self, root: Path, clock: Callable[[], float] = time.time) -> None:
        self.root = root
        self._clock = clock
        root.mkdir(parents=True, exist_ok=True)

    def get(self, key: str, *, max_age: float | None = None) -> Held | None:
        """Return the folder of `key` if it is complete and at most `max_age` seconds old."""
        if not _KEY.fullmatch(key):
            raise ValueError(f"not a key: {key!r}")
        while (note := self._note(key)) is not None:
            if max_age is not None and self._clock() - note["built_at"] > max_age:
                return None
            use = FileLock.try_take(self.root / f"{note['folder']}.use", shared=True)
            if use is None:  # being removed: its note is gone by now, or in a moment
                continue
            if self._note(key) == note:
                os.utime(use.descriptor)
                return Held(self.root / note["folder"], note, use, built=False)
            use.close()
        return None

    async def get_or_build(
        self, key: str, build: Build, *, max_age: float | None = None, timeout_s: float = 900
    ) -> Held:
        """Return the folder of `key`, built now if need be; others who ask meanwhile wait for us and get the same.

        When `build` raises, nothing is kept and the next one who waited tries. Raises what `build` raises, and
        `workspace.busy` after `timeout_s` seconds of waiting.
        """
        held = self.get(key, max_age=max_age)
        if held is not None:
            return held
        with await FileLock.take(self.root / f"{key}.lock", timeout_s=timeout_s):
            held = self.get(key, max_age=max_age)
            if held is not None:
                return held
            name = f"{key}-{secrets.token_hex(4)}"
            use = await FileLock.take(self.root / f"{name}.use", shared=True)
            try:
                note = {**await build(self.root / name), "folder": name, "built_at": self._clock()}
            except BaseException:
                use.close()
                remove_tree(self.root / name)
                (self.root / f"{name}.use").unlink(missing_ok=True)
                raise
            making = self.root / f"{key}.json.new"
            making.write_text(json.dumps(note))
            making.replace(self.root / f"{key}.json")
            return Held(self.root / name, note, use, built=True)

    def discard(self, held: Held) -> None:
        """Remove a folder that is of no use to anybody else."""
        held.close()
        self._remove(held.path.name)

    def prune(self, *, idle_s: float, max_bytes: int | None = None) -> int:
        """Remove what nobody used for `idle_s` seconds, and then the longest idle ones until `max_bytes` are left.

        Folders in use stay. Return the bytes freed, as the notes tell them.
        """
        now = self._clock()
        folders = sorted(self._folders(), key=lambda item: item[1])
        left = sum(size for _, _, size in folders)
        freed = 0
        for name, used, size in folders:
            if (now - used > idle_s or (max_bytes is not None and left > max_bytes)) and self._remove(name):
                left -= size
                freed += size
        return freed

    def sweep(self) -> list[str]:
        """Remove what killed builders left: folders that no note names. Return their names."""
        named = {note["folder"] for note in self._notes()}
        left = {use.stem for use in self.root.glob("*.use")} - named
        return [name for name in sorted(left) if self._remove(name)]

    def _folders(self) -> Iterator[tuple[str, float, int]]:
        sizes = {note["folder"]: note.get("bytes", 0) for note in self._notes()}
        for use in self.root.glob("*.use"):
            with contextlib.suppress(FileNotFoundError):
                yield use.stem, use.stat().st_mtime, sizes.get(use.stem, 0)

    def _notes(self) -> Iterator[dict[str, Any]]:
        for path in self.root.glob("*.json"):
            note = self._note(path.stem)
            if note is not None:
                yield note

    def _note(self, key: str) -> dict[str, Any] | None:
        try:
            note: dict[str, Any] = json.loads((self.root / f"{key}.json").read_bytes())
        except FileNotFoundError:
            return None
        return note

    def _remove(self, name: str) -> bool:
        use = FileLock.try_take(self.root / f"{name}.use")
        if use is None:
            return False
        with use:
            key = name.rpartition("-")[0]
            note = self._note(key)
            if note is not None and note["folder"] == name:
                (self.root / f"{key}.json").unlink()
            remove_tree(self.root / name)
            (self.root / f"{name}.log").unlink(missing_ok=True)
            use.remove()
        if (lock := FileLock.try_take(self.root / f"{key}.lock")) is not None:
            with lock:
                if self._note(key) is None:
                    lock.remove()
        return True


def remove_tree(path: Path) -> None:
    """Remove a tree that somebody hostile made and nobody changes any more: any depth, any modes, any names.

    Follows no link. Folders are moved up to the top before they are emptied, so two descriptors are enough.
    """
    try:
        top = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        os.fchmod(top, 0o700)
        serial = _empty(top, top, 0)
        while names := os.listdir(top):
            for name in names:
                os.chmod(name, 0o700, dir_fd=top)  # a real folder: everything else is gone already
                folder = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=top)
                try:
                    serial = _empty(folder, top, serial)
                finally:
                    os.close(folder)
                os.rmdir(name, dir_fd=top)
    finally:
        os.close(top)
    os.rmdir(path)


def _empty(folder: int, top: int, serial: int) -> int:
    """Unlink what is in `folder` and move its folders up into `top` under names of ours."""
    for name in os.listdir(folder):
        if not stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            os.unlink(name, dir_fd=folder)
            continue
        os.chmod(name, 0o700, dir_fd=folder)  # moving a folder writes its `..`
        while True:
            serial += 1
            try:
                os.rename(name, f".tickover-removing-{serial}", src_dir_fd=folder, dst_dir_fd=top)
            except OSError as error:
                if error.errno not in {errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR}:  # somebody planted it
                    raise
            else:
                break
    return serial
