"""The host's git: an absolute path, an empty environment, our configuration, a deadline, bounded output.

It is used on two kinds of things only: bare mirrors of ours, and a remote end that it fetches from. The remote end of
a local path is `git upload-pack`, started as the owner of that repository when we are root.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import shutil
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tickover.core.errors import TickoverError

PATH: Final = "/usr/local/bin:/usr/bin:/bin"
MEMORY: Final = min(4 << 30, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2)
"""Bytes that each git process may hold: sixteen kilobytes of a hostile pack can ask for any number."""
_PASSED: Final = (
    "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO", "GIT_SSL_CAPATH", "CURL_CA_BUNDLE",
)  # fmt: skip
_OLD_HISTORY: Final = (
    # git-fsck(1), "FSCK MESSAGES": formats that old tools wrote and that no reader of ours can be tricked by.
    "badTimezone", "badDateOverflow", "missingSpaceBeforeDate", "missingSpaceBeforeEmail", "missingNameBeforeEmail",
    "missingEmail", "badEmail", "badName", "multipleAuthors", "zeroPaddedFilemode", "zeroPaddedDate",
    "missingTaggerEntry", "badTagName", "nullSha1", "emptyName",
)  # fmt: skip
_CONFIG: Final = """\
[safe]
	directory = *
[core]
	hooksPath = /dev/null
	fsmonitor = false
	attributesFile = /dev/null
	excludesFile = /dev/null
	askPass =
[credential]
	helper =
[protocol]
	allow = never
[protocol "file"]
	allow = always
[protocol "https"]
	allow = always
[http]
	lowSpeedLimit = 1000
	lowSpeedTime = 60
[gc]
	auto = 0
[maintenance]
	auto = false
[submodule]
	recurse = false
[transfer]
	fsckObjects = true
	bundleURI = false
[fetch]
	fsckObjects = true
	writeCommitGraph = false
	recurseSubmodules = false
