"""What an agent left, copied out of its workspace: whole globs for keeping, single files for checks."""

from __future__ import annotations

import asyncio
import hashlib
import re
import tempfile
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final, Literal

from tickover.core.errors import TickoverError
from tickover.sandbox.base import Backend
from tickover.workspace.base import (
    SUBJECT,
    ArtifactFile,
    ArtifactLimits,
    Collected,
    PutBlob,
    Refused,
    SubjectFile,
    Workspace,
)
from tickover.workspace.frames import Begin, Content, End, FrameLimits, FrameParser, FramesBroken, Refusal
from tickover.workspace.inside.globs import Globs
from tickover.workspace.program import ran

LONGEST_PATH: Final = 1000
"""Characters of an artifact's path as it is shown: all of them stand in the run's row, which lists read whole."""
_BEFORE: Final = "/before"
_AT_ONCE: Final = 4  # bodies on their way into the store
_IN_MEMORY: Final = 1 << 20  # bytes of one file that wait in memory; more wait in an unnamed temporary file


async def collect(
    backend: Backend,
    workspace: Workspace,
    globs: Sequence[str],
    put: PutBlob,
    *,
    limits: ArtifactLimits | None = None,
    timeout_s: float = 600,
) -> Collected:
    """Copy the regular files that `globs` name out of the workspace into blobs.

    Raises TickoverError `artifacts.broken` and `workspace.collect`; files stored by then are blobs nobody names.
    """
    keeper = _Keeper(limits or ArtifactLimits(), globs, put)
    try:
        await collect_into(backend, workspace, keeper, timeout_s=timeout_s)
        return await keeper.result()
    finally:
        await keeper.close()


async def collect_into(backend: Backend, workspace: Workspace, receiver: Receiver, *, timeout_s: float = 600) -> None:
    """Walk the workspace in a sandbox and give `receiver` what its globs name."""
    request = _request(receiver)
    overlays = (workspace.subject(),) if not receiver.compares else (workspace.subject(), workspace.before(_BEFORE))
    async with ran(backend, "collect", request, overlays=overlays, receive=receiver.receive, timeout_s=timeout_s):
        receiver.ended()


async def read_files(
    backend: Backend, workspace: Workspace, paths: Mapping[str, int], *, timeout_s: float = 120
) -> dict[str, SubjectFile]:
    """Read single files of the workspace, `paths` -> most bytes of each, all in one sandbox.

    Links are not followed. Raises TickoverError `artifacts.broken` and `workspace.collect`.
    """
    limits = ArtifactLimits(max(paths.values(), default=0), sum(paths.values()), len(paths), refusals=2 * len(paths))
    reader = _Reader(limits, paths)
    await collect_into(backend, workspace, reader, timeout_s=timeout_s)
    return reader.found


async def read_file(backend: Backend, workspace: Workspace, path: str, max_bytes: int) -> SubjectFile:
    """Read one file of the workspace; see `read_files`."""
    return (await read_files(backend, workspace, {path: max_bytes}))[path]


async def names_in(backend: Backend, workspace: Workspace, glob: str, *, timeout_s: float = 120) -> list[str]:
    """Return the paths of the regular files that a glob names, printable. Raises as `read_files` does."""
    lister = _Lister(ArtifactLimits(files=2000, refusals=0), [glob])
    await collect_into(backend, workspace, lister, timeout_s=timeout_s)
    return lister.names


def _request(receiver: Receiver) -> dict[str, object]:
    limits = receiver.limits
    for glob in receiver.globs:
        if not glob or any(part in {"", ".", ".."} for part in glob.split("/")):
            raise TickoverError("artifacts.glob", f"{glob!r} is no relative path or glob")
    return {
        "root": SUBJECT,
        "globs": list(receiver.globs),
        "exact": receiver.exact,
        "before": _BEFORE if receiver.compares else None,
        "file_bytes": limits.file_bytes,
        "total_bytes": limits.total_bytes,
        "files": limits.files,
        "entries": limits.entries,
        "depth": limits.depth,
        "refusals": limits.refusals,
    }


class Receiver:
    """Turns the stream of one collection into values. Subclass `take`."""

    exact = False
    """Whether `globs` are single paths, wildcards included."""
    compares = False
    """Whether `Begin.written` is wanted."""

    def __init__(self, limits: ArtifactLimits, globs: Sequence[str]) -> None:
        self.limits = limits
        self.globs = globs
        self._asked = Globs(globs, exact=self.exact)
        self._parser = FrameParser(FrameLimits(limits.file_bytes, limits.total_bytes, limits.files, limits.refusals))
        self._end: End | None = None

    async def receive(self, data: bytes) -> None:
        """Take the next bytes of the stream. Raises `artifacts.broken`."""
        for frame in self._parser.feed(data):
            if isinstance(frame, End):
                self._end = frame
                continue
            if isinstance(frame, Begin) and not self._asked.match(frame.path):
                raise FramesBroken("a file that was not asked for")
            await self.take(frame)

    async def take(self, frame: Begin | Content | Refusal) -> None:
        """Use the next frame."""
        raise NotImplementedError

    def ended(self) -> End:
        """Return the stream's end. Raises `artifacts.broken` when it was cut off."""
        if self._end is None:
            raise FramesBroken("it ends too early")
        return self._end


