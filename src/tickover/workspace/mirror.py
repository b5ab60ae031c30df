"""Repositories as bare mirrors of ours, and refs resolved to commits in them.

A mirror is fetched by the host's git and never checked out on the host. Objects are checked (fsck) as they arrive and
never removed, because checkouts and running sandboxes borrow them.

    DATA/mirrors/SHA256-OF-URL.git/tickover/refs-DIGEST    "SHA REF" lines, one file per state seen
                                           commits/SHA     commits once resolved: known without asking anybody
                                           now             {"refs": DIGEST, "default": BRANCH}
                                           fetching        there while a fetch runs: clean up after a kill -9
"""

from __future__ import annotations

import asyncio
import difflib
import hashlib
import json
import os
import re
import shutil
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from tickover.core.errors import TickoverError
from tickover.core.text import one_line
from tickover.workspace.base import Commit
from tickover.workspace.git import GitTimeout, GitTooMuch, HostGit, Said, Through
from tickover.workspace.lock import FileLock

_SHA: Final = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_SHORT: Final = re.compile(r"[0-9a-f]{7,63}")
_BAD_REF: Final = re.compile(
    r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|\.lock(?:/|$)|(?:^|/)\.|[/.]$|^[-/]|^@$"  # git-check-ref-format(1)
)
_WANTED: Final = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
_ALL_HISTORY: Final = "--depth=2147483647"
"""As much as the other end has, shallow or not. It also makes git refuse a "dumb" HTTP server, whose objects it
would take without checking them."""
_LISTING: Final = 64 << 20  # bytes of refs: about 700,000 of them


@dataclass(frozen=True, slots=True)
class _Remote:
    """What the other end answered: its HEAD, its branches and tags."""

    refs: dict[str, str]
    head: str | None
    default: str | None


class Mirrors:
    """All mirrors of this machine, below `data`/mirrors."""

    def __init__(self, data: Path, *, environ: Mapping[str, str] | None = None, max_file: int = 64 << 30) -> None:
        self.root = Path(os.path.realpath(data)) / "mirrors"
        self.root.mkdir(parents=True, exist_ok=True)
        self.git = HostGit(self.root, environ)
        self.max_file = max_file

    def path(self, url: str) -> Path:
        """Return where the mirror of `url` is, or will be."""
        return self.root / f"{hashlib.sha256(_address(url).encode()).hexdigest()}.git"

    async def resolve(self, url: str, ref: str | None = None, *, timeout_s: float = 600) -> Commit:
        """Return the commit that `ref` (branch, tag, commit; None: the default branch) names now.

        See `resolve_all` for the errors.
        """
        return (await self.resolve_all(url, [ref], timeout_s=timeout_s))[0]

    async def resolve_all(
        self, url: str, refs: Sequence[str | None], *, timeout_s: float = 600, through: Through | None = None
    ) -> list[Commit]:
        """Resolve several refs of one moment. Full commits that were resolved before need no network and no git.

        `through` is the proxy to an https address.

        Raises TickoverError: `repository.bad_url`, `.bad_ref`, `.not_git`, `.unreachable`, `.empty`, `.no_ref`,
        `.corrupt`, `.unsafe` (an object that git's own checks refuse), `.too_large`, `.timeout`.
        """
        for ref in refs:
            if ref is not None and (not 0 < len(ref) <= 1000 or _BAD_REF.search(ref)):
                raise TickoverError("repository.bad_ref", f"{one_line(ref)!r} cannot be a branch, a tag or a commit")
        mirror = self.path(url)
        known = [self._known(url, mirror, ref) for ref in refs]
        found = [commit for commit in known if commit is not None]
        if len(found) == len(refs):
            return found
        mirror_lock = self.root / f"{mirror.stem}.lock"
        with await FileLock.take(mirror_lock, timeout_s=timeout_s) as lock:
            try:
                return await _Update(self, url, lock=lock, timeout_s=timeout_s, through=through).resolve(refs)
            except GitTimeout as error:
                raise TickoverError("repository.timeout", f"{url}: {error.message}") from error
            except GitTooMuch as error:
                raise TickoverError("repository.too_large", f"{url}: {error.message}") from error

    def known(self, url: str, sha: str) -> Commit | None:
        """Return a full commit that was resolved before, without asking anybody; None if it is not here any more."""
        return self._known(url, self.path(url), sha)

    def _known(self, url: str, mirror: Path, ref: str | None) -> Commit | None:
        if ref is None or not _SHA.fullmatch(ref) or not (mirror / "tickover/commits" / ref).is_file():
            return None
        now = json.loads((mirror / "tickover/now").read_text())
        os.utime(mirror / "tickover/now")
        return Commit(url, mirror, ref, None, now["default"], now["refs"])

    async def had(self, then: Commit, sha: str) -> bool:
        """Whether `sha` was in the history of any branch or tag when `then` was resolved."""
        if sha == then.sha:
            return True
        try:
            lines = (then.mirror / "tickover" / f"refs-{then.refs}").read_bytes().split(b"\n")[:-1]
        except FileNotFoundError:  # of many lists the oldest go
            return False
        known = b"".join(b"^%s\n" % line.partition(b" ")[0] for line in lines)
        said = await self.git.run(f"--git-dir={then.mirror}", "rev-list", "-n", "1", "--stdin", sha, stdin=known)
        return said.code == 0 and not said.out

    def prune(self, idle_s: float) -> list[Path]:
        """Remove mirrors that nobody resolved from for `idle_s` seconds; return them.

        Choose days, not minutes: a sandbox that runs on a mirror does not hold it.
        """
        removed = []
        for mirror in self.root.glob("*.git"):
            lock = FileLock.try_take(self.root / f"{mirror.stem}.lock")
            if lock is None:
                continue
            with lock:
                stamp = mirror / "tickover/now"
                if not stamp.exists() or time.time() - stamp.stat().st_mtime > idle_s:
                    shutil.rmtree(mirror)
                    removed.append(mirror)
        return removed


