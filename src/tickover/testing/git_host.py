"""A double of a host of git repositories: `git http-backend` behind TLS, for who says the token."""

from __future__ import annotations

import asyncio
import base64
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tickover.testing.localhost import serving
from tickover.testing.upstream import Seen, Talk, Upstream


@dataclass
class GitHost:
    """Serves the bare repositories below `root` to `user` with `token`, reads and pushes alike."""

    root: Path
    token: str
    user: str = "x-access-token"
    double: Upstream | None = field(default=None, repr=False)

    def url(self, name: str) -> str:
        assert self.double is not None
        return f"https://localhost:{self.double.port}/{name}.git"

    def make(self, name: str, source: Path) -> Path:
        """Make a bare copy of a repository, to be served."""
        path = self.root / f"{name}.git"
        self.root.mkdir(parents=True, exist_ok=True)
        subprocess.run(["git", "clone", "-q", "--bare", str(source), str(path)], check=True, capture_output=True)
        subprocess.run(["git", "-C", str(path), "config", "http.receivepack", "true"], check=True)
        return path

    def refs(self, name: str) -> dict[str, str]:
        """Return its branches and what they name."""
        command = ["git", "-C", str(self.root / f"{name}.git"), "for-each-ref", "--format=%(refname) %(objectname)"]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        return dict(line.split(" ") for line in said.splitlines())

    async def __call__(self, seen: Seen, talk: Talk) -> None:
        expected = "Basic " + base64.b64encode(f"{self.user}:{self.token}".encode()).decode()
        if seen.header("authorization") != expected:
            await talk.answer(status="401 Unauthorized", headers=(("www-authenticate", 'Basic realm="git"'),))
            return
        status, headers, content = await asyncio.to_thread(self._backend, seen)
        await talk.answer(content, status=status, headers=headers)

    def _backend(self, seen: Seen) -> tuple[str, tuple[tuple[str, str], ...], bytes]:
        """Ask git http-backend as a CGI program (git-http-backend(1))."""
        path, _, query = seen.target.partition("?")
        environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "GIT_PROJECT_ROOT": str(self.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": seen.method,
            "CONTENT_TYPE": seen.header("content-type") or "",
            "HTTP_CONTENT_ENCODING": seen.header("content-encoding") or "",
            "HTTP_GIT_PROTOCOL": seen.header("git-protocol") or "",
            "REMOTE_USER": self.user,
        }
        said = subprocess.run(
            ["git", "http-backend"], env=environment, input=seen.body, capture_output=True, check=True
        )
        head, _, content = said.stdout.partition(b"\r\n\r\n")
        found = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        status = found.pop("Status", "200 OK")
        return status, tuple(found.items()), content


@asynccontextmanager
async def git_host(root: Path, token: str) -> AsyncIterator[GitHost]:
    """Serve a folder of bare repositories on loopback."""
    host = GitHost(root, token)
    async with serving(host) as double:
        host.double = double
        yield host