class _Lister(Receiver):
    """Notes the names."""

    def __init__(self, limits: ArtifactLimits, globs: Sequence[str]) -> None:
        super().__init__(limits, globs)
        self.names: list[str] = []

    async def take(self, frame: Begin | Content | Refusal) -> None:
        if isinstance(frame, Begin):
            self.names.append(shown(frame.path)[:LONGEST_PATH])


def _body() -> tempfile.SpooledTemporaryFile[bytes]:
    return tempfile.SpooledTemporaryFile(_IN_MEMORY)


class _Keeper(Receiver):
    """Stores every file as it comes."""

    def __init__(self, limits: ArtifactLimits, globs: Sequence[str], put: PutBlob) -> None:
        super().__init__(limits, globs)
        self._put = put
        self._files: list[ArtifactFile] = []
        self._refused: list[Refused] = []
        self._refused_more = 0
        self._storing: deque[asyncio.Task[ArtifactFile]] = deque()  # a body waits for the disk, several wait once
        self._begin: Begin | None = None
        self._body: tempfile.SpooledTemporaryFile[bytes] | None = None
        self._hash = hashlib.sha256()

    async def take(self, frame: Begin | Content | Refusal) -> None:
        if isinstance(frame, Refusal):
            self._refuse(frame.path, frame.reason)
        elif isinstance(frame, Begin):
            self._begin = frame if len(shown(frame.path)) <= LONGEST_PATH else None
            if self._begin is None:
                self._refuse(frame.path, f"a path of more than {LONGEST_PATH} characters")
                return
            self._body = _body()
            self._hash = hashlib.sha256()
        elif self._begin is not None:
            assert self._body is not None
            self._body.write(frame.data)
            self._hash.update(frame.data)
            if frame.last:
                body, self._body = self._body, None
                storing = self._store(self._begin, body, self._hash.hexdigest())
                self._storing.append(asyncio.create_task(storing))
                if len(self._storing) >= _AT_ONCE:
                    self._files.append(await self._storing.popleft())

    def _refuse(self, path: str, reason: str) -> None:
        if len(self._refused) >= self.limits.refusals:
            self._refused_more += 1
            return
        name = shown(path)
        self._refused.append(Refused(name if len(name) <= LONGEST_PATH else f"{name[:LONGEST_PATH]}...", reason))

    async def _store(self, begin: Begin, body: tempfile.SpooledTemporaryFile[bytes], wanted: str) -> ArtifactFile:
        body.seek(0)
        with body:
            digest = await asyncio.to_thread(self._put, body)  # type: ignore[arg-type]
        if digest != wanted:
            raise TickoverError("artifacts.broken", "the blob store returned another digest than the content has")
        return ArtifactFile(shown(begin.path), begin.size, digest, begin.executable)

    async def close(self) -> None:
        """Let go of what was begun."""
        await asyncio.gather(*self._storing, return_exceptions=True)
        if self._body is not None:
            self._body.close()

    async def result(self) -> Collected:
        """Return what was stored, when all of it is."""
        end = self.ended()
        while self._storing:
            self._files.append(await self._storing.popleft())
        more = end.refused_more + self._refused_more
        return Collected(tuple(self._files), tuple(self._refused), more, end.complete)


class _Reader(Receiver):
    """Keeps a few small files in memory."""

    exact = True
    compares = True

    def __init__(self, limits: ArtifactLimits, paths: Mapping[str, int]) -> None:
        super().__init__(limits, list(paths))
        self._paths = paths
        self.found: dict[str, SubjectFile] = {path: SubjectFile(path, "missing") for path in paths}
        self._begin: Begin | None = None
        self._data = bytearray()

    async def take(self, frame: Begin | Content | Refusal) -> None:
        if isinstance(frame, Refusal):
            for path in self._paths:  # a link on the way refuses everything below it
                on_the_way = path.startswith(f"{frame.path}/") and frame.reason != "folder"
                if frame.path in {path, "."} or on_the_way:
                    too_large = frame.size > self._paths[path]
                    status: Literal["too_large", "refused"] = "too_large" if too_large else "refused"
                    self.found[path] = SubjectFile(path, status, frame.reason, frame.size)
        elif isinstance(frame, Begin):
            self._begin = frame
            self._data.clear()
        else:
            self._data += frame.data
            if frame.last:
                self._keep()

    def _keep(self) -> None:
        begin = self._begin
        assert begin is not None
        if begin.size > self._paths[begin.path]:
            reason = f"{begin.size} bytes, more than {self._paths[begin.path]}"
            self.found[begin.path] = SubjectFile(begin.path, "too_large", reason, begin.size)
            return
        self.found[begin.path] = SubjectFile(
            begin.path, "file", "", begin.size, bytes(self._data), begin.mtime_ns, begin.written
        )


_UNSHOWN: Final = re.compile("[\\\\\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")


def shown(path: str) -> str:
    r"""Return a path fit to be shown and unlike any other's: backslashes doubled, hidden and broken bytes `\xNN`."""
    return _UNSHOWN.sub(_escaped, path)


def _escaped(found: re.Match[str]) -> str:
    if found[0] == "\\":
        return "\\\\"
    return "".join(f"\\x{byte:02x}" for byte in found[0].encode("utf-8", "surrogateescape"))
