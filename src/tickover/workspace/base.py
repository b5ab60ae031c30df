"""What the parts of a workspace are called, as values. Who makes them is in the other files of this folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final, Literal

from tickover.sandbox.base import Bind, Overlay

WORKSPACE: Final = "/workspace"
SUBJECT: Final = "/subject"
UPPER: Final = "workspace"
"""The name of the writable top of /workspace: `Sandbox.upper(UPPER)` is what the agent wrote."""

PutBlob = Callable[[BinaryIO], str]
"""Stores a body and returns its sha256 (`Blobs.put`); called in a thread."""
OpenBlob = Callable[[str], BinaryIO]
"""Opens a stored body by its sha256 (`Blobs.open`); called in a thread."""


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit that our mirror has."""

    url: str
    mirror: Path
    sha: str
    branch: str | None
    """The branch that the ref named; None for a tag or a commit."""
    default_branch: str | None
    refs: str
    """Digest of all branches and tags as they were when the ref was resolved; the mirror keeps that list."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """The folders laid over one another at /workspace, and what the agent wrote on top of them."""

    lowers: tuple[Path, ...]
    """Bottom first; never empty."""
    repositories: tuple[Bind, ...] = ()
    """Our mirrors at /repo/NAME.git: a checkout borrows its objects from there, so show them wherever it is shown."""
    upper: Path | None = None
    over: Path | None = None
    """What the agent handed over by tools, above all it wrote: a folder of files, without links."""

    def overlay(self) -> Overlay:
        """For the agent's sandbox: everything writable, what it writes kept under `UPPER`."""
        return Overlay(WORKSPACE, self.lowers, UPPER)

    def subject(self, target: str = SUBJECT) -> Overlay:
        """For a sandbox that looks at the work: the agent's writes included, read-only."""
        tops = (each for each in (self.upper, self.over) if each is not None)
        return Overlay(target, (*self.lowers, *tops), None)

    def before(self, target: str) -> Overlay:
        """For a sandbox that looks at what was there before the agent, read-only."""
        return Overlay(target, self.lowers, None)


@dataclass(frozen=True, slots=True)
class SetupResult:
    """A usable root layer and where it came from."""

    path: Path
    key: str
    built: bool
    """False when it was taken from the shelf."""
    built_at: float
    """UTC seconds."""
    duration_s: float
    size: int
    """Bytes on disk."""
    output: bytes
    """What the setup script wrote, both streams as they came; the middle is cut out of a long one."""


@dataclass(frozen=True, slots=True)
class ArtifactLimits:
    """What is copied out of a sandbox at most. Bytes and counts."""

    file_bytes: int = 256 << 20
    total_bytes: int = 1 << 30
    files: int = 2000
    entries: int = 1_000_000
    """Directory entries looked at before the walk gives up."""
    depth: int = 100
    refusals: int = 100
    """Refusals told one by one; the rest is a count."""


@dataclass(frozen=True, slots=True)
class ArtifactFile:
    r"""A regular file that was copied out and stored.

    `path` is relative, `/` between parts; bytes that are no printable text are written `\xNN`.
    """

    path: str
    size: int
    sha256: str
    executable: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """Something a glob named that is not copied, and why."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Collected:
    """The outcome of a collection."""

    files: tuple[ArtifactFile, ...] = ()
    refused: tuple[Refused, ...] = ()
    refused_more: int = 0
    """Refusals beyond `ArtifactLimits.refusals`."""
    complete: bool = True
    """False when a limit ended the walk early."""


@dataclass(frozen=True, slots=True)
class SubjectFile:
    """One path of the workspace, as a check sees it. Whatever it holds is a claim.

    `missing`: nothing there. `refused`: no regular file, or reached through a symbolic link, or unreadable (`reason`).
    `too_large`: `data` was not read. `written`: differs from what was there before the agent (content, or times).
    """

    path: str
    status: Literal["file", "missing", "refused", "too_large"]
    reason: str = ""
    size: int = 0
    data: bytes = b""
    mtime_ns: int = 0
    written: bool = False


@dataclass(frozen=True, slots=True)
class StateCapture:
    """The folder state/ as the agent left it; `digest` None when something in it cannot be kept."""

    digest: str | None
    files: int = 0
    size: int = 0
    refused: tuple[Refused, ...] = ()


@dataclass(frozen=True, slots=True)
class TrustedFile:
    """A file of a trusted commit; `path` is relative."""

    path: str
    data: bytes = field(repr=False)
    executable: bool = False
