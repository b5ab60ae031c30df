"""Small sealed folders laid over a workspace: files of ours put in place, globs emptied, links hidden.

Emptying is done by removing what is there, in a sandbox, in an overlay over the folders below; the whiteouts that
this leaves are the sealed folder. So a checkout stays one for all, whatever a routine declares as artifacts.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final

from tickover.sandbox.base import Backend, Bind, Overlay
from tickover.workspace.base import TrustedFile
from tickover.workspace.frames import MAGIC, encode_header
from tickover.workspace.program import new_name, ran
from tickover.workspace.shelf import Held, Shelf

_TREE: Final = "/workspace"
_FRAMES: Final = "/tickover-frames/stream"
_WRITTEN: Final = "/written"
_FORMAT: Final = 1
STAGED: Final = "frames-*"
"""The names of our staged files in DATA/stage."""


class Folders:
    """Sealed folders below `data`/layers/folders. `data` is the backend's data folder."""

    def __init__(self, data: Path, backend: Backend) -> None:
        self.data = Path(os.path.realpath(data))
        self.shelf = Shelf(self.data / "layers" / "folders")
        self.backend = backend

    async def ground(self) -> Held:
        """Return an empty folder, to stand at the bottom of a workspace without repositories."""
        return await self._shaped({"what": "ground"}, ())

    async def holding(self, files: Iterable[TrustedFile], into: str = "") -> Held:
        """Return a folder with these files below the path `into`, owned by the agent, folders as needed."""
        known = sorted(files, key=lambda file: file.path)
        content = [(file.path, file.executable, hashlib.sha256(file.data).hexdigest()) for file in known]
        with self._staged() as (path, stream):
            write_frames(stream, known)
            stream.flush()
            return await self._shaped({"files": content, "into": into}, (), frames=path, into=into)

    async def unpacked(self, frames: BinaryIO, digest: str, folder: str) -> Held:
        """Return a folder with `folder` in it, filled from a stream of frames whose sha256 is `digest`.

        Raises TickoverError `workspace.reshape` for a stream that is not in the format.
        """
        key = {"frames": digest, "folder": folder}
        held = self.shelf.get(_key(key))
        if held is not None:
            return held
        with self._staged() as (path, stream):
            while piece := frames.read(1 << 20):
                stream.write(piece)
            stream.flush()
            return await self._shaped(key, (), frames=path, into=folder)

    async def emptied(self, lowers: Sequence[Path], globs: Sequence[str]) -> Held | None:
        """Return a folder that hides what `globs` name in `lowers` (bottom first), or None if there is nothing.

        It is kept for these lowers: give the checkouts, which many runs share, and not the state, which changes.
        """
        key = {"emptied": list(globs), "lowers": [str(lower) for lower in lowers]}
        held = await self._shaped(key, tuple(lowers), remove=globs)
        if held.empty:
            held.close()
            return None
        return held

    async def restored(self, lowers: Sequence[Path], globs: Sequence[str], files: Iterable[TrustedFile]) -> Held:
        """Return a folder that makes `globs` in `lowers` (an agent's upper included) exactly `files`.

        It fits these lowers only and is not shared: give it to `discard` when done.
        """
        with self._staged() as (path, stream):
            write_frames(stream, files)
            stream.flush()
            key = {"restored": new_name("once")}
            return await self._shaped(key, tuple(lowers), remove=globs, frames=path)

    async def inward(self, lowers: Sequence[Path], written: Path) -> Held:
        """Return a folder that hides the links in `written`, the top one of `lowers`, that lead out of the tree.

        Where it is shown to a check, they would lead to what is the check's own. It fits these lowers only and is
        not shared: give it to `discard` when done. Raises TickoverError `workspace.reshape` for what cannot be read.
        """
        return await self._shaped({"inward": new_name("once")}, tuple(lowers), written=written)

    def discard(self, held: Held) -> None:
        """Remove a folder of `restored` or `inward`."""
        self.shelf.discard(held)

    async def _shaped(
        self,
        key: Mapping[str, Any],
        lowers: tuple[Path, ...],
        *,
        remove: Sequence[str] = (),
        frames: Path | None = None,
        into: str = "",
        written: Path | None = None,
    ) -> Held:
        async def build(destination: Path) -> dict[str, Any]:
            request: dict[str, Any] = {"root": _TREE, "remove": list(remove), "into": into}
            request["frames"] = _FRAMES if frames is not None else None
            request["written"] = _WRITTEN if written is not None else None
            shown = ((frames, _FRAMES), (written, _WRITTEN))
            binds = tuple(Bind(source, target) for source, target in shown if source is not None)
            overlay = Overlay(_TREE, lowers or (self._nothing(),), "shaped")
            async with ran(self.backend, "reshape", request, overlays=(overlay,), binds=binds, sealable=True) as ended:
                did = json.loads(ended.stdout)
                if lowers and not did["removed"] and not did["written"]:
                    return {"bytes": 0}
                return {"bytes": await ended.sandbox.seal("shaped", destination)}

        return await self.shelf.get_or_build(_key(key), build)

    def _nothing(self) -> Path:
        path = self.data / "layers" / "nothing"
        path.mkdir(mode=0o755, exist_ok=True)
        return path

    @contextlib.contextmanager
    def _staged(self) -> Iterator[tuple[Path, BinaryIO]]:
        """Give a file that a sandbox can be shown, removed afterwards; locked, so that `sweep` knows it is in use."""
        folder = self.data / "stage"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{new_name('frames')}"
        try:
            with open(path, "xb") as stream:
                fcntl.flock(stream, fcntl.LOCK_EX)
                path.chmod(0o644)
                yield path, stream
        finally:
            path.unlink()


def write_frames(stream: BinaryIO, files: Iterable[TrustedFile]) -> None:
    """Write files of ours as a complete stream."""
    count = size = 0
    stream.write(MAGIC)
    for file in files:
        header = {"type": "file", "path": file.path, "size": len(file.data), "executable": file.executable}
        stream.write(encode_header(header))
        stream.write(file.data)
        count += 1
        size += len(file.data)
    stream.write(encode_header({"type": "end", "files": count, "bytes": size, "complete": True, "refused_more": 0}))


def _key(parts: Mapping[str, Any]) -> str:
    text = json.dumps({"format": _FORMAT, **parts}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:40]