class _Update:
    """One look at the other end, with the mirror locked."""

    def __init__(
        self, mirrors: Mirrors, url: str, *, lock: FileLock, timeout_s: float, through: Through | None = None
    ) -> None:
        self.git = mirrors.git
        self.max_file = mirrors.max_file
        self.url = url
        self.address = _address(url)
        self.mirror = mirrors.path(url)
        self.notes = self.mirror / "tickover"
        self.lock = lock
        self.timeout_s = timeout_s
        self.through = through
        self.https = self.address.startswith("https:")

    async def resolve(self, refs: Sequence[str | None]) -> list[Commit]:
        owner = None if self.https else await asyncio.to_thread(_owner_of, self.address)
        self.other_end = self.git.upload_pack(owner)
        remote = await self._look()
        if not remote.refs and remote.head is None:
            raise TickoverError("repository.empty", f"{self.url} has no commit yet", hint="make a first commit there")
        await self._make(remote)
        current = await self._fetch_changes(remote)
        digest = self._note(current, remote.default)
        commits = []
        for ref in refs:
            sha, branch = await self._find(ref, current, remote)
            (self.notes / "commits" / sha).touch()
            commits.append(Commit(self.url, self.mirror, sha, branch, remote.default, digest))
        return commits

    async def _run(self, *arguments: str, max_output: int = 1 << 20) -> Said:
        return await self.git.run(
            f"--git-dir={self.mirror}",
            *arguments,
            timeout_s=self.timeout_s,
            max_output=max_output,
            max_file=self.max_file,
            keep_open=[self.lock.descriptor],
            https=self.https,
            through=self.through,
        )

    async def _look(self) -> _Remote:
        wanted = ["HEAD", "refs/heads/*", "refs/tags/*"]
        said = await self.git.run(
            "ls-remote", "--symref", *self.other_end, "--", self.address, *wanted,
            timeout_s=self.timeout_s, max_output=_LISTING, https=self.https, through=self.through,
        )  # fmt: skip
        if said.code != 0:
            raise self._refusal(said)
        refs: dict[str, str] = {}
        head = default = None
        for line in said.out.decode(errors="surrogateescape").split("\n")[:-1]:
            value, _, name = line.partition("\t")
            if value.startswith("ref: "):  # the pattern HEAD also finds refs/remotes/origin/HEAD
                default = value.removeprefix("ref: refs/heads/") if name == "HEAD" else default
            elif not _SHA.fullmatch(value):
                raise TickoverError("repository.unreachable", f"{self.url} answers with what git does not speak")
            elif name == "HEAD":
                head = value
            elif name.startswith(("refs/heads/", "refs/tags/")) and not name.endswith("^{}"):
                refs[name] = value
        return _Remote(refs, head, default)

    async def _make(self, remote: _Remote) -> None:
        if (self.notes / "now").is_file():
            return
        await asyncio.to_thread(shutil.rmtree, self.mirror, ignore_errors=True)  # begun once, and never finished
        sha = next(iter(remote.refs.values()), remote.head or "")
        kind = "sha256" if len(sha) == 64 else "sha1"
        said = await self.git.run("init", "-q", "--bare", "--template=", f"--object-format={kind}", str(self.mirror))
        if said.code != 0:
            raise TickoverError("repository.mirror", f"cannot make a mirror: {one_line(said.err)}")
        (self.notes / "commits").mkdir(parents=True)
        for folder in (self.mirror, self.notes, self.notes / "commits"):
            folder.chmod(0o755)

    async def _fetch_changes(self, remote: _Remote) -> dict[str, str]:
        """Bring the mirror up to what `remote` said, if it differs; return the mirror's refs."""
        shallow = (self.mirror / "shallow").exists()  # the other end may have more history by now, under the same refs
        before = self._noted()
        head_known = remote.head is None or remote.head in remote.refs.values() or self._has(remote.head)
        if before == remote.refs and head_known and not shallow:
            return before
        await self._fetch(*_WANTED, *(["+HEAD:refs/tickover/HEAD"] if remote.head else []))
        said = await self._run(
            "for-each-ref", "--format=%(objectname)%09%(refname)", "refs/heads", "refs/tags", max_output=_LISTING
        )
        lines = said.out.decode(errors="surrogateescape").split("\n")[:-1]
        return {name: sha for sha, _, name in (line.partition("\t") for line in lines)}

    async def _fetch(self, *specs: str) -> None:
        fetching = self.notes / "fetching"
        if fetching.exists():
            await asyncio.to_thread(_clean_after_kill, self.mirror)
        fetching.touch()
        said = await self._run(
            "fetch", "--prune", "--force", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules",
            "--no-show-forced-updates", "--quiet", "--update-shallow", _ALL_HISTORY,
            *self.other_end, "--", self.address, *specs,
        )  # fmt: skip
        if said.code != 0:
            raise self._refusal(said)
        fetching.unlink()

    def _has(self, sha: str) -> bool:
        return (self.notes / "commits" / sha).is_file()

    def _noted(self) -> dict[str, str] | None:
        try:
            digest = json.loads((self.notes / "now").read_text())["refs"]
            text = (self.notes / f"refs-{digest}").read_bytes().decode(errors="surrogateescape")
        except FileNotFoundError:
            return None
        return {name: sha for sha, _, name in (line.partition(" ") for line in text.split("\n")[:-1])}

    def _note(self, refs: dict[str, str], default: str | None) -> str:
        text = "".join(f"{refs[name]} {name}\n" for name in sorted(refs)).encode(errors="surrogateescape")
        digest = hashlib.sha256(text).hexdigest()[:32]
        if not (self.notes / f"refs-{digest}").exists():
            _write(self.notes / f"refs-{digest}", text)
            old = sorted(self.notes.glob("refs-*"), key=lambda path: path.stat().st_mtime)
            for path in old[:-200]:
                path.unlink()
        _write(self.notes / "now", json.dumps({"refs": digest, "default": default}).encode())
        return digest

    async def _find(self, ref: str | None, refs: dict[str, str], remote: _Remote) -> tuple[str, str | None]:
        """Return the commit that `ref` names, and the branch if it is one."""
        if ref is None:
            if remote.default is not None and f"refs/heads/{remote.default}" in refs:
                return refs[f"refs/heads/{remote.default}"], remote.default
            if remote.head is not None:
                return remote.head, None
            raise self._no_ref("the default branch", refs)
        if _SHA.fullmatch(ref):
            return await self._commit(ref, refs), None
        names = [ref] if ref.startswith("refs/") else [f"refs/heads/{ref}", f"refs/tags/{ref}"]
        for name in names:
            if name in refs:
                branch = name.removeprefix("refs/heads/") if name.startswith("refs/heads/") else None
                return (refs[name] if branch else await self._peel(name)), branch
        if ref.startswith("refs/"):
            pin = f"refs/tickover/pins/{ref.removeprefix('refs/')}"
            try:
                await self._fetch(f"+{ref}:{pin}")
            except TickoverError as error:
                raise self._no_ref(ref, refs) from error
            return await self._peel(pin), None
        if _SHORT.fullmatch(ref):
            said = await self._run("rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
            if said.code == 0:
                return said.out.decode().strip(), None
        raise self._no_ref(ref, refs)

    async def _commit(self, sha: str, refs: dict[str, str]) -> str:
        said = await self._run("rev-parse", "--verify", "--quiet", "--end-of-options", f"{sha}^{{commit}}")
        if said.code != 0:  # on no branch and no tag: a host may still give it by name
            try:
                await self._fetch(f"+{sha}:refs/tickover/pins/{sha}")
            except TickoverError as error:
                raise self._no_ref(sha, refs) from error
            return await self._peel(f"refs/tickover/pins/{sha}")
        return said.out.decode().strip()

    async def _peel(self, name: str) -> str:
        said = await self._run("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
        if said.code != 0:
            raise TickoverError("repository.no_ref", f"{one_line(name)} of {self.url} is no commit")
        return said.out.decode().strip()

    def _no_ref(self, ref: str, refs: dict[str, str]) -> TickoverError:
        names = [name.split("/", 2)[2] for name in refs]
        near = difflib.get_close_matches(ref, names[:5000], n=3)
        hint = f"did you mean {' or '.join(one_line(name) for name in near)}?" if near else ""
        return TickoverError("repository.no_ref", f"{self.url} has no {one_line(ref)}", hint=hint)

    def _refusal(self, said: Said) -> TickoverError:
        """Turn git's own words into one of our errors."""
        text = one_line(said.err, 400)
        lowered = text.lower()
        if said.code == -signal.SIGXFSZ or f"signal {signal.SIGXFSZ:d}" in lowered or "file too large" in lowered:
            return TickoverError("repository.too_large", f"{self.url} is larger than {self.max_file} bytes in one pack")
        if re.search(r"fsck error|error: object [0-9a-f]+: \w+:", lowered):
            hint = "git refuses this object, and so do we: rewrite the history that holds it"
            return TickoverError("repository.unsafe", f"{self.url} holds an object that git refuses: {text}", hint=hint)
        if re.search(r"bad object|corrupt|unable to read|inflate|did not send all|missing (blob|tree|commit)", lowered):
            return TickoverError("repository.corrupt", f"{self.url} is damaged: {text}", hint="run `git fsck` there")
        if "dumb http transport" in lowered:
            return TickoverError(
                "repository.not_git", f"{self.url} serves files, not git's protocol", hint="set up smart HTTP there"
            )
        if self.through is not None and re.search(r"from proxy after connect|connect tunnel failed", lowered):
            hint = "a private address needs `network.private` in tickover.yaml; `tickover runs show ID --network`"
            text = f"the gateway does not let {self.url} be read: {text}"
            return TickoverError("repository.unreachable", text, hint=hint)
        if re.search(r"could not read username|authentication failed|\b40[13]\b", lowered):
            hint = "a private repository needs `credential`"
            return TickoverError("repository.unreachable", f"{self.url} asks for a login: {text}", hint=hint)
        if "does not appear to be a git repository" in lowered:
            return TickoverError("repository.not_git", f"{self.url} is no git repository")
        return TickoverError("repository.unreachable", f"{self.url} cannot be read: {text}", hint="try `git ls-remote`")


def _address(url: str) -> str:
    """Return what git is given: an https URL, or an absolute path. Raises TickoverError `repository.bad_url`."""
    wrong = TickoverError(
        "repository.bad_url",
        f"{one_line(url)!r} is no address of a repository",
        hint="write https://HOST/PATH or file:///PATH, without user and password",
    )
    if "\0" in url or "\n" in url:
        raise wrong
    if url.startswith("/"):
        return os.path.normpath(url)
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise wrong from error
    if parts.scheme == "file" and parts.netloc in {"", "localhost"} and parts.path.startswith("/"):
        return os.path.normpath(unquote(parts.path))
    if parts.scheme == "https" and parts.hostname and "@" not in parts.netloc and not parts.netloc.startswith("-"):
        return url
    raise wrong


def _owner_of(path: str) -> tuple[int, int] | None:
    """Return whom to be when reading a local repository: None as an ordinary user, else the repository's owner.

    If root and somebody else own parts of it, that somebody decides what is in it. Raises TickoverError.
    """
    if not os.path.isdir(path):
        raise TickoverError("repository.unreachable", f"{path} is no folder here", hint="is the path right?")
    inner = next((p for p in (f"{path}/.git", path) if os.path.lexists(f"{p}/HEAD") or os.path.isfile(p)), None)
    if inner is None:
        hint = "an unpacked archive has no history: clone it, or run `git init` there and commit"
        raise TickoverError("repository.not_git", f"{path} is a folder without a git repository", hint=hint)
    if os.geteuid() != 0:
        return None
    parts = [path, inner, *(f"{inner}/{name}" for name in ("HEAD", "config", "objects", "refs", "packed-refs"))]
    owners = [os.lstat(part) for part in parts if os.path.lexists(part)]
    return next(((s.st_uid, s.st_gid) for s in owners if s.st_uid != 0), None)


def _clean_after_kill(mirror: Path) -> None:
    """Remove what a killed git left; the lock on the mirror outlives every process of it, so none is at work."""
    for parent, folders, names in os.walk(mirror):
        for name in list(folders):
            if parent.endswith("/objects") and (name.startswith(("incoming-", "tmp_objdir-"))):
                shutil.rmtree(os.path.join(parent, name))
                folders.remove(name)
        for name in names:
            if name.endswith(".lock") or name.startswith("tmp_"):
                os.unlink(os.path.join(parent, name))


def _write(path: Path, data: bytes) -> None:
    making = path.with_name(f".{path.name}.{os.getpid()}")
    making.write_bytes(data)
    making.chmod(0o644)
    making.replace(path)
