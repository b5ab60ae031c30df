"""The folder state/ of a routine: unpacked for a run, captured after it. Committing is the store's compare-and-swap.

Between runs it is one blob of frames in a canonical order, so equal folders have equal digests. It was written by an
agent: it goes into a sandbox as it came out of one, and nothing of it is ever a fact.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import tempfile
from typing import BinaryIO, Final

from tickover.sandbox.base import Backend
from tickover.workspace.artifacts import Receiver, collect_into, shown
from tickover.workspace.base import ArtifactLimits, OpenBlob, PutBlob, Refused, StateCapture, Workspace
from tickover.workspace.folders import Folders, write_frames
from tickover.workspace.frames import MAGIC, Begin, Content, Refusal, encode_header
from tickover.workspace.shelf import Held

FOLDER: Final = "state"
LIMITS: Final = ArtifactLimits(file_bytes=64 << 20, total_bytes=256 << 20, files=10_000, entries=100_000, refusals=20)


async def unpack(folders: Folders, digest: str | None, open_blob: OpenBlob) -> Held:
    """Return a sealed folder with `state/` in it as the last proved run left it; None is an empty one.

    Raises what `open_blob` raises, and `workspace.reshape` for a blob that is no state.
    """
    if digest is None:
        empty = io.BytesIO()
        write_frames(empty, ())
        empty.seek(0)
        return await folders.unpacked(empty, hashlib.sha256(empty.getvalue()).hexdigest(), FOLDER)
    with await asyncio.to_thread(open_blob, digest) as frames:
        return await folders.unpacked(frames, digest, FOLDER)


async def capture(
    backend: Backend, workspace: Workspace, put: PutBlob, *, limits: ArtifactLimits = LIMITS
) -> StateCapture:
    """Copy `state/` out of the workspace into one blob. All of it or nothing.

    What cannot be kept (a link, a device, too much) leaves `digest` None and is told in `refused`.
    """
    with tempfile.TemporaryFile(prefix="tickover-state-") as stream:
        packer = _Packer(limits, stream)
        await collect_into(backend, workspace, packer)
        end = packer.ended()
        if packer.refused or end.refused_more or not end.complete:
            return StateCapture(None, refused=tuple(packer.refused))
        stream.write(encode_header(packer.last_header()))
        stream.seek(0)
        digest = await asyncio.to_thread(put, stream)
    return StateCapture(digest, packer.files, packer.bytes)


class _Packer(Receiver):
    """Writes what it receives again, as plain as it can be."""

    def __init__(self, limits: ArtifactLimits, stream: BinaryIO) -> None:
        super().__init__(limits, [f"{FOLDER}/**"])
        self.refused: list[Refused] = []
        self.files = self.bytes = 0
        self._stream = stream
        stream.write(MAGIC)

    async def take(self, frame: Begin | Content | Refusal) -> None:
        if isinstance(frame, Refusal):
            self.refused.append(Refused(shown(frame.path), frame.reason))
        elif isinstance(frame, Begin):
            path = frame.path.removeprefix(f"{FOLDER}/")
            header = {"type": "file", "path": path, "size": frame.size, "executable": frame.executable}
            self._stream.write(encode_header(header))
            self.files += 1
            self.bytes += frame.size
        else:
            self._stream.write(frame.data)

    def last_header(self) -> dict[str, object]:
        return {"type": "end", "files": self.files, "bytes": self.bytes, "complete": True, "refused_more": 0}
