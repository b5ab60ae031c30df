"""A real PostgreSQL for a test: its own programs (`/usr/lib/postgresql`), an ordinary user's, on loopback, over TLS.

PostgreSQL does not start as root: there it is started as `nobody`, whose processes end with the test.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tickover.gateway.certificates import RunAuthority

OWNER: Final = "owner"
_AUTH: Final = "local all all trust\nhostssl all owner 127.0.0.1/32 trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n"


def programs() -> Path | None:
    """Return the folder of the newest PostgreSQL on this machine, None where there is none."""
    found = Path("/usr/lib/postgresql").glob("*/bin/postgres")
    return max((each.parent for each in found), key=lambda each: int(each.parent.name), default=None)


@dataclass(frozen=True)
class Database:
    """A running server; `run` is its owner's."""

    port: int
    folder: Path
    programs: Path
    ids: tuple[int, int] | None

    def run(self, sql: str) -> str:
        """Let the owner run statements, and return what comes of them."""
        return _run(
            self, "psql", "-h", str(self.folder), "-p", str(self.port), "-U", OWNER, "-Atq", "-d", "postgres", "-c", sql
        )


def _run(database: Database, program: str, *arguments: str) -> str:
    user, group = database.ids or (None, None)
    said = subprocess.run(
        [database.programs / program, *arguments], cwd="/", env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
        capture_output=True, text=True, check=False, user=user, group=group, extra_groups=[] if user else None,
    )  # fmt: skip
    if said.returncode != 0:
        raise RuntimeError(f"{program}: {said.stdout}{said.stderr}")
    return said.stdout.strip()


@contextmanager
def postgres(bin_: Path, authority: RunAuthority) -> Iterator[Database]:
    """Run a server that asks for a password, and shows `authority`'s certificate for `localhost`."""
    folder = Path(tempfile.mkdtemp(prefix="tickover-pg-"))
    nobody = pwd.getpwnam("nobody")
    ids = (nobody.pw_uid, nobody.pw_gid) if os.geteuid() == 0 else None
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    database = Database(port, folder, bin_, ids)
    data = folder / "data"
    try:
        if ids:
            os.chown(folder, *ids)
        _run(database, "initdb", "-D", str(data), "-U", OWNER, "--auth=trust", "--no-sync")
        chain = authority.leaf("localhost")
        (data / "server.crt").write_bytes(chain)
        (data / "server.key").write_bytes(authority.key)
        (data / "pg_hba.conf").write_text(_AUTH)
        for name in ("server.crt", "server.key"):
            (data / name).chmod(0o600)
            if ids:
                os.chown(data / name, *ids)
        options = f"-h 127.0.0.1 -p {port} -k {folder} -c ssl=on -c fsync=off -c logging_collector=off"
        _run(database, "pg_ctl", "-D", str(data), "-w", "-t", "120", "-l", str(folder / "log"), "-o", options, "start")
        try:
            yield database
        finally:
            _run(database, "pg_ctl", "-D", str(data), "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