[fetch "fsck"]
"""


@dataclass(frozen=True, slots=True)
class Said:
    """What one git command answered. `err` is the end of what it wrote to stderr."""

    code: int
    out: bytes
    err: str


@dataclass(frozen=True, slots=True)
class Through:
    """The proxy that git goes through: its address with its password, and a file with all certificates to trust."""

    proxy: str = field(repr=False)
    certificates: str

    def environment(self) -> dict[str, str]:
        """Return the variables for git and its libcurl; the password stands in no argument."""
        return {"https_proxy": self.proxy, "GIT_HTTP_PROXY_AUTHMETHOD": "basic", "GIT_SSL_CAINFO": self.certificates}


class GitTimeout(TickoverError):  # noqa: N818 - the word users see
    """A git command passed its deadline and was ended."""


class GitTooMuch(TickoverError):  # noqa: N818
    """A git command wrote more than we read."""


class HostGit:
    """Git of this machine. `data` is where our configuration file is kept."""

    def __init__(self, data: Path, environ: Mapping[str, str] | None = None) -> None:
        program = shutil.which("git", path=PATH)
        if program is None:
            raise TickoverError("git.missing", "git is not installed", hint="install the package `git`")
        self.program = program
        setpriv = shutil.which("setpriv", path=PATH)
        # PDEATHSIG counts the thread that starts git, the event loop's: nothing fetches on after our kill -9.
        self._with_us = [] if setpriv is None else [setpriv, "--pdeathsig", "KILL", "--"]
        self._environ = os.environ if environ is None else environ
        self._config = data / "gitconfig"
        data.mkdir(parents=True, exist_ok=True)
        text = _CONFIG + "".join(f"\t{name} = warn\n" for name in _OLD_HISTORY)
        if not self._config.is_file() or self._config.read_text() != text:
            making = self._config.with_suffix(f".{os.getpid()}")
            making.write_text(text)
            making.chmod(0o644)
            making.replace(self._config)

    def environment(self, *, https: bool, through: Through | None = None) -> dict[str, str]:
        """Return the whole environment of a git process of ours."""
        passed = {name: self._environ[name] for name in _PASSED if https and name in self._environ}
        if through is not None:
            passed = through.environment()
        return passed | {
            "PATH": PATH,
            "HOME": "/nonexistent",
            "LC_ALL": "C.UTF-8",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": str(self._config),
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ALLOW_PROTOCOL": "file:https",
            "GIT_PROTOCOL_FROM_USER": "0",
            "GIT_NO_LAZY_FETCH": "1",
            "GIT_NO_REPLACE_OBJECTS": "1",
            "GIT_OPTIONAL_LOCKS": "0",
        }

    def upload_pack(self, owner: tuple[int, int] | None) -> list[str]:
        """Return the options that start the other end of a local path as `owner` (uid, gid), if one is given.

        It gets safe.directory in a variable, because that user may be unable to enter our data folder. Without an
        owner it inherits our GIT_CONFIG_GLOBAL: git drops every other way of setting safe.directory on that path.
        """
        if owner is None:
            return []
        uid, gid = owner
        become = ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups", "--no-new-privs", "env"]
        config = ["GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory"]
        words = [*become, *config, "'GIT_CONFIG_VALUE_0=*'", self.program, "upload-pack"]
        return [f"--upload-pack={' '.join(words)}"]

    async def run(
        self,
        *arguments: str,
        stdin: bytes = b"",
        timeout_s: float = 60,
        max_output: int = 16 << 20,
        max_file: int | None = None,
        max_memory: int = MEMORY,
        keep_open: Sequence[int] = (),
        https: bool = False,
        through: Through | None = None,
    ) -> Said:
        """Run git and return what it said, whatever its exit code. Times in seconds, sizes in bytes.

        `max_file` bounds every file it writes, `max_memory` what each of its processes holds. `keep_open` are
        descriptors that live as long as any of them.
        Raises GitTimeout and GitTooMuch; every process of it is gone by then.
        """
        process = await asyncio.create_subprocess_exec(
            *self._with_us,
            *("/bin/sh", "-c", 'ulimit -d "$0" && exec "$@"', str(max_memory >> 10)),
            self.program,
            *arguments,
            stdin=asyncio.subprocess.PIPE if stdin else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self.environment(https=https, through=through),
            cwd="/",
            umask=0o022,
            start_new_session=True,
            pass_fds=tuple(keep_open),
        )
        assert process.stdout is not None
        assert process.stderr is not None
        if max_file is not None:
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (max_file, max_file))

        def end() -> None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

        try:
            async with asyncio.timeout(timeout_s):
                out, err, _, code = await asyncio.gather(
                    _read(process.stdout, max_output, end),
                    _tail(process.stderr),
                    _feed(process.stdin, stdin),
                    process.wait(),
                )
        except TimeoutError as error:
            raise GitTimeout("git.timeout", f"git {arguments[0]} took longer than {timeout_s:g} s") from error
        finally:
            if process.returncode is None:
                end()
                await process.communicate()
        if out is None:
            raise GitTooMuch("git.too_much", f"git {arguments[0]} answered with more than {max_output} bytes")
        return Said(code, out, err.decode(errors="replace").strip())


async def _read(stream: asyncio.StreamReader, limit: int, end: Callable[[], None]) -> bytes | None:
    """Return everything; past the limit, end the writer, throw away what is left, and return None."""
    pieces: list[bytes] = []
    size = 0
    while piece := await stream.read(64 << 10):
        size += len(piece)
        if size > limit:
            end()
            pieces.clear()
        else:
            pieces.append(piece)
    return None if size > limit else b"".join(pieces)


async def _tail(stream: asyncio.StreamReader, limit: int = 16 << 10) -> bytes:
    kept = b""
    while piece := await stream.read(64 << 10):
        kept = (kept + piece)[-limit:]
    return kept


async def _feed(stream: asyncio.StreamWriter | None, data: bytes) -> None:
    if stream is None:
        return
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        stream.write(data)
        await stream.drain()
    stream.close()
